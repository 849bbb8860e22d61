//! A stream, and all that is asked of one: read, write, peek, splice, end. TCP and Unix-domain alike.
//!
//! Every call answers at once. `socket.rs` sets the options of accepted streams, `connect.rs` those of connecting ones.

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

/// What the connection's state machine asks of its socket. All of it answers at once or with `WouldBlock`.
pub trait Socket: Read + Write {
    /// What its bytes can go through without coming into this process.
    type Pipe: Pipe;

    /// Moves up to `most` received bytes into the pipe (splice(2)); 0 is the end of the stream. Less than was asked for
    /// proves nothing, and `WouldBlock` is not always an empty queue: in front of an urgent byte it says so too.
    ///
    /// # Errors
    /// As [`Read::read`], and whatever says that this socket cannot be spliced.
    fn splice_in(&mut self, pipe: &mut Self::Pipe, most: usize) -> io::Result<usize>;

    /// Moves up to `held` bytes out of the pipe, which holds so many.
    ///
    /// # Errors
    /// As [`Write::write`].
    fn splice_out(&mut self, pipe: &mut Self::Pipe, held: usize) -> io::Result<usize>;

    /// Copies the next bytes without consuming them (`MSG_PEEK`); 0 is the end of the stream.
    ///
    /// # Errors
    /// As [`Read::read`].
    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Ends the stream towards the peer, who still gets everything written before (`SHUT_WR`).
    ///
    /// # Errors
    /// `NotConnected` when the peer has reset the connection.
    fn shut_down_writing(&mut self) -> io::Result<()>;

    /// How many bytes the kernel has received and nobody has read (`FIONREAD`).
    fn received(&self) -> u32;

    /// How far our stream has got to the peer's kernel; `None` where the system does not tell: it does for TCP on Linux.
    fn delivery(&self) -> Option<Delivery>;

    /// Whether the peer's last packet was handled by the processor that we run on (`SO_INCOMING_CPU`, socket(7)): then the
    /// peer probably runs there too. `false` where the system does not tell.
    fn shares_our_processor(&self) -> bool;

    /// The error that the socket has and that no call has returned yet (`SO_ERROR`). It is told once.
    fn take_error(&self) -> Option<io::Error>;

    /// For how long the kernel goes on with a peer that takes nothing (`TCP_USER_TIMEOUT`); `None` is as long as the system
    /// does by itself. Nothing happens where there is no such option.
    fn give_up_after(&mut self, time: Option<Duration>);

    /// Makes the coming close discard what is not delivered yet and reset the peer (`SO_LINGER` of 0).
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
    /// What a selector registers.
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

    /// There is no portable way to ask; one read buffer's worth is what a peer in ping-pong has under way.
    #[cfg(not(unix))]
    fn received(&self) -> u32 {
        64 * 1024
    }

    fn delivery(&self) -> Option<Delivery> {
        match self {
            Stream::Tcp(stream) => delivery::of_tcp(stream),
            // unix(7) has no acknowledgements: what is written lies in the peer's own queue.
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
            // Refused only on what is no TCP socket.
            let _ = delivery::give_up_after(&SockRef::from(&*stream), time);
        }
    }

    fn reset_on_close(&mut self) {
        let zero = Some(Duration::ZERO);
        // A failure only means that the kernel goes on trying to deliver the tail, as it would without the option.
        let _ = match self {
            Stream::Tcp(stream) => SockRef::from(&*stream).set_linger(zero),
            #[cfg(unix)]
            Stream::Unix(stream) => SockRef::from(&*stream).set_linger(zero),
        };
    }
}

/// On Linux the two calls of every echo go to the kernel directly, through rustix, so that they can be inlined into the
/// loop: see `outcome::attempt` for what a function of their own, such as libc's, costs. `try_io` lets mio see a `WouldBlock`.
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
        // A peer that is gone is an error to return, not a SIGPIPE to die of.
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

/// recv(2).
#[cfg(unix)]
#[inline(always)]
fn receive(socket: impl AsFd, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    let (read, _) = rustix::net::recv(socket, buffer, flags)?;
    Ok(read)
}
