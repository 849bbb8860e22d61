//! The in-process server used when no target is given.

use mio_echo::{RunningServer, Server};

use crate::cli::failure::Failure;

/// Starts one on a free loopback port, with room for so many connections.
pub(super) fn start(connections: u64) -> Result<RunningServer, Failure> {
    let limit = mio_echo::raise_descriptor_limit()? as u64;
    if connections.saturating_mul(2) + RESERVED > limit {
        return Err(Failure::Usage(format!(
            "{connections} connections have two ends each, and this process may have {limit} descriptors: start \
             \"mio-echo serve\" in a process of its own and name its address"
        )));
    }
    Ok(Server::spawn()?)
}

/// Descriptors for all else.
const RESERVED: u64 = 64;
