//! The connection's way to echo when the memory budget has no room for what might not go out.

use super::{Connection, Direction, Round};
use crate::server::buffers::Buffers;
use crate::server::step::{Reason, Witness};
use crate::server::verdict::{Purpose, Verdict, read, write};
use crate::stream::Socket;

impl Connection {
    /// Echoes with no memory to keep anything in: looks at the bytes, writes, and consumes what the kernel took. The
    /// rest stays where it is, in the receive queue, and TCP stops the sender. One system call more per message, but
    /// a peer that reads is served however many others do not.
    #[inline(never)]
    pub(super) fn echo_without_memory<S: Socket>(
        &mut self,
        most: usize,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        witness: &mut impl Witness,
    ) -> Round {
        let asked = buffers.scratch.len().min(most);
        let seen = match read(
            socket,
            Purpose::Look,
            &mut buffers.scratch[..asked],
            witness,
        ) {
            Verdict::Moved(0) => return Round::Finished(Reason::EndOfStream),
            Verdict::Moved(seen) => seen,
            Verdict::WouldBlock => return self.nothing_to_read(),
            Verdict::Broken(reason) => return Round::Finished(reason),
        };
        let taken = match write(socket, &buffers.scratch[..seen], witness) {
            Verdict::Moved(taken) => taken,
            Verdict::WouldBlock => {
                self.awaits = Direction::Write;
                return Round::Blocked;
            }
            Verdict::Broken(reason) => return Round::Finished(reason),
        };
        self.echoed += taken as u64;
        let mut left = taken;
        while left > 0 {
            match read(socket, Purpose::Echo, &mut buffers.scratch[..left], witness) {
                // They were there a moment ago, and only we read here: a reset has taken them away.
                Verdict::Moved(0) | Verdict::WouldBlock => return Round::Finished(Reason::Reset),
                Verdict::Moved(n) => left -= n,
                Verdict::Broken(reason) => return Round::Finished(reason),
            }
        }
        if taken < seen {
            Round::Moved(taken)
        } else {
            self.after_reading(seen, asked)
        }
    }
}
