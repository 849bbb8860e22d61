//! A pipe in the kernel: bytes go from a socket through the pipe back to the socket, and do not enter this process
//! (splice(2)).
//!
//! Only Linux can splice sockets. This module contains nothing about connections.
//!
//! `src/server/connection/splice.rs` handles three pitfalls of splice(2). This module handles two more:
//!
//! - splice(2) has no `MSG_NOSIGNAL`. A write to a peer that has closed its socket raises SIGPIPE, which ends a process
//!   that does not ignore it. Rust's runtime ignores it, but a library may run in a program with another runtime. So
//!   [`Pipe::open`] checks this, and fails if SIGPIPE is not ignored.
//! - A pipe holds a limited number of *pieces*, 16 by default. Each received packet of 1,448 bytes takes a piece of its
//!   own. So [`Pipe::open`] makes the pipe larger.

use std::fmt;
use std::io;

/// A pipe, as the connection's state machine uses it. The pipe is empty between two passes.
pub trait Pipe: Sized + fmt::Debug {
    /// Creates an empty pipe.
    ///
    /// # Errors
    /// `Unsupported` if the system cannot splice sockets, or if this process does not ignore SIGPIPE. The errors of
    /// pipe(2), and of reading `/proc/self/status`.
    fn open() -> io::Result<Self>;

    /// Reads bytes out of the pipe into `buffer`, and returns their number.
    ///
    /// # Errors
    /// `WouldBlock` if the pipe is empty, and the other errors of read(2).
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

#[cfg(target_os = "linux")]
pub use linux::KernelPipe;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

    use super::Pipe;

    /// A pipe of the real kernel.
    #[derive(Debug)]
    pub struct KernelPipe {
        /// The end from which bytes are read.
        reader: OwnedFd,
        /// The end into which bytes are written.
        writer: OwnedFd,
    }

    impl KernelPipe {
        /// Moves up to `most` received bytes from a socket into the pipe. See
        /// [`Socket::splice_in`](crate::stream::Socket::splice_in).
        #[inline]
        pub fn fill(&mut self, from: impl AsFd, most: usize) -> io::Result<usize> {
            Ok(splice(from, None, &self.writer, None, most, FLAGS)?)
        }

        /// Moves up to `most` bytes from the pipe into a socket. See
        /// [`Socket::splice_out`](crate::stream::Socket::splice_out).
        #[inline]
        pub fn empty(&mut self, into: impl AsFd, most: usize) -> io::Result<usize> {
            Ok(splice(&self.reader, None, into, None, most, FLAGS)?)
        }
    }

    impl Pipe for KernelPipe {
        fn open() -> io::Result<KernelPipe> {
            let status = std::fs::read_to_string("/proc/self/status")?;
            if !ignores_sigpipe(&status) {
                let why = "this process does not ignore SIGPIPE, which splice(2) raises";
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
            let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
            // The kernel may refuse this (pipe(7), `pipe-max-size` and `pipe-user-pages-soft`). A smaller pipe only
            // needs more calls.
            let _ = fcntl_setpipe_size(&writer, CAPACITY);
            Ok(KernelPipe { reader, writer })
        }

        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Ok(rustix::io::read(&self.reader, buffer)?)
        }
    }

    /// Whether SIGPIPE is in the mask of ignored signals, `SigIgn` (proc_pid_status(5)). `status` is the text of
    /// `/proc/self/status`.
    pub(super) fn ignores_sigpipe(status: &str) -> bool {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & 1 << (SIGPIPE - 1) != 0)
    }

    /// The number of this signal on Linux.
    const SIGPIPE: u32 = 13;

    /// `NONBLOCK`: a splice must not wait for the pipe. The sockets have `O_NONBLOCK` for themselves.
    const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

    /// The capacity in bytes. It makes 64 pieces, enough for 64 KiB in Ethernet packets of 1,448 bytes.
    const CAPACITY: usize = 64 * 4096;
}

/// A pipe on a system that cannot splice sockets: there is no value of this type.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub enum KernelPipe {}

#[cfg(not(target_os = "linux"))]
impl Pipe for KernelPipe {
    fn open() -> io::Result<KernelPipe> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::linux::ignores_sigpipe;
    use super::*;

    #[test]
    fn a_process_that_dies_of_sigpipe_does_not_splice() {
        assert!(ignores_sigpipe(
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001000\n"
        ));
        assert!(!ignores_sigpipe(
            "SigIgn:\t0000000000000000\nSigCgt:\t0000000000001000\n"
        ));
        assert!(!ignores_sigpipe("SigIgn:\tnonsense\n"));
        assert!(!ignores_sigpipe(""));
    }

    #[test]
    fn a_read_of_an_empty_pipe_returns_would_block() {
        let mut pipe = KernelPipe::open().unwrap();
        let empty = pipe.read(&mut [0]).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
    }
}
