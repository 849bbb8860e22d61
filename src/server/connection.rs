//! Echo state for one peer: what was read is written, in order, and nothing is kept that the kernel takes.
//!
//! Performs no registration, reads no clock, and knows neither mio nor its place in the table.

mod by_pipe;
mod without_memory;

use super::buffers::{Buffers, Spill, Spills};
use super::step::{Reason, Step, Witness};
use super::verdict::{Purpose, Verdict, read, reason_of, write};
use crate::poller::Readiness;
use crate::stream::Socket;

/// One peer as a state machine.
///
/// Tell it of each readiness event with [`notice`](Connection::notice); where that answers `true`, call
/// [`pump`](Connection::pump). Each [`Progress`] asks one thing of the caller:
///
/// | answer | the caller |
/// |---|---|
/// | `Blocked` | waits for the next event, and starts the timeout that fits [`awaits`](Connection::awaits) |
/// | `Yielded` | pumps again in its next turn, without waiting for an event: none will come |
/// | `Finished` | takes it out of the table, gives its spill back, and closes the socket |
#[derive(Debug)]
pub(crate) struct Connection {
    spill: Option<Box<Spill>>,
    echoed: u64,
    phase: Phase,
    awaits: Direction,
    short_read_is_drained: bool,
    /// An event has hinted that a short read proves nothing. Kept until `WouldBlock`: the turn may end before.
    read_on: bool,
    /// Much has come at once lately, so it goes by the pipe.
    carries_bulk: bool,
}

/// What a pump came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing more can be done before the kernel says so.
    Blocked,
    /// There is more to do, but the budget of this turn is used up.
    Yielded,
    /// The connection has ended.
    Finished(Reason),
}

/// What a blocked connection waits for. Never both: while output is pending, its peer is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Bytes to read.
    Read,
    /// Room to write.
    Write,
}

/// How far the conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// All that comes goes back.
    Echoing,
    /// The server is shutting down. So many bytes had been received by then; they are still echoed.
    LastWords { left: u32 },
    /// Our stream has ended. What still comes is thrown away until the peer's ends too: closing over unread input
    /// would make the kernel reset the connection, and the reset may overtake the tail of the echo (RFC 1122,
    /// 4.2.2.13).
    Discarding,
}

/// What one read and its write came to.
enum Round {
    /// So many bytes have moved; there may be more.
    Moved(usize),
    /// All that there was has moved.
    Drained,
    /// Nothing moves before the kernel says so: see `awaits`.
    Blocked,
    Finished(Reason),
}

impl Connection {
    /// A peer that has just been accepted. Whether a short read proves its socket drained is the selector's
    /// promise: see [`Poller::short_read_is_drained`](crate::poller::Poller::short_read_is_drained).
    pub(crate) fn new(short_read_is_drained: bool) -> Connection {
        Connection {
            spill: None,
            echoed: 0,
            phase: Phase::Echoing,
            awaits: Direction::Read,
            short_read_is_drained,
            read_on: false,
            carries_bulk: false,
        }
    }

    /// Takes an event's hints, and says whether they are worth a pump.
    ///
    /// They are not when the event is about the other direction than the one waited for. Under edge triggering that
    /// saves a call in vain. Where the selector re-arms on `WouldBlock` it saves more: such a call would re-arm both
    /// directions, the one not waited for would be ready at once, and the loop would spin for as long as it stays so.
    pub(crate) fn notice(&mut self, readiness: Readiness) -> bool {
        self.read_on |= readiness.read_on;
        planted!(TryWhatIsNotAwaited => return true);
        match self.awaits {
            Direction::Read => readiness.readable,
            Direction::Write => readiness.writable,
        }
    }

    /// What it waits for when it is blocked.
    pub(crate) fn awaits(&self) -> Direction {
        self.awaits
    }

    /// How many bytes of the echo the kernel has taken.
    pub(crate) fn echoed(&self) -> u64 {
        self.echoed
    }

    /// Whether our stream has ended and the peer's is awaited.
    pub(crate) fn is_discarding(&self) -> bool {
        self.phase == Phase::Discarding
    }

    /// The server is shutting down: echo what is pending and the `received` bytes that the kernel holds now, then end
    /// the stream. Pump next.
    pub(crate) fn drain(&mut self, received: u32) {
        if self.phase == Phase::Echoing {
            self.phase = Phase::LastWords { left: received };
            planted!(NoLastWords => self.phase = Phase::LastWords { left: 0 });
        }
    }

    /// Gives up what is pending. The connection is closed next.
    pub(crate) fn release(&mut self, spills: &mut Spills) {
        if let Some(spill) = self.spill.take() {
            spills.give_back(spill);
        }
    }

    #[cfg(test)]
    pub(crate) fn forget_what_is_pending(&mut self) {
        self.spill = None;
    }

    /// Moves bytes until nothing more can be done or `budget` bytes have been read, whichever comes first.
    ///
    /// Every step is told to `witness`. The order is the back-pressure: first what is pending goes out, and only when
    /// nothing is pending the peer is read.
    #[inline(always)]
    pub(crate) fn pump<S: Socket>(
        &mut self,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        mut budget: usize,
        witness: &mut impl Witness,
    ) -> Progress {
        planted!(DropTheSpillAtTheEnd => if self.read_on { self.release(&mut buffers.spills) });
        loop {
            if self.spill.is_some()
                && let Err(blocked) = self.flush(socket, &mut buffers.spills, witness)
            {
                return blocked;
            }
            self.awaits = Direction::Read;
            if self.phase == (Phase::LastWords { left: 0 }) {
                if let Err(error) = socket.shut_down_writing() {
                    return Progress::Finished(reason_of(&error));
                }
                witness.note(Step::ShutDownWriting);
                self.phase = Phase::Discarding;
                planted!(NoLingeringClose => return Progress::Finished(Reason::Drained));
            }
            planted!(TurnWithoutEnd => budget = usize::MAX);
            if budget == 0 {
                planted!(ForgetTheHintAfterATurn => self.read_on = false);
                witness.note(Step::Yielded);
                return Progress::Yielded;
            }
            let round = if self.phase == Phase::Discarding {
                self.discard(socket, buffers, witness)
            } else if !buffers.spills.has_room() {
                self.echo_without_memory(socket, buffers, witness)
            } else if self.goes_by_pipe() {
                self.echo_by_pipe(socket, buffers, witness)
            } else {
                self.echo(socket, buffers, witness)
            };
            match (round, &mut self.phase) {
                // A peer that sends byte by byte must not hold the turn for as many calls as the budget has bytes.
                (Round::Moved(n), _) => budget = budget.saturating_sub(n.max(LEAST_CHARGE)),
                (Round::Drained, Phase::LastWords { left }) => *left = 0,
                (Round::Drained | Round::Blocked, _) => return Progress::Blocked,
                (Round::Finished(reason), _) => return Progress::Finished(reason),
            }
        }
    }

    /// Writes out what is pending. `Err` is what keeps the peer from being read.
    #[inline(never)]
    fn flush<S: Socket>(
        &mut self,
        socket: &mut S,
        spills: &mut Spills,
        witness: &mut impl Witness,
    ) -> Result<(), Progress> {
        while let Some(spill) = &mut self.spill {
            match write(socket, spill.rest(), witness) {
                Verdict::Moved(n) => {
                    self.echoed += n as u64;
                    spills.wrote(spill, n);
                    if spill.rest().is_empty() {
                        self.release(spills);
                    }
                }
                Verdict::WouldBlock => {
                    planted!(ReadWhilePending => return Ok(()));
                    planted!(NewBeforeOld => return Ok(()));
                    self.awaits = Direction::Write;
                    return Err(Progress::Blocked);
                }
                Verdict::Broken(reason) => return Err(Progress::Finished(reason)),
            }
        }
        Ok(())
    }

    /// Reads once and writes it back; what the kernel does not take is kept.
    #[inline(always)]
    fn echo<S: Socket>(
        &mut self,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        witness: &mut impl Witness,
    ) -> Round {
        let asked = self.allowance(buffers.scratch.len());
        let n = match read(
            socket,
            Purpose::Echo,
            &mut buffers.scratch[..asked],
            witness,
        ) {
            Verdict::Moved(0) => return Round::Finished(Reason::EndOfStream),
            Verdict::Moved(n) => n,
            Verdict::WouldBlock => return self.nothing_to_read(),
            Verdict::Broken(reason) => return Round::Finished(reason),
        };
        self.spend(n);
        self.carries_bulk = n == asked && n >= buffers.least_bulk;
        planted!(ReadWhilePending => if buffers.spills.keep_behind(&mut self.spill, &buffers.scratch[..n]) {
            return Round::Blocked;
        });
        let mut rest = &buffers.scratch[..n];
        while !rest.is_empty() {
            match write(socket, rest, witness) {
                Verdict::Moved(n) => {
                    self.echoed += n as u64;
                    rest = &rest[n..];
                    planted!(PartialWriteIsWhole => rest = &[]);
                }
                Verdict::WouldBlock => {
                    witness.note(Step::Spilled(rest.len()));
                    self.spill = Some(buffers.spills.keep(rest));
                    self.awaits = Direction::Write;
                    return Round::Blocked;
                }
                Verdict::Broken(reason) => return Round::Finished(reason),
            }
        }
        self.after_reading(n, asked)
    }

    /// Reads once and throws it away, after our own end of stream.
    #[inline(never)]
    fn discard<S: Socket>(
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

    /// How much may be read at once.
    fn allowance(&self, most: usize) -> usize {
        match self.phase {
            Phase::LastWords { left } => most.min(left as usize),
            _ => most,
        }
    }

    /// Notes that so many of the last words have been echoed.
    fn spend(&mut self, n: usize) {
        if let Phase::LastWords { left } = &mut self.phase {
            *left = left.saturating_sub(n as u32);
        }
    }

    /// Whether a read of `n` out of `asked` bytes has emptied the receive queue.
    ///
    /// Never while last words are left: the kernel has said how many there are. A drain begins without an event, so
    /// nothing has hinted at an urgent byte yet, in front of which the read stopped.
    fn after_reading(&self, n: usize, asked: usize) -> Round {
        planted!(StopAfterShortRead => if n < asked && self.short_read_is_drained { return Round::Drained });
        planted!(TrustShortReadsEverywhere => if n < asked && !self.read_on { return Round::Drained });
        planted!(LastWordsEndAtAShortRead => if n < asked && self.short_read_is_drained && !self.read_on {
            return Round::Drained;
        });
        let is_owed_more = matches!(self.phase, Phase::LastWords { .. });
        if n < asked && self.trusts_shortness() && !is_owed_more {
            Round::Drained
        } else {
            Round::Moved(n)
        }
    }

    /// Whether a call that came back with less than it was asked for has found all that there is.
    fn trusts_shortness(&self) -> bool {
        self.short_read_is_drained && !self.read_on
    }

    fn nothing_to_read(&mut self) -> Round {
        self.read_on = false;
        Round::Drained
    }
}

/// What a read costs of the budget at the least. With 256 KiB a turn that is 64 reads at the most.
pub(super) const LEAST_CHARGE: usize = 4 * 1024;

#[cfg(test)]
mod tests;
