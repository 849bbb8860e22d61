//! Tests of the driver over a kernel in virtual time. The right response times are known, or given by queueing theory.
//!
//! The kernel is minimal: connections are made at once. One server echoes the writes one after another, each after a
//! fixed service time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use mio_echo_load::{Arrivals, Plan, PlanError, Recording, RunError, Stopper, Until, run_on};
use net::connect::{Attempt, ConnectOptions, Connector, Target, ThreadTimes, Wake};
use net::delivery::Delivery;
use net::pipe::KernelPipe;
use net::poller::{Event, Poller, Readiness, Signal};
use net::stream::Socket;

#[test]
fn a_closed_loop_measures_the_service_time() {
    let mut plan = plan();
    plan.connections = 1;
    plan.until = Until::Elapsed(Duration::from_secs(1));
    let recording = measure(&plan, Duration::from_millis(1));
    assert_eq!(recording.counts.ok, 1000);
    assert_eq!(recording.window_ns, 1_000_000_000);
    assert!(about(recording.response.min() as f64, 1e6, 0.001));
    assert!(about(recording.response.max() as f64, 1e6, 0.001));
}

/// Poisson arrivals, a constant service time D and one server make an M/D/1 queue. At the utilisation ρ, its mean
/// waiting time is ρD / (2(1 - ρ)).
#[test]
fn an_open_loop_measures_the_waiting_time_of_an_m_d_1_queue() {
    let mut plan = plan();
    plan.connections = 10;
    plan.pipeline = 1000;
    plan.arrivals = Arrivals::Poisson;
    plan.until = Until::Elapsed(Duration::from_secs(200));
    for utilisation in [0.3, 0.6, 0.8] {
        plan.rate = Some(1000.0 * utilisation);
        let recording = measure(&plan, Duration::from_millis(1));
        let expected_ns = 1e6 + utilisation * 1e6 / (2.0 * (1.0 - utilisation));
        let measured_ns = recording.response.mean();
        assert!(
            about(measured_ns, expected_ns, 0.05),
            "utilisation {utilisation}: measured {measured_ns} ns, expected {expected_ns} ns"
        );
        // In virtual time the generator is never late.
        assert_eq!(recording.lateness.max(), 0);
    }
}

/// Fixed arrivals at twice the server's rate: the queue grows at a known rate, and no message is left out at the end.
#[test]
fn an_overloaded_server_changes_the_response_times_and_not_the_schedule() {
    let mut plan = plan();
    plan.connections = 1;
    plan.pipeline = 10_000;
    plan.rate = Some(2000.0);
    plan.until = Until::Elapsed(Duration::from_secs(1));
    plan.timeout = Duration::from_secs(60);
    let recording = measure(&plan, Duration::from_millis(1));
    let counts = recording.counts;
    assert_eq!((counts.scheduled, counts.sent), (2000, 2000));
    // One half comes back within the window. The other half comes back in the second that the driver waits afterwards.
    assert_eq!(counts.ok + counts.unfinished, 2000);
    assert!(counts.unfinished <= 2, "{counts:?}");
    assert!(about(recording.response.max() as f64, 1e9, 0.01));
}

#[test]
fn two_runs_in_virtual_time_are_the_same() {
    let mut plan = plan();
    plan.rate = Some(700.0);
    plan.arrivals = Arrivals::Poisson;
    plan.until = Until::Elapsed(Duration::from_secs(5));
    let [one, other] = [(); 2].map(|()| measure(&plan, Duration::from_millis(1)));
    assert_eq!(one.counts, other.counts);
    assert_eq!(one.response, other.response);
    assert_eq!(one.shares, other.shares);
}

fn plan() -> Plan {
    let mut plan = Plan::new("127.0.0.1:7007".parse().unwrap());
    plan.warmup = Duration::ZERO;
    (plan.seed, plan.payload_key) = (1, 1);
    plan
}

#[test]
fn a_plan_for_virtual_time_has_no_time_of_day() {
    let mut plan = plan();
    plan.start_at = Some(std::time::SystemTime::UNIX_EPOCH);
    let target = Target::Tcp(SocketAddr::from(([127, 0, 0, 1], 7007)));
    let kernel = VirtualKernel::new(Duration::ZERO);
    let refused = run_on(kernel, target, &plan, &Stopper::default(), |_| ());
    assert!(matches!(refused, Err(RunError::Plan(PlanError::StartAt))));
}

fn measure(plan: &Plan, service: Duration) -> Recording {
    let target = Target::Tcp(SocketAddr::from(([127, 0, 0, 1], 7007)));
    let kernel = VirtualKernel::new(service);
    let recording = run_on(kernel, target, plan, &Stopper::default(), |_| ()).unwrap();
    assert_eq!(recording.counts.errors, 0);
    recording
}

fn about(value: f64, expected: f64, tolerance: f64) -> bool {
    (value / expected - 1.0).abs() <= tolerance
}

/// A kernel whose clock moves only while a poll waits.
#[derive(Debug)]
struct VirtualKernel(Rc<RefCell<World>>);

/// The state of the kernel and the server.
#[derive(Debug)]
struct World {
    /// The clock.
    now_ns: u64,
    /// How long the server takes for each write.
    service_ns: u64,
    /// When the server has echoed all writes so far.
    server_free_ns: u64,
    connections: Vec<Connection>,
}

#[derive(Debug, Default)]
struct Connection {
    /// The key under which the client's end is registered.
    key: Option<usize>,
    /// Parts of the echo that are not read yet: when each arrives, and its bytes.
    echo: VecDeque<(u64, Vec<u8>)>,
}

/// A client's end of a connection.
#[derive(Debug)]
struct VirtualStream {
    world: Rc<RefCell<World>>,
    index: usize,
}

impl VirtualKernel {
    fn new(service: Duration) -> VirtualKernel {
        VirtualKernel(Rc::new(RefCell::new(World {
            now_ns: 1,
            service_ns: service.as_nanos() as u64,
            server_free_ns: 0,
            connections: Vec::new(),
        })))
    }
}

impl Connector for VirtualKernel {
    type Waker = Awake;

    fn waker(&self) -> io::Result<Awake> {
        Ok(Awake)
    }

    fn connect(
        &mut self,
        _: &Target,
        _: Option<IpAddr>,
        _: &ConnectOptions,
    ) -> io::Result<VirtualStream> {
        let mut world = self.0.borrow_mut();
        world.connections.push(Connection::default());
        Ok(VirtualStream {
            world: self.0.clone(),
            index: world.connections.len() - 1,
        })
    }

    fn attempt(&self, _: &VirtualStream) -> Attempt {
        Attempt::Made
    }

    fn poll_punctually(
        &mut self,
        events: &mut Vec<Event>,
        wait: Duration,
        _: Duration,
    ) -> io::Result<()> {
        self.poll(events, Some(wait))
    }

    fn now_ns(&self) -> u64 {
        self.0.borrow().now_ns
    }

    fn thread_times(&self) -> ThreadTimes {
        ThreadTimes::default()
    }
}

impl Poller for VirtualKernel {
    type Listener = ();
    type Stream = VirtualStream;
    type PeerName = &'static str;

    /// Level-triggered: an echo that is not read is reported again by the next poll.
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let world = &mut *self.0.borrow_mut();
        let arrivals = world.connections.iter().filter_map(|c| c.echo.front());
        let next_ns = arrivals.map(|(at_ns, _)| *at_ns).min().unwrap_or(u64::MAX);
        let timeout_ns = timeout.map_or(u64::MAX, |time| time.as_nanos() as u64);
        let until_ns = world.now_ns.saturating_add(timeout_ns).min(next_ns);
        assert_ne!(
            until_ns,
            u64::MAX,
            "the poll has no timeout, and no echo will arrive"
        );
        world.now_ns = world.now_ns.max(until_ns);
        for connection in &world.connections {
            let arrived = connection.echo.front();
            if let Some(key) = connection.key
                && arrived.is_some_and(|(at_ns, _)| *at_ns <= world.now_ns)
            {
                let readiness = Readiness {
                    readable: true,
                    ..Readiness::default()
                };
                events.push(Event { key, readiness });
            }
        }
        Ok(())
    }

    fn register_stream(&mut self, stream: &mut VirtualStream, key: usize) -> io::Result<()> {
        self.0.borrow_mut().connections[stream.index].key = Some(key);
        Ok(())
    }

    fn deregister_stream(&mut self, stream: &mut VirtualStream) {
        self.0.borrow_mut().connections[stream.index] = Connection::default();
    }

    fn short_read_means_empty(&self, _: &VirtualStream) -> bool {
        false
    }

    fn now(&self) -> std::time::Instant {
        unreachable!("the driver reads `now_ns`")
    }

    fn signal(&mut self) -> Option<Signal> {
        None
    }

    fn accept(&mut self, (): &mut ()) -> io::Result<(VirtualStream, &'static str)> {
        unreachable!("the load generator does not accept")
    }

    fn backlog_length(&self, (): &()) -> Option<usize> {
        None
    }

    fn register_listener(&mut self, (): &mut (), _: usize) -> io::Result<()> {
        unreachable!("the load generator does not listen")
    }

    fn deregister_listener(&mut self, (): &mut ()) {}
}

impl Read for VirtualStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let world = &mut *self.world.borrow_mut();
        let echo = &mut world.connections[self.index].echo;
        match echo.front_mut() {
            Some((at_ns, bytes)) if *at_ns <= world.now_ns => {
                let n = bytes.len().min(buffer.len());
                buffer[..n].copy_from_slice(&bytes[..n]);
                bytes.drain(..n);
                if bytes.is_empty() {
                    echo.pop_front();
                }
                Ok(n)
            }
            _ => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for VirtualStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let world = &mut *self.world.borrow_mut();
        world.server_free_ns = world.server_free_ns.max(world.now_ns) + world.service_ns;
        let echo = &mut world.connections[self.index].echo;
        echo.push_back((world.server_free_ns, bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for VirtualStream {
    type Pipe = KernelPipe;

    fn splice_in(&mut self, _: &mut KernelPipe, _: usize) -> io::Result<usize> {
        unreachable!("the load generator does not splice")
    }

    fn splice_out(&mut self, _: &mut KernelPipe, _: usize) -> io::Result<usize> {
        unreachable!("the load generator does not splice")
    }

    fn peek(&mut self, _: &mut [u8]) -> io::Result<usize> {
        unreachable!("the load generator does not peek")
    }

    fn shut_down_writing(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn received(&self) -> u32 {
        0
    }

    fn delivery(&self) -> Option<Delivery> {
        None
    }

    fn shares_our_processor(&self) -> bool {
        false
    }

    fn take_error(&self) -> Option<io::Error> {
        None
    }

    fn give_up_after(&mut self, _: Option<Duration>) {}

    fn reset_on_close(&mut self) {}
}

/// A waker that does nothing: every poll of this kernel ends by itself.
#[derive(Debug)]
struct Awake;

impl Wake for Awake {
    fn wake(&self) -> io::Result<()> {
        Ok(())
    }
}
