//! A socket for tests that follows a script: the calls it expects, in order, with what each returns.
//!
//! A call that the script does not foresee fails the test at once, and dropping the socket asserts that the script
//! was used up: so a test pins down not only the bytes but each system call.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use net::delivery::Delivery;
use net::pipe::Pipe;
use net::stream::Socket;

#[derive(Debug)]
enum Line {
    Read(Result<Vec<u8>, ErrorKind>),
    Peek(Result<Vec<u8>, ErrorKind>),
    SpliceIn(Result<Vec<u8>, ErrorKind>),
    SpliceOut(Result<usize, ErrorKind>),
    Write(Result<usize, ErrorKind>),
    ShutDown(Result<(), ErrorKind>),
}

#[derive(Debug, Default)]
pub(crate) struct Scripted {
    script: VecDeque<Line>,
    /// All that was written, in order.
    pub(crate) written: Vec<u8>,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) shares_our_processor: bool,
    /// The error that no call has returned yet.
    pub(crate) error: Cell<Option<ErrorKind>>,
}

impl Scripted {
    pub(crate) fn new() -> Scripted {
        Scripted::default()
    }

    fn then(mut self, line: Line) -> Scripted {
        self.script.push_back(line);
        self
    }

    /// A read finds these bytes; none are the end of the stream.
    pub(crate) fn reads(self, bytes: &[u8]) -> Scripted {
        self.then(Line::Read(Ok(bytes.to_vec())))
    }

    pub(crate) fn read_fails(self, kind: ErrorKind) -> Scripted {
        self.then(Line::Read(Err(kind)))
    }

    pub(crate) fn peeks(self, bytes: &[u8]) -> Scripted {
        self.then(Line::Peek(Ok(bytes.to_vec())))
    }

    pub(crate) fn peek_fails(self, kind: ErrorKind) -> Scripted {
        self.then(Line::Peek(Err(kind)))
    }

    /// A splice puts these bytes into the pipe.
    pub(crate) fn splices_in(self, bytes: &[u8]) -> Scripted {
        self.then(Line::SpliceIn(Ok(bytes.to_vec())))
    }

    pub(crate) fn splice_in_fails(self, kind: ErrorKind) -> Scripted {
        self.then(Line::SpliceIn(Err(kind)))
    }

    /// A splice takes so many bytes out of the pipe.
    pub(crate) fn splices_out(self, n: usize) -> Scripted {
        self.then(Line::SpliceOut(Ok(n)))
    }

    pub(crate) fn splice_out_fails(self, kind: ErrorKind) -> Scripted {
        self.then(Line::SpliceOut(Err(kind)))
    }

    /// A write takes so many bytes of what it is offered.
    pub(crate) fn takes(self, n: usize) -> Scripted {
        self.then(Line::Write(Ok(n)))
    }

    pub(crate) fn write_fails(self, kind: ErrorKind) -> Scripted {
        self.then(Line::Write(Err(kind)))
    }

    pub(crate) fn shuts_down(self) -> Scripted {
        self.then(Line::ShutDown(Ok(())))
    }

    fn next(&mut self, call: &str) -> Line {
        self.script
            .pop_front()
            .unwrap_or_else(|| panic!("{call} after the end of the script"))
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
        "asked for {} bytes, and the script has {}",
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
            line => panic!("read, and the script expects {line:?}"),
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
            line => panic!("write of {bytes:?}, and the script expects {line:?}"),
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
                assert!(bytes.len() <= most, "asked for {most} bytes at the most");
                pipe.0.extend(&bytes);
                Ok(bytes.len())
            }
            line => panic!("splice in, and the script expects {line:?}"),
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
            line => panic!("splice out of {pipe:?}, and the script expects {line:?}"),
        }
    }

    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.next("peek") {
            Line::Peek(result) => Ok(copy(&result?, buffer)),
            line => panic!("peek, and the script expects {line:?}"),
        }
    }

    fn shut_down_writing(&mut self) -> io::Result<()> {
        match self.next("shutdown") {
            Line::ShutDown(result) => Ok(result?),
            line => panic!("shutdown, and the script expects {line:?}"),
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
            assert!(self.script.is_empty(), "never called: {:?}", self.script);
        }
    }
}
