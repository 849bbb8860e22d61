//! Runs `mio-echo bench` and reads its report.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::mio_echo;

/// The results of a run of `mio-echo bench`.
#[derive(Debug)]
pub(crate) struct Benched {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// The report as JSON.
    pub(crate) report: Value,
    pub(crate) stderr: String,
}

impl Benched {
    /// Returns the first run of the report.
    pub(crate) fn run(&self) -> &Value {
        &self.report["runs"][0]
    }

    /// Returns a number of the first run, by its JSON pointer.
    #[track_caller]
    pub(crate) fn number(&self, path: &str) -> f64 {
        let value = self.run().pointer(path);
        value
            .and_then(Value::as_f64)
            .unwrap_or_else(|| panic!("no {path} in {self:#?}"))
    }

    /// Returns the errors of this kind in the first run.
    #[track_caller]
    pub(crate) fn error(&self, kind: &str) -> &Value {
        let errors = self.run()["errors"].as_array().unwrap();
        errors
            .iter()
            .find(|error| error["kind"] == kind)
            .unwrap_or_else(|| panic!("no {kind} among {errors:#?}"))
    }

    /// Fails unless the report is valid, or invalid only because the generator got too little processor time. A busy
    /// machine causes the latter, and the test's own assertions hold all the same.
    #[track_caller]
    pub(crate) fn assert_measured(&self) {
        assert!(
            self.code == Some(0) || self.blames_the_machine(),
            "{self:#?}"
        );
    }

    /// Returns true if the measurement is invalid only because the generator got too little processor time.
    pub(crate) fn blames_the_machine(&self) -> bool {
        matches!(self.code, Some(4 | 5))
            && self.report["validity"]["verdict"] != "valid"
            && self.only_the_machine()
    }

    /// Returns true if the report gives no reason against the measurement except too little processor time.
    pub(crate) fn only_the_machine(&self) -> bool {
        let reasons = self.report["validity"]["reasons"].as_array().unwrap();
        reasons.iter().all(|reason| {
            let reason = reason.as_str().unwrap();
            [
                "stood still",
                "waited for a processor",
                "sent late",
                "was the limit",
            ]
            .iter()
            .any(|part| reason.contains(part))
        })
    }

    /// Returns the reasons against the measurement, as text.
    pub(crate) fn reasons(&self) -> String {
        self.report["validity"]["reasons"].to_string()
    }

    /// Returns the notes on the measurement, as text.
    pub(crate) fn notes(&self) -> String {
        self.report["validity"]["notes"].to_string()
    }
}

/// Returns the command `mio-echo bench` with these arguments.
pub(crate) fn bench_command(args: &[&str]) -> Command {
    let mut command = mio_echo();
    command.arg("bench").args(args).stdin(Stdio::null());
    command
}

/// Measures again if an assertion fails, at most four times. For figures that are right only if the generator has a
/// processor of its own: a busy machine makes some of the measurements fail, a defect makes all of them fail.
pub(crate) fn measure_until_it_holds(measure_and_assert: impl Fn()) {
    for attempt in 1..5 {
        if catch_unwind(AssertUnwindSafe(&measure_and_assert)).is_ok() {
            return;
        }
        println!("measurement {attempt} failed (see above); measuring again");
    }
    measure_and_assert();
}

/// Runs `mio-echo bench` with the report on standard output.
#[track_caller]
pub(crate) fn bench(args: &[&str]) -> Benched {
    let mut command = bench_command(args);
    let command = command.args(["--json", "-"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    benched(child)
}

/// Waits until the process has ended, and reads its report. Kills it after [`LONGEST`], and fails with its standard
/// error.
#[track_caller]
pub(crate) fn benched(child: Child) -> Benched {
    let (done, over) = mpsc::channel::<()>();
    let pid = Pid::from_child(&child);
    let watchdog = thread::spawn(move || {
        let hangs = over.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout);
        if hangs {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        hangs
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    let hung = watchdog.join().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !hung,
        "mio-echo bench did not end within {LONGEST:?}; standard error: {stderr}"
    );
    let report = match serde_json::from_slice(&output.stdout) {
        Ok(report) => report,
        Err(error) => panic!(
            "{error}: exit code {:?}, standard output {:?}, standard error {stderr}",
            output.status.code(),
            String::from_utf8_lossy(&output.stdout)
        ),
    };
    Benched {
        code: output.status.code(),
        report,
        stderr,
    }
}

/// Time limit of one run: longer than any test's run takes.
const LONGEST: Duration = Duration::from_secs(90);
