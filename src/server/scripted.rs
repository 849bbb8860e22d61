//! A socket for tests that follows a script: a list of the expected calls, in order, with the result of each.
//!
//! A call that is not next in the script fails the test at once. Dropping the socket asserts that no call of the script
//! is left. So a test checks each system call, and not only the bytes.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use net::delivery::Delivery;
use net::pipe::Pipe;
use net::stream::Socket;

/// One line of the script: a call and its result. A `Vec<u8>` holds the bytes that the call returns. A `usize` is the
/// number of bytes that the call accepts.
#[derive(Debug)]
enum Line {
    Read(Result<Vec<u8>, ErrorKind>),
    Peek(Result<Vec<u8>, ErrorKind>),
    SpliceIn(Result<Vec<u8>, ErrorKind>),
    SpliceOut(Result<usize, ErrorKind>),
    Write(Result<usize, ErrorKind>),
    ShutDown(Result<(), ErrorKind>),
}

/// The socket.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    /// The calls that are still to come.
    script: VecDeque<Line>,
    /// All bytes that were written, in order.
    pub(crate) written: Vec<u8>,
    /// The answer to [`Socket::delivery`].
    pub(crate) delivery: Option<Delivery>,
    /// The answer to [`Socket::shares_our_processor`].
    pub(crate) shares_our_processor: bool,
    /// The pending error (`SO_ERROR`), for [`Socket::take_error`].
    pub(crate) error: Cell<Option<ErrorKind>>,
}

impl Scripted {
    pub(crate) fn new() -> Scripted {
        Scripted::default()
    }

    /// Adds a line to the script.
    fn then(mut self, line: Line) -> Scripted {
        self.script.push_back(line);
        self
    }

    /// Expects a read, which returns these bytes. No bytes mean the end of the stream.
    pub(crate) fn reads(self, bytes: &[u8]) -> Scripted {
        self.then(Line::Read(Ok(bytes.to_vec())))
    }

    /// Expects a read, which fails.
    pub(crate) fn read_fails(self, kind: ErrorKind) -> Scripted {
        self.then(Line::Read(Err(kind)))
    }

    /// Expects a peek, which returns these bytes. No bytes mean the end of the stream.
    pub(crate) fn peeks(self, bytes: &[u8]) -> Scripted {
        self.then(Line::Peek(Ok(bytes.to_vec())))
    }

    /// Expects a peek, which fails.
    pub(crate) fn peek_fails(self, kind: ErrorKind) -> Scripted {
        self.then(Line::Peek(Err(kind)))
    }

    /// Expects a splice from the socket, which moves these bytes into the pipe.
    pub(crate) fn splices_in(self, bytes: &[u8]) -> Scripted {
        self.then(Line::SpliceIn(Ok(bytes.to_vec())))
    }

    /// Expects a splice from the socket, which fails.
    pub(crate) fn splice_in_fails(self, kind: ErrorKind) -> Scripted {
        self.then(Line::SpliceIn(Err(kind)))
    }

    /// Expects a splice into the socket, which moves `n` bytes out of the pipe.
    pub(crate) fn splices_out(self, n: usize) -> Scripted {
        self.then(Line::SpliceOut(Ok(n)))
    }

    /// Expects a splice into the socket, which fails.
    pub(crate) fn splice_out_fails(self, kind: ErrorKind) -> Scripted {
        self.then(Line::SpliceOut(Err(kind)))
    }

    /// Expects a write, of which the kernel accepts `n` bytes.
    pub(crate) fn takes(self, n: usize) -> Scripted {
        self.then(Line::Write(Ok(n)))
    }

    /// Expects a write, which fails.
    pub(crate) fn write_fails(self, kind: ErrorKind) -> Scripted {
        self.then(Line::Write(Err(kind)))
    }

    /// Expects the end of our stream (`SHUT_WR`).
    pub(crate) fn shuts_down(self) -> Scripted {
        self.then(Line::ShutDown(Ok(())))
    }

    /// Takes the next line of the script.
    fn next(&mut self, call: &str) -> Line {
        self.script
            .pop_front()
            .unwrap_or_else(|| panic!("unexpected {call}: the script has no more calls"))
    }
}

/// A pipe in memory.
#[derive(Debug, Default)]
pub(crate) struct Bytes(pub(crate) VecDeque<u8>);

impl Pipe for Bytes {
    fn open() -> io::Result<Bytes> {
        Ok(Bytes::default())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.0, buffer)
    }
}

fn copy(bytes: &[u8], buffer: &mut [u8]) -> usize {
    assert!(
        bytes.len() <= buffer.len(),
        "the call asks for {} bytes, but the script returns {}",
        buffer.len(),
        bytes.len()
    );
    buffer[..bytes.len()].copy_from_slice(bytes);
    bytes.len()
}

impl Read for Scripted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.next("read") {
            Line::Read(result) => Ok(copy(&result?, buffer)),
            line => panic!("unexpected read: the script expects {line:?}"),
        }
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.next("write") {
            Line::Write(result) => {
                let n = result?;
                self.written.extend_from_slice(&bytes[..n]);
                Ok(n)
            }
            line => panic!("unexpected write of {bytes:?}: the script expects {line:?}"),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Scripted {
    type Pipe = Bytes;

    fn splice_in(&mut self, pipe: &mut Bytes, most: usize) -> io::Result<usize> {
        assert!(pipe.0.is_empty(), "the pipe still holds {pipe:?}");
        match self.next("splice in") {
            Line::SpliceIn(result) => {
                let bytes = result?;
                assert!(
                    bytes.len() <= most,
                    "the splice asks for at most {most} bytes, but the script returns {}",
                    bytes.len()
                );
                pipe.0.extend(&bytes);
                Ok(bytes.len())
            }
            line => panic!("unexpected splice in: the script expects {line:?}"),
        }
    }

    fn splice_out(&mut self, pipe: &mut Bytes, held: usize) -> io::Result<usize> {
        assert_eq!(held, pipe.0.len());
        match self.next("splice out") {
            Line::SpliceOut(result) => {
                let n = result?;
                self.written.extend(pipe.0.drain(..n));
                Ok(n)
            }
            line => panic!("unexpected splice out of {pipe:?}: the script expects {line:?}"),
        }
    }

    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.next("peek") {
            Line::Peek(result) => Ok(copy(&result?, buffer)),
            line => panic!("unexpected peek: the script expects {line:?}"),
        }
    }

    fn shut_down_writing(&mut self) -> io::Result<()> {
        match self.next("shutdown") {
            Line::ShutDown(result) => Ok(result?),
            line => panic!("unexpected shutdown: the script expects {line:?}"),
        }
    }

    fn received(&self) -> u32 {
        0
    }

    fn delivery(&self) -> Option<Delivery> {
        self.delivery
    }

    fn shares_our_processor(&self) -> bool {
        self.shares_our_processor
    }

    fn take_error(&self) -> Option<io::Error> {
        self.error.take().map(io::Error::from)
    }

    fn give_up_after(&mut self, _: Option<std::time::Duration>) {}

    fn reset_on_close(&mut self) {}
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(
                self.script.is_empty(),
                "calls that were not made: {:?}",
                self.script
            );
        }
    }
}
