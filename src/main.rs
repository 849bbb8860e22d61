//! The program `mio-echo`: parses the arguments, runs the command and returns the exit code.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::run()
}
