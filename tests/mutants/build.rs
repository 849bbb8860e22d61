//! Writes a copy of the server with every mutant of `mutants.toml` in it, each behind a switch.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The table `mutants.toml`, whose first lines explain it.
#[derive(Deserialize)]
struct Table {
    mutant: Vec<Mutant>,
}

#[derive(Deserialize)]
struct Mutant {
    name: String,
    wrong: String,
    found_by: String,
    edits: Vec<Edit>,
}

#[derive(Deserialize)]
struct Edit {
    file: PathBuf,
    replace: String,
    with: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let server = here.join("../../src/server");
    let table = here.join("mutants.toml");
    println!("cargo::rerun-if-changed={}", table.display());
    println!("cargo::rerun-if-changed={}", server.display());
    let table: Table = toml::from_str(&fs::read_to_string(table)?)?;

    let copy = out.join("server");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    copy_folder(&server, &copy)?;
    let mut mutants = String::new();
    for mutant in &table.mutant {
        for edit in &mutant.edits {
            apply(mutant, edit, &copy)?;
        }
        let (name, wrong, found_by) = (&mutant.name, &mutant.wrong, &mutant.found_by);
        writeln!(
            mutants,
            "    Mutant {{ name: {name:?}, wrong: {wrong:?}, found_by: {found_by:?} }},"
        )?;
    }
    let root = format!(
        "#[allow(warnings, clippy::all, reason = \"a copy, with bugs on purpose\")]\n#[path = {:?}]\nmod server;\n\n\
         /// All mutants, in the order of the table.\npub const MUTANTS: [Mutant; {}] = [\n{mutants}];\n",
        copy.join("mod.rs"),
        table.mutant.len(),
    );
    fs::write(out.join("root.rs"), root)?;
    Ok(())
}

/// Applies an edit to the copy. Fails unless the text to replace occurs exactly once in its file.
fn apply(mutant: &Mutant, edit: &Edit, copy: &Path) -> Result<(), Box<dyn Error>> {
    let path = copy.join(&edit.file);
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("{}: {}: {error}", mutant.name, edit.file.display()))?;
    match text.matches(&edit.replace).count() {
        1 => fs::write(path, text.replacen(&edit.replace, &edit.with, 1))?,
        n => {
            return Err(format!(
                "mutant {}: this text occurs {n} times in src/server/{}, and must occur there once:\n{}",
                mutant.name,
                edit.file.display(),
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
