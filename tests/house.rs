//! The rules of the house that no compiler checks, read from the source.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every source file of the library and the program, with its text up to its tests. The simulator is not part of either.
fn product() -> BTreeMap<PathBuf, String> {
    let mut sources = sources();
    sources.retain(|path, _| !path.starts_with("server/simulation"));
    sources
}

/// The simulator's files too: what holds of every text holds of theirs.
fn sources() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("tests") {
                    folders.push(path);
                }
            } else if !path.ends_with("tests.rs") && !path.ends_with("scripted.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let end = text.find("\nmod tests").unwrap_or(text.len());
                let path = path.strip_prefix(&root).unwrap().to_owned();
                found.insert(path, text[..end].to_owned());
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found: {found:?}");
    found
}

/// The lines of code of a file, without comments and their examples.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// Invariant 9: state machines take the time as an argument; only the poller reads the clock, which the server's loop asks
/// once a turn, and the load generator's driver once a read too. What is above the loops may ask for itself.
#[test]
fn no_clock_is_read_below_the_loop() {
    for (path, text) in product() {
        for line in code(&text) {
            let reads = line.contains("Instant::now") || line.contains("SystemTime");
            assert!(!reads || may_read(&path), "{}: {line}", path.display());
        }
    }
    let event_loop = &sources()[Path::new("server/event_loop.rs")];
    assert_eq!(
        event_loop.matches("self.poller.now()").count(),
        1,
        "once a turn"
    );
}

fn may_read(path: &Path) -> bool {
    path.starts_with("cli") || [Path::new("poller.rs"), Path::new("clock.rs")].contains(&path)
}

/// Invariant 10, as far as reading can tell: nothing outside the tests asks for a panic.
#[test]
fn nothing_panics() {
    for (path, text) in product() {
        for line in code(&text) {
            for call in [
                ".unwrap()",
                ".expect(",
                "panic!(",
                "unreachable!(",
                "todo!(",
            ] {
                assert!(!line.contains(call), "{}: {line}", path.display());
            }
        }
    }
}

/// Data flows one way: a module that another one uses does not use that one.
#[test]
fn no_two_modules_use_each_other() {
    let uses = |text: &str, name: &str| {
        code(text).any(|line| {
            let line = line.trim_start();
            line.starts_with("use ")
                && (line.contains(&format!("super::{name}::"))
                    || line.contains(&format!("server::{name}::"))
                    || line.contains(&format!("crate::{name}::"))
                    || line.starts_with(&format!("use {name}::")))
        })
    };
    let sources = sources();
    let modules: Vec<_> = sources
        .iter()
        .filter(|(path, _)| !path.starts_with("cli"))
        .map(|(path, text)| (path.file_stem().unwrap().to_str().unwrap(), text))
        .collect();
    let mut arrows = 0;
    for (one, text) in &modules {
        for (other, their_text) in &modules {
            if one != other && uses(text, other) {
                arrows += 1;
                assert!(!uses(their_text, one), "{one} and {other} use each other");
            }
        }
    }
    assert!(arrows > 20, "only {arrows} arrows were found");
}
