//! The command line: one file per command. The only place that prints.

mod logging;
mod send;
mod serve;
mod values;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Parses the arguments, runs the command, and turns what became of it into an exit code: 0 for success, 1 for a
/// failure, 2 for a usage error.
pub(crate) fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Send(args) => send::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Told(why)) => {
            // Nothing can be done for who closes standard error and still wants to be told.
            let _ = writeln!(io::stderr(), "mio-echo: {why}");
            ExitCode::FAILURE
        }
        Err(Failure::OutputClosed) => ExitCode::from(OUTPUT_CLOSED),
    }
}

/// An echo server on one nonblocking event loop, and the client to try it with.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 100, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(serve::ServeArgs),
    Send(send::SendArgs),
}

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

/// What a shell reports of a program that SIGPIPE has ended, as it ends most: 128 + 13.
const OUTPUT_CLOSED: u8 = 141;
