//! Bytes of resident memory an idle connection.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::own;
use crate::common::process::{Server, crowd};

/// What 14,000 more connections cost, without timeouts for them and with.
pub(crate) fn count() -> io::Result<BTreeMap<String, f64>> {
    let with_timeouts: &[&str] = &["--idle-timeout", "1h"];
    let mut counted = BTreeMap::new();
    for (name, options) in [
        ("without timeouts", &[][..]),
        ("with timeouts", with_timeouts),
    ] {
        let server = Server::start(&mut own::server(options)?)?;
        let descriptors = server.descriptors()?;
        let few = crowd(server.address, FEW)?;
        fill_a_batch(&server, &few)?;
        let before = server.resident()?;
        let more = crowd(server.address, MORE)?;
        let grown = server.resident()? - before;
        counted.insert(name.to_owned(), grown as f64 / MORE as f64);
        drop((few, more));
        server.wait_for_descriptors(descriptors)?;
        server.stop()?;
    }
    Ok(counted)
}

/// Has the server find an event of each of these connections in one poll, so that its list of events, which is shared by all, has
/// its full size. Otherwise that depends on the scheduler.
fn fill_a_batch(server: &Server, clients: &[TcpStream]) -> io::Result<()> {
    let pid = Pid::from_raw(server.pid() as i32).ok_or_else(|| io::Error::other("no process"))?;
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

/// More than a poll has events for.
const FEW: usize = 1_100;
const MORE: usize = 14_000;
