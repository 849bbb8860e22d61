//! Measures resident memory an idle connection, in bytes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::own;
use crate::common::process::{Server, connect_clients};

/// Returns the bytes that each of 14,000 more connections costs, without an idle timeout and with one.
pub(crate) fn count() -> io::Result<BTreeMap<String, f64>> {
    let with_timeouts: &[&str] = &["--idle-timeout", "1h"];
    let mut counted = BTreeMap::new();
    for (name, options) in [
        ("without timeouts", &[][..]),
        ("with timeouts", with_timeouts),
    ] {
        let server = Server::start(&mut own::server(options)?)?;
        let descriptors = server.descriptors()?;
        let few = connect_clients(server.address, FEW)?;
        fill_a_batch(&server, &few)?;
        let before = server.resident()?;
        let more = connect_clients(server.address, MORE)?;
        let grown = server.resident()? - before;
        counted.insert(name.to_owned(), grown as f64 / MORE as f64);
        drop((few, more));
        server.wait_for_descriptors(descriptors)?;
        server.stop()?;
    }
    Ok(counted)
}

/// Makes the server find an event of each of these connections in one poll: stops it, sends a byte on each
/// connection, and continues it. The server's list of events, which all connections share, then has its full size.
/// Otherwise that size would depend on the scheduler.
fn fill_a_batch(server: &Server, clients: &[TcpStream]) -> io::Result<()> {
    let pid = Pid::from_raw(server.pid() as i32)
        .ok_or_else(|| io::Error::other("the server has no process id"))?;
    kill_process(pid, Signal::STOP)?;
    for mut client in clients {
        client.write_all(b"!")?;
    }
    kill_process(pid, Signal::CONT)?;
    for mut client in clients {
        client.read_exact(&mut [0])?;
    }
    Ok(())
}

/// More connections than one poll has events for.
const FEW: usize = 1_100;
/// The connections whose memory is measured.
const MORE: usize = 14_000;
