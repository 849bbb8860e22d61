//! Echo state for one peer: what was read is written, in order, and nothing is kept that the kernel takes.
//!
//! Performs no registration, reads no clock, and knows neither mio nor its place in the table.

mod by_pipe;
mod ending;
mod without_memory;

use super::buffers::{Buffers, Spill, Spills};
use super::step::{Reason, Step, Witness};
use super::verdict::{Purpose, Verdict, read, write};
use crate::delivery::Delivery;
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
    /// Only `WouldBlock` proves that nothing is left to read: always, where the selector does not promise more, and
    /// otherwise from a hint on. Kept until then: the turn may end before.
    read_on: bool,
    /// How much had been delivered when that was last asked, the low 32 bits of it.
    delivered_before: u32,
    /// How often in a row something was still to be delivered then.
    looks: u8,
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

/// What a look at a connection's delivery has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether anything was delivered since the last look.
    pub(crate) moved: bool,
    /// Looks in a row, this one included, that found something undelivered; 0 if everything is delivered.
    pub(crate) owing: u8,
    /// The same at the last look.
    pub(crate) owing_before: u8,
}

impl Look {
    /// Whether something is undelivered that was there at the last look too, and nothing was delivered since.
    pub(crate) fn is_stalled(self) -> bool {
        self.owing > 0 && self.owing_before > 0 && !self.moved
    }
}

/// How far the conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// All that comes goes back.
    Echoing,
    /// The same, but it goes by the pipe. So many bytes have come since the receive queue was last empty.
    Carrying { moved: u32 },
    /// The server is shutting down. So many bytes had been received by then; they are still echoed.
    LastWords { left: u32 },
    /// Our stream has ended. What still comes is thrown away until the peer's ends too: closing over unread input
    /// would make the kernel reset the connection, and the reset may overtake the tail of the echo (RFC 1122,
    /// 4.2.2.13).
    Discarding,
    /// The peer has ended its stream and so have we; our kernel holds some of the echo. Closed now, the socket would be the
    /// kernel's alone: outside every limit, and cut off by the kernel's own timer although the peer reads.
    Delivering,
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
        planted!(TrustShortReadsEverywhere => return Connection::new_on(true));
        Connection::new_on(short_read_is_drained)
    }

    fn new_on(short_read_is_drained: bool) -> Connection {
        Connection {
            spill: None,
            echoed: 0,
            phase: Phase::Echoing,
            awaits: Direction::Read,
            short_read_is_drained,
            read_on: !short_read_is_drained,
            delivered_before: 0,
            looks: 0,
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

    /// How many looks in a row have found something undelivered.
    pub(crate) fn owing(&self) -> u8 {
        self.looks
    }

    /// How many bytes of the echo the kernel has taken.
    pub(crate) fn echoed(&self) -> u64 {
        self.echoed
    }

    /// Compares what has been delivered with what had been when this was last asked.
    ///
    /// Where the system does not tell what was acknowledged, what the kernel has taken has to do. 32 bits are enough to see a
    /// difference, as no kernel holds 4 GiB for one connection, and cost a table entry nothing.
    pub(crate) fn look_at_delivery(&mut self, delivery: Option<Delivery>) -> Look {
        let (delivered, owes) = match delivery {
            Some(delivery) => (delivery.acknowledged, delivery.is_outstanding),
            None => (self.echoed, self.awaits == Direction::Write),
        };
        let before = std::mem::replace(&mut self.delivered_before, delivered as u32);
        let owing = if owes {
            self.looks.saturating_add(1)
        } else {
            0
        };
        let owing_before = std::mem::replace(&mut self.looks, owing);
        Look {
            moved: before != delivered as u32,
            owing,
            owing_before,
        }
    }

    /// Whether all was delivered at the last look and nothing was written since. So a sweep need not ask the kernel.
    pub(crate) fn is_settled(&self) -> bool {
        self.looks == 0
            && self.awaits == Direction::Read
            && self.delivered_before == self.echoed as u32
    }

    /// How many bytes the kernel was given, our end of stream included, which it counts as one.
    pub(crate) fn given(&self) -> u64 {
        self.echoed + u64::from(matches!(self.phase, Phase::Discarding | Phase::Delivering))
    }

    /// Whether the peer has ended its stream and only our kernel still has something to do.
    pub(crate) fn is_delivering(&self) -> bool {
        self.phase == Phase::Delivering
    }

    /// Whether nothing was ever read of it.
    pub(crate) fn is_untouched(&self) -> bool {
        self.echoed == 0 && self.spill.is_none()
    }

    /// Whether our stream has ended and the peer's is awaited.
    pub(crate) fn is_discarding(&self) -> bool {
        self.phase == Phase::Discarding
    }

    /// The server is shutting down: echo what is pending and the `received` bytes that the kernel holds now, then end
    /// the stream. Pump next.
    pub(crate) fn drain(&mut self, received: u32) {
        if matches!(self.phase, Phase::Echoing | Phase::Carrying { .. }) {
            self.phase = Phase::LastWords { left: received };
            // The kernel has said how many there are. A drain begins without an event, so nothing has hinted at an
            // urgent byte yet, in front of which a read stops.
            planted!(LastWordsEndAtAShortRead => return);
            self.read_on = true;
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
        // Bytes of reads that found the buffer full, and what went by the pipe.
        let mut full = 0;
        planted!(DropTheSpillAtTheEnd => if self.read_on { self.release(&mut buffers.spills) });
        loop {
            if self.spill.is_some()
                && let Err(blocked) = self.flush(socket, &mut buffers.spills, witness)
            {
                return blocked;
            }
            self.awaits = Direction::Read;
            planted!(TurnWithoutEnd => budget = usize::MAX);
            if budget == 0 {
                planted!(ForgetTheHintAfterATurn => self.read_on = !self.short_read_is_drained);
                witness.note(Step::Yielded);
                return Progress::Yielded;
            }
            let round = if self.phase == Phase::Echoing && buffers.spills.has_room() {
                self.echo(usize::MAX, socket, buffers, witness)
            } else {
                self.echo_otherwise(socket, buffers, witness)
            };
            match round {
                // A peer that sends byte by byte must not hold the turn for as many calls as the budget has bytes.
                Round::Moved(n) => {
                    budget = budget.saturating_sub(n.max(LEAST_CHARGE));
                    if n == buffers.scratch.len() || self.is_carrying() {
                        full += n;
                        if full >= buffers.bulk {
                            self.choose_the_way(full, socket, buffers);
                            full = 0;
                        }
                    }
                }
                Round::Drained | Round::Blocked => return Progress::Blocked,
                Round::Finished(Reason::EndOfStream) => return self.deliver(socket, witness),
                Round::Finished(reason) => return Progress::Finished(reason),
            }
        }
    }

    /// All that is not an echo as most of them are: apart, so that those have the processor's registers to themselves.
    #[inline(never)]
    fn echo_otherwise<S: Socket>(
        &mut self,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        witness: &mut impl Witness,
    ) -> Round {
        match self.phase {
            Phase::Discarding => self.discard(socket, buffers, witness),
            Phase::Delivering => Round::Finished(Reason::EndOfStream),
            Phase::LastWords { left: 0 } => match self.end_our_stream(socket, witness) {
                Ok(()) => self.discard(socket, buffers, witness),
                Err(reason) => Round::Finished(reason),
            },
            Phase::LastWords { left } => self.echo_last_words(left, socket, buffers, witness),
            Phase::Carrying { moved } if buffers.spills.has_room() => {
                self.echo_by_pipe(moved, socket, buffers, witness)
            }
            Phase::Carrying { .. } | Phase::Echoing => {
                self.echo_without_memory(usize::MAX, socket, buffers, witness)
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

    /// Reads so much once, at the most, and writes it back; what the kernel does not take is kept.
    #[inline(always)]
    fn echo<S: Socket>(
        &mut self,
        most: usize,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        witness: &mut impl Witness,
    ) -> Round {
        let asked = buffers.scratch.len().min(most);
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
        if n < asked {
            return self.after_reading(n, asked);
        }
        Round::Moved(n)
    }

    /// Whether a read of `n` out of `asked` bytes has emptied the receive queue.
    fn after_reading(&self, n: usize, asked: usize) -> Round {
        planted!(StopAfterShortRead => if n < asked && self.short_read_is_drained { return Round::Drained });
        if n < asked && !self.read_on {
            Round::Drained
        } else {
            Round::Moved(n)
        }
    }

    fn nothing_to_read(&mut self) -> Round {
        self.read_on = !self.short_read_is_drained;
        Round::Drained
    }
}

/// What a read costs of the budget at the least. With 256 KiB a turn that is 64 reads at the most.
pub(super) const LEAST_CHARGE: usize = 4 * 1024;

#[cfg(test)]
mod tests;
