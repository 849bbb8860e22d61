//! What to measure: every choice, and which of them contradict each other.

use std::net::IpAddr;
use std::time::Duration;

use super::exchange::Verify;
use super::payload::MOST_CONNECTIONS;
use super::schedule::Arrivals;
use super::sizes::Sizes;
use crate::address::{Address, Host, Port};
use crate::limits;

/// What one run does. Take the defaults for what you do not care about.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The echo server.
    pub target: Address,
    /// Connections over all threads, from 1. Default: 50.
    pub connections: usize,
    /// When it is over. Default: after 10 s.
    pub until: Until,
    /// Event loops, each on a thread of its own, from 1. Default: 1.
    pub threads: usize,
    /// Messages a second over all connections: an open loop, which sends when the schedule says so. `None`: a closed
    /// loop, which sends when an echo has come back, and cannot see what it did not ask while it waited. Default: none.
    pub rate: Option<f64>,
    /// How an open loop's messages arrive.
    pub arrivals: Arrivals,
    /// The sizes of the messages. Default: 64 bytes.
    pub sizes: Sizes,
    /// How many messages a connection may have under way, from 1. Default: 1.
    pub pipeline: usize,
    /// So many connections a second are made at first. Default: as fast as they are accepted.
    pub connect_rate: Option<f64>,
    /// After so many messages each connection is closed and made anew. Default: never.
    pub reconnect: Option<u64>,
    /// Where to connect from, in turn. Empty: what the system chooses, and on loopback other addresses of 127/8 once
    /// its ports are used up.
    pub sources: Vec<IpAddr>,
    /// `TCP_NODELAY`. Default: on.
    pub no_delay: bool,
    /// Whether the load generator never sleeps while it measures. Its processors are busy then, and what it takes to wake
    /// one up, some tens of microseconds, is in no latency: what is left is the server's. Default: off.
    pub never_sleep: bool,
    /// `SO_SNDBUF` of the client's sockets, in bytes. Default: the system's.
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF` of the client's sockets, in bytes. Default: the system's.
    pub receive_buffer: Option<usize>,
    /// How long to send before anything counts. Default: 1 s.
    pub warmup: Duration,
    /// How long a connection may take to be made, and a message to come back. Default: 10 s.
    pub timeout: Duration,
    /// What payloads, sizes and arrivals are made of. Default: 1.
    pub seed: u64,
    /// What is checked of each echo. Default: every byte.
    pub verify: Verify,
}

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After so long, warm-up excluded.
    Elapsed(Duration),
    /// After so many messages.
    Count(u64),
}

impl Plan {
    /// A plan with the defaults.
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
    /// What is impossible or contradicts something else, and what to do about it.
    pub fn check(&self) -> Result<(), String> {
        self.check_numbers()?;
        self.check_target()?;
        if self.arrivals == Arrivals::Poisson && self.rate.is_none() {
            return Err(
                "Poisson arrivals need a rate: a closed loop sends when an echo comes back"
                    .to_owned(),
            );
        }
        if self.until == Until::Count(0) {
            return Err("no message at all would measure nothing".to_owned());
        }
        if matches!(self.until, Until::Count(_)) && !self.warmup.is_zero() {
            return Err("a count of messages has no warm-up: every message counts".to_owned());
        }
        if let (Until::Elapsed(duration), Some(rate)) = (self.until, self.rate)
            && rate * duration.as_secs_f64() < 1.0
        {
            return Err("at this rate no message falls into the time that is measured".to_owned());
        }
        self.check_descriptors()
    }

    fn check_numbers(&self) -> Result<(), String> {
        let (connections, threads) = (self.connections, self.threads);
        for (n, what) in [
            (connections, "connection"),
            (threads, "thread"),
            (self.pipeline, "message a connection"),
        ] {
            if n == 0 {
                return Err(format!("at least one {what}"));
            }
        }
        if threads > connections {
            return Err(format!(
                "{threads} threads for {connections} connections: some would have none"
            ));
        }
        for rate in [self.rate, self.connect_rate].into_iter().flatten() {
            if !(rate.is_finite() && (SLOWEST..=FASTEST).contains(&rate)) {
                return Err(format!(
                    "a rate is from {SLOWEST} to {FASTEST} a second, not {rate}"
                ));
            }
        }
        if self.reconnect == Some(0) {
            return Err("a new connection after 0 messages would never send one".to_owned());
        }
        let mut times = vec![self.timeout, self.warmup];
        if let Until::Elapsed(duration) = self.until {
            times.push(duration);
        }
        if times.iter().any(|time| *time > LONGEST) {
            return Err("a time of at most a year".to_owned());
        }
        if connections.saturating_mul(self.pipeline) > MOST_UNDER_WAY {
            return Err(format!(
                "{connections} connections with {} messages under way each: at most {MOST_UNDER_WAY} in all, as each \
                 takes its place in memory",
                self.pipeline
            ));
        }
        if self.timeout < Duration::from_millis(1) {
            return Err("a timeout of at least 1ms".to_owned());
        }
        Ok(())
    }

    fn check_target(&self) -> Result<(), String> {
        let Address::Tcp { host, port } = &self.target else {
            if !self.sources.is_empty() {
                return Err("a Unix-domain socket has no source address".to_owned());
            }
            if !self.no_delay {
                return Err("TCP_NODELAY is TCP's: a Unix-domain socket never delays".to_owned());
            }
            return Ok(());
        };
        if *port == Port::Auto {
            return Err("auto is for servers: name the port that the server listens on".to_owned());
        }
        for source in &self.sources {
            if let Host::Ip(target) = host
                && target.is_ipv4() != source.is_ipv4()
            {
                return Err(format!(
                    "{source} cannot connect to {target}: one is IPv4, the other IPv6"
                ));
            }
        }
        Ok(())
    }

    fn check_descriptors(&self) -> Result<(), String> {
        let room = limits::room_for_connections();
        let connections = self.connections;
        if connections >= MOST_CONNECTIONS as usize {
            return Err(format!("at most {MOST_CONNECTIONS} connections"));
        }
        // A selector and its waker each, and what their threads have open.
        let needed = connections + self.threads * DESCRIPTORS_A_THREAD;
        if needed > room {
            return Err(format!(
                "{connections} connections need {needed} descriptors with those of the loops, and the limit has room for \
                 {room} (see ulimit -n): raise it, or run several processes and merge their reports"
            ));
        }
        Ok(())
    }
}

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
            let said = plan.check().unwrap_err();
            assert!(said.contains(reason), "{said:?} does not say {reason:?}");
        }
    }
}
