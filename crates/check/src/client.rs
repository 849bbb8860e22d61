//! A client with a blocking socket and time limits.
//!
//! A wait ends at the latest [`STEP`] after the user has interrupted the run.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket};

use crate::endpoint::Endpoint;
use crate::outcome::Problem;
use crate::words::{Text, text};

/// A connection to the server under test.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    socket: Socket,
    interrupted: &'a AtomicBool,
}

/// The bytes of a read, and how it ended.
#[derive(Debug)]
pub(crate) struct Received {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// Why no more bytes were read.
    pub(crate) end: End,
}

/// Why a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All bytes that were asked for are there.
    Complete,
    /// The server ended its stream.
    OfStream,
    /// The connection failed, mostly by a reset.
    Failed(ErrorKind),
    /// The time was over.
    TimedOut,
}

impl<'a> Client<'a> {
    /// Connects within `limit`. Small writes are sent at once (TCP_NODELAY).
    pub(crate) fn connect(
        endpoint: &Endpoint,
        limit: Duration,
        interrupted: &'a AtomicBool,
    ) -> Result<Client<'a>, Problem> {
        let until = Instant::now() + limit;
        let mut attempt = match endpoint.is_local() {
            true => FIRST_ATTEMPT,
            false => limit,
        };
        loop {
            let began = Instant::now();
            let wait = attempt.min(until.saturating_duration_since(began));
            let (socket, address) = endpoint.socket()?;
            match Client::connect_with(socket, &address, wait.max(SHORTEST), interrupted) {
                // The backlog is full, and the kernel itself tries again only after 1 s (RFC 6298). Within this machine
                // an answer comes at once, so another socket is sooner.
                Err(Problem::Failed(_))
                    if began.elapsed() >= wait / 2 && Instant::now() < until =>
                {
                    attempt *= 2;
                }
                connected => return connected,
            }
        }
    }

    /// Connects with a socket whose options are set already.
    pub(crate) fn connect_with(
        socket: Socket,
        address: &SockAddr,
        limit: Duration,
        interrupted: &'a AtomicBool,
    ) -> Result<Client<'a>, Problem> {
        let client = Client {
            socket,
            interrupted,
        };
        client.check_interruption()?;
        let connected = match address.is_unix() {
            true => client.connect_unix(address, limit),
            false => client.socket.connect_timeout(address, limit),
        };
        match connected {
            Ok(()) => {}
            // Limits of this machine, and not of the server.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => return Err(error.into()),
            Err(error) => {
                return Err(Problem::Failed(text!(
                    "no connection: {error}",
                    "接続できない: {error}"
                )));
            }
        }
        if address.is_ipv4() || address.is_ipv6() {
            client.socket.set_tcp_nodelay(true)?;
        }
        Ok(client)
    }

    /// Connects a Unix-domain socket. A nonblocking connect(2) fails with EAGAIN while the backlog is full. A blocking
    /// one waits for as long as SO_SNDTIMEO says (unix(7), socket(7)).
    fn connect_unix(&self, address: &SockAddr, limit: Duration) -> io::Result<()> {
        self.socket.set_write_timeout(Some(limit))?;
        self.socket.connect(address)
    }

    /// Returns the socket, for options.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Returns the TCP address of this end.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()?.as_socket()
    }

    /// Sends all bytes within `limit`.
    pub(crate) fn send(&self, bytes: &[u8], limit: Duration) -> Result<(), Problem> {
        let until = Instant::now() + limit;
        let sent = self.send_until(bytes, until)?;
        if sent == bytes.len() {
            return Ok(());
        }
        let all = bytes.len();
        let seconds = limit.as_secs_f64();
        Err(Problem::Failed(text!(
            "the server took only {sent} of {all} bytes within {seconds:.1} s",
            "サーバーは {seconds:.1} 秒以内に {all} バイト中 {sent} バイトしか受け取らなかった"
        )))
    }

    /// Sends bytes until all are sent or the time is over. Returns how many were sent.
    ///
    /// # Errors
    /// The connection failed: [`Problem::Failed`].
    pub(crate) fn send_until(&self, bytes: &[u8], until: Instant) -> Result<usize, Problem> {
        let mut sent = 0;
        while sent < bytes.len() {
            self.check_interruption()?;
            let Some(wait) = step(until) else { break };
            self.socket.set_write_timeout(Some(wait))?;
            match (&self.socket).write(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(error) if is_over(&error) => {}
                Err(error) => return Err(broken(&error)),
            }
        }
        Ok(sent)
    }

    /// Sends copies of `bytes` until the server and the kernel take nothing more for `quiet`, or until `most` bytes are
    /// sent. Returns how many were sent.
    pub(crate) fn send_what_is_taken(
        &self,
        bytes: &[u8],
        most: usize,
        quiet: Duration,
    ) -> Result<usize, Problem> {
        let mut sent = 0;
        while sent < most {
            let at = sent % bytes.len();
            let chunk = &bytes[at..bytes.len().min(at + most - sent)];
            match self.send_until(chunk, Instant::now() + quiet)? {
                0 => break,
                n => sent += n,
            }
        }
        Ok(sent)
    }

    /// Sends as many bytes as the kernel takes without waiting. Returns how many were sent.
    ///
    /// # Errors
    /// The connection failed: [`Problem::Failed`].
    pub(crate) fn send_now(&self, bytes: &[u8]) -> Result<usize, Problem> {
        self.check_interruption()?;
        self.socket.set_nonblocking(true)?;
        let sent = (&self.socket).write(bytes);
        self.socket.set_nonblocking(false)?;
        match sent {
            Ok(n) => Ok(n),
            Err(error) if is_over(&error) => Ok(0),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Reads `n` bytes. The time counts from the start.
    pub(crate) fn receive(&self, n: usize, limit: Duration) -> Result<Received, Problem> {
        let until = Instant::now() + limit;
        self.receive_while(n, |_| until)
    }

    /// Reads `n` bytes. The time counts from the last byte.
    pub(crate) fn receive_steadily(
        &self,
        n: usize,
        silence: Duration,
    ) -> Result<Received, Problem> {
        self.receive_while(n, |last| last + silence)
    }

    /// Reads to the end of the server's stream, or until `most` + 1 bytes are there: the last one shows a surplus.
    /// `silence` is the longest time without a byte.
    pub(crate) fn receive_to_the_end(
        &self,
        most: usize,
        silence: Duration,
    ) -> Result<Received, Problem> {
        self.receive_while(most + 1, |last| last + silence)
    }

    fn receive_while(
        &self,
        n: usize,
        until: impl Fn(Instant) -> Instant,
    ) -> Result<Received, Problem> {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; n.min(64 * 1024)];
        let mut last = Instant::now();
        let end = loop {
            if bytes.len() == n {
                break End::Complete;
            }
            self.check_interruption()?;
            let Some(wait) = step(until(last)) else {
                break End::TimedOut;
            };
            self.socket.set_read_timeout(Some(wait))?;
            let room = buffer.len().min(n - bytes.len());
            match (&self.socket).read(&mut buffer[..room]) {
                Ok(0) => break End::OfStream,
                Ok(read) => {
                    bytes.extend_from_slice(&buffer[..read]);
                    last = Instant::now();
                }
                Err(error) if is_over(&error) => {}
                Err(error) => break End::Failed(error.kind()),
            }
        };
        Ok(Received { bytes, end })
    }

    /// Sends bytes within `limit`, and then reads their echo, which must be right and complete within `limit`.
    pub(crate) fn ask(&self, bytes: &[u8], limit: Duration) -> Result<(), Problem> {
        self.send(bytes, limit)?;
        self.receive(bytes.len(), limit)?.must_be(bytes)
    }

    /// Sends bytes and reads their echo at the same time. Returns what came. The time counts from the last byte that
    /// moved in either direction.
    pub(crate) fn exchange(&self, bytes: &[u8], silence: Duration) -> Result<Received, Problem> {
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| self.send_steadily(bytes, silence));
            let received = self.receive_steadily(bytes.len(), silence);
            // A server that sends no more may also take no more. Then the writer ends by its own limit.
            match writer.join() {
                Ok(sent) => sent.and(received),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn send_steadily(&self, bytes: &[u8], silence: Duration) -> Result<(), Problem> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.send_until(&bytes[sent..], Instant::now() + silence) {
                Ok(0) | Err(Problem::Failed(_)) => break,
                Ok(n) => sent += n,
                Err(other) => return Err(other),
            }
        }
        // What was not sent does not come back, and the reader says so.
        Ok(())
    }

    /// Ends the stream to the server (SHUT_WR).
    pub(crate) fn end(&self) -> Result<(), Problem> {
        match self.socket.shutdown(Shutdown::Write) {
            Ok(()) => Ok(()),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Closes the connection with a reset (SO_LINGER with a time of 0: socket(7)).
    pub(crate) fn reset(self) -> Result<(), Problem> {
        self.socket.set_linger(Some(Duration::ZERO))?;
        Ok(())
    }

    /// Sends one urgent byte (MSG_OOB).
    pub(crate) fn send_urgent(&self, byte: u8) -> Result<(), Problem> {
        match self.socket.send_out_of_band(&[byte]) {
            Ok(_) => Ok(()),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Whether the server's stream has ended or failed, without waiting and without taking bytes.
    pub(crate) fn is_over(&self) -> Result<bool, Problem> {
        Ok(match self.peek()? {
            Ok(n) => n == 0,
            Err(error) => !is_over(&error),
        })
    }

    /// Whether bytes of the server are there, without waiting and without taking them.
    pub(crate) fn is_answered(&self) -> Result<bool, Problem> {
        Ok(self.peek()?.is_ok_and(|n| n > 0))
    }

    fn peek(&self) -> Result<io::Result<usize>, Problem> {
        self.socket.set_nonblocking(true)?;
        let seen = self.socket.peek(&mut [MaybeUninit::uninit()]);
        self.socket.set_nonblocking(false)?;
        Ok(seen)
    }

    fn check_interruption(&self) -> Result<(), Problem> {
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(Problem::Interrupted),
            false => Ok(()),
        }
    }
}

impl Received {
    /// Fails unless the bytes are exactly these.
    pub(crate) fn must_be(&self, expected: &[u8]) -> Result<(), Problem> {
        match self.difference(expected) {
            None => Ok(()),
            Some(what) => Err(Problem::Failed(what)),
        }
    }

    /// Fails unless the bytes are exactly these, and the server has ended its stream after them.
    pub(crate) fn must_be_all(&self, expected: &[u8]) -> Result<(), Problem> {
        self.must_be(expected)?;
        if self.end == End::OfStream {
            return Ok(());
        }
        let how = self.end.words();
        let (en, ja, all) = (how.en, how.ja, expected.len());
        Err(Problem::Failed(text!(
            "all {all} bytes came, and then {en} instead of the end of the stream",
            "{all} バイトすべてが届いたが、その後はストリームの終わりではなく、{ja}"
        )))
    }

    /// Returns how many of the expected bytes are missing at this place, if the received bytes go on behind them.
    fn missing_at(&self, at: usize, expected: &[u8]) -> Option<usize> {
        // So many bytes in a row are equal by chance in one of 2^64 places.
        const ENOUGH: usize = 8;
        let next = self.bytes.get(at..at + ENOUGH)?;
        let rest = expected.get(at..)?;
        rest.windows(ENOUGH).position(|window| window == next)
    }

    /// Describes the first difference to these bytes; `None` if there is none.
    fn difference(&self, expected: &[u8]) -> Option<Text> {
        let (came, all) = (self.bytes.len(), expected.len());
        let pairs = self.bytes.iter().zip(expected);
        if let Some((at, (&byte, &sent))) = pairs.enumerate().find(|(_, (a, b))| a != b) {
            if let Some(n) = self.missing_at(at, expected) {
                return Some(text!(
                    "{n} bytes are missing after byte {at} of {all}, and what follows them came",
                    "{all} バイト中 {at} 番目のバイトの後に {n} バイトが欠けており、その続きは届いた"
                ));
            }
            return Some(text!(
                "byte {at} of {all} came back as 0x{byte:02x}, and 0x{sent:02x} was sent",
                "{all} バイト中 {at} 番目のバイトは 0x{byte:02x} で戻った (送ったのは 0x{sent:02x})"
            ));
        }
        if came > all {
            return Some(text!(
                "more than the {all} bytes that were sent came back",
                "送った {all} バイトより多く戻ってきた"
            ));
        }
        let how = self.end.words();
        let (en, ja) = (how.en, how.ja);
        (came < all).then(|| {
            text!(
                "{came} of {all} bytes came back, and then {en}",
                "{all} バイト中 {came} バイトが戻り、その後は{ja}"
            )
        })
    }
}

impl End {
    /// Describes the end: "…, and then …".
    fn words(self) -> Text {
        match self {
            End::Complete => text!("more bytes", "さらにバイトが届いた"),
            End::OfStream => text!("the end of the stream", "ストリームの終わりが来た"),
            End::Failed(ErrorKind::ConnectionReset) => text!("a reset", "リセットが来た"),
            End::Failed(kind) => text!("an error ({kind})", "エラー ({kind}) が起きた"),
            End::TimedOut => text!("nothing more", "何も来なかった"),
        }
    }
}

/// Returns how long the next call may wait; `None` if the time is over.
fn step(until: Instant) -> Option<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    // A timeout of 0 would mean no timeout (SO_RCVTIMEO: socket(7)).
    (left > Duration::ZERO).then(|| left.clamp(Duration::from_micros(100), STEP))
}

/// Whether a call ended because its time was over.
fn is_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

fn broken(error: &io::Error) -> Problem {
    Problem::Failed(text!(
        "the connection broke while the client sent: {error}",
        "クライアントの送信中に接続が切れた: {error}"
    ))
}

/// How long the first attempt to connect to a server on this machine may take. Each further one may take twice as long.
const FIRST_ATTEMPT: Duration = Duration::from_millis(10);

/// The shortest time for an attempt: a time of 0 is an error.
const SHORTEST: Duration = Duration::from_millis(1);

/// The longest wait of a single call.
const STEP: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_bytes_are_told_from_wrong_bytes() {
        let sent: Vec<u8> = (0..100).collect();
        let difference = |bytes: Vec<u8>| {
            let end = End::TimedOut;
            Received { bytes, end }.difference(&sent).unwrap().en
        };
        let without_ten = [&sent[..40], &sent[50..]].concat();
        let text = difference(without_ten);
        assert!(
            text.starts_with("10 bytes are missing after byte 40 of 100"),
            "{text}"
        );
        let mut wrong = sent.clone();
        wrong[40] = 0;
        assert_eq!(
            difference(wrong),
            "byte 40 of 100 came back as 0x00, and 0x28 was sent"
        );
        let text = difference(sent[..40].to_vec());
        assert!(text.starts_with("40 of 100 bytes came back"), "{text}");
    }
}
