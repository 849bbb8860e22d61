//! A pipe in the kernel, through which bytes go from a socket back to it without coming into this process (splice(2)).
//!
//! Linux alone has it for sockets. Knows nothing of connections.
//!
//! Three pitfalls of splice(2) are handled where the connection splices, see `src/server/connection/splice.rs`; two are here:
//!
//! - It has no `MSG_NOSIGNAL`: to write to a peer that has gone raises SIGPIPE, which ends a process that does not
//!   ignore it. Rust's runtime ignores it, but a library cannot know whose `main` it is in. So [`Pipe::open`] looks, and
//!   refuses.
//! - A pipe has room for so many *pieces*, 16 unless told otherwise, and what came in packets of 1,448 bytes has a piece
//!   for each. So it is made larger.

use std::fmt;
use std::io;

/// What the connection's state machine asks of a pipe. It is empty between two echoes.
pub trait Pipe: Sized + fmt::Debug {
    /// Makes one, empty.
    ///
    /// # Errors
    /// `Unsupported` where there is no splicing of sockets, or where it would be dangerous; those of pipe(2).
    fn open() -> io::Result<Self>;

    /// Takes out what is in it.
    ///
    /// # Errors
    /// `WouldBlock` when that is nothing.
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
        /// The end that bytes are taken from.
        reader: OwnedFd,
        /// The end that bytes are put into.
        writer: OwnedFd,
    }

    impl KernelPipe {
        /// Moves up to `most` received bytes out of a socket.
        #[inline]
        pub fn fill(&mut self, from: impl AsFd, most: usize) -> io::Result<usize> {
            Ok(splice(from, None, &self.writer, None, most, FLAGS)?)
        }

        /// Moves up to `most` bytes into a socket.
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
            // Refused where a user's pipes may not grow. A smaller one costs more calls, and nothing else.
            let _ = fcntl_setpipe_size(&writer, CAPACITY);
            Ok(KernelPipe { reader, writer })
        }

        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Ok(rustix::io::read(&self.reader, buffer)?)
        }
    }

    /// Whether the mask of ignored signals in proc_pid_status(5) has signal 13.
    pub(super) fn ignores_sigpipe(status: &str) -> bool {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & 1 << (SIGPIPE - 1) != 0)
    }

    const SIGPIPE: u32 = 13;

    /// Never to wait for the pipe; the sockets have a flag of their own for that.
    const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

    /// 64 pieces: what a read of 64 KiB finds in packets of an Ethernet.
    const CAPACITY: usize = 64 * 4096;
}

/// Where there is none.
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
    fn an_empty_pipe_holds_nobody_up() {
        let mut pipe = KernelPipe::open().unwrap();
        let empty = pipe.read(&mut [0]).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
    }
}
