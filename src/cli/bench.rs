//! `mio-echo bench`: measures an echo server.

mod amounts;
mod args;
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

/// Measures, writes the report, and returns the exit code that follows from it.
pub(super) fn run(args: &BenchArgs) -> Result<(), Failure> {
    logging::start(Some(LevelFilter::Warn))?;
    plans::check(args).map_err(Failure::Usage)?;
    if let Err(error) = raise_descriptor_limit() {
        log::warn!("cannot raise the descriptor limit: {error}");
    }
    let embedded = match args.targets.is_empty() {
        true => Some(embedded::start(plans::most_connections(args))?),
        false => None,
    };
    let targets = match &embedded {
        Some(server) => server.local_addresses().to_vec(),
        None => args.targets.clone(),
    };
    let plans = plans::plans(args, &targets).map_err(Failure::Usage)?;
    args.outputs.check(plans.len())?;
    let stopper = Stopper::default();
    stop::on_signals(&stopper)?;
    #[cfg(feature = "metrics")]
    let load = match &args.metrics {
        None => None,
        Some(address) => {
            let site = metrics::Site::bind(address)?;
            logging::print_after_log(&format_args!("metrics on {}", site.url()));
            let load = metrics::Load::new();
            site.publish(std::sync::Arc::new(load.clone()))?;
            Some(load)
        }
    };
    let note = embedded.as_ref().map(|_| EMBEDDED_NOTE);
    let document = series::measure(
        args,
        &plans,
        &stopper,
        note,
        #[cfg(feature = "metrics")]
        load,
    )?;
    args.outputs.write(&document)?;
    conclude(&document)
}

/// A note in the report about the server of `embedded`.
const EMBEDDED_NOTE: &str =
    "the server is a thread of this process, and shares its processors with the generator";
