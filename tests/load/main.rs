//! The load generator: what it must see, what it must not be fooled by, and what it writes.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;

mod figures;
mod reports;
mod servers;
mod wrong;

use std::process::{Command, Output, Stdio};

use common::mio_echo;
use serde_json::Value;

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

/// Runs `mio-echo bench` with the report on standard output.
#[track_caller]
pub(crate) fn bench(args: &[&str]) -> Benched {
    let mut command = bench_command(args);
    benched(command.args(["--json", "-"]).output().unwrap())
}

#[track_caller]
pub(crate) fn benched(output: Output) -> Benched {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
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
