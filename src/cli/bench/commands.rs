//! The servers of `--cmd`: starts each of them on a free port, waits until it listens, and ends it after the last run.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::check::{Launcher, Started};
use mio_echo::Address;
use mio_echo::load::Stopper;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cli::failure::Failure;

/// A command that starts a server.
#[derive(Clone, Debug)]
pub(super) struct ServerCommand {
    /// The command as the user wrote it: the server's name in the report.
    pub(super) text: String,
    launcher: Launcher,
}

/// Parses a command. It is divided into words as a shell does.
pub(super) fn parse(text: &str) -> Result<ServerCommand, String> {
    let words = shell_words::split(text).map_err(|error| error.to_string())?;
    Ok(ServerCommand {
        text: text.to_owned(),
        launcher: Launcher::new(words)?,
    })
}

/// The running servers. The thread of the signal handler keeps a clone for ever, so dropping one does not end them: see
/// [`Servers::ended_at_drop`].
#[derive(Clone, Debug, Default)]
pub(super) struct Servers {
    running: Arc<Mutex<Vec<Started>>>,
    /// Whether a signal has come, which ends the wait for a server.
    interrupted: Arc<AtomicBool>,
}

impl Servers {
    /// From now on, SIGINT and SIGTERM end the wait for a server too. Call this after the handlers that stop the
    /// measurement are installed: this one alone would lose a signal. `stopper` tells whether one has come already.
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub(super) fn heed_signals(&self, stopper: &Stopper) -> io::Result<()> {
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, self.interrupted.clone())?;
        }
        if stopper.is_stopping() {
            self.interrupted.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Starts a server, and returns the address that it listens on.
    ///
    /// # Errors
    /// The command cannot be started, ends, or does not listen in time.
    pub(super) fn start(&self, command: &ServerCommand) -> Result<Address, Failure> {
        let started = command.launcher.launch(&self.interrupted);
        let started = started.map_err(|why| match self.interrupted.load(Ordering::Relaxed) {
            true => Failure::Interrupted(why),
            false => Failure::Message(format!("--cmd {:?}: {why}", command.text)),
        })?;
        let address = started.address();
        self.running().push(started);
        Ok(address.into())
    }

    /// Returns a guard that ends all servers when it is dropped: also when the caller returns early with an error.
    pub(super) fn ended_at_drop(&self) -> Ending {
        Ending(self.clone())
    }

    /// Ends all servers.
    pub(super) fn end(&self) {
        self.running().clear();
    }

    fn running(&self) -> MutexGuard<'_, Vec<Started>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the servers when it is dropped.
#[derive(Debug)]
pub(super) struct Ending(Servers);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}
