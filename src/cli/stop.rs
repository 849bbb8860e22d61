//! SIGINT and SIGTERM for what is measured: the first ends it with a partial report, the second at once.

use std::io;

use mio_echo::load::Stopper;

/// From now on.
#[cfg(unix)]
pub(super) fn on_signals(stopper: &Stopper) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    let asked_before = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in the order of their registration: look first, then mark.
        flag::register_conditional_shutdown(
            signal,
            super::failure::INTERRUPTED.into(),
            asked_before.clone(),
        )?;
        flag::register(signal, asked_before.clone())?;
    }
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
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
