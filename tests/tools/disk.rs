//! A log file on a full disk.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use crate::common::*;

/// Calls `run` on a thread with a mount namespace of its own, in which a disk of 1 MiB is mounted on `folder`.
/// Processes that this thread starts see the disk too.
fn with_a_small_disk<T: Send>(folder: &Path, run: impl FnOnce() -> T + Send) -> T {
    let mount = |args: &[&str]| {
        let output = Command::new("mount").args(args).output().unwrap();
        assert!(output.status.success(), "mount {args:?}: {output:?}");
    };
    thread::scope(|scope| {
        let own = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            // Keeps the mount inside this namespace (mount_namespaces(7)).
            mount(&["--make-rprivate", "/"]);
            let folder = folder.to_str().unwrap();
            mount(&["-t", "tmpfs", "-o", "size=1M", "small", folder]);
            run()
        });
        own.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Returns true if this process may create a mount namespace.
pub(crate) fn mounts_work() -> bool {
    thread::spawn(|| unshare(CloneFlags::CLONE_NEWNS).is_ok())
        .join()
        .unwrap()
}

/// Fault 38: the event loop goes on. When the disk has room again, the log states how many lines are missing.
pub(crate) fn a_full_disk_stops_nothing_and_missing_lines_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    with_a_small_disk(folder.path(), || {
        let (log, filler) = (folder.path().join("log"), folder.path().join("filler"));
        let errors = File::create(&log).unwrap();
        let mut file = File::create(&filler).unwrap();
        while file.write(&[0; 4096]).is_ok() {}
        let mut command = mio_echo();
        command.args(["serve", "127.0.0.1:auto", "-vv", "--json"]);
        let server = Process::start_with_errors_to(errors, command, 1);
        let client = connect(server.address());
        // Many messages: tmpfs counts its pages only roughly, and accepts a little more than its size.
        for _ in 0..10_000 {
            ping(&client, b"on a full disk");
        }
        std::fs::remove_file(&filler).unwrap();
        drop(file);
        let note = "log lines left out because standard error did not accept them: ";
        let text = eventually("the note", || {
            ping(&client, b"there is room");
            let text = std::fs::read_to_string(&log).unwrap();
            match text.contains(note) {
                true => Ok(text),
                false => Err(text),
            }
        });
        let (_, count) = text.split_once(note).unwrap();
        let left_out: u64 = count.lines().next().unwrap().parse().unwrap();
        assert!(left_out > 1000, "{text}");
        let stats = server.stop_and_count();
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains("there is room"), "{stats}\n{text}");
        // A line that was cut off gets its line end before the next line begins.
        let note = text.lines().find(|line| line.contains(note)).unwrap();
        assert_eq!(note.matches("Z WARN").count(), 1, "{note}");
        assert!(note.starts_with("20"), "{note}");
    });
}
