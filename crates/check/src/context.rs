//! What a check works with: the server's address, the time limits, and the server's process if it is known.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::launcher::{Launcher, Started};
use crate::outcome::Problem;
use crate::process::Process;
use crate::queues::Queues;
use crate::words::text;

/// What a check works with.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// Where the server listens.
    pub(crate) endpoint: Endpoint,
    /// Further addresses of the same server.
    pub(crate) others: &'a [Endpoint],
    /// The time limit of `--timeout`.
    pub(crate) timeout: Duration,
    /// The time after which the server closes idle clients, if the user has told it.
    pub(crate) idle_timeout: Option<Duration>,
    /// The process of the server, if it is known.
    pub(crate) process: Option<Process>,
    /// The command that starts the server, if there is one.
    pub(crate) launcher: Option<&'a Launcher>,
    /// The server that the command has started for this check.
    pub(crate) started: Option<Started>,
    /// Set when the user interrupts the run.
    pub(crate) interrupted: &'a AtomicBool,
}

impl<'a> Context<'a> {
    /// Connects to the server.
    pub(crate) fn connect(&self) -> Result<Client<'a>, Problem> {
        Client::connect(&self.endpoint, self.timeout, self.interrupted)
    }

    /// Connects `n` clients.
    pub(crate) fn connect_many(&self, n: usize) -> Result<Vec<Client<'a>>, Problem> {
        (0..n).map(|_| self.connect()).collect()
    }

    /// Connects to the server with small buffers and segments at this end: a receive buffer of `window` bytes
    /// (SO_RCVBUF), a send buffer of 64 KiB (SO_SNDBUF), and segments as on an Ethernet (TCP_MAXSEG).
    ///
    /// With the defaults the kernel alone takes many megabytes from a client that does not read: the buffers of both
    /// ends grow, and they begin with 20 segments, of 64 KiB each on a loopback connection (tcp_sndbuf_expand() of
    /// Linux).
    pub(crate) fn connect_narrow(&self, window: usize) -> Result<Client<'a>, Problem> {
        let (socket, address) = self.endpoint.socket()?;
        socket.set_recv_buffer_size(window)?;
        socket.set_send_buffer_size(64 * 1024)?;
        if self.endpoint.is_tcp() {
            // Some systems refuse it. Then the kernel takes more.
            let _ = socket.set_tcp_mss(1448);
        }
        Client::connect_with(socket, &address, self.timeout, self.interrupted)
    }

    /// Asks with a client that has done nothing wrong, after others have.
    pub(crate) fn ask_bystander(&self, bystander: &Client<'_>) -> Result<(), Problem> {
        let asked = bystander.ask(b"bystander", self.answer());
        asked.map_err(|problem| match problem {
            Problem::Failed(what) => {
                let (en, ja) = (what.en, what.ja);
                Problem::Failed(text!(
                    "another client that was served before: {en}",
                    "以前は応答を受けていた別のクライアント: {ja}"
                ))
            }
            other => other,
        })
    }

    /// Connects a new client, and asks for an echo of a short message.
    pub(crate) fn hello(&self) -> Result<(), Problem> {
        self.connect()?.ask(b"hello", self.answer())
    }

    /// Returns how long a short answer may take: 1.5 s by default. An idle server needs microseconds.
    pub(crate) fn answer(&self) -> Duration {
        self.timeout * 3 / 4
    }

    /// Returns how long a server may send nothing while an echo is under way: 3 s by default.
    pub(crate) fn silence(&self) -> Duration {
        self.timeout * 3 / 2
    }

    /// Returns the process of the server.
    ///
    /// # Errors
    /// [`Problem::Skipped`] if it is not known.
    pub(crate) fn process(&self) -> Result<Process, Problem> {
        self.process.ok_or_else(|| {
            Problem::Skipped(text!(
                "it needs the process of the server: --pid, or a command",
                "サーバーのプロセスが必要: --pid またはコマンドを指定する"
            ))
        })
    }

    /// Returns how many bytes of these connections the process of the server holds. Each connection has its client, and
    /// the number of bytes that were sent and have not come back.
    ///
    /// # Errors
    /// [`Problem::Skipped`] for a Unix-domain socket, [`Problem::Inconclusive`] if the kernel lists no such connection.
    pub(crate) fn held(&self, connections: &[(&Client<'_>, usize)]) -> Result<u64, Problem> {
        let Endpoint::Tcp(server) = &self.endpoint else {
            return Err(Problem::Skipped(text!(
                "it needs TCP: the kernel does not report the queues of a Unix-domain socket",
                "TCP が必要: Unix ドメインソケットのキューはカーネルから得られない"
            )));
        };
        let unknown = || {
            Problem::Inconclusive(text!(
                "the kernel does not report the queues of the connection (/proc/net/tcp)",
                "接続のキューの長さがシステムから得られない (/proc/net/tcp)"
            ))
        };
        let queues = Queues::read().ok_or_else(unknown)?;
        let mut held = 0;
        for (client, outstanding) in connections {
            let local: SocketAddr = client.local_address().ok_or_else(unknown)?;
            let kernel = queues.of(local, *server).ok_or_else(unknown)?;
            held += (*outstanding as u64).saturating_sub(kernel);
        }
        Ok(held)
    }

    /// Waits until `condition` is true or the time is over. Returns whether it became true.
    pub(crate) fn eventually(
        &self,
        limit: Duration,
        mut condition: impl FnMut() -> Result<bool, Problem>,
    ) -> Result<bool, Problem> {
        let until = Instant::now() + limit;
        loop {
            if condition()? {
                return Ok(true);
            }
            if Instant::now() > until {
                return Ok(false);
            }
            self.sleep(Duration::from_millis(5))?;
        }
    }

    /// Fails if the process of the server has ended, or ends within a moment.
    pub(crate) fn still_alive(&mut self) -> Result<(), Problem> {
        let Some(process) = self.process else {
            return Ok(());
        };
        // Its connections are closed a little before it has ended.
        if !self.eventually(Duration::from_millis(100), || Ok(!process.is_alive()))? {
            return Ok(());
        }
        // The exit status is there only after its last thread has ended.
        let mut started = self.started.take();
        let mut how = None;
        let known = self.eventually(Duration::from_millis(200), || {
            how = started.as_mut().and_then(Started::how_it_ended);
            Ok(how.is_some() || started.is_none())
        });
        self.started = started;
        known?;
        Err(Problem::Failed(how.unwrap_or_else(|| {
            text!("the server ended", "サーバーが終了した")
        })))
    }

    /// Sleeps, until the time is over or the user interrupts the run.
    pub(crate) fn sleep(&self, time: Duration) -> Result<(), Problem> {
        let until = Instant::now() + time;
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Problem::Interrupted);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}
