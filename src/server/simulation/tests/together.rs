//! The real server and the real load generator together, over one network in virtual time.
//!
//! Each runs on its own thread. A call of either waits until its host has the smallest clock, so one thread runs at a
//! time and a seed always gives the same run.

use std::thread;
use std::time::Duration;

use load::{FaultKind, Plan, Recording, Sizes, Stopper, Until, histogram, run_on};
use net::connect::Target;
use sim::timed::{ConnectionLedger, Costs, Ledger, Link, Network, NetworkSettings, TimedPoller};

use super::*;
use crate::server::limits::Limits;
use crate::server::simulation::settings::ServerSettings;
use crate::server::stats::Stats;

#[test]
fn the_generator_and_the_ledger_agree_about_the_server() {
    for seed in 0..from_environment("MIO_ECHO_SEEDS_TOGETHER", 300) {
        if let Some(violation) = violation(seed) {
            panic!("seed {seed}: {violation}");
        }
    }
}

#[test]
fn server_and_load_generator_agree_when_the_server_drains_in_the_middle_of_the_run() {
    let mut seen_faults = 0;
    for seed in 0..from_environment("MIO_ECHO_SEEDS_TOGETHER", 300) {
        let (violation, faults) = violation_of_a_stop(seed);
        if let Some(violation) = violation {
            panic!("seed {seed}: {violation}");
        }
        seen_faults += usize::from(faults > 0);
    }
    assert!(seen_faults > 0, "no stop came in the middle of a run");
}

#[test]
fn two_runs_of_a_seed_are_the_same() {
    for seed in 0..20 {
        let [one, other] = [(); 2].map(|()| run_together(&plan(seed), setup(seed), seed, None));
        assert_eq!(one.recording.response, other.recording.response);
        assert_eq!(one.recording.counts, other.recording.counts);
        assert_eq!(one.stats, other.stats, "seed {seed}");
    }
}

/// The results of both programs, and the truth.
struct Together {
    recording: Recording,
    ledger: Ledger,
    stats: Stats,
}

/// Runs a seed and returns the first violation. The generator ends before the server.
fn violation(seed: u64) -> Option<String> {
    let plan = plan(seed);
    let together = run_together(&plan, setup(seed), seed, None);
    let Together {
        recording,
        ledger,
        stats,
    } = &together;
    let counts = recording.counts;
    let connections = &ledger.connections;
    let read: u64 = connections.iter().map(|c| c.read).sum();
    let written: u64 = connections.iter().map(|c| c.written).sum();
    let used = connections.iter().filter(|c| c.read > 0).count();
    let is_whole = read == written && stats.bytes_in == stats.bytes_out;
    let checks = [
        (counts.errors == 0, "the generator reports errors"),
        (counts.failed == 0, "messages failed"),
        (counts.ok > 0, "nothing came back"),
        (counts.unfinished > 0 || is_whole, "not all bytes came back"),
        (stats.accepted >= used as u64, "connections are missing"),
    ];
    first_failure(&checks, &together).or_else(|| violation_of(&plan, &together))
}

/// As [`violation`], but the server is told to stop in the middle of the run.
/// Returns the number of the generator's errors too.
fn violation_of_a_stop(seed: u64) -> (Option<String>, u64) {
    let plan = plan(seed);
    let stop_ns = 3_000_000 + seed * 7919 % 20_000_000;
    let together = run_together(&plan, setup(seed), seed, Some(stop_ns));
    let stats = &together.stats;
    let invented = [FaultKind::Corrupt, FaultKind::Surplus, FaultKind::Foreign]
        .iter()
        .any(|kind| together.recording.faults.contains_key(kind));
    let checks = [
        (!invented, "the generator reports a wrong byte"),
        (
            stats.closed.abandoned == 0,
            "the drain abandons connections",
        ),
        (
            stats.bytes_out <= stats.bytes_in,
            "the server invents bytes",
        ),
    ];
    let violation = first_failure(&checks, &together);
    let violation = violation.or_else(|| violation_of(&plan, &together));
    (violation, together.recording.counts.errors)
}

/// Returns the first violation of the rules that hold for every run.
fn violation_of(plan: &Plan, together: &Together) -> Option<String> {
    let Together {
        recording,
        ledger,
        stats,
    } = together;
    let counts = recording.counts;
    let ended = counts.ok + counts.unfinished + counts.failed;
    let is_right = ledger
        .connections
        .iter()
        .all(|c| c.wrong_ns.is_none() && c.right == c.read);
    let checks = [
        (is_right, "a byte of the echo is wrong"),
        (ended == counts.scheduled, "the counts do not add up"),
        (
            stats.closed_in_all() == stats.accepted,
            "connections are left",
        ),
    ];
    first_failure(&checks, together).or_else(|| times_differ(plan, together))
}

/// Returns the first check that is false.
fn first_failure(checks: &[(bool, &str)], together: &Together) -> Option<String> {
    let Together {
        recording, stats, ..
    } = together;
    let (_, what) = checks.iter().find(|(is_right, _)| !is_right)?;
    let (counts, faults) = (recording.counts, &recording.faults);
    Some(format!("{what}: {counts:?} {faults:?} {stats:?}"))
}

/// Compares the histograms with the ledger.
fn times_differ(plan: &Plan, together: &Together) -> Option<String> {
    const HEAD_START_NS: u64 = 2_000_000;
    let Together {
        recording, ledger, ..
    } = together;
    let start_ns = ledger.wakes_ns[0] + HEAD_START_NS;
    let Until::Elapsed(window) = plan.until else {
        return Some("the plan has no window".to_owned());
    };
    let window_ns = start_ns..start_ns + window.as_nanos() as u64;
    let (mut response, mut service, mut first_byte) = (histogram(), histogram(), histogram());
    // The driver counts the rest right before it ends its streams, or else at the end of the run.
    let ends_ns = ledger.connections.iter().filter_map(|c| c.shut_down_ns);
    let last_end_ns = ends_ns.filter(|ns| *ns >= window_ns.end).max();
    let counted_ns = last_end_ns.unwrap_or(ledger.last_reading_ns);
    for slot in 0..plan.connections {
        // The other bits of a key count the connections of the slot.
        let is_here = |c: &&ConnectionLedger| c.key.is_some_and(|key| key & 0xff_ffff == slot);
        let connections = ledger.connections.iter().filter(is_here);
        let messages = connections.flat_map(|c| c.messages.iter().map(move |m| (c, m)));
        let messages: Vec<_> = messages.collect();
        for n in 0.. {
            let message = messages.get(n);
            let due_ns = match (plan.rate, message) {
                (None, None) => break,
                (None, Some((_, message))) => message.offered_ns,
                (Some(rate), _) => {
                    let number = slot + n * plan.connections;
                    start_ns + (number as f64 * 1e9 / rate) as u64
                }
            };
            if due_ns >= window_ns.end {
                break;
            }
            let Some((connection, message)) = message else {
                response.saturating_record(counted_ns - due_ns);
                continue;
            };
            // A message that did not come back counts with its age: when its connection failed, or at the end.
            let lost_ns = connection.shut_down_ns.or(connection.closed_reading_ns);
            let end_ns = lost_ns.unwrap_or(counted_ns);
            let in_time = |ns: &u64| {
                connection
                    .shut_down_ns
                    .is_none_or(|ended_ns| *ns <= ended_ns)
            };
            let back_ns = message.back_ns.filter(in_time).unwrap_or(end_ns);
            let first_ns = message.first_byte_ns.filter(in_time).unwrap_or(back_ns);
            response.saturating_record(back_ns - due_ns);
            service.saturating_record(back_ns - message.offered_ns);
            first_byte.saturating_record(first_ns - message.offered_ns);
        }
    }
    [
        ("response", &recording.response, &response),
        ("service", &recording.service, &service),
        ("first byte", &recording.first_byte, &first_byte),
    ]
    .into_iter()
    .find(|(_, measured, truth)| measured != truth)
    .map(|(what, measured, truth)| {
        let (measured_ns, true_ns) = (measured.mean(), truth.mean());
        format!("{what} times: the mean is {measured_ns} ns and should be {true_ns} ns")
    })
}

/// Runs the plan against the server. The server gets the signal to stop at `stop_ns`, or after the generator has ended.
/// Then it drains.
fn run_together(plan: &Plan, setup: NetworkSettings, seed: u64, stop_ns: Option<u64>) -> Together {
    let network = Network::new(setup);
    if let Some(stop_ns) = stop_ns {
        network.stop_server_at(stop_ns);
    }
    let (client, server) = (network.client(), network.server());
    let serving = thread::spawn(move || serve(server, seed));
    let target = Target::Tcp(([127, 0, 0, 1], 7007).into());
    let recording = run_on(client, target, plan, &Stopper::default(), |_| ());
    let stats = serving.join().unwrap();
    Together {
        recording: recording.unwrap(),
        ledger: network.take_ledger(),
        stats,
    }
}

/// Runs the server to its end and returns its statistics.
fn serve(poller: TimedPoller, seed: u64) -> Stats {
    let control = Arc::new(Control::default());
    let limits = Limits {
        read_buffer: pick(seed, &[16 * 1024, 64, 1000]),
        ..ServerSettings::simple().limits(1024)
    };
    let mut event_loop = EventLoop::new(poller, limits, control.clone());
    let listener = event_loop.poller_mut().listener();
    event_loop.listen(listener).unwrap();
    event_loop.run().unwrap();
    control.counters().snapshot()
}

fn plan(seed: u64) -> Plan {
    let mut plan = Plan::new("127.0.0.1:7007".parse().unwrap());
    plan.connections = pick(seed / 3, &[1, 2, 5]);
    plan.pipeline = pick(seed / 5, &[1, 1, 4]);
    plan.rate = pick(seed / 2, &[None, Some(1000.0), Some(8000.0)]);
    plan.reconnect = pick(seed / 7, &[None, None, Some(7)]);
    plan.sizes = Sizes::one(setup(seed).message as u32).unwrap();
    plan.warmup = Duration::ZERO;
    plan.until = Until::Elapsed(Duration::from_millis(5 + seed % 20));
    (plan.seed, plan.payload_key) = (seed, seed);
    // With planned ends during the run the ledger does not show when the driver counts the messages that were not sent.
    plan.half_close = plan.reconnect.is_none() || plan.rate.is_none();
    plan
}

fn setup(seed: u64) -> NetworkSettings {
    NetworkSettings {
        server: None,
        costs: Costs {
            read_ns: 1000 + seed * 37 % 5000,
            write_ns: 1000 + seed * 91 % 7000,
            wake_up_ns: seed * 13 % 3000,
            ..Costs::all(2000)
        },
        link: Link {
            delay_ns: pick(seed / 11, &[0, 10_000, 200_000]),
            ps_per_byte: pick(seed / 13, &[0, 8_000]),
            segment: pick(seed / 17, &[64 * 1024, 1448]),
        },
        message: pick(seed / 19, &[64, 10, 3000]),
        ..NetworkSettings::simple()
    }
}

fn pick<T: Copy>(number: u64, values: &[T]) -> T {
    values[(number % values.len() as u64) as usize]
}
