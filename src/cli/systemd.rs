//! What systemd passes and expects: sockets (sd_listen_fds(3)), readiness and a watchdog (sd_notify(3)).

use std::io;
use std::thread;
use std::time::Duration;

use listenfd::ListenFd;
use mio_echo::{Handle, Passed};
use sd_notify::NotifyState;

/// Takes the sockets that systemd passes (`LISTEN_FDS`); none if it passes none.
///
/// # Errors
/// A message for the user: a passed descriptor is no stream socket.
pub(super) fn passed_sockets() -> Result<Vec<Passed>, String> {
    let mut descriptors = ListenFd::from_env();
    let mut passed = Vec::new();
    for n in 0..descriptors.len() {
        // A descriptor of another kind stays where it is.
        let socket = match descriptors.take_tcp_listener(n) {
            Ok(listener) => listener.map(Passed::Tcp),
            Err(_) => descriptors
                .take_unix_listener(n)
                .map_err(|_| {
                    format!(
                        "passed socket {n} is not a stream socket of TCP or of a Unix-domain path"
                    )
                })?
                .map(Passed::Unix),
        };
        passed.extend(socket);
    }
    Ok(passed)
}

/// The watchdog of the service manager (`WatchdogSec`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Watchdog {
    /// The time after which the service manager takes the service for dead.
    limit: Duration,
}

impl Watchdog {
    /// Returns the watchdog; `None` if none is set.
    pub(super) fn of_this_service() -> Option<Watchdog> {
        let limit = sd_notify::watchdog_enabled()?;
        Some(Watchdog { limit })
    }

    /// Returns the interval at which each loop must wake up. Then each check of [`feed`](Watchdog::feed) finds that
    /// every running loop has made a turn.
    pub(super) fn heartbeat(self) -> Duration {
        self.limit / 4
    }

    /// Checks twice in each limit whether every loop has made a turn since the last check. If so, it tells the service
    /// manager that the service runs. If one loop hangs, it tells nothing.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub(super) fn feed(self, handle: Handle) -> io::Result<()> {
        let turns = move || -> Vec<u64> {
            let loops = handle.loop_stats();
            loops.iter().map(|stats| stats.polls).collect()
        };
        let look_and_tell = move || {
            let _ = net::threads::leave_signals_to_others();
            let mut before = turns();
            loop {
                thread::sleep(self.limit / 2);
                let now = turns();
                if now.iter().zip(&before).all(|(now, before)| now > before) {
                    tell(NotifyState::Watchdog);
                }
                before = now;
            }
        };
        thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(look_and_tell)?;
        Ok(())
    }
}

/// Tells the service manager that the server listens. Does nothing without one.
pub(super) fn tell_that_it_is_ready() {
    tell(NotifyState::Ready);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!("cannot reach the service manager: {error}");
    }
}
