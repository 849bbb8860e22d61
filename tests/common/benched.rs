//! `mio-echo bench`, run and read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::mio_echo;

/// What `mio-echo bench` said and wrote.
#[derive(Debug)]
pub(crate) struct Benched {
    pub(crate) code: Option<i32>,
    pub(crate) report: Value,
    pub(crate) stderr: String,
}

impl Benched {
    /// The first run.
    pub(crate) fn run(&self) -> &Value {
        &self.report["runs"][0]
    }

    /// A number of the first run, by its path.
    #[track_caller]
    pub(crate) fn number(&self, path: &str) -> f64 {
        let value = self.run().pointer(path);
        value
            .and_then(Value::as_f64)
            .unwrap_or_else(|| panic!("no {path} in {self:#?}"))
    }

    /// The error of this kind.
    #[track_caller]
    pub(crate) fn error(&self, kind: &str) -> &Value {
        let errors = self.run()["errors"].as_array().unwrap();
        errors
            .iter()
            .find(|error| error["kind"] == kind)
            .unwrap_or_else(|| panic!("no {kind} among {errors:#?}"))
    }

    /// Fails unless it was measured. On a busy machine a report may rightly say that its generator was given too little of
    /// the processor; what the test is about holds all the same.
    #[track_caller]
    pub(crate) fn assert_measured(&self) {
        assert!(
            self.code == Some(0) || self.blames_the_machine(),
            "{self:#?}"
        );
    }

    /// Whether the measurement is invalid, and the generator's lack of a processor is all that speaks against it.
    pub(crate) fn blames_the_machine(&self) -> bool {
        self.code == Some(4)
            && self.report["validity"]["verdict"] == "invalid"
            && self.only_the_machine()
    }

    /// Whether nothing but the generator's lack of a processor speaks against the measurement.
    pub(crate) fn only_the_machine(&self) -> bool {
        let reasons = self.report["validity"]["reasons"].as_array().unwrap();
        reasons.iter().all(|reason| {
            let reason = reason.as_str().unwrap();
            ["stood still", "left late", "was the limit"]
                .iter()
                .any(|part| reason.contains(part))
        })
    }

    pub(crate) fn reasons(&self) -> String {
        self.report["validity"]["reasons"].to_string()
    }

    pub(crate) fn notes(&self) -> String {
        self.report["validity"]["notes"].to_string()
    }
}

pub(crate) fn bench_command(args: &[&str]) -> Command {
    let mut command = mio_echo();
    command.arg("bench").args(args).stdin(Stdio::null());
    command
}

/// Measures again if an assertion fails, four times at the most: for figures that only a generator with a processor of its own
/// gets right. A busy machine makes some of the measurements fail, a defect makes all of them fail.
pub(crate) fn measure_until_it_holds(measure_and_assert: impl Fn()) {
    for attempt in 1..5 {
        if catch_unwind(AssertUnwindSafe(&measure_and_assert)).is_ok() {
            return;
        }
        println!("measurement {attempt} failed, as said above; measuring again");
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

/// Waits for its end, and reads its report. One that does not end is killed, and what it said is told.
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
        "it did not end within {LONGEST:?}, and said {stderr}"
    );
    let report = match serde_json::from_slice(&output.stdout) {
        Ok(report) => report,
        Err(error) => panic!(
            "{error}: exit {:?}, {:?} and on standard error {stderr}",
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

/// Longer than any run of a test takes.
const LONGEST: Duration = Duration::from_secs(90);
