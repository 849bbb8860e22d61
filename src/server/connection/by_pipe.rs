//! The connection's way to echo bulk: through a pipe in the kernel, from the socket back to it, not through this process.
//!
//! It saves the two copies of a read and a write, which is most of what a large message costs, and does nothing for a small
//! one. So a connection goes this way from when a read has filled the whole buffer until little comes at once.
//!
//! The way does what it surely can, and leaves all else to a read: see the surprises below. The loop has one pipe, which
//! is empty between any two rounds; what the kernel would not take of one is read out of it, and is a spill like any
//! other.

use std::io::ErrorKind;

use super::{Connection, Direction, Phase, Round};
use crate::server::buffers::Buffers;
use crate::server::step::{Reason, Step, Witness};
use crate::server::verdict::{Verdict, reason_of, splice_in, splice_out};
use crate::stream::Socket;

impl Connection {
    /// Moves bytes into the pipe and out of it once; what the kernel does not take is kept.
    #[inline(never)]
    pub(super) fn echo_by_pipe<S: Socket>(
        &mut self,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        witness: &mut impl Witness,
    ) -> Round {
        let Some(pipe) = &mut buffers.pipe else {
            self.phase = Phase::Echoing;
            return self.echo(usize::MAX, socket, buffers, witness);
        };
        let verdict = splice_in(socket, pipe, buffers.scratch.len(), witness);
        planted!(TrustASplicesWouldBlock => if matches!(verdict, Verdict::WouldBlock) {
            return self.nothing_to_read();
        });
        let n = match verdict {
            Verdict::Moved(n) if n > 0 => n,
            Verdict::WouldBlock if !self.read_on => return self.nothing_to_read(),
            // Told once, and taken away by that: a read would see the end of the stream instead.
            Verdict::Broken(reason) if !says_that_it_cannot_be_spliced(reason) => {
                return Round::Finished(reason);
            }
            // The end of the stream, perhaps; a socket that cannot be spliced; or an urgent byte, in front of which
            // splice(2) says `EAGAIN` for ever although it can be read. A read tells which.
            _ => {
                self.phase = Phase::Echoing;
                return self.echo(usize::MAX, socket, buffers, witness);
            }
        };
        if n < buffers.least_bulk {
            self.phase = Phase::Echoing;
        }
        let mut left = n;
        while left > 0 {
            match splice_out(socket, pipe, left, witness) {
                Verdict::Moved(taken) => {
                    self.echoed += taken as u64;
                    left -= taken;
                    planted!(PartialSpliceIsWhole => left = 0);
                }
                Verdict::WouldBlock => {
                    witness.note(Step::Spilled(left));
                    match buffers.spill_the_pipe(left) {
                        Ok(rest) => self.spill = Some(rest),
                        Err(error) => {
                            log::warn!("the pipe is given up, as it cannot be emptied: {error}");
                            return Round::Finished(reason_of(&error));
                        }
                    }
                    self.awaits = Direction::Write;
                    return Round::Blocked;
                }
                Verdict::Broken(reason) => {
                    // What is left was this peer's, and the next bytes in the pipe will be another's.
                    planted!(LeaveItInThePipe => left = 0);
                    if let Err(error) = buffers.empty_the_pipe(left) {
                        log::warn!("the pipe is given up, as it cannot be emptied: {error}");
                    }
                    return Round::Finished(reason);
                }
            }
        }
        planted!(ShortSpliceIsDrained => if n < buffers.scratch.len() { return Round::Drained });
        Round::Moved(n)
    }
}

/// What splice(2) says of files that it does not know, of filters that do not know it, and when it has no memory for its
/// own lists. None of that is the socket's error.
fn says_that_it_cannot_be_spliced(reason: Reason) -> bool {
    use ErrorKind::{InvalidInput, OutOfMemory, PermissionDenied, Unsupported};
    matches!(
        reason,
        Reason::Failed(InvalidInput | OutOfMemory | PermissionDenied | Unsupported)
    )
}
