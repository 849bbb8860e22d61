//! Instructions in user space, counted by valgrind.

use std::collections::BTreeMap;
use std::io;
use std::process::Command;

use crate::cases::cases;

/// For each kind of message: two runs, the longer less the shorter, so that starting the program is not in it.
pub(crate) fn count() -> io::Result<BTreeMap<String, f64>> {
    let mut counted = BTreeMap::new();
    for case in cases() {
        let [few, many] = [1_000, 3_000].map(|messages| collect(case.name, messages));
        counted.insert(case.name.to_owned(), (many? - few?) / 2_000.0);
    }
    Ok(counted)
}

fn collect(name: &str, messages: u32) -> io::Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([REPEAT, name, &messages.to_string()])
        .output()
        .map_err(|error| {
            io::Error::other(format!("valgrind: {error} (apt-get install valgrind)"))
        })?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.ok_or_else(|| io::Error::other(format!("valgrind said no count:\n{said}")))
}

/// What runs under valgrind.
pub(crate) fn repeat(name: &str, messages: &str) {
    let messages: u32 = messages.parse().unwrap_or(0);
    for mut case in cases() {
        if case.name == name {
            (0..messages).for_each(|_| (case.run)());
        }
    }
}

/// The compiler's name and version.
pub(crate) fn rustc() -> io::Result<String> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(crate) const REPEAT: &str = "--repeat";
