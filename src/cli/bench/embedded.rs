//! A server of our own, for who names none.

use std::io;
use std::thread::JoinHandle;

use mio_echo::{Address, Config, Handle, Server, Stats};

use crate::cli::Failure;

/// A server on a thread of this process, which ends with it.
#[derive(Debug)]
pub(super) struct Embedded {
    address: Address,
    handle: Handle,
    thread: Option<JoinHandle<io::Result<Stats>>>,
}

impl Embedded {
    /// Starts one on a free loopback port, with room for so many connections.
    pub(super) fn start(connections: u64) -> Result<Embedded, Failure> {
        let limit = mio_echo::raise_descriptor_limit()? as u64;
        if connections.saturating_mul(2) + RESERVED > limit {
            return Err(Failure::Usage(format!(
                "{connections} connections have two ends each, and this process may have {limit} descriptors: start \
                 \"mio-echo serve\" in a process of its own and name its address"
            )));
        }
        let addresses = vec!["127.0.0.1:auto".parse()?];
        let server = Server::bind(&Config {
            addresses,
            ..Config::default()
        })?;
        let address = server.local_addresses()[0].clone();
        let handle = server.handle();
        let thread = std::thread::Builder::new()
            .name("server".to_owned())
            .spawn(|| server.run())?;
        Ok(Embedded {
            address,
            handle,
            thread: Some(thread),
        })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            // Whatever it says, nobody is served any more.
            let _ = thread.join();
        }
    }
}

/// Descriptors for all else.
const RESERVED: u64 = 64;
