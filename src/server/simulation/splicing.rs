//! splice(2) on the simulated kernel: a read and a write through a pipe, but for its surprises.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};

use super::kernel::Kernel;
use super::script::Faults;
use crate::pipe::Pipe;

/// What a read is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Consume,
    /// `MSG_PEEK`.
    Look,
    /// As a part of splice(2).
    Splice,
}

impl Kernel {
    pub(super) fn splice_in(
        &mut self,
        peer: usize,
        pipe: &mut SimulatedPipe,
        most: usize,
    ) -> io::Result<usize> {
        if !pipe.bytes.is_empty() {
            let left = pipe.bytes.len();
            self.violate(format!(
                "peer {peer}: the pipe still holds {left} bytes of the last round"
            ));
        }
        if self.fault(32) {
            self.note("no splice", &[peer as u64], || "splice → EINVAL".to_owned());
            return Err(ErrorKind::InvalidInput.into());
        }
        // In pieces, of which a pipe takes so many.
        let mut bytes = vec![0; self.choices.share(most)];
        let n = self.read(peer, &mut bytes, How::Splice)?;
        pipe.bytes.extend(&bytes[..n]);
        self.peers[peer].reads_in_turn += u32::from(n > 0);
        self.seen.splices += 1;
        Ok(n)
    }

    pub(super) fn splice_out(
        &mut self,
        peer: usize,
        pipe: &mut SimulatedPipe,
        held: usize,
    ) -> io::Result<usize> {
        if held != pipe.bytes.len() {
            let there = pipe.bytes.len();
            self.violate(format!(
                "peer {peer}: the pipe holds {there} bytes, and not {held}"
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

    /// What the socket did not take is read out of the pipe next, and that may fail too.
    fn let_the_pipe_fail(&mut self, peer: usize, pipe: &mut SimulatedPipe) {
        if self.world.faults == Faults::All && self.fault(2) {
            self.note("pipe", &[peer as u64], || "the pipe fails".to_owned());
            self.seen.failed_pipes += 1;
            self.peers[peer].was_lost_in_the_pipe = true;
            pipe.fails_with = Some(ErrorKind::Other);
        } else if self.fault(2) {
            pipe.fails_with = Some(ErrorKind::Interrupted);
        }
    }
}

/// A pipe of the simulated kernel.
#[derive(Debug, Default)]
pub(crate) struct SimulatedPipe {
    bytes: VecDeque<u8>,
    /// The error of the next read.
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
