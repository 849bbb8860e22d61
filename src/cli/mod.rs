//! The command line: one file per command. The only place that prints.

mod logging;
mod send;
mod serve;
mod values;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Parses the arguments, runs the command, and turns what became of it into an exit code: 0 for success, 1 for a
/// failure, 2 for a usage error.
pub(crate) fn run() -> ExitCode {
    let Cli { command, verbosity } = Cli::parse();
    logging::start(verbosity.level());
    let outcome = match command {
        Command::Serve(args) => serve::run(&args),
        Command::Send(args) => send::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Failure::Told(why) = failure {
                // Nothing can be done for who closes standard error and still wants to be told.
                let _ = writeln!(io::stderr(), "mio-echo: {why}");
            }
            ExitCode::FAILURE
        }
    }
}

/// An echo server on one nonblocking event loop, and the client to try it with.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 100, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    verbosity: Verbosity,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(serve::ServeArgs),
    Send(send::SendArgs),
}

#[derive(Args, Debug)]
struct Verbosity {
    /// Log connections; twice: every step of the loop. RUST_LOG=debug and =trace do the same
    #[arg(short, long, global = true, help_heading = LOGGING, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true, help_heading = LOGGING, conflicts_with = "verbose")]
    quiet: bool,
}

impl Verbosity {
    /// `None` if neither was given, so that the environment may decide.
    fn level(&self) -> Option<log::LevelFilter> {
        match (self.quiet, self.verbose) {
            (true, _) => Some(log::LevelFilter::Error),
            (false, 0) => None,
            (false, 1) => Some(log::LevelFilter::Debug),
            (false, _) => Some(log::LevelFilter::Trace),
        }
    }
}

const LOGGING: &str = "Logging";

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// What to say on standard error.
    Told(String),
    /// Whoever read our output has gone. There is nobody to tell.
    OutputClosed,
}

impl<E: fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Told(error.to_string())
    }
}
