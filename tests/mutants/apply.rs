//! The table of mutants, and their edits of a copy. Build scripts include this file.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The table `mutants.toml`, whose first lines explain it.
#[derive(Deserialize)]
pub(crate) struct Table {
    pub(crate) mutant: Vec<Mutant>,
}

#[derive(Deserialize)]
pub(crate) struct Mutant {
    name: String,
    wrong: String,
    found_by: String,
    edits: Vec<Edit>,
}

#[derive(Deserialize)]
pub(crate) struct Edit {
    file: PathBuf,
    replace: String,
    with: String,
}

/// Copies a folder, applies all edits of the table to the copy, and returns the lines of the list of mutants.
pub(crate) fn mutated_copy(
    table: &Path,
    from: &Path,
    copy: &Path,
) -> Result<(String, usize), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", table.display());
    println!("cargo::rerun-if-changed={}", from.display());
    let table: Table = toml::from_str(&fs::read_to_string(table)?)?;
    if copy.exists() {
        fs::remove_dir_all(copy)?;
    }
    copy_folder(from, copy)?;
    let mut mutants = String::new();
    for mutant in &table.mutant {
        for edit in &mutant.edits {
            apply(mutant, edit, copy, from)?;
        }
        let (name, wrong, found_by) = (&mutant.name, &mutant.wrong, &mutant.found_by);
        writeln!(
            mutants,
            "    Mutant {{ name: {name:?}, wrong: {wrong:?}, found_by: {found_by:?} }},"
        )?;
    }
    Ok((mutants, table.mutant.len()))
}

/// Applies an edit to the copy. Fails unless the text to replace occurs exactly once in its file.
fn apply(mutant: &Mutant, edit: &Edit, copy: &Path, from: &Path) -> Result<(), Box<dyn Error>> {
    let path = copy.join(&edit.file);
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("{}: {}: {error}", mutant.name, edit.file.display()))?;
    match text.matches(&edit.replace).count() {
        1 => fs::write(path, text.replacen(&edit.replace, &edit.with, 1))?,
        n => {
            return Err(format!(
                "mutant {}: this text occurs {n} times in {}, and must occur there once:\n{}",
                mutant.name,
                from.join(&edit.file).display(),
                edit.replace
            )
            .into());
        }
    }
    Ok(())
}

/// Copies a folder with everything in it.
fn copy_folder(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
