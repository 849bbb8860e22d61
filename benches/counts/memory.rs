//! Bytes of resident memory an idle connection.

use std::collections::BTreeMap;
use std::io;
use std::process::Command;

use crate::common::SERVE;
use crate::common::process::{Server, crowd};

/// What 14,000 more connections cost, without timeouts for them and with.
pub(crate) fn count() -> io::Result<BTreeMap<String, f64>> {
    let with_timeouts: &[&str] = &["--idle-timeout", "1h"];
    let mut counted = BTreeMap::new();
    for (name, options) in [
        ("without timeouts", &[][..]),
        ("with timeouts", with_timeouts),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mio-echo"));
        let server = Server::start(command.args(SERVE).args(options))?;
        let descriptors = server.descriptors()?;
        let few = crowd(server.address, FEW)?;
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

/// The first connections touch pages that are shared by all.
const FEW: usize = 1_000;
const MORE: usize = 14_000;
