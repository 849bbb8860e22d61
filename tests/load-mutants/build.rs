//! Writes a copy of the load generator with every mutant of `mutants.toml` in it, each behind a switch.

#[path = "../mutants/apply.rs"]
mod apply;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let copy = out.join("load");
    let from = here.join("../../crates/load/src");
    let (mutants, n) = apply::mutated_copy(&here.join("mutants.toml"), &from, &copy)?;
    make_a_module(&copy)?;
    let root = format!(
        "#[allow(warnings, clippy::all, reason = \"a copy, with bugs on purpose\")]\n#[path = {:?}]\nmod load;\n\n\
         /// All mutants, in the order of the table.\npub const MUTANTS: [Mutant; {n}] = [\n{mutants}];\n",
        copy.join("mod.rs"),
    );
    fs::write(out.join("root.rs"), root)?;
    Ok(())
}

/// Makes the copied crate a module: its root begins with its first `mod`, and its paths begin at the module.
fn make_a_module(copy: &Path) -> Result<(), Box<dyn Error>> {
    let root = fs::read_to_string(copy.join("lib.rs"))?;
    let modules = root.find("\nmod ").ok_or("the crate has no module")?;
    fs::write(copy.join("mod.rs"), &root[modules..])?;
    fs::remove_file(copy.join("lib.rs"))?;
    move_paths(copy)
}

fn move_paths(folder: &Path) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            move_paths(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?.replace("crate::", "crate::load::");
            fs::write(&path, text)?;
        }
    }
    Ok(())
}
