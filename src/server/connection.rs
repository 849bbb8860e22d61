//! One peer's echo as a state machine: writes back what it reads, in order, and stores only what the kernel did not accept.
//!
//! Performs no registration, reads no clock, and knows neither mio nor its place in the table. Every change of its state is
//! in this file; [`splice`] and [`peek`] move bytes for it and hold no state.

#![allow(
    clippy::indexing_slicing,
    reason = "a call moves at most the bytes that it was offered, and a read is asked for at most the buffer"
)]

mod calls;
mod peek;
mod splice;

use net::delivery::Delivery;
use net::outcome::{IoOutcome, attempt, failure_of};
use net::poller::Readiness;
use net::stream::Socket;

use super::buffers::{Buffers, PendingWrite, PendingWrites};
use super::trace::{Reason, TraceEvent, Tracer};
use calls::{end_stream, read, write};
use peek::Peeked;
use splice::Spliced;

/// One peer.
///
/// Call [`on_readiness`](Connection::on_readiness) for each event; where that answers `true`, call
/// [`pump`](Connection::pump). Each [`Answer`] asks one thing of the caller:
///
/// | answer | the caller |
/// |---|---|
/// | `Blocked` | waits for the next event, and starts the timeout that fits [`awaits`](Connection::awaits) |
/// | `Yielded` | pumps again in its next turn, without waiting for an event: none will come |
/// | `Finished` | takes it out of the table, [releases](Connection::release) its pending write, and closes the socket |
#[derive(Debug)]
pub(crate) struct Connection {
    /// What the kernel did not take of the last read. The peer is not read before it is written.
    pending: Option<Box<PendingWrite>>,
    /// Bytes of the echo that the kernel has taken.
    echoed: u64,
    /// How far the conversation has come.
    state: State,
    /// What it waits for when it is blocked.
    awaits: Direction,
    /// Whether a short read proves the receive queue empty: see [`Poller::short_read_means_empty`](net::poller::Poller::short_read_means_empty).
    short_read_means_empty: bool,
    /// Reads continue until `WouldBlock`, even after a short read. Always set where a short read proves nothing; elsewhere set
    /// by a hint and cleared by `WouldBlock`, in a later turn if need be.
    read_on: bool,
    /// Bytes that had been delivered at the last look, the low 32 bits.
    delivered_before: u32,
    /// Looks in a row that found something undelivered.
    undelivered_looks: u8,
}

/// What a pump may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Bytes that may be read, at least 1.
    pub(crate) budget: usize,
    /// Whether the last turn ended on its budget and this one goes on.
    pub(crate) continues: bool,
}

/// What a pump came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing more can be done before an event.
    Blocked {
        /// Whether this pump read, consumed or wrote a byte.
        moved: bool,
    },
    /// The budget is used up and there may be more to do. Bytes have moved.
    Yielded,
    /// The connection has ended.
    Finished(Reason),
}

/// What a blocked connection waits for. Never both: while a write is pending, the peer is not read.
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
    pub(crate) undelivered_looks: u8,
    /// The same at the last look.
    pub(crate) undelivered_looks_before: u8,
}

impl Look {
    /// Whether something is undelivered that was there at the last look too, and nothing was delivered since.
    pub(crate) fn is_stalled(self) -> bool {
        self.undelivered_looks > 0 && self.undelivered_looks_before > 0 && !self.moved
    }
}

/// How far the conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What is read is written back.
    Echoing,
    /// The same through the pipe: bulk. `burst` bytes have come since the receive queue was last empty.
    Splicing { burst: u32 },
    /// The server is shutting down. Of the bytes that had been received by then, `left` are still to be echoed.
    FinalEcho { left: u32 },
    /// Our stream has ended. What the peer still sends is discarded until its stream ends too: closing over unread input
    /// would make the kernel reset the connection, and the reset may overtake the tail of the echo (RFC 1122, 4.2.2.13).
    Lingering,
    /// Both streams have ended, and our kernel still holds bytes of the echo. A socket that is closed now is the kernel's
    /// alone: outside every limit, and ended by the kernel's own timer although the peer reads.
    Delivering,
}

/// What one read and the write of its bytes came to.
enum Round {
    /// This many bytes moved, and there may be more.
    Moved(usize),
    /// This many bytes moved, and the receive queue is empty.
    QueueEmpty(usize),
    /// Nothing more moves before there is room to write.
    NoRoom {
        /// Whether bytes were read or written.
        moved: bool,
    },
    /// The peer has ended its stream.
    EndOfStream,
    /// The connection has ended.
    Finished(Reason),
}

impl Connection {
    /// A peer that was just accepted. Whether a short read proves its receive queue empty is the selector's promise: see
    /// [`Poller::short_read_means_empty`](net::poller::Poller::short_read_means_empty).
    pub(crate) fn new(short_read_means_empty: bool) -> Connection {
        Connection {
            pending: None,
            echoed: 0,
            state: State::Echoing,
            awaits: Direction::Read,
            short_read_means_empty,
            read_on: !short_read_means_empty,
            delivered_before: 0,
            undelivered_looks: 0,
        }
    }

    /// Takes an event's hints. Returns true if they are worth a pump: if they are about the direction that is waited for.
    ///
    /// Under edge triggering this saves a call in vain. Where the selector re-arms on `WouldBlock` it saves more: such a call
    /// would re-arm both directions, the other one would be ready at once, and the loop would spin for as long as it stays so.
    pub(crate) fn on_readiness(&mut self, readiness: Readiness) -> bool {
        self.read_on |= readiness.read_on;
        match self.awaits {
            Direction::Read => readiness.readable,
            Direction::Write => readiness.writable,
        }
    }

    /// Moves bytes until nothing more can be done or the turn's budget is used up.
    ///
    /// The order is the back-pressure: a pending write goes out first, and the peer is read only when nothing is pending.
    #[inline(always)]
    pub(crate) fn pump<S: Socket>(
        &mut self,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        Turn {
            mut budget,
            continues,
        }: Turn,
        tracer: &mut impl Tracer,
    ) -> Answer {
        let mut moved = false;
        // Bytes of reads that filled the buffer, and of splices.
        let mut bulk = 0;
        loop {
            if self.pending.is_some() {
                let before = self.echoed;
                if let Err(stopped) = self.flush(socket, &mut buffers.pending_writes, tracer) {
                    return match stopped {
                        Some(reason) => Answer::Finished(reason),
                        None => Answer::Blocked {
                            moved: self.echoed != before,
                        },
                    };
                }
                moved = true;
            }
            self.awaits = Direction::Read;
            if budget == 0 {
                tracer.record(TraceEvent::Yielded);
                return Answer::Yielded;
            }
            let round = if self.state == State::Echoing && buffers.pending_writes.has_room() {
                self.echo(usize::MAX, socket, buffers, tracer)
            } else {
                self.other_round(socket, buffers, tracer)
            };
            match round {
                Round::Moved(n) => {
                    moved |= n > 0;
                    // A peer that sends byte by byte must not hold the turn for as many calls as the budget has bytes.
                    budget = budget.saturating_sub(n.max(LEAST_CHARGE));
                    if n == buffers.scratch.len() || self.is_splicing() {
                        bulk += n;
                        if bulk >= buffers.splice_threshold {
                            self.choose_transport(
                                continues,
                                bulk,
                                socket,
                                buffers.splice_threshold,
                            );
                            bulk = 0;
                        }
                    }
                }
                Round::QueueEmpty(n) => {
                    return Answer::Blocked {
                        moved: moved || n > 0,
                    };
                }
                Round::NoRoom { moved: now } => {
                    self.awaits = Direction::Write;
                    return Answer::Blocked {
                        moved: moved || now,
                    };
                }
                Round::EndOfStream => return self.end_of_stream(socket, moved, tracer),
                Round::Finished(reason) => return Answer::Finished(reason),
            }
        }
    }

    /// Every round but that of an ordinary echo. Not inlined, so that the ordinary one has the processor's registers.
    #[inline(never)]
    fn other_round<S: Socket>(
        &mut self,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        tracer: &mut impl Tracer,
    ) -> Round {
        match self.state {
            State::Lingering => self.discard(socket, buffers, tracer),
            State::Delivering => Round::EndOfStream,
            State::FinalEcho { left: 0 } => match self.linger(socket, tracer) {
                Ok(()) => self.discard(socket, buffers, tracer),
                Err(reason) => Round::Finished(reason),
            },
            State::FinalEcho { left } => self.final_echo(left, socket, buffers, tracer),
            State::Splicing { burst } if buffers.pending_writes.has_room() => {
                self.echo_by_splicing(burst, socket, buffers, tracer)
            }
            State::Splicing { .. } | State::Echoing => {
                self.echo_by_peeking(usize::MAX, socket, buffers, tracer)
            }
        }
    }

    /// Writes the pending write. `Err` is what keeps the peer from being read: no room, or the reason of the end.
    #[inline(never)]
    fn flush<S: Socket>(
        &mut self,
        socket: &mut S,
        pending_writes: &mut PendingWrites,
        tracer: &mut impl Tracer,
    ) -> Result<(), Option<Reason>> {
        while let Some(pending) = &mut self.pending {
            match write(socket, pending.rest(), tracer) {
                IoOutcome::Moved(n) => {
                    self.echoed += n as u64;
                    pending_writes.wrote(pending, n);
                    if pending.is_written() {
                        self.release(pending_writes);
                    }
                }
                IoOutcome::WouldBlock => {
                    self.awaits = Direction::Write;
                    return Err(None);
                }
                IoOutcome::Failed(failure) => return Err(Some(failure.into())),
            }
        }
        Ok(())
    }

    /// Reads up to `most` bytes once and writes them back. What the kernel does not take becomes the pending write.
    #[inline(always)]
    fn echo<S: Socket>(
        &mut self,
        most: usize,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        tracer: &mut impl Tracer,
    ) -> Round {
        let asked = buffers.scratch.len().min(most);
        let n = match read(socket, &mut buffers.scratch[..asked], tracer) {
            IoOutcome::Moved(0) => return Round::EndOfStream,
            IoOutcome::Moved(n) => n,
            IoOutcome::WouldBlock => return self.nothing_to_read(),
            IoOutcome::Failed(failure) => return Round::Finished(failure.into()),
        };
        let mut rest = &buffers.scratch[..n];
        while !rest.is_empty() {
            match write(socket, rest, tracer) {
                IoOutcome::Moved(taken) => {
                    self.echoed += taken as u64;
                    rest = &rest[taken..];
                }
                IoOutcome::WouldBlock => {
                    tracer.record(TraceEvent::WritePending(rest.len()));
                    self.pending = Some(buffers.pending_writes.acquire(rest));
                    return Round::NoRoom { moved: true };
                }
                IoOutcome::Failed(failure) => return Round::Finished(failure.into()),
            }
        }
        if n < asked {
            return self.after_short_read(n);
        }
        Round::Moved(n)
    }

    /// Echoes through the pipe once. The end of the stream, urgent data and sockets that cannot be spliced fall back to a
    /// read, which tells them apart.
    #[inline(never)]
    fn echo_by_splicing<S: Socket>(
        &mut self,
        burst: u32,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        tracer: &mut impl Tracer,
    ) -> Round {
        match splice::echo(socket, buffers, &mut self.echoed, tracer) {
            Spliced::Moved(n) => {
                let burst = burst.saturating_add(saturated(n));
                self.state = State::Splicing { burst };
                Round::Moved(n)
            }
            Spliced::Pending { moved, rest } => {
                let burst = burst.saturating_add(saturated(moved));
                self.state = State::Splicing { burst };
                self.pending = Some(rest);
                Round::NoRoom { moved: true }
            }
            // In front of an urgent byte splice(2) says `EAGAIN` without limit, although a read would return bytes.
            Spliced::WouldBlock if !self.read_on => {
                self.state = match burst < saturated(buffers.splice_threshold) {
                    true => State::Echoing,
                    false => State::Splicing { burst: 0 },
                };
                self.nothing_to_read()
            }
            Spliced::WouldBlock | Spliced::Unclear => {
                self.state = State::Echoing;
                self.echo(usize::MAX, socket, buffers, tracer)
            }
            Spliced::Failed(reason) => Round::Finished(reason),
        }
    }

    /// Echoes once without memory for a pending write: what the kernel does not take stays in the receive queue.
    #[inline(never)]
    fn echo_by_peeking<S: Socket>(
        &mut self,
        most: usize,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        tracer: &mut impl Tracer,
    ) -> Round {
        let asked = buffers.scratch.len().min(most);
        let buffer = &mut buffers.scratch[..asked];
        match peek::echo(socket, buffer, &mut self.echoed, tracer) {
            Peeked::EndOfStream => Round::EndOfStream,
            Peeked::NothingToRead => self.nothing_to_read(),
            Peeked::NoRoom => Round::NoRoom { moved: false },
            Peeked::Echoed { seen, taken } if taken < seen || seen == asked => Round::Moved(taken),
            Peeked::Echoed { seen, .. } => self.after_short_read(seen),
            Peeked::Failed(reason) => Round::Finished(reason),
        }
    }

    /// Decides how the next bytes are echoed, after `bulk` bytes of this turn came in reads that filled the buffer, or
    /// through the pipe.
    ///
    /// A connection uses the pipe when it has shown three things:
    ///
    /// - Much comes at a time: reads have filled the buffer for a whole share of a turn, and the turn before ended on its
    ///   budget too. Messages of 256 KiB lose by the pipe, messages of 1 MiB gain.
    /// - The peer keeps up with its echo. For a peer that is behind, its own reads bound the rate, and they are slower from
    ///   the pipe's pages. What its kernel has not acknowledged counts.
    /// - Its packets come from another processor. On one processor, the peer's reads pay for the copies that are saved here.
    ///
    /// Where only `WouldBlock` proves a receive queue empty, a splice's does not prove it, and a read in addition would cost
    /// more than the pipe saves.
    #[inline(never)]
    fn choose_transport<S: Socket>(
        &mut self,
        continues: bool,
        bulk: usize,
        socket: &mut S,
        threshold: usize,
    ) {
        let may_start = self.state == State::Echoing && continues && self.short_read_means_empty;
        if !may_start && !self.is_splicing() {
            return;
        }
        let undelivered = socket.delivery().map_or(0, |delivery| {
            self.echoed.saturating_sub(delivery.acknowledged)
        });
        let keeps_up = undelivered < KEEPS_UP.saturating_mul(threshold) as u64;
        match self.state {
            State::Splicing { .. } if !keeps_up => self.state = State::Echoing,
            State::Echoing if keeps_up && !socket.shares_our_processor() => {
                let burst = saturated(bulk);
                self.state = State::Splicing { burst };
            }
            _ => {}
        }
    }

    /// After a read of `n` bytes, fewer than it asked for: whether the receive queue is empty.
    fn after_short_read(&self, n: usize) -> Round {
        match self.read_on {
            true => Round::Moved(n),
            false => Round::QueueEmpty(n),
        }
    }

    /// A read said `WouldBlock`.
    fn nothing_to_read(&mut self) -> Round {
        self.read_on = !self.short_read_means_empty;
        Round::QueueEmpty(0)
    }

    /// The server is shutting down: echo the pending write and the `received` bytes that the kernel holds now, then end our
    /// stream. Pump next.
    pub(crate) fn drain(&mut self, received: u32) {
        if matches!(self.state, State::Echoing | State::Splicing { .. }) {
            self.state = State::FinalEcho { left: received };
            // A drain begins without an event, so nothing has hinted at an urgent byte, in front of which a read stops. The
            // kernel has said how many bytes there are.
            self.read_on = true;
        }
    }

    /// Echoes once, at most the `left` bytes that are still owed.
    #[inline(never)]
    fn final_echo<S: Socket>(
        &mut self,
        left: u32,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        tracer: &mut impl Tracer,
    ) -> Round {
        let (most, before) = (left as usize, self.echoed);
        let round = match buffers.pending_writes.has_room() {
            true => self.echo(most, socket, buffers, tracer),
            false => self.echo_by_peeking(most, socket, buffers, tracer),
        };
        let pending = self.pending.as_ref().map_or(0, |write| write.rest().len());
        let moved = (self.echoed - before) as usize + pending;
        let left = match round {
            // Fewer bytes came than the kernel had said: an urgent byte that was read out of line is one of them.
            Round::QueueEmpty(_) => 0,
            _ => left.saturating_sub(saturated(moved)),
        };
        self.state = State::FinalEcho { left };
        match round {
            Round::QueueEmpty(_) => Round::Moved(moved),
            round => round,
        }
    }

    /// The final echo is written: ends our stream, and discards what comes from here on.
    #[cold]
    fn linger<S: Socket>(
        &mut self,
        socket: &mut S,
        tracer: &mut impl Tracer,
    ) -> Result<(), Reason> {
        end_stream(socket, tracer)?;
        self.state = State::Lingering;
        Ok(())
    }

    /// Reads once and discards it.
    #[inline(never)]
    fn discard<S: Socket>(
        &mut self,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        tracer: &mut impl Tracer,
    ) -> Round {
        match attempt(|| socket.read(&mut buffers.scratch)) {
            IoOutcome::Moved(0) => {
                tracer.record(TraceEvent::EndOfStream);
                Round::Finished(Reason::Drained)
            }
            IoOutcome::Moved(n) => {
                tracer.record(TraceEvent::Discarded(&buffers.scratch[..n]));
                match n < buffers.scratch.len() {
                    true => self.after_short_read(n),
                    false => Round::Moved(n),
                }
            }
            IoOutcome::WouldBlock => {
                tracer.record(TraceEvent::NothingToRead);
                self.nothing_to_read()
            }
            IoOutcome::Failed(failure) => Round::Finished(failure.into()),
        }
    }

    /// The peer has ended its stream, and the kernel has taken all of the echo. The connection ends when the peer's kernel has
    /// acknowledged it. An edge-triggered selector reports that, as the last acknowledgement closes the socket. One that
    /// re-arms only on `WouldBlock` would not, as no call says that here; there the rest is left to the kernel.
    #[inline(never)]
    fn end_of_stream<S: Socket>(
        &mut self,
        socket: &mut S,
        moved: bool,
        tracer: &mut impl Tracer,
    ) -> Answer {
        let ended = Answer::Finished(Reason::EndOfStream);
        if self.echoed == 0 {
            return ended;
        }
        // After the peer's end of stream a read says no more than that, whatever has happened since (Linux, `SOCK_DONE`).
        if self.state == State::Delivering
            && let Some(error) = socket.take_error()
        {
            return Answer::Finished(failure_of(&error).into());
        }
        match socket.delivery() {
            Some(delivery) if delivery.is_outstanding && self.short_read_means_empty => {}
            _ => return ended,
        }
        let is_news = self.state != State::Delivering;
        if is_news {
            if let Err(reason) = end_stream(socket, tracer) {
                return Answer::Finished(reason);
            }
            self.state = State::Delivering;
        }
        Answer::Blocked {
            moved: moved || is_news,
        }
    }

    /// Gives up the pending write. The connection is closed next.
    #[inline]
    pub(crate) fn release(&mut self, pending_writes: &mut PendingWrites) {
        if let Some(pending) = self.pending.take() {
            pending_writes.release(pending);
        }
    }

    /// Compares what has been delivered with what had been delivered at the last look.
    ///
    /// Where the system does not tell what was acknowledged, what the kernel has taken counts. 32 bits are enough to see a
    /// difference, as no kernel holds 4 GiB for one connection, and a table entry has no room for more.
    pub(crate) fn look_at_delivery(&mut self, delivery: Option<Delivery>) -> Look {
        let (delivered, owes) = match delivery {
            Some(delivery) => (delivery.acknowledged, delivery.is_outstanding),
            None => (self.echoed, self.awaits == Direction::Write),
        };
        let before = std::mem::replace(&mut self.delivered_before, delivered as u32);
        let undelivered_looks = if owes {
            self.undelivered_looks.saturating_add(1)
        } else {
            0
        };
        let undelivered_looks_before =
            std::mem::replace(&mut self.undelivered_looks, undelivered_looks);
        Look {
            moved: before != delivered as u32,
            undelivered_looks,
            undelivered_looks_before,
        }
    }

    /// What it waits for when it is blocked.
    pub(crate) fn awaits(&self) -> Direction {
        self.awaits
    }

    /// Bytes of the echo that the kernel has taken.
    pub(crate) fn echoed(&self) -> u64 {
        self.echoed
    }

    /// Bytes that the kernel has taken, our end of stream included, which the peer's kernel acknowledges as one byte.
    pub(crate) fn sent(&self) -> u64 {
        self.echoed + u64::from(matches!(self.state, State::Lingering | State::Delivering))
    }

    /// Looks in a row that found something undelivered.
    pub(crate) fn undelivered_looks(&self) -> u8 {
        self.undelivered_looks
    }

    /// Whether everything was delivered at the last look and nothing was written since. Then the kernel need not be asked.
    pub(crate) fn is_settled(&self) -> bool {
        self.undelivered_looks == 0
            && self.awaits == Direction::Read
            && self.delivered_before == self.echoed as u32
    }

    /// Whether nothing was echoed and nothing is pending.
    pub(crate) fn is_untouched(&self) -> bool {
        self.echoed == 0 && self.pending.is_none()
    }

    /// Whether both streams have ended and only our kernel still holds something.
    pub(crate) fn is_delivering(&self) -> bool {
        self.state == State::Delivering
    }

    /// Whether our stream has ended and the peer's is awaited.
    pub(crate) fn is_lingering(&self) -> bool {
        self.state == State::Lingering
    }

    fn is_splicing(&self) -> bool {
        matches!(self.state, State::Splicing { .. })
    }
}

/// For a count that takes 4 bytes of a table entry and stays at its largest value.
fn saturated(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// What a read costs of the budget at the least, in bytes. With 256 KiB a turn that is 64 reads at the most.
pub(super) const LEAST_CHARGE: usize = 4 * 1024;

/// A peer keeps up as long as less than this many splice thresholds of its echo are unacknowledged. A peer that waits for the
/// echo of 1 MiB before it sends more stays below that; most that send on and on do not (`cargo bench --bench splice`).
const KEEPS_UP: usize = 4;

#[cfg(test)]
mod tests;
