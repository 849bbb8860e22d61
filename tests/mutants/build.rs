//! Writes a copy of the server with every mutant of `mutants.toml` in it, each behind a switch.

mod apply;

use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let copy = out.join("server");
    let (mutants, n) = apply::mutated_copy(
        &here.join("mutants.toml"),
        &here.join("../../src/server"),
        &copy,
    )?;
    let root = format!(
        "#[allow(warnings, clippy::all, reason = \"a copy, with bugs on purpose\")]\n#[path = {:?}]\nmod server;\n\n\
         /// All mutants, in the order of the table.\npub const MUTANTS: [Mutant; {n}] = [\n{mutants}];\n",
        copy.join("mod.rs"),
    );
    fs::write(out.join("root.rs"), root)?;
    Ok(())
}
