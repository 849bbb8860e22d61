//! The in-process server used when no target is given.

use mio_echo::{RunningServer, Server};

use crate::cli::failure::Failure;

/// Starts a server on a free loopback port.
///
/// # Errors
/// The descriptor limit of this process is too low for both ends of `connections`, or the server cannot start.
pub(super) fn start(connections: u64) -> Result<RunningServer, Failure> {
    let limit = mio_echo::raise_descriptor_limit()? as u64;
    if connections.saturating_mul(2) + RESERVED > limit {
        return Err(Failure::Usage(format!(
            "each of the {connections} connections needs two descriptors in this process, and its descriptor limit is \
             {limit}: start \"mio-echo serve\" in another process and name its address"
        )));
    }
    Ok(Server::spawn()?)
}

/// Descriptors that remain for everything but the connections.
const RESERVED: u64 = 64;
