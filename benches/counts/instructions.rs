//! Counts instructions in user space with valgrind.

use std::collections::BTreeMap;
use std::io;
use std::process::Command;

use crate::cases::cases;

/// Returns the instructions of each kind of message. The difference of a long and a short run excludes the start of the
/// program.
pub(crate) fn count() -> io::Result<BTreeMap<String, f64>> {
    let mut counted = BTreeMap::new();
    for case in cases() {
        let [few, many] = [1_000, 3_000].map(|messages| collect(case.name, messages));
        counted.insert(case.name.to_owned(), (many? - few?) / 2_000.0);
    }
    Ok(counted)
}

/// Runs this program under valgrind, and returns the instructions of so many messages.
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
    collected.ok_or_else(|| io::Error::other(format!("valgrind printed no count:\n{said}")))
}

/// The part that runs under valgrind: echoes so many messages of the kind `name`.
pub(crate) fn repeat(name: &str, messages: &str) {
    let messages: u32 = messages.parse().unwrap_or(0);
    for mut case in cases() {
        if case.name == name {
            (0..messages).for_each(|_| (case.run)());
        }
    }
}

/// Returns the compiler's name and version.
pub(crate) fn rustc() -> io::Result<String> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The argument for [`repeat`].
pub(crate) const REPEAT: &str = "--repeat";
