//! The interface of a program to the network: the traits that the real kernel's sockets implement too.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use net::connect::{Attempt, ConnectOptions, Connector, Target, ThreadTimes, Wake};
use net::delivery::Delivery;
use net::pipe::KernelPipe;
use net::poller::{Event, Poller, Signal};
use net::stream::Socket;

use super::network::{CLIENT, Network, SERVER};

/// The selector of one host.
#[derive(Debug)]
pub struct TimedPoller {
    network: Network,
    host: usize,
}

/// The listening socket of the server's host.
#[derive(Debug)]
pub struct TimedListener(());

/// One end of a connection. Dropping it closes it.
#[derive(Debug)]
pub struct TimedStream {
    network: Network,
    /// The number of the connection.
    connection: usize,
    /// The host of this end.
    end: usize,
}

/// The waker of a host.
#[derive(Debug)]
pub struct TimedWaker {
    network: Network,
    host: usize,
}

/// The name of a peer, such as "connection 3".
#[derive(Debug)]
pub struct Name(usize);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.0)
    }
}

impl Network {
    /// Makes the poller of the client's program. Call this once, before the programs run.
    #[must_use]
    pub fn client(&self) -> TimedPoller {
        TimedPoller::new(self.clone(), CLIENT)
    }

    /// Makes the poller of the server's program. Call this once, before the programs run. When the client's program has
    /// ended, the server's program gets [`Signal::Stop`].
    #[must_use]
    pub fn server(&self) -> TimedPoller {
        TimedPoller::new(self.clone(), SERVER)
    }
}

impl TimedPoller {
    fn new(network: Network, host: usize) -> TimedPoller {
        network.state().add_handle(host);
        TimedPoller { network, host }
    }

    /// Opens the listening socket of the server's host.
    #[must_use]
    pub fn listener(&self) -> TimedListener {
        TimedListener(())
    }
}

impl Drop for TimedPoller {
    fn drop(&mut self) {
        let host = self.host;
        self.network
            .last_call(host, |state| state.drop_handle(host));
    }
}

impl Connector for TimedPoller {
    type Waker = TimedWaker;

    fn waker(&self) -> io::Result<TimedWaker> {
        Ok(TimedWaker {
            network: self.network.clone(),
            host: self.host,
        })
    }

    fn connect(
        &mut self,
        _: &Target,
        _: Option<IpAddr>,
        _: &ConnectOptions,
    ) -> io::Result<(TimedStream, u64)> {
        let began_ns = self.now_ns();
        let connection = self.network.call(CLIENT, |state| state.connect())?;
        let stream = TimedStream {
            network: self.network.clone(),
            connection,
            end: CLIENT,
        };
        Ok((stream, began_ns))
    }

    fn attempt(&self, stream: &TimedStream) -> Attempt {
        self.network
            .call(self.host, |state| state.attempt(stream.connection))
    }

    /// Waits until `lead_time` before the end of `wait`, to the nanosecond.
    fn poll_punctually(
        &mut self,
        events: &mut Vec<Event>,
        wait: Duration,
        lead_time: Duration,
    ) -> io::Result<()> {
        let asleep_ns = in_ns(wait.saturating_sub(lead_time));
        self.network.poll(self.host, events, Some(asleep_ns));
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        self.network.state().read_clock(self.host)
    }

    fn thread_times(&self) -> ThreadTimes {
        self.network.state().thread_times(self.host)
    }
}

impl Poller for TimedPoller {
    type Listener = TimedListener;
    type Stream = TimedStream;
    type PeerName = Name;

    /// Rounds the timeout up to whole milliseconds, as mio does for epoll_wait(2).
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let timeout_ns = timeout.map(|timeout| in_ns(timeout).div_ceil(MS).saturating_mul(MS));
        self.network.poll(self.host, events, timeout_ns);
        Ok(())
    }

    fn now(&self) -> Instant {
        self.network.state().instant(self.host)
    }

    fn signal(&mut self) -> Option<Signal> {
        self.network.state().take_signal(self.host)
    }

    fn accept(&mut self, _: &mut TimedListener) -> io::Result<(TimedStream, Name)> {
        let connection = self.network.call(SERVER, |state| state.accept())?;
        let stream = TimedStream {
            network: self.network.clone(),
            connection,
            end: SERVER,
        };
        Ok((stream, Name(connection)))
    }

    fn backlog_length(&self, _: &TimedListener) -> Option<usize> {
        Some(self.network.state().backlog_length())
    }

    fn register_listener(&mut self, _: &mut TimedListener, key: usize) -> io::Result<()> {
        self.network
            .call(SERVER, |state| state.register_listener(Some(key)));
        Ok(())
    }

    fn register_stream(&mut self, stream: &mut TimedStream, key: usize) -> io::Result<()> {
        let (connection, host) = (stream.connection, self.host);
        self.network
            .call(host, |state| state.register(connection, host, key));
        Ok(())
    }

    fn deregister_listener(&mut self, _: &mut TimedListener) {
        self.network
            .call(SERVER, |state| state.register_listener(None));
    }

    fn deregister_stream(&mut self, stream: &mut TimedStream) {
        let (connection, host) = (stream.connection, self.host);
        self.network
            .call(host, |state| state.deregister(connection, host));
    }

    fn short_read_means_empty(&self, _: &TimedStream) -> bool {
        true
    }
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (connection, end) = (self.connection, self.end);
        self.network
            .call(end, |state| state.read(connection, end, buffer, true))
    }
}

impl Write for TimedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (connection, end) = (self.connection, self.end);
        self.network
            .call(end, |state| state.write(connection, end, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for TimedStream {
    type Pipe = KernelPipe;

    fn splice_in(&mut self, _: &mut KernelPipe, _: usize) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    fn splice_out(&mut self, _: &mut KernelPipe, _: usize) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (connection, end) = (self.connection, self.end);
        self.network
            .call(end, |state| state.read(connection, end, buffer, false))
    }

    fn shut_down_writing(&mut self) -> io::Result<()> {
        let (connection, end) = (self.connection, self.end);
        self.network
            .call(end, |state| state.shut_down_writing(connection, end))
    }

    fn received(&self) -> u32 {
        let (connection, end) = (self.connection, self.end);
        let received = self
            .network
            .call(end, |state| state.received(connection, end));
        u32::try_from(received).unwrap_or(u32::MAX)
    }

    fn delivery(&self) -> Option<Delivery> {
        None
    }

    fn shares_our_processor(&self) -> bool {
        false
    }

    fn take_error(&self) -> Option<io::Error> {
        let (connection, end) = (self.connection, self.end);
        self.network
            .call(end, |state| state.take_error(connection, end))
    }

    fn give_up_after(&mut self, _: Option<Duration>) {}

    fn reset_on_close(&mut self) {
        let (connection, end) = (self.connection, self.end);
        self.network
            .call(end, |state| state.reset_on_close(connection, end));
    }
}

impl Drop for TimedStream {
    fn drop(&mut self) {
        let (connection, end) = (self.connection, self.end);
        self.network
            .last_call(end, |state| state.close(connection, end));
    }
}

impl Wake for TimedWaker {
    fn wake(&self) -> io::Result<()> {
        self.network.state().wake(self.host);
        Ok(())
    }
}

fn in_ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const MS: u64 = 1_000_000;
