//! The units of `deploy/systemd`: systemd accepts them, and they leave the server little more than its sockets.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Returns true if `systemd-analyze` can check units without a running systemd.
pub(crate) fn systemd_works() -> bool {
    let version = Command::new("systemd-analyze")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

pub(crate) fn the_units_are_valid_and_hardened() {
    let folder = tempfile::tempdir().unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd");
    let mut paths = Vec::new();
    for entry in fs::read_dir(units).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|end| end == "service" || end == "socket")
        {
            let text = fs::read_to_string(&path).unwrap();
            // The check wants the program to be where the unit says.
            let text = text.replace("/usr/bin/mio-echo", env!("CARGO_BIN_EXE_mio-echo"));
            let copy = folder.path().join(path.file_name().unwrap());
            fs::write(&copy, text).unwrap();
            paths.push(copy);
        }
    }
    assert_eq!(paths.len(), 3, "{paths:?}");
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&paths)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
    // The exposure from 0 to 100; that of a unit without any restriction is 96.
    for (unit, most) in [
        ("mio-echo.service", "6"),
        ("mio-echo-standalone.service", "13"),
    ] {
        let judged = Command::new("systemd-analyze")
            .args([
                "security",
                "--offline=true",
                "--no-pager",
                "--threshold",
                most,
            ])
            .arg(folder.path().join(unit))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&judged.stdout);
        assert!(judged.status.success(), "{unit}: {said}");
    }
}
