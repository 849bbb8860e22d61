//! This project's server in a process of its own. The bench starts its own binary again, so that no other one must be
//! built.

use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use mio_echo::{Config, Server};

/// Returns the command that runs the server with these options of `mio-echo serve`: `--no-splice`, `--busy-poll TIME`
/// or `--idle-timeout TIME`. The server prints `listening on ADDRESS`, and at its end its statistics as one line of
/// JSON.
///
/// # Errors
/// If the path of this program is not known.
pub(crate) fn server(options: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(OWN_SERVER).args(options);
    Ok(command)
}

/// Runs the server if the first argument asks for it; returns `None` otherwise. Every bench calls this first.
pub(crate) fn serve_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args();
    if arguments.nth(1).as_deref() != Some(OWN_SERVER) {
        return None;
    }
    let options = Options::parse_from(std::iter::once("server".to_owned()).chain(arguments));
    Some(match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the server: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Options of the server's process.
#[derive(Parser, Debug)]
struct Options {
    #[arg(long)]
    no_splice: bool,

    #[arg(long, value_parser = humantime::parse_duration)]
    busy_poll: Option<Duration>,

    #[arg(long, value_parser = humantime::parse_duration)]
    idle_timeout: Option<Duration>,
}

fn serve(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    mio_echo::raise_descriptor_limit()?;
    let mut server = Server::bind(&Config {
        addresses: vec!["127.0.0.1:auto".parse()?],
        splice: !options.no_splice,
        busy_poll: options.busy_poll,
        idle_timeout: options.idle_timeout,
        ..Config::default()
    })?;
    server.catch_signals()?;
    println!("listening on {}", server.local_addresses()[0]);
    io::stdout().flush()?;
    let stats = server.run()?;
    println!("{}", serde_json::to_string(&stats)?);
    Ok(())
}

/// The argument that turns the bench's process into the server.
const OWN_SERVER: &str = "--own-server";
