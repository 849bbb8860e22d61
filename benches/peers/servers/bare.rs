//! A bare epoll loop, twice: the least work that an epoll server can do for a small message.
//!
//! One read and one write a message; no timeouts, no memory bounds, no statistics, no budget. Not an example to follow.
//! The level-triggered one is registered for reading, and for writing instead while a write is pending. The
//! edge-triggered one is registered once for both. Which of them is cheaper depends on the workload.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};

use super::BUFFER;

struct Client {
    stream: OwnedFd,
    /// The pending write: bytes that the kernel did not accept yet. The client is not read until they are written:
    /// otherwise they would grow without bound, and a message larger than the kernel's buffers would be lost.
    pending: Vec<u8>,
}

/// When epoll reports a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    Level,
    Edge,
}

pub(super) fn serve_levels(listener: TcpListener) -> io::Result<()> {
    serve(&listener, Trigger::Level)
}

pub(super) fn serve_edges(listener: TcpListener) -> io::Result<()> {
    serve(&listener, Trigger::Edge)
}

fn serve(listener: &TcpListener, trigger: Trigger) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let interest = match trigger {
        Trigger::Level => EventFlags::IN,
        Trigger::Edge => EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET,
    };
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut buffer = vec![0; BUFFER];
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        for event in &events {
            let key = event.data.u64();
            if key == LISTENER {
                let stream = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
                let place = stream.as_raw_fd() as usize;
                epoll::add(&epoll, &stream, EventData::new_u64(place as u64), interest)?;
                if clients.len() <= place {
                    clients.resize_with(place + 1, || None);
                }
                let pending = Vec::new();
                clients[place] = Some(Client { stream, pending });
                continue;
            }
            let place = key as usize;
            let Some(client) = &mut clients[place] else {
                continue;
            };
            let goes_on = match trigger {
                Trigger::Level => client.level(&epoll, key, &mut buffer)?,
                Trigger::Edge => client.edge(event.flags, &mut buffer),
            };
            if !goes_on {
                clients[place] = None;
            }
        }
    }
}

/// What a read or a write did.
enum Moved {
    /// All bytes that it could move: the buffer was filled, or nothing is pending.
    All,
    /// Fewer bytes than that, or none because it would block.
    Some,
    /// The connection has ended.
    Ended,
}

impl Client {
    /// Handles a level: one read with its write, or one write. Returns false if the connection has ended.
    fn level(&mut self, epoll: &OwnedFd, key: u64, buffer: &mut [u8]) -> io::Result<bool> {
        let was_pending = !self.pending.is_empty();
        let moved = match was_pending {
            false => self.echo(buffer),
            true => self.write_out(),
        };
        if matches!(moved, Moved::Ended) {
            return Ok(false);
        }
        let is_pending = !self.pending.is_empty();
        if was_pending != is_pending {
            let interest = match is_pending {
                true => EventFlags::OUT,
                false => EventFlags::IN,
            };
            epoll::modify(epoll, &self.stream, EventData::new_u64(key), interest)?;
        }
        Ok(true)
    }

    /// Handles an edge: writes and reads until neither can go on. A read that does not fill the buffer has emptied the
    /// socket (epoll(7)), unless the other end has ended its stream. Returns false if the connection has ended.
    fn edge(&mut self, flags: EventFlags, buffer: &mut [u8]) -> bool {
        let has_ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        // A new connection is writable, and most events of a connection say so too.
        if !has_ended && self.pending.is_empty() && !flags.contains(EventFlags::IN) {
            return true;
        }
        loop {
            if !self.pending.is_empty() {
                match self.write_out() {
                    Moved::All => {}
                    Moved::Some => return true,
                    Moved::Ended => return false,
                }
            }
            match self.echo(buffer) {
                Moved::All => {}
                Moved::Some if has_ended && self.pending.is_empty() => {}
                Moved::Some => return true,
                Moved::Ended => return false,
            }
        }
    }

    /// Reads once and writes the bytes.
    fn echo(&mut self, buffer: &mut [u8]) -> Moved {
        let n = match recv(&self.stream, &mut *buffer, RecvFlags::empty()) {
            Ok((_, 0)) => return Moved::Ended,
            Ok((_, n)) => n,
            Err(Errno::AGAIN | Errno::INTR) => return Moved::Some,
            Err(_) => return Moved::Ended,
        };
        match send(&self.stream, &buffer[..n], SendFlags::NOSIGNAL) {
            Ok(taken) if taken == n => match n == buffer.len() {
                true => Moved::All,
                false => Moved::Some,
            },
            Ok(taken) => {
                self.pending.extend_from_slice(&buffer[taken..n]);
                Moved::Some
            }
            Err(Errno::AGAIN) => {
                self.pending.extend_from_slice(&buffer[..n]);
                Moved::Some
            }
            Err(_) => Moved::Ended,
        }
    }

    /// Writes pending bytes once.
    fn write_out(&mut self) -> Moved {
        match send(&self.stream, &self.pending, SendFlags::NOSIGNAL) {
            Ok(taken) => {
                self.pending.drain(..taken);
                match self.pending.is_empty() {
                    true => Moved::All,
                    false => Moved::Some,
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => Moved::Some,
            Err(_) => Moved::Ended,
        }
    }
}

const LISTENER: u64 = u64::MAX;
