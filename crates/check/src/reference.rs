//! A tiny echo server in a thread of the tester, and figures that are compared with its figures.
//!
//! A busy machine delays every server on it. So a time is measured in turn with a server whose own part is known to be
//! small, and the limit applies only as far as that server keeps it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::endpoint::Endpoint;
use crate::outcome::Problem;
use crate::words::{Text, text};

/// An echo server with a thread for each client. Dropping it closes its listener; the threads of its clients end with
/// their clients.
#[derive(Debug)]
pub(crate) struct Reference {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Reference {
    /// Starts it on a free port.
    pub(crate) fn start() -> Result<Reference, Problem> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    std::thread::spawn(move || echo(stream));
                }
            }
        });
        Ok(Reference {
            address,
            is_over,
            acceptor: Some(acceptor),
        })
    }

    /// Returns where it listens.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Tcp(self.address)
    }
}

/// A failure of the reference says nothing about the server under test.
pub(crate) fn of_the_reference(problem: Problem) -> Problem {
    match problem {
        Problem::Failed(Text { en, ja }) => Problem::Inconclusive(text!(
            "the simple server of this program did not answer: {en}",
            "このプログラム内の小さなサーバーが応答しなかった: {ja}"
        )),
        other => other,
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // The acceptor sees the flag after its next connection.
        if TcpStream::connect(self.address).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
    }
}

/// Echoes the bytes of one client until it ends its stream or the connection fails.
fn echo(mut stream: TcpStream) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut buffer = [0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) if stream.write_all(&buffer[..n]).is_err() => return,
            Ok(_) => {}
        }
    }
}

/// A time of the server under test, and the time of the reference in the same second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The time of the server under test.
    pub(crate) server: Duration,
    /// The time of the reference.
    pub(crate) reference: Duration,
}

impl Pair {
    /// Whether the server's time is below the limit, or below 3 times the reference's.
    fn passes(self, limit: Duration) -> bool {
        self.server < limit || self.server < self.reference * 3
    }
}

/// Measures up to three times, until a time passes. Returns the time that passed. `what` describes the time: "the
/// slowest of 300 clients was served after".
///
/// # Errors
/// [`Problem::Failed`] if no time passed. [`Problem::Inconclusive`] if the reference was slow too.
pub(crate) fn best_of_three(
    limit: Duration,
    what: &Text,
    mut measure: impl FnMut() -> Result<Pair, Problem>,
) -> Result<Pair, Problem> {
    let mut best: Option<Pair> = None;
    let mut failure = None;
    for _ in 0..3 {
        match measure() {
            Ok(pair) if pair.passes(limit) => return Ok(pair),
            Ok(pair) if best.is_none_or(|best| pair.server < best.server) => best = Some(pair),
            Ok(_) => {}
            // A server that did not answer this time may answer the next time.
            Err(Problem::Failed(what)) => failure = Some(what),
            Err(other) => return Err(other),
        }
    }
    match (best, failure) {
        (Some(best), _) => Err(verdict(best, limit, what)),
        (None, Some(what)) => Err(Problem::Failed(what)),
        (None, None) => Err(Problem::Inconclusive(text!(
            "nothing was measured",
            "何も測定されなかった"
        ))),
    }
}

/// Describes a time that did not pass.
fn verdict(pair: Pair, limit: Duration, what: &Text) -> Problem {
    let Text { en, ja } = what;
    let [server, reference, most] = [pair.server, pair.reference, limit].map(milliseconds);
    if pair.reference > limit / 3 {
        return Problem::Inconclusive(text!(
            "this machine was busy: {en} {server}, and with the simple server of this program {reference}",
            "このマシンが忙しかった: {ja} {server}、このプログラム内の小さなサーバーでも {reference}"
        ));
    }
    Problem::Failed(text!(
        "{en} {server}, and the limit is {most}; with the simple server of this program it was {reference}",
        "{ja} {server} (上限は {most})。このプログラム内の小さなサーバーでは {reference}"
    ))
}

/// Formats a time in milliseconds: two decimals below 1 ms, one below 10 ms, and none above.
pub(crate) fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    let decimals = match ms {
        ms if ms < 1.0 => 2,
        ms if ms < 10.0 => 1,
        _ => 0,
    };
    format!("{ms:.decimals$} ms")
}

/// Returns the time that a share of the times does not exceed (nearest rank); zero if there are none.
pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100);
    let at = rank.saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    fn judge(pairs: [(u64, u64); 3]) -> Result<Pair, Problem> {
        let mut pairs = pairs.into_iter().map(|(server, reference)| {
            Ok(Pair {
                server: Duration::from_millis(server),
                reference: Duration::from_millis(reference),
            })
        });
        let what = text!("p99", "p99");
        best_of_three(LIMIT, &what, || pairs.next().unwrap())
    }

    #[test]
    fn a_time_check_passes_if_one_of_three_tries_is_fast_enough() {
        assert!(judge([(500, 1), (500, 1), (99, 1)]).is_ok());
    }

    #[test]
    fn a_server_passes_that_is_not_three_times_slower_than_the_reference() {
        assert!(judge([(500, 170), (500, 1), (500, 1)]).is_ok());
    }

    #[test]
    fn a_slow_server_fails_only_beside_a_quick_reference() {
        let quick = judge([(500, 1), (400, 2), (600, 3)]);
        assert!(matches!(quick, Err(Problem::Failed(what)) if what.en.starts_with("p99 400 ms")));
        let slow = judge([(500, 1), (400, 40), (600, 3)]);
        assert!(matches!(slow, Err(Problem::Inconclusive(_))));
    }

    #[test]
    fn percentiles_are_times_that_occurred() {
        let mut times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&mut times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&mut [], 99), Duration::ZERO);
    }
}
