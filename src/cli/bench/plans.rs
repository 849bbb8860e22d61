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
    let targets = args.targets.len();
    if targets > 2 {
        return Err("at most two targets: they are compared, the second with the first".to_owned());
    }
    if targets == 2 && (args.sweep.is_some() || args.find_max.is_some()) {
        return Err("--sweep and --find-max take one target, and two were named".to_owned());
    }
    if targets == 2 && args.runs.is_some_and(|runs| runs < 3) {
        return Err(
            "a comparison needs at least 3 runs of each target: fewer cannot tell a difference from chance"
                .to_owned(),
        );
    }
    if targets < 2 && args.order.is_some() {
        return Err("--order needs two targets".to_owned());
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
            "--fail-if {condition} needs two targets to compare, or mio-echo compare"
        ));
    }
    Ok(())
}

/// A run that is still to be made.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// The settings of the run.
    pub(super) plan: Plan,
    /// The side of a comparison that the run is for; `None` without a comparison.
    pub(super) side: Option<Side>,
}

/// Returns the planned runs in their order.
///
/// # Errors
/// A plan contradicts itself. The message says how.
pub(super) fn plans(args: &BenchArgs, targets: &[Address]) -> Result<Vec<Planned>, String> {
    let base = |target: &Address| plan(args, target);
    let plans = match (targets, &args.sweep) {
        ([target], Some(sweep)) => {
            let base = base(target)?;
            let swept: Result<Vec<Plan>, String> = sweep.plans(&base);
            swept?
        }
        ([target], None) => vec![base(target)?],
        (targets, _) => targets.iter().map(base).collect::<Result<_, _>>()?,
    };
    for plan in &plans {
        plan.check().map_err(|why| why.to_string())?;
    }
    let rounds = 0..runs(args);
    let mut planned: Vec<Planned> = match plans.as_slice() {
        [a, b] if targets.len() == 2 => rounds.flat_map(|n| in_order(args, n, a, b)).collect(),
        plans => {
            let alone = |plan: &Plan| Planned {
                plan: plan.clone(),
                side: None,
            };
            rounds.flat_map(|_| plans.iter().map(alone)).collect()
        }
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
    let default = if args.targets.len() == 2 { 5 } else { 1 };
    args.runs.map_or(default, |runs| runs as usize)
}

/// The two runs of a round in their order. The target that runs first changes from round to round (`interleave`), or is
/// random in each round (`random`).
fn in_order(args: &BenchArgs, round: usize, a: &Plan, b: &Plan) -> [Planned; 2] {
    let swapped = match args.order.unwrap_or_default() {
        Order::Interleave => round % 2 == 1,
        // A multiplicative hash is enough: the order must only be independent of what the machine does.
        Order::Random => {
            let seed = args.seed.unwrap_or(a.seed);
            let mixed = (seed ^ round as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed >> 63 == 1
        }
    };
    let mut pair = [(a, Side::A), (b, Side::B)].map(|(plan, side)| Planned {
        plan: plan.clone(),
        side: Some(side),
    });
    if swapped {
        pair.reverse();
    }
    pair
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
pub(super) fn options(args: &BenchArgs, plans: &[Planned]) -> Options {
    let mut targets: Vec<String> = Vec::new();
    for Planned { plan, .. } in plans {
        let target = plan.target.to_string();
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    if args.targets.len() == 2 {
        targets = args.targets.iter().map(ToString::to_string).collect();
    }
    let first = &plans[0].plan;
    Options {
        targets,
        // Only the rate of the option `--rate`: a search and a sweep choose the rates of their runs.
        rate: args.rate,
        seed: args.seed,
        payload_key: args.payload_key,
        sweep: args.sweep.as_ref().map(ToString::to_string),
        find_max: args.find_max.as_ref().map(ToString::to_string),
        runs: runs(args),
        order: (args.targets.len() == 2).then(|| match args.order.unwrap_or_default() {
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
