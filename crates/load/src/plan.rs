//! What to measure: every choice, and which of them contradict each other.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::exchange::Verify;
use super::payload::MOST_CONNECTIONS;
use super::schedule::Arrivals;
use super::sizes::Sizes;
use net::address::{Address, Host, Port};
use net::descriptors;

/// What one run does. [`Plan::new`] has the defaults; change the fields that matter, and [`run`](crate::run) it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The echo server.
    pub target: Address,
    /// Connections over all threads, from 1. Default: 50.
    pub connections: usize,
    /// When it is over. Default: after 10 s.
    pub until: Until,
    /// Event loops, each on a thread of its own, from 1 to one for each connection. Default: 1.
    pub threads: usize,
    /// Messages a second over all connections, from 0.001 to 10⁹: an open loop, which sends when the schedule
    /// says so. `None`: a closed loop, which sends when an echo has come back, and cannot see what it did not
    /// ask while it waited. Default: none.
    pub rate: Option<f64>,
    /// How an open loop's messages arrive. Default: at equal distances.
    pub arrivals: Arrivals,
    /// The sizes of the messages. Default: 64 bytes.
    pub sizes: Sizes,
    /// How many messages a connection may have under way, from 1. Default: 1.
    pub pipeline: usize,
    /// Connections made a second at the start, from 0.001 to 10⁹. Default: as fast as they are accepted.
    pub connect_rate: Option<f64>,
    /// After so many messages, from 1, each connection is closed and another is made. Default: never.
    pub reconnect: Option<u64>,
    /// Where to connect from, in turn. Empty: what the system chooses, and on loopback other addresses of 127/8 once
    /// its ports are used up.
    pub sources: Vec<IpAddr>,
    /// `TCP_NODELAY`. Default: on.
    pub no_delay: bool,
    /// Whether the load generator never sleeps while it measures. Its processors are busy then, and no latency
    /// contains the tens of microseconds that it takes to wake one up: what is left is the server's. Default:
    /// off.
    pub never_sleep: bool,
    /// `SO_SNDBUF` of the client's sockets, in bytes. Default: the system's.
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF` of the client's sockets, in bytes. Default: the system's.
    pub receive_buffer: Option<usize>,
    /// How long to send before anything counts, at most a year; zero with [`Until::Count`]. Default: 1 s.
    pub warmup: Duration,
    /// How long a connection may take to be made, and a message to come back: from 1 ms to a year. Default: 10 s.
    pub timeout: Duration,
    /// What payloads, sizes and arrivals are made of. Default: 1.
    pub seed: u64,
    /// What is checked of each echo. Default: every byte.
    pub verify: Verify,
}

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After so long, warm-up excluded: at most a year.
    Elapsed(Duration),
    /// After so many messages over all connections, from 1. There is no warm-up then.
    Count(u64),
}

impl Plan {
    /// A plan with the defaults.
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
            send_buffer: None,
            receive_buffer: None,
            warmup: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            seed: 1,
            verify: Verify::Full,
        }
    }

    /// Whether this can be done at all. Nothing is adjusted in silence.
    ///
    /// # Errors
    /// What is impossible or contradicts something else.
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

    fn check_descriptors(&self) -> Result<(), PlanError> {
        let room = descriptors::room_for_connections();
        let connections = self.connections;
        if connections >= MOST_CONNECTIONS as usize {
            return Err(PlanError::TooManyConnections);
        }
        // A selector and its waker each, and what their threads have open.
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
        /// As planned.
        threads: usize,
        /// As planned.
        connections: usize,
    },
    /// [`run_on`](crate::run_on) takes plans of one thread.
    SeveralThreads,
    /// This rate, of messages or of connections, is too low or too high: a number a second.
    Rate(f64),
    /// [`reconnect`](Plan::reconnect) is 0.
    ReconnectAtOnce,
    /// A time is longer than a year.
    TimeTooLong,
    /// [`timeout`](Plan::timeout) is shorter than 1 ms.
    TimeoutTooShort,
    /// Connections × pipeline take too much memory.
    TooManyUnderWay {
        /// As planned.
        connections: usize,
        /// As planned.
        pipeline: usize,
    },
    /// A Unix-domain target, and source addresses.
    UnixSource,
    /// A Unix-domain target, and [`no_delay`](Plan::no_delay) off.
    UnixNoDelay,
    /// The target's port is `auto`.
    PortAuto,
    /// A source and the target are of different families.
    Families {
        /// Of a client's socket.
        source: IpAddr,
        /// Of the server.
        target: IpAddr,
    },
    /// Payloads can tell fewer connections apart.
    TooManyConnections,
    /// The process may not open that many descriptors.
    Descriptors {
        /// As planned.
        connections: usize,
        /// Descriptors that the run needs.
        needed: usize,
        /// Descriptors that the limit has room for.
        room: usize,
    },
    /// [`Arrivals::Poisson`] without a rate.
    PoissonWithoutRate,
    /// A count of 0 messages.
    NoMessage,
    /// A count of messages, and a warm-up.
    CountWithWarmup,
    /// The rate is so low that nothing is due within the window.
    NoMessageDue,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use PlanError::*;
        match self {
            NoConnection => f.write_str("at least one connection"),
            NoThread => f.write_str("at least one thread"),
            NoPipeline => f.write_str("at least one message a connection"),
            IdleThreads {
                threads,
                connections,
            } => write!(
                f,
                "{threads} threads for {connections} connections: some would have none"
            ),
            SeveralThreads => f.write_str("one kernel has one thread: plan no more than one"),
            Rate(rate) => write!(
                f,
                "a rate is from {SLOWEST} to {FASTEST} a second, not {rate}"
            ),
            ReconnectAtOnce => {
                f.write_str("a new connection after 0 messages would never send one")
            }
            TimeTooLong => f.write_str("a time of at most a year"),
            TimeoutTooShort => f.write_str("a timeout of at least 1ms"),
            TooManyUnderWay {
                connections,
                pipeline,
            } => write!(
                f,
                "{connections} connections with {pipeline} messages under way each: at most {MOST_UNDER_WAY} in all, as \
                 each takes its place in memory"
            ),
            UnixSource => f.write_str("a Unix-domain socket has no source address"),
            UnixNoDelay => f.write_str("TCP_NODELAY is TCP's: a Unix-domain socket never delays"),
            PortAuto => {
                f.write_str("auto is for servers: name the port that the server listens on")
            }
            Families { source, target } => write!(
                f,
                "{source} cannot connect to {target}: one is IPv4, the other IPv6"
            ),
            TooManyConnections => write!(f, "at most {MOST_CONNECTIONS} connections"),
            Descriptors {
                connections,
                needed,
                room,
            } => write!(
                f,
                "{connections} connections need {needed} descriptors with those of the loops, and the limit has room for \
                 {room} (see ulimit -n): raise it, or run several processes and merge their reports"
            ),
            PoissonWithoutRate => f.write_str(
                "Poisson arrivals need a rate: a closed loop sends when an echo comes back",
            ),
            NoMessage => f.write_str("no message at all would measure nothing"),
            CountWithWarmup => {
                f.write_str("a count of messages has no warm-up: every message counts")
            }
            NoMessageDue => {
                f.write_str("at this rate no message falls into the time that is measured")
            }
        }
    }
}

impl std::error::Error for PlanError {}

/// Each takes 40 bytes.
const MOST_UNDER_WAY: usize = 10_000_000;

const DESCRIPTORS_A_THREAD: usize = 3;

/// What 64 bits of nanoseconds have room for many times over.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// One message in a thousand seconds; a thousand times what any machine can do today.
const SLOWEST: f64 = 0.001;
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
        let changes: [(Change, &str); 12] = [
            (|p| p.connections = 0, "at least one connection"),
            (|p| p.pipeline = 0, "at least one message"),
            (|p| p.threads = 51, "some would have none"),
            (|p| p.rate = Some(0.0), "a rate is from"),
            (|p| p.arrivals = Arrivals::Poisson, "need a rate"),
            (|p| p.until = Until::Count(0), "measure nothing"),
            (|p| p.until = Until::Count(5), "no warm-up"),
            (|p| p.rate = Some(0.05), "no message falls"),
            (|p| p.reconnect = Some(0), "never send one"),
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
            assert!(said.contains(reason), "{said:?} does not say {reason:?}");
        }
    }
}
