//! splice(2) on the simulated kernel: a read and a write through a pipe, with the pitfalls of the real call.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};

use net::pipe::Pipe;

use crate::kernel::Kernel;
use crate::observer::How;
use crate::script::Faults;

impl Kernel {
    /// Moves received bytes into the pipe, at most `most`. Returns the number of bytes moved.
    pub(crate) fn splice_in(
        &mut self,
        peer: usize,
        pipe: &mut SimulatedPipe,
        most: usize,
    ) -> io::Result<usize> {
        if !pipe.bytes.is_empty() {
            let left = pipe.bytes.len();
            self.violate(format!(
                "peer {peer}: the pipe still holds {left} bytes of the last pass"
            ));
        }
        if self.fault(32) {
            self.record("no splice", &[peer as u64], || "splice → EINVAL".to_owned());
            return Err(ErrorKind::InvalidInput.into());
        }
        // A pipe holds a limited number of pieces, so one call may move less than `most`.
        let mut bytes = vec![0; self.choices.share(most)];
        let n = self.read(peer, &mut bytes, How::Splice)?;
        pipe.bytes.extend(&bytes[..n]);
        self.seen.splices += 1;
        Ok(n)
    }

    /// Moves bytes out of the pipe to the peer. `held` is the number of bytes that the server expects in the pipe.
    pub(crate) fn splice_out(
        &mut self,
        peer: usize,
        pipe: &mut SimulatedPipe,
        held: usize,
    ) -> io::Result<usize> {
        if held != pipe.bytes.len() {
            let there = pipe.bytes.len();
            self.violate(format!(
                "peer {peer}: the pipe holds {there} bytes, and the server expects {held}"
            ));
        }
        let bytes: Vec<u8> = pipe.bytes.iter().copied().collect();
        let n = match self.write(peer, &bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.let_the_pipe_fail(peer, pipe);
                return Err(error);
            }
            written => written?,
        };
        pipe.bytes.drain(..n);
        Ok(n)
    }

    /// Decides whether the next read of the pipe fails or returns `EINTR`. After `WouldBlock`, the server reads the
    /// bytes back from the pipe, and must handle these errors.
    fn let_the_pipe_fail(&mut self, peer: usize, pipe: &mut SimulatedPipe) {
        if self.world.faults == Faults::All && self.fault(2) {
            self.record("pipe", &[peer as u64], || "the pipe fails".to_owned());
            self.seen.failed_pipes += 1;
            self.peers[peer].wire.lost_in_the_pipe = true;
            pipe.fails_with = Some(ErrorKind::Other);
        } else if self.fault(2) {
            pipe.fails_with = Some(ErrorKind::Interrupted);
        }
    }
}

/// A pipe of the simulated kernel.
#[derive(Debug, Default)]
pub struct SimulatedPipe {
    /// The bytes in the pipe.
    bytes: VecDeque<u8>,
    /// The error that the next read returns, once.
    fails_with: Option<ErrorKind>,
}

impl Pipe for SimulatedPipe {
    fn open() -> io::Result<SimulatedPipe> {
        Ok(SimulatedPipe::default())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.fails_with.take() {
            Some(kind) => Err(kind.into()),
            None => Read::read(&mut self.bytes, buffer),
        }
    }
}
