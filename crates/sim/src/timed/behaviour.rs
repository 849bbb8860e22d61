//! The server that is part of the kernel: when it has served a message, and what it echoes.

use super::ledger::InjectedError;
use super::settings::{Behaviour, Injection, Pause, Times, Wrong};

/// The state of the server.
#[derive(Debug)]
pub(super) struct Server {
    /// When each message is served.
    behaviour: Behaviour,
    /// The times in which it stands still, in order.
    pauses: Vec<Pause>,
    /// The errors that it has not made yet.
    injections: Vec<Injection>,
    /// When the last message of the queue is served.
    free_ns: u64,
    /// The state of the random numbers.
    random: u64,
    /// The last bytes that each connection has sent: the connection's number, and the bytes.
    samples: Vec<(usize, Vec<u8>)>,
}

/// The server's answer to some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Echo {
    /// The bytes.
    pub(super) bytes: Vec<u8>,
    /// What follows them.
    pub(super) after: After,
}

/// What follows the bytes of an [`Echo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The echo of the next bytes.
    More,
    /// The end of the stream.
    End,
    /// A reset.
    Reset,
    /// Nothing.
    Silence,
}

impl Server {
    pub(super) fn new(
        behaviour: Behaviour,
        pauses: Vec<Pause>,
        injections: Vec<Injection>,
    ) -> Server {
        let random = match &behaviour {
            Behaviour::Queue(Times::Exponential { seed, .. }) => *seed,
            _ => 0,
        };
        Server {
            behaviour,
            pauses,
            injections,
            free_ns: 0,
            random,
            samples: Vec::new(),
        }
    }

    /// Whether it serves whole messages.
    pub(super) fn serves_messages(&self) -> bool {
        matches!(self.behaviour, Behaviour::Queue(_))
    }

    /// Returns when bytes that arrive now are served.
    pub(super) fn serve(&mut self, now_ns: u64) -> u64 {
        match self.behaviour {
            Behaviour::Stream { service_ns } => self.after(now_ns, service_ns),
            Behaviour::Queue(times) => {
                let service_ns = match times {
                    Times::Constant(ns) => ns,
                    Times::Exponential { mean_ns, .. } => (-mean_ns * self.fraction().ln()) as u64,
                };
                self.free_ns = self.after(self.free_ns.max(now_ns), service_ns);
                self.free_ns
            }
        }
    }

    /// Returns the end of a service that begins at `from_ns` at the earliest. It stands still in a pause.
    fn after(&self, from_ns: u64, service_ns: u64) -> u64 {
        let mut end_ns = from_ns + service_ns;
        for pause in &self.pauses {
            if pause.to_ns > from_ns && pause.from_ns <= end_ns {
                end_ns += pause.to_ns - pause.from_ns.max(from_ns);
            }
        }
        end_ns
    }

    /// Returns the echo of `bytes`, whose first byte has this offset in the stream of the connection.
    pub(super) fn echo(
        &mut self,
        connection: usize,
        offset: u64,
        bytes: Vec<u8>,
        now_ns: u64,
        injected: &mut Vec<InjectedError>,
    ) -> Echo {
        let mut echo = Echo {
            bytes,
            after: After::More,
        };
        if self.injections.is_empty() {
            return echo;
        }
        let range = offset..offset + echo.bytes.len() as u64;
        let is_here = |injection: &Injection| {
            injection.connection == connection && range.contains(&injection.offset)
        };
        let sample = echo.bytes.clone();
        if let Some(index) = self.injections.iter().position(is_here) {
            let injection = self.injections.swap_remove(index);
            let at = (injection.offset - offset) as usize;
            if let Some(bytes) = self.spoil(connection, &mut echo, at, injection.wrong) {
                injected.push(InjectedError {
                    injection,
                    at_ns: now_ns,
                    bytes,
                });
            }
        }
        self.samples.retain(|(other, _)| *other != connection);
        self.samples.push((connection, sample));
        echo
    }

    /// Makes an error at an index of the echo. Returns how many wrong bytes it sends, or how many it leaves out.
    /// `None`: the error is not possible here.
    fn spoil(
        &mut self,
        connection: usize,
        echo: &mut Echo,
        at: usize,
        wrong: Wrong,
    ) -> Option<usize> {
        let bytes = &mut echo.bytes;
        let rest = bytes.len() - at;
        Some(match wrong {
            Wrong::Corrupt => {
                bytes[at] ^= 0x20;
                1
            }
            Wrong::Insert(n) => {
                let junk: Vec<u8> = (0..n).map(|i| !bytes[at + i % rest]).collect();
                bytes.splice(at..at, junk);
                n
            }
            Wrong::Repeat(n) => {
                let again = bytes[at.saturating_sub(n)..at].to_vec();
                let n = again.len();
                bytes.splice(at..at, again);
                (n > 0).then_some(n)?
            }
            Wrong::Foreign => {
                let mut others = self.samples.iter().rev();
                let (_, other) = others.find(|(other, _)| *other != connection)?;
                bytes.truncate(at);
                bytes.extend(other);
                other.len()
            }
            Wrong::Omit(n) => {
                let n = n.min(rest);
                bytes.drain(at..at + n);
                n
            }
            Wrong::End | Wrong::Reset | Wrong::Silence => {
                bytes.truncate(at);
                echo.after = match wrong {
                    Wrong::End => After::End,
                    Wrong::Reset => After::Reset,
                    _ => After::Silence,
                };
                rest
            }
        })
    }

    /// Returns a random number greater than 0 and at most 1 (SplitMix64: Steele, Lea and Flood, 2014).
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.random;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        ((x >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}
