//! The echo of one connection as a state machine. It writes back the bytes that it reads, in order, and stores only the
//! bytes that the kernel did not accept.
//!
//! This module registers no socket and reads no clock. It does not depend on mio or on the table of connections. All
//! changes of the state are in this file: [`splice`] and [`peek`] move bytes, but hold no state.

#![allow(
    clippy::indexing_slicing,
    reason = "a call moves at most as many bytes as it was offered, and no read asks for more than the buffer holds"
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

/// One connection, without its socket.
///
/// The caller calls [`on_readiness`](Connection::on_readiness) for each event. If that returns true, the caller calls
/// [`pump`](Connection::pump). The [`Answer`] of the pump tells the caller what to do next:
///
/// | answer | the caller |
/// |---|---|
/// | `Blocked` | waits for the next event, and starts the timeout that fits [`awaits`](Connection::awaits) |
/// | `Yielded` | pumps again in the next turn without waiting for an event, because there will be none |
/// | `Finished` | removes it from the table, [releases](Connection::release) its pending write, and closes the socket |
#[derive(Debug)]
pub(crate) struct Connection {
    /// The bytes of the last read that the kernel did not accept. The next read must wait until they are written.
    pending: Option<Box<PendingWrite>>,
    /// The number of bytes of the echo that the kernel has accepted.
    echoed: u64,
    /// The phase of the connection.
    state: State,
    /// The direction for which a blocked connection waits.
    awaits: Direction,
    /// Whether a short read proves that the receive queue is empty. See
    /// [`Poller::short_read_means_empty`](net::poller::Poller::short_read_means_empty).
    short_read_means_empty: bool,
    /// Reads continue until `WouldBlock`, even after a short read. Always set if a short read proves nothing. Otherwise
    /// an event's hint sets it, and `WouldBlock` clears it, possibly in a later turn.
    read_on: bool,
    /// The low 32 bits of the number of bytes that were delivered at the last look.
    delivered_before: u32,
    /// The number of looks in a row that found undelivered bytes.
    undelivered_looks: u8,
}

/// The limits of one call of [`pump`](Connection::pump).
#[derive(Clone, Copy, Debug)]
pub(crate) struct PumpLimits {
    /// The number of bytes after which the pump stops, at least 1. A read is not shortened to it, so the last read may
    /// exceed it. A read counts as at least [`LEAST_CHARGE`] bytes.
    pub(crate) budget: usize,
    /// Whether the connection used up its budget in the last turn and continues in this one.
    pub(crate) continues: bool,
}

/// The result of a pump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The connection can do nothing before the next event.
    Blocked {
        /// Whether this pump read, consumed or wrote a byte.
        moved: bool,
    },
    /// The connection has moved bytes and used up its budget. There may be more to read.
    Yielded,
    /// The connection has ended, for this reason.
    Finished(Reason),
}

/// The direction for which a blocked connection waits. It never waits for both: while a write is pending, the
/// connection does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The socket has bytes to read.
    Read,
    /// The send buffer has room for a write.
    Write,
}

/// The result of one look at the delivery of a connection's echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether bytes were delivered since the last look.
    pub(crate) moved: bool,
    /// The number of looks in a row, with this one, that found undelivered bytes; 0 if everything is delivered.
    pub(crate) undelivered_looks: u8,
    /// The value of `undelivered_looks` at the last look.
    pub(crate) undelivered_looks_before: u8,
}

impl Look {
    /// Returns true if this look and the last one found undelivered bytes, and nothing was delivered between them.
    pub(crate) fn is_stalled(self) -> bool {
        self.undelivered_looks > 0 && self.undelivered_looks_before > 0 && !self.moved
    }
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The connection reads bytes and writes them back.
    Echoing,
    /// The connection echoes bulk through the pipe. It has received `burst` bytes since its receive queue was last
    /// empty.
    Splicing { burst: u32 },
    /// The server is shutting down. `left` of the bytes that had arrived by then must still be echoed.
    FinalEcho { left: u32 },
    /// Our stream has ended. The connection discards the peer's bytes until the peer's stream ends too. A close with
    /// unread input would make the kernel reset the connection (RFC 1122, 4.2.2.13). The peer may then lose the last
    /// bytes of the echo.
    Lingering,
    /// Both streams have ended, and our kernel still holds bytes of the echo. If the server closed the socket now, none
    /// of its limits would count the connection. The kernel's own timer could then end it while the peer still reads.
    Delivering,
}

/// The result of one pass: one read and the write of its bytes.
enum Pass {
    /// This many bytes moved, and there may be more.
    Moved(usize),
    /// This many bytes moved, and the receive queue is empty.
    QueueEmpty(usize),
    /// The send buffer is full: the connection must wait until it has room.
    NoRoom {
        /// Whether this pass read or wrote bytes.
        moved: bool,
    },
    /// The peer has ended its stream.
    EndOfStream,
    /// The connection has ended, for this reason.
    Finished(Reason),
}

impl Connection {
    /// Returns the state of a connection that was just accepted. The selector decides whether a short read proves that
    /// the receive queue is empty: see [`Poller::short_read_means_empty`](net::poller::Poller::short_read_means_empty).
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

    /// Stores the hints of an event. Returns true if the event is about the direction for which the connection waits:
    /// then the caller pumps.
    ///
    /// With an edge-triggered selector, a pump for the other direction would only waste a system call. With a selector
    /// that re-arms on `WouldBlock`, it would re-arm both directions. The selector would report the other direction at
    /// once, and the loop would spin for as long as that direction is ready.
    pub(crate) fn on_readiness(&mut self, readiness: Readiness) -> bool {
        self.read_on |= readiness.read_on;
        match self.awaits {
            Direction::Read => readiness.readable,
            Direction::Write => readiness.writable,
        }
    }

    /// Moves bytes until the connection is blocked, has ended, or has used up the budget of this turn.
    ///
    /// Writes the pending write first, and reads only when no write is pending. So the connection does not read from a
    /// peer that does not read its echo, and TCP then slows the peer down.
    #[inline(always)]
    pub(crate) fn pump<S: Socket>(
        &mut self,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        PumpLimits {
            mut budget,
            continues,
        }: PumpLimits,
        tracer: &mut impl Tracer,
    ) -> Answer {
        let mut moved = false;
        // Counts the bytes of splices, and of reads that filled the buffer.
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
            let pass = if self.state == State::Echoing && buffers.pending_writes.has_room() {
                self.echo(usize::MAX, socket, buffers, tracer)
            } else {
                self.other_pass(socket, buffers, tracer)
            };
            match pass {
                Pass::Moved(n) => {
                    moved |= n > 0;
                    // Without a minimum charge, a peer that sends single bytes could cause as many reads as the budget
                    // has bytes.
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
                Pass::QueueEmpty(n) => {
                    return Answer::Blocked {
                        moved: moved || n > 0,
                    };
                }
                Pass::NoRoom { moved: now } => {
                    self.awaits = Direction::Write;
                    return Answer::Blocked {
                        moved: moved || now,
                    };
                }
                Pass::EndOfStream => return self.end_of_stream(socket, moved, tracer),
                Pass::Finished(reason) => return Answer::Finished(reason),
            }
        }
    }

    /// Runs one pass that is not an ordinary echo. Not inlined, so that the ordinary echo can use more registers of the
    /// processor.
    #[inline(never)]
    fn other_pass<S: Socket>(
        &mut self,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        tracer: &mut impl Tracer,
    ) -> Pass {
        match self.state {
            State::Lingering => self.discard(socket, buffers, tracer),
            State::Delivering => Pass::EndOfStream,
            State::FinalEcho { left: 0 } => match self.linger(socket, tracer) {
                Ok(()) => self.discard(socket, buffers, tracer),
                Err(reason) => Pass::Finished(reason),
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

    /// Writes the pending write.
    ///
    /// # Errors
    /// `None` if the send buffer is full, otherwise the reason why the connection has ended. After an error the caller
    /// must not read.
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

    /// Reads once, at most `most` bytes, and writes them back. The bytes that the kernel does not accept become the
    /// pending write.
    #[inline(always)]
    fn echo<S: Socket>(
        &mut self,
        most: usize,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        tracer: &mut impl Tracer,
    ) -> Pass {
        let asked = buffers.scratch.len().min(most);
        let n = match read(socket, &mut buffers.scratch[..asked], tracer) {
            IoOutcome::Moved(0) => return Pass::EndOfStream,
            IoOutcome::Moved(n) => n,
            IoOutcome::WouldBlock => return self.nothing_to_read(),
            IoOutcome::Failed(failure) => return Pass::Finished(failure.into()),
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
                    return Pass::NoRoom { moved: true };
                }
                IoOutcome::Failed(failure) => return Pass::Finished(failure.into()),
            }
        }
        if n < asked {
            return self.after_short_read(n);
        }
        Pass::Moved(n)
    }

    /// Runs one pass through the pipe. The end of the stream, urgent data and sockets that cannot be spliced fall back
    /// to a read, which tells them apart.
    #[inline(never)]
    fn echo_by_splicing<S: Socket>(
        &mut self,
        burst: u32,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        tracer: &mut impl Tracer,
    ) -> Pass {
        match splice::echo(socket, buffers, &mut self.echoed, tracer) {
            Spliced::Moved(n) => {
                let burst = burst.saturating_add(saturated(n));
                self.state = State::Splicing { burst };
                Pass::Moved(n)
            }
            Spliced::Pending { moved, rest } => {
                let burst = burst.saturating_add(saturated(moved));
                self.state = State::Splicing { burst };
                self.pending = Some(rest);
                Pass::NoRoom { moved: true }
            }
            // In front of an urgent byte, splice(2) returns `EAGAIN` at every call, although a read would return bytes.
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
            Spliced::Failed(reason) => Pass::Finished(reason),
        }
    }

    /// Runs one pass without memory for a pending write. The bytes that the kernel does not accept stay in the receive
    /// queue.
    #[inline(never)]
    fn echo_by_peeking<S: Socket>(
        &mut self,
        most: usize,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        tracer: &mut impl Tracer,
    ) -> Pass {
        let asked = buffers.scratch.len().min(most);
        let buffer = &mut buffers.scratch[..asked];
        match peek::echo(socket, buffer, &mut self.echoed, tracer) {
            Peeked::EndOfStream => Pass::EndOfStream,
            Peeked::NothingToRead => self.nothing_to_read(),
            Peeked::NoRoom => Pass::NoRoom { moved: false },
            Peeked::Echoed { seen, taken } if taken < seen || seen == asked => Pass::Moved(taken),
            Peeked::Echoed { seen, .. } => self.after_short_read(seen),
            Peeked::Failed(reason) => Pass::Finished(reason),
        }
    }

    /// Decides whether the connection echoes its next bytes through the pipe. In this turn, `bulk` bytes have come
    /// through the pipe or in reads that filled the buffer.
    ///
    /// A connection starts to use the pipe if all three conditions hold. It stops when the peer no longer keeps up,
    /// when the receive queue is empty after a burst below the threshold, or when a splice needs a read:
    ///
    /// - The peer sends bulk: reads that filled the buffer moved `threshold` bytes in this turn, and the connection
    ///   used up its budget in the turn before. Measurements without the requirement about the turn before showed that
    ///   the pipe made messages of 1 MiB faster, but messages of 256 KiB slower.
    /// - The peer keeps up with its echo: less than [`KEEPS_UP`] thresholds are unacknowledged. If the peer is behind,
    ///   its own reads limit the throughput, and reads of spliced pages are slower.
    /// - The peer's packets arrive on another processor. If the peer shares our processor, its slower reads cost more
    ///   than the copies that the pipe saves.
    ///
    /// The pipe is not used where only the `WouldBlock` of a read proves that the receive queue is empty. The
    /// `WouldBlock` of a splice does not prove it, and an additional read would cost more than the pipe saves.
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
        let unacknowledged = socket.delivery().map_or(0, |delivery| {
            self.echoed.saturating_sub(delivery.acknowledged)
        });
        let keeps_up = unacknowledged < KEEPS_UP.saturating_mul(threshold) as u64;
        match self.state {
            State::Splicing { .. } if !keeps_up => self.state = State::Echoing,
            State::Echoing if keeps_up && !socket.shares_our_processor() => {
                let burst = saturated(bulk);
                self.state = State::Splicing { burst };
            }
            _ => {}
        }
    }

    /// Returns the result of a pass whose read returned `n` bytes, fewer than requested. Without the hint `read_on`,
    /// such a read means that the receive queue is empty.
    fn after_short_read(&self, n: usize) -> Pass {
        match self.read_on {
            true => Pass::Moved(n),
            false => Pass::QueueEmpty(n),
        }
    }

    /// Returns the result of a pass whose read returned `WouldBlock`, which clears the hint `read_on`.
    fn nothing_to_read(&mut self) -> Pass {
        self.read_on = !self.short_read_means_empty;
        Pass::QueueEmpty(0)
    }

    /// Starts the final echo, because the server is shutting down. The connection writes its pending write, echoes the
    /// `received` bytes that are in the receive queue now, and then ends our stream. The caller pumps next.
    pub(crate) fn drain(&mut self, received: u32) {
        if matches!(self.state, State::Echoing | State::Splicing { .. }) {
            self.state = State::FinalEcho { left: received };
            // A read stops in front of an urgent byte. A drain starts without an event, so no hint has announced such a
            // byte. A short read therefore proves nothing, and `received` tells how many bytes must come.
            self.read_on = true;
        }
    }

    /// Runs one pass of the final echo, of at most `left` bytes.
    #[inline(never)]
    fn final_echo<S: Socket>(
        &mut self,
        left: u32,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        tracer: &mut impl Tracer,
    ) -> Pass {
        let (most, before) = (left as usize, self.echoed);
        let pass = match buffers.pending_writes.has_room() {
            true => self.echo(most, socket, buffers, tracer),
            false => self.echo_by_peeking(most, socket, buffers, tracer),
        };
        let pending = self.pending.as_ref().map_or(0, |write| write.rest().len());
        let moved = (self.echoed - before) as usize + pending;
        let left = match pass {
            // The queue is empty, but the reads have returned fewer than `left` bytes. One reason: the kernel also
            // counted an urgent byte, which such a read does not return.
            Pass::QueueEmpty(_) => 0,
            _ => left.saturating_sub(saturated(moved)),
        };
        self.state = State::FinalEcho { left };
        match pass {
            Pass::QueueEmpty(_) => Pass::Moved(moved),
            pass => pass,
        }
    }

    /// Ends our stream after the final echo. From here on, the connection discards the bytes that it reads.
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

    /// Reads once and discards the bytes.
    #[inline(never)]
    fn discard<S: Socket>(
        &mut self,
        socket: &mut S,
        buffers: &mut Buffers<S::Pipe>,
        tracer: &mut impl Tracer,
    ) -> Pass {
        match attempt(|| socket.read(&mut buffers.scratch)) {
            IoOutcome::Moved(0) => {
                tracer.record(TraceEvent::EndOfStream);
                Pass::Finished(Reason::Drained)
            }
            IoOutcome::Moved(n) => {
                tracer.record(TraceEvent::Discarded(&buffers.scratch[..n]));
                match n < buffers.scratch.len() {
                    true => self.after_short_read(n),
                    false => Pass::Moved(n),
                }
            }
            IoOutcome::WouldBlock => {
                tracer.record(TraceEvent::NothingToRead);
                self.nothing_to_read()
            }
            IoOutcome::Failed(failure) => Pass::Finished(failure.into()),
        }
    }

    /// Handles the end of the peer's stream, when our kernel has accepted the whole echo. The connection ends when the
    /// peer's kernel has acknowledged the echo.
    ///
    /// With the last acknowledgement the kernel's TCP connection is over (state CLOSE), and an edge-triggered selector
    /// reports that. A selector that re-arms only on `WouldBlock` does not report it, because no call returns
    /// `WouldBlock` in this state. So, with such a selector, the connection ends at once, and the kernel delivers the
    /// rest.
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
        // After the peer's end of stream, each read returns 0, even after a reset or another error (Linux,
        // `SOCK_DONE`). Only `SO_ERROR` reports that error.
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

    /// Releases the buffer of the pending write, if there is one. Call this when the write is complete, and before a
    /// close.
    #[inline]
    pub(crate) fn release(&mut self, pending_writes: &mut PendingWrites) {
        if let Some(pending) = self.pending.take() {
            pending_writes.release(pending);
        }
    }

    /// Compares the number of delivered bytes with their number at the last look.
    ///
    /// Where the system does not report acknowledgements, a byte counts as delivered when our kernel has accepted it.
    /// The low 32 bits are enough to show a difference, because no kernel holds 4 GiB for one connection. More bits
    /// would make each table entry larger.
    pub(crate) fn look_at_delivery(&mut self, delivery: Option<Delivery>) -> Look {
        let (delivered, is_undelivered) = match delivery {
            Some(delivery) => (delivery.acknowledged, delivery.is_outstanding),
            None => (self.echoed, self.awaits == Direction::Write),
        };
        let before = std::mem::replace(&mut self.delivered_before, delivered as u32);
        let undelivered_looks = if is_undelivered {
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

    /// Returns the direction for which a blocked connection waits.
    pub(crate) fn awaits(&self) -> Direction {
        self.awaits
    }

    /// Returns the number of bytes of the echo that the kernel has accepted.
    pub(crate) fn echoed(&self) -> u64 {
        self.echoed
    }

    /// Returns the number of bytes that the kernel has accepted. Our end of stream counts as one byte, because the
    /// peer's kernel acknowledges it as one byte.
    pub(crate) fn sent(&self) -> u64 {
        self.echoed + u64::from(matches!(self.state, State::Lingering | State::Delivering))
    }

    /// Returns the number of looks in a row that found undelivered bytes.
    pub(crate) fn undelivered_looks(&self) -> u8 {
        self.undelivered_looks
    }

    /// Returns true if everything was delivered at the last look and nothing was written since. A sweep then skips this
    /// connection, which saves a system call.
    pub(crate) fn is_all_delivered(&self) -> bool {
        self.undelivered_looks == 0
            && self.awaits == Direction::Read
            && self.delivered_before == self.echoed as u32
    }

    /// Returns true if the connection has echoed nothing and has no pending write.
    pub(crate) fn is_untouched(&self) -> bool {
        self.echoed == 0 && self.pending.is_none()
    }

    /// Returns true if both streams have ended and our kernel still holds bytes of the echo.
    pub(crate) fn is_delivering(&self) -> bool {
        self.state == State::Delivering
    }

    /// Returns true if our stream has ended and the connection waits for the end of the peer's stream.
    pub(crate) fn is_lingering(&self) -> bool {
        self.state == State::Lingering
    }

    fn is_splicing(&self) -> bool {
        matches!(self.state, State::Splicing { .. })
    }
}

/// Converts a count to a `u32`, which keeps the table entry small. A larger count becomes `u32::MAX`.
fn saturated(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The smallest number of bytes that one read takes from the budget. A budget of 256 KiB allows at most 64 reads.
pub(super) const LEAST_CHARGE: usize = 4 * 1024;

/// A limit for the unacknowledged bytes of the echo, in splice thresholds. A peer below the limit keeps up with its
/// echo. A peer that waits for the echo of 1 MiB before it sends more stays below the limit. Most peers that send
/// without waiting exceed it (`cargo bench --bench splice`).
const KEEPS_UP: usize = 4;

#[cfg(test)]
mod tests;
