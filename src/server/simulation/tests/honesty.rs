//! Compares the simulator with the real kernel: a script has the same outcome in the simulator and over loopback.
//!
//! The outcome is the number of bytes that each peer got, the way in which each connection ended, and the server's
//! count of each reason. Some scripts have more than one possible outcome. For example, a peer closes its socket while
//! a part of its echo is on the way: the server sees an end of stream or a reset, depending on the timing. So each
//! script is first simulated under several schedules. If all of these have the same outcome, the real kernel must have
//! it too.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use sim::script::{Action, Faults, Script, World};
use sim::wire::byte_at;
use socket2::SockRef;

use super::settings::ServerSettings;
use super::*;
use crate::server::control::{Handle, LoopHandle};
use crate::server::stats::Closed;
use net::poller::MioPoller;
use net::socket::{ListenOptions, listen_tcp};

/// The outcome of a script: the end and the received bytes of each peer, and the server's close counters.
type Outcome = (Vec<(Option<Ended>, u64)>, Closed);

/// The number of schedules that must have the same outcome.
const SCHEDULES: u64 = 8;

/// Longer than any step here: a step that takes so long hangs.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn scripts_end_on_the_real_kernel_as_in_the_simulator() {
    let scripts = from_environment("MIO_ECHO_REAL_SCRIPTS", 300);
    let (mut compared, mut undecided, mut met) = (0, 0, Closed::default());
    for seed in 0.. {
        if compared == scripts {
            break;
        }
        let case = real_case(seed);
        let Some(simulated) = unanimous(&case, seed) else {
            undecided += 1;
            continue;
        };
        let real = on_the_real_kernel(&case);
        assert_eq!(
            real, simulated,
            "left: real, right: simulated; seed {seed}\n{case}"
        );
        met.end_of_stream += real.1.end_of_stream;
        met.reset += real.1.reset;
        compared += 1;
    }
    println!(
        "{compared} scripts had the same outcome; {undecided} have more than one outcome; closed: {met:?}"
    );
    assert!(
        undecided < compared,
        "{undecided} scripts have more than one outcome, {compared} were compared"
    );
    assert!(met.end_of_stream > scripts && met.reset > 0, "{met:?}");
}

/// A peer that sends nothing for the idle timeout is closed, and reads the end of the stream.
#[test]
fn the_idle_timeout_has_the_same_outcome_on_both_kernels() {
    let settings = ServerSettings {
        idle: Some(400),
        ..ServerSettings::simple()
    };
    let actions = [Action::Send(5), Action::Read(5), Action::Pause(2000)];
    let script = Script::of(World::simple(), &[&actions]);
    let case = Case { script, settings };
    let simulated = unanimous(&case, 0).unwrap();
    assert_eq!(simulated.1.idle, 1);
    assert_eq!(on_the_real_kernel(&case), simulated);
}

/// A peer that goes on sending and reads nothing is reset after the stall timeout.
#[test]
fn the_stall_timeout_has_the_same_outcome_on_both_kernels() {
    let settings = ServerSettings {
        stall: Some(300),
        read_buffer: 64 * 1024,
        ..ServerSettings::simple()
    };
    let world = World {
        receive_queue: 100_000,
        send_queue: 100_000,
        ..World::simple()
    };
    // More bytes than all queues of the real kernel hold, in both directions.
    let script = Script::of(world, &[&[Action::Send(100_000_000)]]);
    let case = Case { script, settings };
    let simulated = unanimous(&case, 0).unwrap();
    assert_eq!(simulated.1.stalled, 1);
    assert_eq!(simulated.0, [(Some(Ended::ResetByServer), 0)]);
    assert_eq!(on_the_real_kernel(&case), simulated);
}

/// Returns the script of a seed, in a world that a test can create on the real kernel: no peer vanishes, descriptors
/// do not run out, and no timeout applies.
pub(super) fn real_case(seed: u64) -> Case {
    let mut case = Case::decode(&tape_of(seed));
    let script = &mut case.script;
    let simple = World::simple();
    let named = script.peers.len() - script.world.crowd;
    script.peers.truncate(named);
    script.world = World {
        crowd: 0,
        tells_delivery: true,
        kernel_times_stalls: false,
        send_queue_grows: false,
        faults: Faults::None,
        listeners: 1,
        descriptors: simple.descriptors,
        stop: None,
        ..script.world
    };
    case.settings = ServerSettings {
        max_connections: ServerSettings::simple().max_connections,
        idle: None,
        stall: None,
        ..case.settings
    };
    for peer in &mut script.peers {
        peer.retain_mut(|action| {
            // The pauses only let other peers run first, so short ones are enough.
            if let Action::Pause(ms) = action {
                *ms = (*ms).min(5);
            }
            *action != Action::Vanish
        });
        leave_no_race(peer);
    }
    let leaves = |action: &Action| matches!(action, Action::Reset | Action::Close);
    if script.peers.iter().flatten().any(leaves) {
        // A peer that resets or closes early has received only the bytes that fitted into the queues until then. The
        // real queues are large, so the simulated ones must be large too.
        script.world.receive_queue = 10_000;
        script.world.send_queue = 10_000;
        script.world.writable_at = 1;
    }
    case
}

/// Removes two kinds of races with the server: a close with unread echo, and a reset after the end of the stream. A few
/// schedules may have the same outcome of such a race by chance.
fn leave_no_race(actions: &mut Vec<Action>) {
    let (mut owed, mut ended) = (0, false);
    let mut kept = Vec::new();
    for action in actions.drain(..) {
        match action {
            Action::Send(n) => owed += n,
            Action::SendUrgent => owed += 1,
            Action::Read(n) => owed -= n,
            Action::HalfClose => ended = true,
            Action::Close if owed > 0 => kept.push(Action::Read(owed)),
            Action::Reset if ended => continue,
            _ => {}
        }
        kept.push(action);
    }
    *actions = kept;
}

/// Simulates a case under [`SCHEDULES`] schedules. Returns the outcome if it is the same under all of them.
fn unanimous(case: &Case, seed: u64) -> Option<Outcome> {
    let mut outcomes = (0..SCHEDULES).map(|n| {
        let schedule = match n {
            0 => Vec::new(),
            n => tape_of(seed + n * 1_000_000).schedule,
        };
        let run = simulate(case, Choices::of(&schedule));
        assert_eq!(run.violation, None, "{case}");
        (run.endings, run.stats.closed)
    });
    let first = outcomes.next()?;
    outcomes.all(|outcome| outcome == first).then_some(first)
}

/// Runs a case on the real kernel: the same event loop over mio's poller, and a thread for each peer.
fn on_the_real_kernel(case: &Case) -> Outcome {
    let poller = MioPoller::new().unwrap();
    let control = Arc::new(Control::default());
    let limits = case.settings.limits(case.script.world.backlog);
    let the_loop = LoopHandle {
        control: control.clone(),
        waker: poller.waker().unwrap(),
    };
    let handle = Handle::new(vec![the_loop], limits.connections.clone());
    let options = ListenOptions {
        backlog: 128,
        reuse_port: false,
        give_up_after: None,
        unix_mode: None,
    };
    let listener = listen_tcp("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let crate::Address::Tcp { port, .. } = listener.local_address().unwrap() else {
        panic!("not a TCP address");
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let mut event_loop = EventLoop::new(poller, limits, control);
    event_loop.listen(listener).unwrap();
    let server = thread::spawn(move || event_loop.run());

    let peers: Vec<_> = case
        .script
        .peers
        .iter()
        .enumerate()
        .map(|(n, actions)| {
            let actions = actions.clone();
            thread::spawn(move || RealPeer::connect(n, address, &actions).run(&actions))
        })
        .collect();
    let endings = peers.into_iter().map(|peer| peer.join().unwrap()).collect();
    let start = Instant::now();
    while handle.stats().closed_in_all() < case.script.peers.len() as u64 {
        assert!(start.elapsed() < LIMIT, "{:?}\n{case}", handle.stats());
        thread::sleep(Duration::from_millis(1));
    }
    handle.shutdown();
    server.join().unwrap().unwrap();
    (endings, handle.stats().closed)
}

/// A peer of the real kernel.
struct RealPeer {
    number: usize,
    stream: TcpStream,
    sent: u64,
    got: u64,
}

impl RealPeer {
    fn connect(number: usize, address: SocketAddr, actions: &[Action]) -> RealPeer {
        for action in actions {
            match action {
                Action::Pause(ms) => pause(*ms),
                _ => break,
            }
        }
        let stream = TcpStream::connect_timeout(&address, LIMIT).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        RealPeer {
            number,
            stream,
            sent: 0,
            got: 0,
        }
    }

    fn run(mut self, actions: &[Action]) -> (Option<Ended>, u64) {
        let ended = self
            .act(actions)
            .unwrap_or_else(|error| match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ended::ResetByServer,
                ErrorKind::UnexpectedEof => Ended::EndOfStream,
                _ => panic!("peer {}: {error}", self.number),
            });
        (Some(ended), self.got)
    }

    fn act(&mut self, actions: &[Action]) -> io::Result<Ended> {
        // `connect` has done the pauses at the start.
        let is_done = |action: &&Action| matches!(action, Action::Pause(_));
        for action in actions.iter().skip_while(is_done) {
            match action {
                Action::Send(n) => self.send(u64::from(*n))?,
                Action::Read(n) => self.read(u64::from(*n))?,
                Action::Pause(ms) => pause(*ms),
                Action::SendUrgent => {
                    let byte = byte_at(self.number, self.sent);
                    SockRef::from(&self.stream).send_out_of_band(&[byte])?;
                    self.sent += 1;
                }
                Action::HalfClose => self.stream.shutdown(Shutdown::Write)?,
                Action::Reset => {
                    SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
                    return Ok(Ended::Reset);
                }
                Action::Close => return Ok(Ended::Closed),
                Action::Vanish => panic!("a real peer cannot vanish"),
            }
        }
        self.read(self.sent - self.got)?;
        if !actions.contains(&Action::HalfClose) {
            // This fails if the server has closed already. The read below then returns the end of the stream or the
            // reset.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        match self.stream.read(&mut [0])? {
            0 => Ok(Ended::EndOfStream),
            _ => panic!(
                "peer {}: the echo is longer than the bytes sent",
                self.number
            ),
        }
    }

    fn send(&mut self, n: u64) -> io::Result<()> {
        let bytes: Vec<_> = (self.sent..self.sent + n)
            .map(|at| byte_at(self.number, at))
            .collect();
        self.stream.write_all(&bytes)?;
        self.sent += n;
        Ok(())
    }

    fn read(&mut self, n: u64) -> io::Result<()> {
        for _ in 0..n {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            assert_eq!(
                byte[0],
                byte_at(self.number, self.got),
                "peer {}",
                self.number
            );
            self.got += 1;
        }
        Ok(())
    }
}

fn pause(ms: u32) {
    thread::sleep(Duration::from_millis(u64::from(ms)));
}
