//! The document has every check, as the program lists it.

#![cfg(unix)]
#![allow(missing_docs, reason = "a test has no public interface")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use mio_echo_check::{Group, Level, Needs, RUNGS, checks};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CHECKS.md");

/// The line before the tables.
const MARK: &str = "`MIO_ECHO_WRITE_CHECKS=1 cargo test -p mio-echo-check --test list`. -->\n";

#[test]
fn the_document_has_every_check() {
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    let at = text.find(MARK).unwrap() + MARK.len();
    let expected = format!("{}{}", &text[..at], tables());
    if std::env::var_os("MIO_ECHO_WRITE_CHECKS").is_some() {
        std::fs::write(DOCUMENT, &expected).unwrap();
    } else {
        assert!(
            text == expected,
            "docs/CHECKS.md does not have the checks of the program; MIO_ECHO_WRITE_CHECKS=1 writes it"
        );
    }
}

fn tables() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let _ = writeln!(
            text,
            "\n### {}\n\n| check | level | the client | passes when | why it matters | read |\n\
             |---|---|---|---|---|---|",
            group.name()
        );
        for check in checks().filter(|check| check.group == group) {
            let level = match check.level {
                Level::Must => "must",
                Level::Should => "should",
                Level::Note => "note",
            };
            let needs = match check.needs {
                Needs::Nothing => "",
                Needs::Tcp => " (TCP)",
                Needs::Loopback => " (TCP on this machine)",
                Needs::Process => " (with the process)",
                Needs::Command => " (with a command)",
            };
            let _ = writeln!(
                text,
                "| `{}` | {level}{needs} | {} | {} | {} | {} |",
                check.name, check.does.en, check.passes.en, check.why.en, check.read
            );
        }
    }
    text
}

#[test]
fn names_are_unique_and_differ_from_the_names_of_groups() {
    let mut names: BTreeSet<&str> = Group::ALL.iter().map(|group| group.name()).collect();
    for check in checks() {
        assert!(names.insert(check.name), "{}", check.name);
    }
}

#[test]
fn every_sentence_is_there_in_both_languages() {
    for check in checks() {
        for words in [check.does, check.passes, check.why] {
            assert!(words.en.ends_with('.'), "{}: {:?}", check.name, words.en);
            assert!(words.ja.ends_with('。'), "{}: {:?}", check.name, words.ja);
        }
    }
}

#[test]
fn every_file_to_read_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for check in checks() {
        for part in check.read.split(';').map(str::trim) {
            let is_a_file = ["src/", "docs/", "examples/", "crates/", "README"]
                .iter()
                .any(|start| part.starts_with(start));
            let is_known = is_a_file || part.starts_with("RFC ") || part.contains('(');
            assert!(is_known, "{}: {part:?}", check.name);
            assert!(
                !is_a_file || root.join(part).exists(),
                "{}: {part} does not exist",
                check.name
            );
        }
    }
}

#[test]
fn the_checks_of_the_ladder_exist() {
    for name in RUNGS.iter().flat_map(|rung| rung.breaks_on) {
        assert!(checks().any(|check| check.name == *name), "{name}");
    }
}
