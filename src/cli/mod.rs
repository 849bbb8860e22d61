//! The command line, with one file for each command. Only this module and its submodules print.

#[cfg(feature = "load")]
mod bench;
#[cfg(all(unix, feature = "check"))]
mod check;
#[cfg(feature = "load")]
mod compare;
#[cfg(feature = "load")]
mod conclusion;
mod failure;
mod generate;
mod logging;
#[cfg(feature = "load")]
mod merge;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "load")]
mod outputs;
mod send;
mod serve;
#[cfg(feature = "load")]
mod stop;
#[cfg(unix)]
mod systemd;
mod values;
#[cfg(any(feature = "load", all(unix, feature = "check")))]
mod writing;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::{FAILURE, Failure, INTERRUPTED, OUTPUT_CLOSED, USAGE};

/// Parses the arguments, runs the command, and returns the exit code: 0 for success, 1 for a failure, 2 for a usage
/// error. The module `failure` has the others.
pub(crate) fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Send(args) => send::run(&args),
        #[cfg(feature = "load")]
        Command::Bench(args) => bench::run(&args),
        #[cfg(all(unix, feature = "check"))]
        Command::Check(args) => check::run(&args),
        #[cfg(feature = "load")]
        Command::Compare(args) => compare::run(&args),
        #[cfg(feature = "load")]
        Command::Merge(args) => merge::run(&args),
        Command::Generate(args) => generate::run(&args, Cli::command()),
    };
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Message(why)) => fail(&why, FAILURE),
        Err(Failure::Usage(why)) => fail(&why, USAGE),
        Err(Failure::Interrupted(why)) => fail(&why, INTERRUPTED),
        Err(Failure::Code(code)) => ExitCode::from(code),
        Err(Failure::OutputClosed) => ExitCode::from(OUTPUT_CLOSED),
    };
    logging::finish();
    code
}

/// Prints the reason on standard error and returns the exit code.
fn fail(why: &str, code: u8) -> ExitCode {
    logging::print_after_log(&format_args!("mio-echo: {why}"));
    ExitCode::from(code)
}

/// An echo server on one nonblocking event loop, an echo client, a load generator, and a tester of echo servers
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
    #[cfg(feature = "load")]
    Bench(Box<bench::BenchArgs>),
    #[cfg(all(unix, feature = "check"))]
    Check(Box<check::CheckArgs>),
    #[cfg(feature = "load")]
    Compare(compare::CompareArgs),
    #[cfg(feature = "load")]
    Merge(merge::MergeArgs),
    Generate(generate::GenerateArgs),
}
