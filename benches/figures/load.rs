//! Clients in ping-pong: each has one message under way, and every byte is compared.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// So many connections to one server.
pub(crate) struct Clients {
    streams: Vec<TcpStream>,
    epoll: std::os::fd::OwnedFd,
}

impl Clients {
    pub(crate) fn connect(address: SocketAddr, count: usize) -> io::Result<Clients> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let streams = (0..count)
            .map(|n| {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(30)))?;
                epoll::add(
                    &epoll,
                    &stream,
                    EventData::new_u64(n as u64),
                    EventFlags::IN,
                )?;
                Ok(stream)
            })
            .collect::<io::Result<_>>()?;
        Ok(Clients { streams, epoll })
    }

    /// Messages of `size` bytes to and fro for `duration`; returns how many came back.
    ///
    /// # Panics
    /// If one comes back wrong.
    pub(crate) fn ping_pong(&self, size: usize, duration: Duration) -> io::Result<u64> {
        let message: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
        let mut echo = vec![0; size];
        let start = Instant::now();
        let mut under_way = 0;
        for mut stream in &self.streams {
            stream.write_all(&message)?;
            under_way += 1;
        }
        let mut messages = 0;
        let mut events = Vec::with_capacity(self.streams.len());
        while under_way > 0 {
            events.clear();
            epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                None,
            )?;
            let time_is_up = start.elapsed() >= duration;
            for event in &events {
                let mut stream = &self.streams[event.data.u64() as usize];
                stream.read_exact(&mut echo)?;
                assert!(echo == message, "a wrong echo");
                messages += 1;
                if time_is_up {
                    under_way -= 1;
                } else {
                    stream.write_all(&message)?;
                }
            }
        }
        Ok(messages)
    }
}
