//! splice(2) on the simulated kernel: a read and a write through a pipe, but for its surprises.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};

use super::kernel::Kernel;

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
        pipe: &mut VecDeque<u8>,
        most: usize,
    ) -> io::Result<usize> {
        if !pipe.is_empty() {
            let left = pipe.len();
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
        pipe.extend(&bytes[..n]);
        self.peers[peer].reads_in_turn += u32::from(n > 0);
        self.seen.splices += 1;
        Ok(n)
    }

    pub(super) fn splice_out(
        &mut self,
        peer: usize,
        pipe: &mut VecDeque<u8>,
        held: usize,
    ) -> io::Result<usize> {
        if held != pipe.len() {
            let there = pipe.len();
            self.violate(format!(
                "peer {peer}: the pipe holds {there} bytes, and not {held}"
            ));
        }
        let bytes: Vec<u8> = pipe.iter().copied().collect();
        let n = self.write(peer, &bytes)?;
        pipe.drain(..n);
        Ok(n)
    }
}
