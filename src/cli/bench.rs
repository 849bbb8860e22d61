//! `mio-echo bench`: measures an echo server.

mod amounts;
mod args;
#[cfg(all(unix, feature = "check"))]
mod commands;
mod embedded;
mod plans;
mod progress;
mod series;
mod sweep;

use log::LevelFilter;
use mio_echo::load::Stopper;
use mio_echo::raise_descriptor_limit;

use super::conclusion::conclude;
use super::failure::Failure;
#[cfg(feature = "metrics")]
use super::metrics;
use super::{logging, stop};
pub(super) use args::BenchArgs;
#[cfg(all(unix, feature = "check"))]
use commands::Servers;
use plans::Target;

/// Measures, writes the report, and returns the exit code that follows from it.
pub(super) fn run(args: &BenchArgs) -> Result<(), Failure> {
    logging::start(Some(LevelFilter::Warn))?;
    plans::check(args).map_err(Failure::Usage)?;
    if let Err(error) = raise_descriptor_limit() {
        log::warn!("cannot raise the descriptor limit: {error}");
    }
    let embedded = match args.servers() {
        0 => Some(embedded::start(plans::most_connections(args))?),
        _ => None,
    };
    let addresses = match &embedded {
        Some(server) => server.local_addresses().to_vec(),
        None => args.targets.clone(),
    };
    let mut targets: Vec<Target> = addresses.into_iter().map(Target::from).collect();
    targets.extend(args.command_texts().into_iter().map(Target::not_started));
    // An impossible plan is a usage error before any server is started.
    let planned = plans::plans(args, &targets).map_err(Failure::Usage)?;
    args.outputs.check(planned.len())?;
    let stopper = Stopper::default();
    #[cfg(all(unix, feature = "check"))]
    let servers = Servers::default();
    #[cfg(all(unix, feature = "check"))]
    let _ending = servers.ended_at_drop();
    stop::on_signals(&stopper, {
        #[cfg(all(unix, feature = "check"))]
        let servers = servers.clone();
        move || {
            #[cfg(all(unix, feature = "check"))]
            servers.end();
        }
    })?;
    #[cfg(all(unix, feature = "check"))]
    if !args.commands.is_empty() {
        servers.heed_signals(&stopper)?;
    }
    #[cfg(all(unix, feature = "check"))]
    for (command, target) in args.commands.iter().rev().zip(targets.iter_mut().rev()) {
        target.address = servers.start(command)?;
    }
    let plans = plans::plans(args, &targets).map_err(Failure::Usage)?;
    #[cfg(feature = "metrics")]
    let load = match &args.metrics {
        None => None,
        Some(address) => {
            let site = metrics::Site::bind(address)?;
            logging::print_after_log(&format_args!("metrics on {}", site.url()));
            // Another thread writes that line. The progress must not come before it, or into it.
            logging::finish();
            let load = metrics::Load::new();
            site.publish(std::sync::Arc::new(load.clone()))?;
            Some(load)
        }
    };
    let note = embedded.as_ref().map(|_| EMBEDDED_NOTE);
    let document = series::measure(
        args,
        &targets,
        &plans,
        &stopper,
        note,
        #[cfg(feature = "metrics")]
        load,
    )?;
    #[cfg(all(unix, feature = "check"))]
    servers.end();
    args.outputs.write(&document)?;
    conclude(&document)
}

/// A note in the report about the server of `embedded`.
const EMBEDDED_NOTE: &str =
    "the server is a thread of this process, and shares its processors with the generator";
