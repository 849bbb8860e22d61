//! Compares the simulated selector with mio's selector: both report the readiness of one stream, step by step.
//!
//! The dangerous error of a model is an event that the real kernel does not report. Then a server that hangs on the
//! real kernel would go on in the simulator. So the real kernel must report everything that the model reports:
//! readable, writable and "read on".
//!
//! The real kernel may report more:
//!
//! - at each new edge, epoll reports every direction of the socket that is ready;
//! - about once in a hundred thousand times, epoll reports the end of the stream twice;
//! - `poll(2)` reports the end of the stream or a reset even if the server has not re-armed.
//!
//! If the real kernel often reported bytes that the model does not report, the violations of the simulator would be
//! false. For an edge-triggered selector the test allows this in one of 1,000 polls.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use net::address::Address;
use net::poller::{Event, MioPoller, Poller, Readiness};
use net::socket::{ListenOptions, listen_tcp};
use net::stream::Socket;

use super::*;
use crate::seeds::tape_of;

/// One step of a conversation: of the peer, of the server, or a poll of the selector.
#[derive(Clone, Copy, Debug)]
enum Step {
    PeerSends(u32),
    PeerSendsUrgent,
    PeerEnds,
    PeerResets,
    ServerReads(usize),
    /// The server writes the bytes that it has read.
    ServerWrites,
    PeerReads,
    Poll,
}

/// The key of the stream.
const KEY: usize = 1;

/// Longer than any event takes over loopback.
const LIMIT: Duration = Duration::from_secs(10);

/// The simulator's model of this machine's selector.
const SELECTOR: Selector = if cfg!(mio_unsupported_force_poll_poll) {
    Selector::Rearm
} else {
    Selector::Edge
};

#[test]
#[cfg(target_os = "linux")]
fn the_selector_reports_what_mio_reports() {
    let mut all = Comparison::default();
    for seed in 0..from_environment("MIO_ECHO_REAL_STEPS", 500) {
        let one = compare(&steps_of(seed), seed);
        all.polls += one.polls;
        all.more += one.more;
    }
    println!("{all:?}");
    assert!(all.polls > 1000);
    if SELECTOR == Selector::Edge {
        assert!(all.more <= all.polls / 1000, "{all:?}");
    }
}

/// After a write returned `WouldBlock`, the next room is reported once.
#[test]
#[cfg(target_os = "linux")]
fn room_is_reported_once_after_a_write_would_block() {
    use Step::{PeerReads, PeerSends, Poll, ServerReads, ServerWrites};
    let mut steps = vec![Poll];
    for _ in 0..200 {
        steps.extend([PeerSends(50_000), ServerReads(100_000), ServerWrites]);
    }
    steps.extend([Poll, PeerReads, Poll, Poll]);
    compare(&steps, 0);
}

/// Returns up to 40 steps, each of which is possible after those before it.
fn steps_of(seed: u64) -> Vec<Step> {
    let (mut ended, mut reset) = (false, false);
    let mut steps = vec![Step::Poll];
    for word in tape_of(seed).schedule.iter().take(40) {
        let n = 1 + word / 16 % 20;
        steps.push(match word % 16 {
            0..=3 if !ended => Step::PeerSends(n),
            4 if !ended => {
                ended = true;
                Step::PeerEnds
            }
            5 if word.is_multiple_of(7) => {
                reset = true;
                Step::PeerResets
            }
            5 if !ended => Step::PeerSendsUrgent,
            6..=8 => Step::ServerReads(n as usize),
            9 => Step::ServerReads(1000),
            10 => Step::ServerWrites,
            11 => Step::PeerReads,
            _ => Step::Poll,
        });
        if reset {
            steps.push(Step::Poll);
            break;
        }
    }
    steps
}

/// The result of a comparison.
#[derive(Debug, Default)]
struct Comparison {
    /// The number of polls that were compared.
    polls: u64,
    /// The number of polls in which the real kernel reported readable and the model did not.
    more: u64,
}

/// Does the steps on both kernels, and compares the reports of each poll.
fn compare(steps: &[Step], seed: u64) -> Comparison {
    let (mut model, mut real) = (Model::new(steps), Real::new());
    let (mut model_server, mut real_server) = (Server::default(), Server::default());
    let mut comparison = Comparison::default();
    for (n, step) in steps.iter().enumerate() {
        let story = || format!("seed {seed}, step {n} of {steps:?}");
        real.wait_for(model.unread());
        match *step {
            Step::ServerReads(size) => {
                let expected = model_server.reads(&mut model.stream, size);
                let got = real_server.reads(&mut real.stream, size);
                assert_eq!(got, expected, "left: real, right: model; {}", story());
            }
            Step::ServerWrites => {
                model_server.writes(&mut model.stream);
                real_server.writes(&mut real.stream);
            }
            Step::Poll => {
                let expected = model.poll();
                let seen = real.poll(expected);
                let (e, s) = (expected, seen);
                let agree = (!e.readable || s.readable)
                    && (!e.writable || s.writable)
                    && (!e.read_on || s.read_on);
                assert!(
                    agree,
                    "mio reports {seen:?}, the model {expected:?}; {}",
                    story()
                );
                comparison.more += u64::from(s.readable && !e.readable);
                comparison.polls += 1;
            }
            peers => {
                model.peer_does(peers);
                real.peer_does(peers);
            }
        }
    }
    comparison
}

/// The server's end of a stream, on either kernel.
#[derive(Default)]
struct Server {
    owed: Vec<u8>,
}

impl Server {
    fn reads(&mut self, stream: &mut impl Read, size: usize) -> Result<usize, ErrorKind> {
        let mut buffer = vec![0; size];
        let n = stream.read(&mut buffer).map_err(|error| error.kind())?;
        self.owed.extend_from_slice(&buffer[..n]);
        Ok(n)
    }

    /// Writes until no bytes are left or there is no room.
    fn writes(&mut self, stream: &mut impl Write) {
        while !self.owed.is_empty() {
            let most = self.owed.len().min(10_000);
            match stream.write(&self.owed[..most]) {
                Ok(n) => drop(self.owed.drain(..n)),
                Err(_) => return,
            }
        }
    }
}

/// The simulated kernel, with one peer.
struct Model {
    poller: SimulatedPoller,
    stream: SimulatedStream,
    _listener: SimulatedListener,
}

impl Model {
    fn new(steps: &[Step]) -> Model {
        let actions = steps.iter().filter_map(|step| match step {
            Step::PeerSends(n) => Some(Action::Send(*n)),
            Step::PeerSendsUrgent => Some(Action::SendUrgent),
            Step::PeerEnds => Some(Action::HalfClose),
            Step::PeerResets => Some(Action::Reset),
            _ => None,
        });
        let world = World {
            selector: SELECTOR,
            receive_queue: 1_000_000,
            send_queue: 100_000,
            ..World::simple()
        };
        let script = Script::of(world, &[&actions.collect::<Vec<_>>()]);
        let mut poller = poller_of(&script);
        let mut listener = poller.listener(None);
        poller.register_listener(&mut listener, 0).unwrap();
        poller.kernel().borrow_mut().act(0);
        let (mut stream, _) = poller.accept(&mut listener).unwrap();
        poller.register_stream(&mut stream, KEY).unwrap();
        Model {
            poller,
            stream,
            _listener: listener,
        }
    }

    fn peer_does(&mut self, step: Step) {
        let mut kernel = self.poller.kernel().borrow_mut();
        match step {
            Step::PeerReads if kernel.wire(0).unacknowledged() > 0 => kernel.take_echo(0),
            Step::PeerReads => {}
            _ => kernel.act(0),
        }
    }

    /// The number of bytes that have arrived and are not read; `None` after a reset, which may discard them.
    fn unread(&self) -> Option<u32> {
        let kernel = self.poller.kernel().borrow();
        let wire = kernel.wire(0);
        wire.broken.is_none().then_some(wire.unread() as u32)
    }

    /// Returns everything that the selector reports of the stream now.
    fn poll(&mut self) -> Readiness {
        let mut kernel = self.poller.kernel().borrow_mut();
        let mut events = Vec::new();
        kernel.drop_stale_edges();
        if kernel.has_ready() {
            kernel.deliver(&mut events);
        }
        all_of(&events)
    }
}

/// The real kernel, with one client.
struct Real {
    poller: MioPoller,
    stream: net::stream::Stream,
    client: Option<TcpStream>,
}

impl Real {
    fn new() -> Real {
        let options = ListenOptions {
            backlog: 1,
            reuse_port: false,
            give_up_after: None,
            unix_mode: None,
        };
        let mut poller = MioPoller::new().unwrap();
        let mut listener = listen_tcp("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let Address::Tcp { port, .. } = listener.local_address().unwrap() else {
            panic!("not a TCP address");
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let client = TcpStream::connect_timeout(&address, LIMIT).unwrap();
        client.set_nodelay(true).unwrap();
        let (mut stream, _) = poller.accept(&mut listener).unwrap();
        poller.register_stream(&mut stream, KEY).unwrap();
        Real {
            poller,
            stream,
            client: Some(client),
        }
    }

    fn peer_does(&mut self, step: Step) {
        let Some(client) = &mut self.client else {
            return;
        };
        match step {
            Step::PeerSends(n) => client.write_all(&vec![b'x'; n as usize]).unwrap(),
            Step::PeerSendsUrgent => {
                SockRef::from(&*client).send_out_of_band(b"x").unwrap();
            }
            Step::PeerEnds => client.shutdown(Shutdown::Write).unwrap(),
            Step::PeerReads => {
                client.set_nonblocking(true).unwrap();
                let mut buffer = vec![0; 100_000];
                while client.read(&mut buffer).is_ok_and(|n| n > 0) {}
                client.set_nonblocking(false).unwrap();
            }
            Step::PeerResets => {
                SockRef::from(&*client)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
                self.client = None;
            }
            Step::ServerReads(_) | Step::ServerWrites | Step::Poll => {}
        }
    }

    /// Waits until this number of bytes has arrived, because loopback may deliver late.
    fn wait_for(&self, unread: Option<u32>) {
        let start = Instant::now();
        while unread.is_some_and(|n| n != self.stream.received()) && start.elapsed() < LIMIT {
            std::thread::yield_now();
        }
    }

    /// Returns everything that the selector reports now. Waits for the expected report, which may arrive late.
    fn poll(&mut self, expected: Readiness) -> Readiness {
        let start = Instant::now();
        let mut all = Vec::new();
        loop {
            let mut events = Vec::new();
            self.poller.poll(&mut events, Some(Duration::ZERO)).unwrap();
            all.append(&mut events);
            let seen = all_of(&all);
            let has = |wanted: bool, is: bool| is || !wanted;
            let complete = has(expected.readable, seen.readable)
                && has(expected.writable, seen.writable)
                && has(expected.read_on, seen.read_on);
            if complete || start.elapsed() > LIMIT {
                return seen;
            }
        }
    }
}

/// Returns the readiness of the stream that all events report together.
fn all_of(events: &[Event]) -> Readiness {
    let ours = events.iter().filter(|event| event.key == KEY);
    ours.fold(Readiness::default(), |all, event| Readiness {
        readable: all.readable | event.readiness.readable,
        writable: all.writable | event.readiness.writable,
        read_on: all.read_on | event.readiness.read_on,
    })
}
