//! The limit to compare with: the least that an epoll echo server can do, level-triggered, one read and one write a
//! message, and no thought for peers that do not read. Not an example to follow.

use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, accept_with, send, sockopt};

/// Serves for ever, or until it is killed.
pub(crate) fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    sockopt::set_tcp_nodelay(&listener, true)?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;

    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let readable = EventFlags::IN;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), readable)?;
    let mut streams: Vec<Option<OwnedFd>> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            if event.data.u64() == LISTENER {
                let stream = accept_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
                let place = stream.as_raw_fd() as usize;
                epoll::add(&epoll, &stream, EventData::new_u64(place as u64), readable)?;
                if streams.len() <= place {
                    streams.resize_with(place + 1, || None);
                }
                streams[place] = Some(stream);
                continue;
            }
            let place = event.data.u64() as usize;
            let Some(stream) = &streams[place] else {
                continue;
            };
            if !echo_once(stream, &mut buffer) {
                streams[place] = None;
            }
        }
    }
}

/// Whether the connection goes on.
fn echo_once(stream: impl AsFd, buffer: &mut [u8]) -> bool {
    match rustix::net::recv(&stream, &mut *buffer, rustix::net::RecvFlags::empty()) {
        Ok((_, 0)) => false,
        Ok((_, n)) => send(&stream, &buffer[..n], SendFlags::NOSIGNAL) == Ok(n),
        Err(Errno::AGAIN | Errno::INTR) => true,
        Err(_) => false,
    }
}

const LISTENER: u64 = u64::MAX;
