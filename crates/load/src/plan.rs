//! The options of a run, and the check that they are possible and do not contradict each other.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::exchange::Verify;
use super::payload::MOST_CONNECTIONS;
use super::schedule::Arrivals;
use super::sizes::Sizes;
use net::address::{Address, Host, Port};
use net::descriptors;
use net::threads::processors;

/// The options of one run. [`Plan::new`] has the defaults. Change the fields that matter, and pass the plan to
/// [`run`](crate::run).
#[derive(Clone, Debug)]
pub struct Plan {
    /// The echo server.
    pub target: Address,
    /// Number of connections over all threads, from 1. Default: 50.
    pub connections: usize,
    /// When the run ends. Default: after 10 s.
    pub until: Until,
    /// Number of event loops, each on its own thread: from 1 to the number of connections. Default: 1.
    pub threads: usize,
    /// Messages a second over all connections, from 0.001 to 10⁹: an open loop, which sends when the schedule
    /// says so. `None`: a closed loop, which sends when an echo has come back. A closed loop does not see the messages
    /// that it did not send while it waited (coordinated omission). Default: `None`.
    pub rate: Option<f64>,
    /// How the messages of an open loop are spread over time. Default: at equal intervals.
    pub arrivals: Arrivals,
    /// The sizes of the messages, in bytes. Default: 64 bytes.
    pub sizes: Sizes,
    /// The most messages that a connection may have under way, from 1. Default: 1.
    pub pipeline: usize,
    /// Connections that are made each second at the start, from 0.001 to 10⁹. `None`: as fast as the server accepts
    /// them. Default: `None`.
    pub connect_rate: Option<f64>,
    /// Number of messages, from 1, after which a connection is closed and replaced by a new one. `None`: never.
    /// Default: `None`.
    pub reconnect: Option<u64>,
    /// Source addresses to connect from, one after another. Empty: the system chooses the address. On Linux, when the
    /// ports of 127.0.0.1 are used up, connections to loopback also use other addresses of 127/8.
    pub sources: Vec<IpAddr>,
    /// Whether the client's sockets set `TCP_NODELAY`. Default: on.
    pub no_delay: bool,
    /// Whether the load generator polls without sleeping while it measures. Its processors are busy then. In return, no
    /// latency contains the tens of microseconds that an idle processor takes to wake up. Default: off.
    pub never_sleep: bool,
    /// The processors of the threads, by the system's numbers: thread i uses the i-th one, and the list begins again
    /// after its end. Empty: the system chooses. Linux only. Default: empty.
    pub pin: Vec<usize>,
    /// `SO_SNDBUF` of the client's sockets, in bytes. Default: the system's value.
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF` of the client's sockets, in bytes. Default: the system's value.
    pub receive_buffer: Option<usize>,
    /// How long the run sends messages before it measures, at most a year. It must be zero with [`Until::Count`].
    /// Default: 1 s.
    pub warmup: Duration,
    /// When the schedule, which starts with the warm-up, starts. The connections are made before. If they are not open
    /// 2 ms before this time, the run fails with [`RunError::TooLate`](crate::RunError::TooLate). `None`: when the
    /// connections are made. Default: `None`.
    pub start_at: Option<SystemTime>,
    /// The longest time to make a connection, and the longest time from sending a message to the end of its echo: from
    /// 1 ms to a year. Default: 10 s.
    pub timeout: Duration,
    /// Whether the client ends its own stream at each planned end of a connection, and reads to the end of the server's
    /// stream (half-close). Off: for servers that take the end of the client's stream for the end of the connection.
    /// Default: on.
    pub half_close: bool,
    /// The seed of the random sizes and arrivals. Default: a random number.
    pub seed: u64,
    /// The key of the payload. Runs with different keys send different bytes, so bytes of another run or process do not
    /// match. Default: a random number.
    pub payload_key: u64,
    /// What the run checks of each echo. Default: every byte.
    pub verify: Verify,
}

/// Returns a random number below 2⁴⁸, so that every JSON reader keeps it exactly.
#[must_use]
pub fn random_seed() -> u64 {
    // Each `RandomState` has other random keys.
    RandomState::new().hash_one(()) >> 16
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After this time, warm-up excluded: at most a year.
    Elapsed(Duration),
    /// After this number of messages over all connections, from 1. Such a run has no warm-up.
    Count(u64),
}

impl Plan {
    /// Makes a plan with the defaults.
    #[must_use]
    pub fn new(target: Address) -> Plan {
        Plan {
            target,
            connections: 50,
            until: Until::Elapsed(Duration::from_secs(10)),
            threads: 1,
            rate: None,
            arrivals: Arrivals::Fixed,
            sizes: Sizes::default(),
            pipeline: 1,
            connect_rate: None,
            reconnect: None,
            sources: Vec::new(),
            no_delay: true,
            never_sleep: false,
            pin: Vec::new(),
            send_buffer: None,
            receive_buffer: None,
            warmup: Duration::from_secs(1),
            start_at: None,
            timeout: Duration::from_secs(10),
            half_close: true,
            seed: random_seed(),
            payload_key: random_seed(),
            verify: Verify::Full,
        }
    }

    /// Checks that the plan is possible. It never changes an option.
    ///
    /// # Errors
    /// The first option that is impossible or contradicts another one.
    pub fn check(&self) -> Result<(), PlanError> {
        self.check_numbers()?;
        self.check_target()?;
        if self.arrivals == Arrivals::Poisson && self.rate.is_none() {
            return Err(PlanError::PoissonWithoutRate);
        }
        if self.until == Until::Count(0) {
            return Err(PlanError::NoMessage);
        }
        if matches!(self.until, Until::Count(_)) && !self.warmup.is_zero() {
            return Err(PlanError::CountWithWarmup);
        }
        if let (Until::Elapsed(duration), Some(rate)) = (self.until, self.rate)
            && rate * duration.as_secs_f64() < 1.0
        {
            return Err(PlanError::NoMessageDue);
        }
        self.check_processors()?;
        self.check_descriptors()
    }

    fn check_numbers(&self) -> Result<(), PlanError> {
        let (connections, threads, pipeline) = (self.connections, self.threads, self.pipeline);
        if connections == 0 {
            return Err(PlanError::NoConnection);
        }
        if threads == 0 {
            return Err(PlanError::NoThread);
        }
        if pipeline == 0 {
            return Err(PlanError::NoPipeline);
        }
        if threads > connections {
            return Err(PlanError::IdleThreads {
                threads,
                connections,
            });
        }
        for rate in [self.rate, self.connect_rate].into_iter().flatten() {
            if !(rate.is_finite() && (SLOWEST..=FASTEST).contains(&rate)) {
                return Err(PlanError::Rate(rate));
            }
        }
        if self.reconnect == Some(0) {
            return Err(PlanError::ReconnectAtOnce);
        }
        let duration = match self.until {
            Until::Elapsed(duration) => duration,
            Until::Count(_) => Duration::ZERO,
        };
        let times = [self.timeout, self.warmup, duration];
        if times.iter().any(|time| *time > LONGEST) {
            return Err(PlanError::TimeTooLong);
        }
        if connections.saturating_mul(pipeline) > MOST_UNDER_WAY {
            return Err(PlanError::TooManyUnderWay {
                connections,
                pipeline,
            });
        }
        if self.timeout < Duration::from_millis(1) {
            return Err(PlanError::TimeoutTooShort);
        }
        Ok(())
    }

    fn check_target(&self) -> Result<(), PlanError> {
        let Address::Tcp { host, port } = &self.target else {
            if !self.sources.is_empty() {
                return Err(PlanError::UnixSource);
            }
            if !self.no_delay {
                return Err(PlanError::UnixNoDelay);
            }
            return Ok(());
        };
        if *port == Port::Auto {
            return Err(PlanError::PortAuto);
        }
        for source in &self.sources {
            if let Host::Ip(target) = host
                && target.is_ipv4() != source.is_ipv4()
            {
                return Err(PlanError::Families {
                    source: *source,
                    target: *target,
                });
            }
        }
        Ok(())
    }

    fn check_processors(&self) -> Result<(), PlanError> {
        if self.pin.is_empty() {
            return Ok(());
        }
        let allowed = processors().map_err(|error| PlanError::NoPinning(error.kind()))?;
        match self.pin.iter().find(|number| !allowed.contains(number)) {
            None => Ok(()),
            Some(number) => Err(PlanError::Processor {
                number: *number,
                allowed,
            }),
        }
    }

    fn check_descriptors(&self) -> Result<(), PlanError> {
        let room = descriptors::room_for_connections(0);
        let connections = self.connections;
        if connections >= MOST_CONNECTIONS as usize {
            return Err(PlanError::TooManyConnections);
        }
        // For each event loop: the selector, its waker and another descriptor that its thread may have open.
        let needed = connections + self.threads * DESCRIPTORS_A_THREAD;
        if needed > room {
            return Err(PlanError::Descriptors {
                connections,
                needed,
                room,
            });
        }
        Ok(())
    }
}

/// Why a [`Plan`] is impossible. The message says what is possible instead.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PlanError {
    /// [`connections`](Plan::connections) is 0.
    NoConnection,
    /// [`threads`](Plan::threads) is 0.
    NoThread,
    /// [`pipeline`](Plan::pipeline) is 0.
    NoPipeline,
    /// There are more threads than connections.
    IdleThreads {
        /// The planned number of threads.
        threads: usize,
        /// The planned number of connections.
        connections: usize,
    },
    /// The plan has several threads, but [`run_on`](crate::run_on) accepts only one.
    SeveralThreads,
    /// The plan starts at a time of day, which the kernel of [`run_on`](crate::run_on) does not know.
    StartAt,
    /// This rate (messages or connections a second) is too low or too high.
    Rate(f64),
    /// [`reconnect`](Plan::reconnect) is 0.
    ReconnectAtOnce,
    /// The timeout, the warm-up or the duration is longer than a year.
    TimeTooLong,
    /// [`timeout`](Plan::timeout) is shorter than 1 ms.
    TimeoutTooShort,
    /// Connections × pipeline messages would take too much memory.
    TooManyUnderWay {
        /// The planned number of connections.
        connections: usize,
        /// The planned number of messages under way on each.
        pipeline: usize,
    },
    /// The plan has source addresses, but the target is a Unix-domain socket.
    UnixSource,
    /// [`no_delay`](Plan::no_delay) is off, but the target is a Unix-domain socket.
    UnixNoDelay,
    /// The target's port is `auto`.
    PortAuto,
    /// A source address and the target are of different address families.
    Families {
        /// The source address of a client's socket.
        source: IpAddr,
        /// The server's address.
        target: IpAddr,
    },
    /// The plan has 2²⁴ connections or more: payloads could not tell them apart.
    TooManyConnections,
    /// The run needs more descriptors than the process may open.
    Descriptors {
        /// The planned number of connections.
        connections: usize,
        /// Descriptors that the run needs.
        needed: usize,
        /// Descriptors that the process may still open.
        room: usize,
    },
    /// This process may not use a processor of [`pin`](Plan::pin).
    Processor {
        /// The system's number of the processor.
        number: usize,
        /// The processors that this process may use.
        allowed: Vec<usize>,
    },
    /// This system has no way to bind a thread to a processor, or it failed.
    NoPinning(std::io::ErrorKind),
    /// The plan has [`Arrivals::Poisson`] and no rate.
    PoissonWithoutRate,
    /// The plan's count of messages is 0.
    NoMessage,
    /// The plan has both a count of messages and a warm-up.
    CountWithWarmup,
    /// The rate is so low that no message is due within the window.
    NoMessageDue,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use PlanError::*;
        match self {
            NoConnection => f.write_str("a run needs at least one connection"),
            NoThread => f.write_str("a run needs at least one thread"),
            NoPipeline => f.write_str("each connection needs at least one message under way"),
            IdleThreads {
                threads,
                connections,
            } => write!(
                f,
                "{threads} threads for {connections} connection{}: some threads would have none",
                if *connections == 1 { "" } else { "s" }
            ),
            SeveralThreads => f.write_str("run_on has one kernel: the plan must have one thread"),
            StartAt => f.write_str("run_on knows no time of day: the plan must have no start_at"),
            Rate(rate) => write!(
                f,
                "a rate is from {SLOWEST} to {FASTEST} a second, not {rate}"
            ),
            ReconnectAtOnce => {
                f.write_str("a connection that is replaced after 0 messages would never send one")
            }
            TimeTooLong => f.write_str("a time is at most a year"),
            TimeoutTooShort => f.write_str("a timeout is at least 1ms"),
            TooManyUnderWay {
                connections,
                pipeline,
            } => write!(
                f,
                "{connections} connections with {pipeline} messages under way each: at most {MOST_UNDER_WAY} in all, \
                 because each takes memory"
            ),
            UnixSource => f.write_str("a Unix-domain socket has no source address"),
            UnixNoDelay => {
                f.write_str("TCP_NODELAY is an option of TCP: a Unix-domain socket never delays")
            }
            PortAuto => {
                f.write_str("auto is for servers: name the port that the server listens on")
            }
            Families { source, target } => write!(
                f,
                "{source} cannot connect to {target}: one is IPv4, the other IPv6"
            ),
            TooManyConnections => write!(f, "a run has fewer than {MOST_CONNECTIONS} connections"),
            Descriptors {
                connections,
                needed,
                room,
            } => write!(
                f,
                "{connections} connections need {needed} descriptors, including those of the event loops, and the \
                 limit leaves {room} (see ulimit -n): raise it, or run several processes and merge their reports"
            ),
            Processor { number, allowed } => {
                let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "this process may not use processor {number}, only {}",
                    allowed.join(", ")
                )
            }
            NoPinning(why) => write!(f, "threads cannot be bound to processors here: {why}"),
            PoissonWithoutRate => f.write_str(
                "Poisson arrivals need a rate: a closed loop sends when an echo comes back",
            ),
            NoMessage => f.write_str("a run of 0 messages would measure nothing"),
            CountWithWarmup => {
                f.write_str("a count of messages has no warm-up: every message is measured")
            }
            NoMessageDue => f.write_str("at this rate no message is due in the measured time"),
        }
    }
}

impl std::error::Error for PlanError {}

/// The most messages under way over all connections. Each takes 40 bytes.
const MOST_UNDER_WAY: usize = 10_000_000;

/// How many descriptors an event loop and its thread need.
const DESCRIPTORS_A_THREAD: usize = 3;

/// The longest time: a year. 64 bits of nanoseconds hold 584 years, so sums of times do not overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The lowest rate: one message in a thousand seconds.
const SLOWEST: f64 = 0.001;
/// The highest rate: 10⁹ a second, a thousand times the rate that a machine reaches today.
const FASTEST: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::new("127.0.0.1:7007".parse().unwrap())
    }

    #[test]
    fn the_defaults_are_possible() {
        assert_eq!(plan().check(), Ok(()));
    }

    #[test]
    fn contradictions_are_refused_with_the_reason() {
        type Change = fn(&mut Plan);
        let changes: [(Change, &str); 13] = [
            (|p| p.connections = 0, "at least one connection"),
            (|p| p.pipeline = 0, "at least one message"),
            (|p| p.threads = 51, "some threads would have none"),
            (|p| p.rate = Some(0.0), "a rate is from"),
            (|p| p.arrivals = Arrivals::Poisson, "need a rate"),
            (|p| p.until = Until::Count(0), "measure nothing"),
            (|p| p.until = Until::Count(5), "no warm-up"),
            (|p| p.rate = Some(0.05), "no message is due"),
            (|p| p.reconnect = Some(0), "never send one"),
            (|p| p.pin = vec![100_000], "may not use processor 100000"),
            (|p| p.connections = 1_000_000, "descriptors"),
            (
                |p| p.sources = vec!["::1".parse().unwrap()],
                "the other IPv6",
            ),
            (
                |p| p.target = "127.0.0.1:auto".parse().unwrap(),
                "auto is for servers",
            ),
        ];
        for (change, reason) in changes {
            let mut plan = plan();
            change(&mut plan);
            let said = plan.check().unwrap_err().to_string();
            assert!(
                said.contains(reason),
                "{said:?} does not contain {reason:?}"
            );
        }
    }
}
