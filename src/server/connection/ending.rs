//! The connection's last words, and what comes after them: the server is shutting down.

use super::{Connection, Phase, Progress, Round};
use crate::server::buffers::Buffers;
use crate::server::step::{Reason, Step, Witness};
use crate::server::verdict::{Purpose, Verdict, read, reason_of};
use crate::stream::Socket;

impl Connection {
    /// Echoes once of the `left` bytes that had been received when the server began to shut down.
    #[inline(never)]
    pub(super) fn echo_last_words<S: Socket>(
        &mut self,
        left: u32,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        witness: &mut impl Witness,
    ) -> Round {
        let (most, before) = (left as usize, self.echoed);
        let round = match buffers.spills.has_room() {
            true => self.echo(most, socket, buffers, witness),
            false => self.echo_without_memory(most, socket, buffers, witness),
        };
        let pending = self.spill.as_ref().map_or(0, |spill| spill.rest().len());
        let moved = (self.echoed - before) as usize + pending;
        let left = match round {
            // Fewer have come than the kernel had said: an urgent byte that was read out of line is one of them.
            Round::Drained => 0,
            _ => left.saturating_sub(moved as u32),
        };
        self.phase = Phase::LastWords { left };
        match round {
            Round::Drained => Round::Moved(moved),
            round => round,
        }
    }

    /// The peer has ended its stream, and all of the echo is written. The connection ends when the peer's kernel has
    /// acknowledged it. An edge-triggered selector reports that, as the last acknowledgement closes the socket. One that
    /// re-arms only on `WouldBlock` would not, as no call says that here; there the rest is left to the kernel.
    #[inline(never)]
    pub(super) fn deliver<S: Socket>(
        &mut self,
        socket: &mut S,
        witness: &mut impl Witness,
    ) -> Progress {
        let ended = Progress::Finished(Reason::EndOfStream);
        planted!(CloseWithOutputInTheKernel => return ended);
        if self.echoed == 0 {
            return ended;
        }
        // After the peer's end of stream a read says no more than that, whatever has happened since (Linux, `SOCK_DONE`).
        if self.phase == Phase::Delivering
            && let Some(error) = socket.take_error()
        {
            return Progress::Finished(reason_of(&error));
        }
        match socket.delivery() {
            Some(delivery) if delivery.is_outstanding && self.short_read_is_drained => {}
            _ => return ended,
        }
        if self.phase != Phase::Delivering {
            if let Err(error) = socket.shut_down_writing() {
                return Progress::Finished(reason_of(&error));
            }
            witness.note(Step::ShutDownWriting);
            self.phase = Phase::Delivering;
        }
        Progress::Blocked
    }

    /// That was all. What comes from here on is thrown away.
    #[cold]
    pub(super) fn end_our_stream<S: Socket>(
        &mut self,
        socket: &mut S,
        witness: &mut impl Witness,
    ) -> Result<(), Reason> {
        socket
            .shut_down_writing()
            .map_err(|error| reason_of(&error))?;
        witness.note(Step::ShutDownWriting);
        self.phase = Phase::Discarding;
        planted!(NoLingeringClose => return Err(Reason::Drained));
        Ok(())
    }

    /// Reads once and throws it away, after our own end of stream.
    #[inline(never)]
    pub(super) fn discard<S: Socket>(
        &mut self,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        witness: &mut impl Witness,
    ) -> Round {
        let asked = buffers.scratch.len();
        match read(socket, Purpose::Discard, &mut buffers.scratch, witness) {
            Verdict::Moved(0) => Round::Finished(Reason::Drained),
            Verdict::Moved(n) => self.after_reading(n, asked),
            Verdict::WouldBlock => self.nothing_to_read(),
            Verdict::Broken(reason) => Round::Finished(reason),
        }
    }
}
