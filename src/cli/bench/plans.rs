//! Makes plans from the arguments: one for each run, in the order of the runs. Rejects arguments that contradict each
//! other.

use std::time::Duration;

use mio_echo::Address;
use mio_echo::load::{Plan, Until, Verify, random_seed};
use mio_echo::report::{Options, RateSearch, Side};

use super::amounts::OnOff;
use super::args::{BenchArgs, Order, VerifyArg};
use super::sweep::{Key, Sweep};

/// Checks for contradictions that do not depend on the addresses of the targets.
///
/// # Errors
/// The first contradiction, as a message for the user.
pub(super) fn check(args: &BenchArgs) -> Result<(), String> {
    let targets = args.servers();
    if targets > Side::MOST {
        return Err(format!("at most {} targets", Side::MOST));
    }
    if targets >= 2 && (args.sweep.is_some() || args.find_max.is_some()) {
        return Err(format!(
            "--sweep and --find-max take one target, and {targets} were named"
        ));
    }
    if targets >= 2 && args.runs.is_some_and(|runs| runs < 3) {
        return Err(
            "a comparison needs at least 3 runs of each target: fewer cannot tell a difference from chance"
                .to_owned(),
        );
    }
    if targets < 2 && args.order.is_some() {
        return Err("--order needs several targets".to_owned());
    }
    if args.find_max.is_some() && args.outputs.has_hgrm() {
        return Err(
            "--hgrm writes one distribution, and --find-max makes several runs: use --json, which has one for each"
                .to_owned(),
        );
    }
    if args.find_max.is_some() && args.runs.is_some() {
        return Err(
            "--runs cannot be used with --find-max, which decides how many runs it makes"
                .to_owned(),
        );
    }
    if let Some(sweep) = &args.sweep {
        let (name, is_fixed) = match sweep.key() {
            Key::Rate => ("rate", args.rate.is_some()),
            Key::Connections => ("connections", args.connections.is_some()),
            Key::Size => ("size", args.size.is_some()),
        };
        if is_fixed {
            return Err(format!(
                "--{name} fixes what --sweep {name}=… varies: use only one of them"
            ));
        }
    }
    if let Some(condition) = &args.find_max {
        RateSearch::new(condition.clone()).map_err(|error| format!("--find-max {error}"))?;
    }
    if targets < 2
        && let Some(condition) = args.fail_if.iter().find(|a| a.is_about_a_comparison())
    {
        return Err(format!(
            "--fail-if {condition} needs several targets to compare, or mio-echo compare"
        ));
    }
    Ok(())
}

/// A run that is still to be made.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// The settings of the run.
    pub(super) plan: Plan,
    /// The name of the target in the report.
    pub(super) name: String,
    /// The side of a comparison that the run is for; `None` without a comparison.
    pub(super) side: Option<Side>,
}

/// A server to measure.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Its name in the report: the address, or the command of `--cmd`.
    pub(super) name: String,
    pub(super) address: Address,
}

impl Target {
    /// Makes the target of a command that is not started yet. Its address is not known.
    pub(super) fn not_started(command: String) -> Target {
        Target {
            name: command,
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into(),
        }
    }
}

impl From<Address> for Target {
    fn from(address: Address) -> Target {
        Target {
            name: address.to_string(),
            address,
        }
    }
}

/// Returns the planned runs in their order.
///
/// # Errors
/// A plan contradicts itself. The message says how.
pub(super) fn plans(args: &BenchArgs, targets: &[Target]) -> Result<Vec<Planned>, String> {
    let planned = |number: usize, target: &Target| {
        let plan = plan(args, &target.address)?;
        let plans = match &args.sweep {
            Some(sweep) => sweep.plans(&plan)?,
            None => vec![plan],
        };
        let planned = plans.into_iter().map(|plan| Planned {
            plan,
            name: target.name.clone(),
            side: (targets.len() > 1).then(|| Side::of(number)),
        });
        Ok::<Vec<Planned>, String>(planned.collect())
    };
    let targets = targets.iter().enumerate();
    let round: Vec<Vec<Planned>> = targets
        .map(|(number, target)| planned(number, target))
        .collect::<Result<_, _>>()?;
    let round = round.concat();
    for Planned { plan, .. } in &round {
        plan.check().map_err(|why| why.to_string())?;
    }
    let rounds = 0..runs(args);
    let mut planned: Vec<Planned> = match args.servers() {
        0 | 1 => rounds.flat_map(|_| round.clone()).collect(),
        _ => rounds.flat_map(|n| in_order(args, n, &round)).collect(),
    };
    for Planned { plan, .. } in &mut planned {
        choose_seeds(args, plan);
    }
    if let Some(first) = planned.first_mut() {
        first.plan.start_at = args.start_at;
    }
    Ok(planned)
}

/// Sets the seeds of a run: those of the arguments, or other random ones in each run.
pub(super) fn choose_seeds(args: &BenchArgs, plan: &mut Plan) {
    plan.seed = args.seed.unwrap_or_else(random_seed);
    plan.payload_key = args.payload_key.unwrap_or_else(random_seed);
}

/// Number of runs of each plan.
fn runs(args: &BenchArgs) -> usize {
    let default = if args.servers() > 1 { 5 } else { 1 };
    args.runs.map_or(default, |runs| runs as usize)
}

/// The runs of a round in their order. The target that runs first changes from round to round (`interleave`), or the
/// order is random in each round (`random`).
fn in_order(args: &BenchArgs, round: usize, targets: &[Planned]) -> Vec<Planned> {
    let mut order = targets.to_vec();
    match args.order.unwrap_or_default() {
        Order::Interleave => order.rotate_left(round % targets.len().max(1)),
        Order::Random => {
            // A hash is enough: the order must only be independent of what the machine does.
            let seed = args.seed.unwrap_or_else(random_seed);
            order.sort_by_cached_key(|planned| {
                let number = planned.side.map_or(0, Side::number) as u64;
                let mixed =
                    (seed ^ ((round as u64) << 8 | number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
            });
        }
    }
    order
}

fn plan(args: &BenchArgs, target: &Address) -> Result<Plan, String> {
    let mut plan = Plan::new(target.clone());
    let size =
        |n: u64| usize::try_from(n).map_err(|_| format!("{n} is too large for this machine"));
    plan.connections = size(args.connections.unwrap_or(CONNECTIONS))?;
    plan.until = match (args.count, args.duration) {
        (Some(count), _) => Until::Count(count),
        (None, duration) => Until::Elapsed(duration.unwrap_or(DURATION)),
    };
    plan.threads = size(args.threads)?;
    plan.rate = args
        .rate
        .or(args.find_max.as_ref().map(|_| RateSearch::FIRST_RATE));
    plan.arrivals = args.arrivals.map(Into::into).unwrap_or_default();
    plan.sizes = args.size.clone().unwrap_or_default();
    plan.pipeline = size(args.pipeline)?;
    plan.connect_rate = args.connect_rate;
    plan.reconnect = args.reconnect;
    plan.sources = args.source.clone();
    plan.no_delay = args.no_delay == OnOff::On;
    plan.never_sleep = args.never_sleep;
    plan.pin = args.pin.clone();
    plan.send_buffer = args.sndbuf;
    plan.receive_buffer = args.rcvbuf;
    plan.warmup = args.warmup.unwrap_or(match args.count {
        Some(_) => Duration::ZERO,
        None => WARMUP,
    });
    plan.timeout = args.timeout;
    plan.half_close = !args.no_half_close;
    plan.verify = match args.verify {
        VerifyArg::Full => Verify::Full,
        VerifyArg::Off => Verify::Off,
    };
    Ok(plan)
}

/// The options for the report, with the defaults filled in.
pub(super) fn options(args: &BenchArgs, targets: &[Target], plans: &[Planned]) -> Options {
    let first = &plans[0].plan;
    Options {
        targets: targets.iter().map(|target| target.name.clone()).collect(),
        commands: args.command_texts(),
        // Only the rate of the option `--rate`: a search and a sweep choose the rates of their runs.
        rate: args.rate,
        seed: args.seed,
        payload_key: args.payload_key,
        sweep: args.sweep.as_ref().map(ToString::to_string),
        find_max: args.find_max.as_ref().map(ToString::to_string),
        runs: runs(args),
        order: (args.servers() > 1).then(|| match args.order.unwrap_or_default() {
            Order::Interleave => "interleave".to_owned(),
            Order::Random => "random".to_owned(),
        }),
        fail_if: args.fail_if.iter().map(ToString::to_string).collect(),
        ..Options::from(first)
    }
}

/// The largest number of connections of any run.
pub(super) fn most_connections(args: &BenchArgs) -> u64 {
    let swept = args.sweep.as_ref().and_then(Sweep::most_connections);
    swept.or(args.connections).unwrap_or(CONNECTIONS)
}

/// Default of `--connections`.
const CONNECTIONS: u64 = 50;

/// Default of `--duration`.
const DURATION: Duration = Duration::from_secs(10);

/// Default of `--warmup` without `--count`.
const WARMUP: Duration = Duration::from_secs(1);
