//! The units of `deploy/systemd`: systemd accepts them, and they leave the server little more than its sockets.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{LIMIT, Process, mio_echo};

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

/// Stops one loop of two with ptrace(2), which stops a single thread. The rest of the process runs, and must tell the
/// service manager nothing until the loop turns again.
pub(crate) fn one_loop_that_hangs_is_enough_to_stop_the_watchdog() {
    use nix::sys::{ptrace, wait};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut command = mio_echo();
    command
        .args(["serve", "127.0.0.1:auto", "--threads", "2"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let server = Process::start(command, 1);
    let hears = |limit: Duration| {
        manager.set_read_timeout(Some(limit)).unwrap();
        let mut message = [0; 64];
        let n = manager.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message[..n]).trim().to_owned())
    };
    assert_eq!(hears(LIMIT).as_deref(), Some("READY=1"));
    assert_eq!(hears(LIMIT).as_deref(), Some("WATCHDOG=1"));
    let pid = server.pid().as_raw_nonzero();
    let second = fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|task| task.unwrap().path())
        .find(|task| fs::read_to_string(task.join("comm")).unwrap().trim() == "mio-echo-1");
    let second = second
        .unwrap()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let thread = nix::unistd::Pid::from_raw(second.parse().unwrap());
    ptrace::attach(thread).unwrap();
    wait::waitpid(thread, Some(wait::WaitPidFlag::__WALL)).unwrap();
    // What was sent before may be in the queue, and one look may have begun.
    let start = Instant::now();
    while hears(Duration::from_millis(600)).is_some() {
        assert!(start.elapsed() < LIMIT, "a hanging loop feeds the watchdog");
    }
    ptrace::detach(thread, None).unwrap();
    assert_eq!(hears(LIMIT).as_deref(), Some("WATCHDOG=1"));
}
