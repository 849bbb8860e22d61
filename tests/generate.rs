//! `mio-echo generate`: man pages and completions.

#![cfg(target_os = "linux")]
#![allow(missing_docs, reason = "a test has no public interface")]

use std::fs;
use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mio-echo"))
        .args(args)
        .output()
        .unwrap()
}

/// Returns the standard output of a command that succeeds.
#[track_caller]
fn generate(args: &[&str]) -> String {
    let output = run(&[&["generate"], args].concat());
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// bash offers the forms of an address, values that an option accepts, and files where a file is meant.
#[test]
fn bash_completes_addresses_values_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("completions");
    fs::write(&script, generate(&["bash"])).unwrap();
    fs::write(folder.path().join("old.json"), "").unwrap();
    for (line, expected) in [
        ("ser", "serve"),
        ("serve 127.0.0.1:a", "127.0.0.1:auto"),
        ("serve [", "[::1]:7007"),
        ("serve unix", "unix:/run/mio-echo.sock"),
        ("serve --idle-timeout o", "off"),
        // A shutdown always has a limit.
        ("serve --drain-timeout o", ""),
        ("serve --threads a", "auto"),
        ("serve --read-buffer 64", "64KiB 64"),
        ("serve --metrics 0", "0.0.0.0:7008"),
        ("bench --fail-if e", "errors>0"),
        ("bench --json ol", "old.json"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let (last, before) = (words.last().unwrap(), words.iter().rev().nth(1));
        let asks = format!(
            "source {}; COMP_WORDS=(mio-echo \"$@\"); COMP_CWORD=$#; compopt() {{ :; }}; \
             complete=$(complete -p mio-echo | sed 's/.* -F \\([^ ]*\\) .*/\\1/'); \
             \"$complete\" mio-echo '{last}' '{}'; echo \"${{COMPREPLY[*]}}\"",
            script.display(),
            before.unwrap_or(&"mio-echo"),
        );
        let output = Command::new("bash")
            .args(["--norc", "-c", &asks, "bash"])
            .args(&words)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let offered = String::from_utf8_lossy(&output.stdout);
        assert_eq!(offered.trim(), expected, "{line}: {output:?}");
    }
}

#[test]
fn the_other_shells_have_the_same_candidates() {
    for shell in ["zsh", "fish"] {
        let text = generate(&[shell]);
        for expected in ["mio-echo", "auto", "7008", "idle-timeout"] {
            assert!(text.contains(expected), "{shell}: no {expected}: {text}");
        }
    }
}

/// A page names each option of the help, and a synopsis.
#[test]
fn a_man_page_has_each_option_of_its_command() {
    for command in ["serve", "send", "bench", "check", "compare", "merge"] {
        let page = generate(&["man", command]);
        let title = format!(".TH MIO-ECHO-{} 1", command.to_uppercase());
        assert!(page.contains(&title), "{page}");
        for section in ["NAME", "SYNOPSIS", "OPTIONS", "SEE ALSO"] {
            assert!(page.contains(section), "{command}: no {section}: {page}");
        }
        let help = String::from_utf8(run(&[command, "--help"]).stdout).unwrap();
        let options = help
            .split_whitespace()
            .filter(|word| word.starts_with("--"));
        for option in options {
            let name: String = option
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '-')
                .collect();
            // roff writes a hyphen that is not a break as \-.
            let name = name.replace('-', "\\-");
            assert!(page.contains(&name), "{command}: no {name}: {page}");
        }
    }
    assert!(generate(&["man"]).contains(".TH MIO-ECHO 1"));
}

#[test]
fn a_command_that_does_not_exist_has_no_page() {
    let output = run(&["generate", "man", "serv"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("serv"), "{said}");
    let output = run(&["generate", "bash", "serve"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
