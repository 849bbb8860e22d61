//! One call, one verdict: the kernel's answers to a read or a write, each under one name.
//!
//! Knows nothing of the conversation.
//!
//! Inlined, and so is all that stands between the loop and these calls: the kernel's own returns leave nothing of ours
//! in the processor's return predictor, so each function that returns after a system call costs a misprediction. With
//! the calls in functions of their own a small message took 8 to 10 % more processor time.

use std::io;

use super::step::{Reason, Step, Witness};
use crate::refusal::{Refusal, refusal_of};
use crate::stream::Socket;

/// What the bytes of a read are for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// To be written back.
    Echo,
    /// To be written back, but left in the receive queue until they are.
    Look,
    /// To be thrown away.
    Discard,
}

/// The kernel's answers, one name each.
pub(super) enum Verdict {
    Moved(usize),
    WouldBlock,
    Broken(Reason),
}

/// Reads once.
#[inline(always)]
pub(super) fn read<S: Socket>(
    socket: &mut S,
    purpose: Purpose,
    buffer: &mut [u8],
    witness: &mut impl Witness,
) -> Verdict {
    loop {
        let result = match purpose {
            Purpose::Look => socket.peek(buffer),
            Purpose::Echo | Purpose::Discard => socket.read(buffer),
        };
        let n = match result {
            Ok(n) => n,
            Err(error) => match verdict_of(&error) {
                None => continue,
                Some(Verdict::WouldBlock) => {
                    witness.note(Step::NothingToRead);
                    return Verdict::WouldBlock;
                }
                Some(verdict) => return verdict,
            },
        };
        witness.note(match purpose {
            _ if n == 0 => Step::EndOfStream,
            Purpose::Echo => Step::Read(&buffer[..n]),
            Purpose::Look => Step::Peeked(&buffer[..n]),
            Purpose::Discard => Step::Discarded(&buffer[..n]),
        });
        return Verdict::Moved(n);
    }
}

/// Writes once, something.
#[inline(always)]
pub(super) fn write<S: Socket>(
    socket: &mut S,
    bytes: &[u8],
    witness: &mut impl Witness,
) -> Verdict {
    loop {
        let taken = match socket.write(bytes) {
            // No stream socket answers so to a write of something. Were one to, we would ask it for ever.
            Ok(0) => return Verdict::Broken(Reason::Failed(io::ErrorKind::WriteZero)),
            Ok(taken) => taken,
            Err(error) => match verdict_of(&error) {
                None => continue,
                Some(Verdict::WouldBlock) => {
                    witness.note(Step::NoRoomToWrite);
                    return Verdict::WouldBlock;
                }
                Some(verdict) => return verdict,
            },
        };
        witness.note(Step::Wrote {
            taken,
            offered: bytes.len(),
        });
        return Verdict::Moved(taken);
    }
}

/// Moves up to `most` received bytes into the pipe, once. A verdict of 0 bytes is no proof of an end.
#[inline(always)]
pub(super) fn splice_in<S: Socket>(
    socket: &mut S,
    pipe: &mut S::Pipe,
    most: usize,
    witness: &mut impl Witness,
) -> Verdict {
    loop {
        match socket.splice_in(pipe, most) {
            Ok(0) => return Verdict::Moved(0),
            Ok(n) => {
                witness.note(Step::SplicedIn(n));
                return Verdict::Moved(n);
            }
            Err(error) => match verdict_of(&error) {
                None => {}
                Some(Verdict::WouldBlock) => {
                    witness.note(Step::NothingToRead);
                    return Verdict::WouldBlock;
                }
                Some(verdict) => return verdict,
            },
        }
    }
}

/// Moves bytes out of the pipe, which holds so many, once.
#[inline(always)]
pub(super) fn splice_out<S: Socket>(
    socket: &mut S,
    pipe: &mut S::Pipe,
    held: usize,
    witness: &mut impl Witness,
) -> Verdict {
    loop {
        match socket.splice_out(pipe, held) {
            Ok(0) => return Verdict::Broken(Reason::Failed(io::ErrorKind::WriteZero)),
            Ok(taken) => {
                witness.note(Step::SplicedOut {
                    taken,
                    offered: held,
                });
                return Verdict::Moved(taken);
            }
            Err(error) => match verdict_of(&error) {
                None => {}
                Some(Verdict::WouldBlock) => {
                    witness.note(Step::NoRoomToWrite);
                    return Verdict::WouldBlock;
                }
                Some(verdict) => return verdict,
            },
        }
    }
}

/// What an error means here. `None`: try again.
#[cold]
fn verdict_of(error: &io::Error) -> Option<Verdict> {
    planted!(DieOfEintr => if error.kind() == io::ErrorKind::Interrupted {
        return Some(Verdict::Broken(reason_of(error)));
    });
    match refusal_of(error) {
        Refusal::WouldBlock => Some(Verdict::WouldBlock),
        Refusal::Interrupted => None,
        Refusal::Reset | Refusal::Failed(_) => Some(Verdict::Broken(reason_of(error))),
    }
}

pub(super) fn reason_of(error: &io::Error) -> Reason {
    match refusal_of(error) {
        Refusal::Reset => Reason::Reset,
        _ => Reason::Failed(error.kind()),
    }
}
