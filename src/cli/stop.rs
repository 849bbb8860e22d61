//! SIGINT and SIGTERM during a measurement. The first signal ends it with a partial report, the second ends the process
//! at once.

use std::io;

use mio_echo::load::Stopper;

/// Handles the signals from now on: the first one stops `stopper`.
///
/// # Errors
/// A handler cannot be installed, or the system cannot start another thread.
#[cfg(unix)]
pub(super) fn on_signals(stopper: &Stopper) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    // Install this handler first. A signal that arrives before it would only set the flag, and the server would not
    // stop.
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let asked_before = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in the order of their registration. The check must run before the flag is set.
        flag::register_conditional_shutdown(
            signal,
            super::failure::INTERRUPTED.into(),
            asked_before.clone(),
        )?;
        flag::register(signal, asked_before.clone())?;
    }
    let stopper = stopper.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                stopper.stop();
            }
        })?;
    Ok(())
}

#[cfg(windows)]
pub(super) fn on_signals(stopper: &Stopper) -> io::Result<()> {
    let stopper = stopper.clone();
    ctrlc::set_handler(move || {
        if stopper.is_stopping() {
            std::process::exit(super::failure::INTERRUPTED.into());
        }
        stopper.stop();
    })
    .map_err(io::Error::other)
}
