//! The epoll limit: the least work that an epoll server can do for a small message.
//!
//! Level-triggered, one read and one write a message; no timeouts, no memory bounds, no statistics. Not an example to
//! follow.

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

pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
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
                let stream = accept_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
                let place = stream.as_raw_fd() as usize;
                epoll::add(
                    &epoll,
                    &stream,
                    EventData::new_u64(place as u64),
                    EventFlags::IN,
                )?;
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
            let was_pending = !client.pending.is_empty();
            let goes_on = match was_pending {
                false => client.echo(&mut buffer),
                true => client.write_out(),
            };
            let is_pending = !client.pending.is_empty();
            if !goes_on {
                clients[place] = None;
            } else if was_pending != is_pending {
                let interest = match is_pending {
                    true => EventFlags::OUT,
                    false => EventFlags::IN,
                };
                epoll::modify(&epoll, &client.stream, EventData::new_u64(key), interest)?;
            }
        }
    }
}

impl Client {
    /// Reads once and writes the bytes. Returns false if the connection has ended.
    fn echo(&mut self, buffer: &mut [u8]) -> bool {
        let n = match recv(&self.stream, &mut *buffer, RecvFlags::empty()) {
            Ok((_, 0)) => return false,
            Ok((_, n)) => n,
            Err(error) => return matches!(error, Errno::AGAIN | Errno::INTR),
        };
        match send(&self.stream, &buffer[..n], SendFlags::NOSIGNAL) {
            Ok(taken) if taken == n => true,
            Ok(taken) => {
                self.pending.extend_from_slice(&buffer[taken..n]);
                true
            }
            Err(Errno::AGAIN) => {
                self.pending.extend_from_slice(&buffer[..n]);
                true
            }
            Err(_) => false,
        }
    }

    /// Writes pending bytes. Returns false if the connection has ended.
    fn write_out(&mut self) -> bool {
        match send(&self.stream, &self.pending, SendFlags::NOSIGNAL) {
            Ok(taken) => {
                self.pending.drain(..taken);
                true
            }
            Err(error) => matches!(error, Errno::AGAIN | Errno::INTR),
        }
    }
}

const LISTENER: u64 = u64::MAX;
