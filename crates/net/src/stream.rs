//! A stream and its operations: read, write, peek, splice, end. TCP and Unix-domain.
//!
//! No call blocks. `socket.rs` sets the options of accepted streams, `connect.rs` those of connecting streams.

use std::io::{self, Read, Write};
use std::net::Shutdown;
#[cfg(unix)]
use std::os::fd::AsFd;
use std::time::Duration;

use mio::event::Source;
#[cfg(unix)]
use rustix::net::RecvFlags;
use socket2::SockRef;

use crate::delivery::{self, Delivery};
use crate::pipe::{KernelPipe, Pipe};

/// A socket, as the connection's state machine uses it. No call blocks: a call that would wait returns `WouldBlock`.
pub trait Socket: Read + Write {
    /// The pipe through which the socket can splice bytes. They do not enter this process.
    type Pipe: Pipe;

    /// Moves up to `most` received bytes into the pipe (splice(2)) and returns their number. 0 can be the end of the
    /// stream, but only a read proves it.
    ///
    /// Fewer bytes than `most` prove nothing about the receive queue: the pipe may be full. `WouldBlock` does not
    /// always mean that the queue is empty: splice(2) also returns it in front of an urgent byte.
    ///
    /// # Errors
    /// The errors of [`Read::read`], and further errors if the system cannot splice this socket.
    fn splice_in(&mut self, pipe: &mut Self::Pipe, most: usize) -> io::Result<usize>;

    /// Moves up to `held` bytes from the pipe into the socket and returns their number. `held` is the number of bytes
    /// in the pipe.
    ///
    /// # Errors
    /// The errors of [`Write::write`].
    fn splice_out(&mut self, pipe: &mut Self::Pipe, held: usize) -> io::Result<usize>;

    /// Copies the next bytes without consuming them (`MSG_PEEK`), and returns their number. 0 is the end of the stream.
    ///
    /// # Errors
    /// The errors of [`Read::read`].
    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Ends our stream to the peer (`SHUT_WR`). The peer still gets all bytes that were written before.
    ///
    /// # Errors
    /// `NotConnected` if the peer has reset the connection.
    fn shut_down_writing(&mut self) -> io::Result<()>;

    /// Returns the number of bytes in the receive queue (`FIONREAD`).
    fn received(&self) -> u32;

    /// Returns how much of our stream the peer's kernel has acknowledged; `None` if the system does not report it.
    /// Linux reports it for TCP.
    fn delivery(&self) -> Option<Delivery>;

    /// Whether the processor that runs this thread also handled the peer's last packet (`SO_INCOMING_CPU`, socket(7)).
    /// Then the peer probably runs on the same processor. `false` if the system does not report it.
    fn shares_our_processor(&self) -> bool;

    /// Returns the pending error of the socket (`SO_ERROR`) and clears it: a later call does not return it again.
    fn take_error(&self) -> Option<io::Error>;

    /// Sets the time after which the kernel ends the connection if the peer acknowledges nothing (`TCP_USER_TIMEOUT`).
    /// `None` is the system's default. It does nothing on a system without this option.
    fn give_up_after(&mut self, time: Option<Duration>);

    /// Makes the following close discard all undelivered bytes and reset the connection (`SO_LINGER` of 0).
    fn reset_on_close(&mut self);
}

/// A stream of the real kernel.
#[derive(Debug)]
pub enum Stream {
    /// A TCP connection.
    Tcp(mio::net::TcpStream),
    #[cfg(unix)]
    /// A Unix-domain connection.
    Unix(mio::net::UnixStream),
}

impl Stream {
    /// Returns the source that a selector registers.
    pub fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Tcp(stream) => stream,
            #[cfg(unix)]
            Stream::Unix(stream) => stream,
        }
    }
}

impl Socket for Stream {
    type Pipe = KernelPipe;

    #[cfg(target_os = "linux")]
    #[inline(always)]
    fn splice_in(&mut self, pipe: &mut KernelPipe, most: usize) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_io(|| pipe.fill(&*stream, most)),
            Stream::Unix(stream) => stream.try_io(|| pipe.fill(&*stream, most)),
        }
    }

    #[cfg(target_os = "linux")]
    #[inline(always)]
    fn splice_out(&mut self, pipe: &mut KernelPipe, held: usize) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_io(|| pipe.empty(&*stream, held)),
            Stream::Unix(stream) => stream.try_io(|| pipe.empty(&*stream, held)),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn splice_in(&mut self, pipe: &mut KernelPipe, _: usize) -> io::Result<usize> {
        match *pipe {}
    }

    #[cfg(not(target_os = "linux"))]
    fn splice_out(&mut self, pipe: &mut KernelPipe, _: usize) -> io::Result<usize> {
        match *pipe {}
    }

    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.peek(buffer),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.try_io(|| receive(&*stream, buffer, RecvFlags::PEEK)),
        }
    }

    fn shut_down_writing(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    #[cfg(unix)]
    fn received(&self) -> u32 {
        let count = match self {
            Stream::Tcp(stream) => rustix::io::ioctl_fionread(stream),
            Stream::Unix(stream) => rustix::io::ioctl_fionread(stream),
        };
        count.map_or(0, |bytes| u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    /// Returns 64 KiB, because there is no portable way to ask. This is the size of a read buffer: a
    /// peer that sends a message only after the last echo rarely has more on its way.
    #[cfg(not(unix))]
    fn received(&self) -> u32 {
        64 * 1024
    }

    fn delivery(&self) -> Option<Delivery> {
        match self {
            Stream::Tcp(stream) => delivery::of_tcp(stream),
            // Unix-domain sockets have no acknowledgements: written bytes go directly into the peer's receive queue.
            #[cfg(unix)]
            Stream::Unix(_) => None,
        }
    }

    fn shares_our_processor(&self) -> bool {
        #[cfg(target_os = "linux")]
        if let Stream::Tcp(stream) = self {
            let theirs = SockRef::from(stream).cpu_affinity();
            return theirs.is_ok_and(|theirs| theirs == rustix::thread::sched_getcpu());
        }
        false
    }

    fn take_error(&self) -> Option<io::Error> {
        match self {
            Stream::Tcp(stream) => stream.take_error(),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.take_error(),
        }
        .unwrap_or_else(Some)
    }

    fn give_up_after(&mut self, time: Option<Duration>) {
        if let Stream::Tcp(stream) = self {
            // This fails only if the socket is not a TCP socket.
            let _ = delivery::give_up_after(&SockRef::from(&*stream), time);
        }
    }

    fn reset_on_close(&mut self) {
        let zero = Some(Duration::ZERO);
        // After a failure, the kernel goes on trying to deliver the rest, as it does without this option.
        let _ = match self {
            Stream::Tcp(stream) => SockRef::from(&*stream).set_linger(zero),
            #[cfg(unix)]
            Stream::Unix(stream) => SockRef::from(&*stream).set_linger(zero),
        };
    }
}

/// On Linux, the two calls of every echo go directly to the kernel through rustix, so they can be inlined into the
/// loop. The functions of libc cannot be inlined: see `outcome::attempt` for the cost. `try_io` shows a `WouldBlock` to
/// mio.
#[cfg(target_os = "linux")]
impl Read for Stream {
    #[inline(always)]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_io(|| receive(&*stream, buffer, RecvFlags::empty())),
            Stream::Unix(stream) => stream.try_io(|| receive(&*stream, buffer, RecvFlags::empty())),
        }
    }
}

#[cfg(target_os = "linux")]
impl Write for Stream {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use rustix::net::{SendFlags, send};
        // A write to a peer that has closed its socket must return an error, not raise SIGPIPE and end the process.
        let flags = SendFlags::NOSIGNAL;
        match self {
            Stream::Tcp(stream) => stream.try_io(|| Ok(send(&*stream, bytes, flags)?)),
            Stream::Unix(stream) => stream.try_io(|| Ok(send(&*stream, bytes, flags)?)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Calls recv(2) and returns the number of received bytes.
#[cfg(unix)]
#[inline(always)]
fn receive(socket: impl AsFd, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    let (read, _) = rustix::net::recv(socket, buffer, flags)?;
    Ok(read)
}
