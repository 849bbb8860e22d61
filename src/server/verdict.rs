//! One call, one verdict: the kernel's answers to a read or a write, each under one name.
//!
//! The only place where an error of a stream is interpreted. Knows nothing of the conversation.

use std::io;

use super::step::{Reason, Step};
use crate::socket::Socket;

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

#[inline(always)]
pub(super) fn read<S: Socket>(
    socket: &mut S,
    purpose: Purpose,
    buffer: &mut [u8],
    tell: &mut impl FnMut(Step<'_>),
) -> Verdict {
    let verdict = attempt(|| match purpose {
        Purpose::Look => socket.peek(buffer),
        Purpose::Echo | Purpose::Discard => socket.read(buffer),
    });
    match verdict {
        Verdict::Moved(0) => tell(Step::EndOfStream),
        Verdict::Moved(n) => tell(match purpose {
            Purpose::Echo => Step::Read(&buffer[..n]),
            Purpose::Look => Step::Peeked(&buffer[..n]),
            Purpose::Discard => Step::Discarded(&buffer[..n]),
        }),
        Verdict::WouldBlock => tell(Step::NothingToRead),
        Verdict::Broken(_) => {}
    }
    verdict
}

#[inline(always)]
pub(super) fn write<S: Socket>(
    socket: &mut S,
    bytes: &[u8],
    tell: &mut impl FnMut(Step<'_>),
) -> Verdict {
    let verdict = match attempt(|| socket.write(bytes)) {
        // No stream socket answers so to a write of something. Were one to, we would ask it for ever.
        Verdict::Moved(0) => Verdict::Broken(Reason::Failed(io::ErrorKind::WriteZero)),
        verdict => verdict,
    };
    match verdict {
        Verdict::Moved(taken) => tell(Step::Wrote {
            taken,
            offered: bytes.len(),
        }),
        Verdict::WouldBlock => tell(Step::NoRoomToWrite),
        Verdict::Broken(_) => {}
    }
    verdict
}

/// The one place where the kernel's errors get their names.
#[inline(always)]
fn attempt(mut call: impl FnMut() -> io::Result<usize>) -> Verdict {
    loop {
        match call() {
            Ok(n) => return Verdict::Moved(n),
            // Not an error: the kernel has no bytes, or no room, for us now.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Verdict::WouldBlock,
            // Not an error either: a signal handler ran before anything moved.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Verdict::Broken(reason_of(&error)),
        }
    }
}

pub(super) fn reason_of(error: &io::Error) -> Reason {
    use io::ErrorKind as Kind;
    match error.kind() {
        // After a reset the first call gets ECONNRESET, later writes get EPIPE, and a shutdown ENOTCONN.
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::NotConnected => {
            Reason::Reset
        }
        kind => Reason::Failed(kind),
    }
}
