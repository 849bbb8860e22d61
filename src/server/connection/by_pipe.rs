//! The connection's way to echo bulk: through a pipe in the kernel, from the socket back to it, not through this process.
//!
//! It saves this process the two copies of a read and a write, and can cost the peer more than that: on one machine the
//! peer's read finds the pages as the sender left them, long out of the processor's cache. So a connection goes this way
//! only while that pays, by three signs ([`Connection::choose_the_way`]); `cargo bench --bench splice` measures it.
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
    /// Decides how the next bytes go, after `full` bytes of this turn that came in reads which found the buffer full, or by
    /// the pipe.
    ///
    /// By the pipe goes a connection that has shown three things:
    ///
    /// - Much comes at a time: reads have found the buffer full for a whole share of a turn.
    /// - The peer keeps up with its echo. One that is behind is what bounds the rate, and reads from the pipe's pages more
    ///   slowly. What counts is what its kernel has not acknowledged, which is asked each time.
    /// - Its packets come from another processor. On one processor with the peer, the copies saved here are paid for there.
    ///
    /// Where only `WouldBlock` proves a receive queue empty, a splice's is not good enough for that, and would cost one call
    /// more than it saves.
    #[inline(never)]
    pub(super) fn choose_the_way<S: Socket>(
        &mut self,
        full: usize,
        socket: &mut S,
        buffers: &Buffers<S::Pipe>,
    ) {
        let unread = socket.delivery().map_or(0, |delivery| {
            self.echoed.saturating_sub(delivery.acknowledged)
        });
        let keeps_up = unread < KEEPS_UP.saturating_mul(buffers.bulk) as u64;
        match self.phase {
            Phase::Echoing
                if keeps_up && self.short_read_is_drained && !socket.shares_our_processor() =>
            {
                self.phase = Phase::Carrying {
                    moved: counted(full),
                };
            }
            Phase::Carrying { .. } if !keeps_up => self.phase = Phase::Echoing,
            _ => {}
        }
    }

    pub(super) fn is_carrying(&self) -> bool {
        matches!(self.phase, Phase::Carrying { .. })
    }

    /// The receive queue is empty. What comes next goes by the pipe only if as much came without a gap as made it go so.
    fn end_the_burst(&mut self, moved: u32, bulk: usize) {
        self.phase = match moved < counted(bulk) {
            true => Phase::Echoing,
            false => Phase::Carrying { moved: 0 },
        };
    }

    /// Moves bytes into the pipe and out of it once; what the kernel does not take is kept.
    #[inline(never)]
    pub(super) fn echo_by_pipe<S: Socket>(
        &mut self,
        moved: u32,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        witness: &mut impl Witness,
    ) -> Round {
        let Some(pipe) = &mut buffers.pipe else {
            self.phase = Phase::Echoing;
            return self.echo(usize::MAX, socket, buffers, witness);
        };
        let bulk = buffers.bulk;
        let verdict = splice_in(socket, pipe, buffers.scratch.len(), witness);
        planted!(TrustASplicesWouldBlock => if matches!(verdict, Verdict::WouldBlock) {
            return self.nothing_to_read();
        });
        let n = match verdict {
            Verdict::Moved(n) if n > 0 => n,
            Verdict::WouldBlock if !self.read_on => {
                self.end_the_burst(moved, bulk);
                return self.nothing_to_read();
            }
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
        self.phase = Phase::Carrying {
            moved: moved.saturating_add(counted(n)),
        };
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

/// For a count that takes 4 bytes of a table entry and stays at its largest value.
fn counted(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A peer keeps up as long as less than so many times the bulk of its echo is not acknowledged. Peers that wait for the echo
/// of 1 MiB before they send more stay below it; those that send on and on do not (`cargo bench --bench splice`).
const KEEPS_UP: usize = 4;

/// What splice(2) says of files that it does not know, of filters that do not know it, and when it has no memory for its
/// own lists. None of that is the socket's error.
fn says_that_it_cannot_be_spliced(reason: Reason) -> bool {
    use ErrorKind::{InvalidInput, OutOfMemory, PermissionDenied, Unsupported};
    matches!(
        reason,
        Reason::Failed(InvalidInput | OutOfMemory | PermissionDenied | Unsupported)
    )
}
