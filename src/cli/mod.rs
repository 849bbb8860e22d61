//! The command line: one file per command. The only place that prints.

mod bench;
mod compare;
mod logging;
mod merge;
mod outputs;
mod send;
mod serve;
mod stop;
mod values;

use std::fmt;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Parses the arguments, runs the command, and turns what became of it into an exit code: 0 for success, 1 for a
/// failure, 2 for a usage error.
pub(crate) fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Merge(args) => merge::run(&args),
    };
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Told(why)) => told(&why, FAILURE),
        Err(Failure::Usage(why)) => told(&why, USAGE),
        Err(Failure::Interrupted(why)) => told(&why, INTERRUPTED),
        Err(Failure::Code(code)) => ExitCode::from(code),
        Err(Failure::OutputClosed) => ExitCode::from(OUTPUT_CLOSED),
    };
    logging::finish();
    code
}

fn told(why: &str, code: u8) -> ExitCode {
    logging::tell(&format_args!("mio-echo: {why}"));
    ExitCode::from(code)
}

/// An echo server on one nonblocking event loop, and the clients to try and to measure it with.
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
    Bench(Box<bench::BenchArgs>),
    Compare(compare::CompareArgs),
    Merge(merge::MergeArgs),
}

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// What to say on standard error.
    Told(String),
    /// What to say of arguments that are impossible or contradict each other.
    Usage(String),
    /// What to say when somebody interrupts before there is anything to report.
    Interrupted(String),
    /// The exit code of what the report has said.
    Code(u8),
    /// Whoever read our output has gone. There is nobody to tell.
    OutputClosed,
}

impl<E: fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Told(error.to_string())
    }
}

const FAILURE: u8 = 1;
const USAGE: u8 = 2;

/// What a shell reports of a program that SIGINT has ended: 128 + 2.
const INTERRUPTED: u8 = 130;

/// What a shell reports of a program that SIGPIPE has ended, as it ends most: 128 + 13.
const OUTPUT_CLOSED: u8 = 141;
