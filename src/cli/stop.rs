//! SIGINT and SIGTERM during a measurement. The first signal ends it with a partial report, the second ends the process
//! at once, without a report.

use std::io;

use mio_echo::load::Stopper;

/// Handles the signals from now on: the first one stops `stopper`. The second one calls `before_exit` and ends the
/// process.
///
/// # Errors
/// A handler cannot be installed, or the system cannot start another thread.
#[cfg(unix)]
pub(super) fn on_signals(
    stopper: &Stopper,
    before_exit: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let stopper = stopper.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut signals = signals.forever();
            signals.next();
            stopper.stop();
            signals.next();
            before_exit();
            std::process::exit(super::failure::INTERRUPTED.into());
        })?;
    Ok(())
}

#[cfg(windows)]
pub(super) fn on_signals(
    stopper: &Stopper,
    before_exit: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let stopper = stopper.clone();
    let mut before_exit = Some(before_exit);
    ctrlc::set_handler(move || {
        if stopper.is_stopping() {
            if let Some(before_exit) = before_exit.take() {
                before_exit();
            }
            std::process::exit(super::failure::INTERRUPTED.into());
        }
        stopper.stop();
    })
    .map_err(io::Error::other)
}
