//! Random cases with faults. Each seed is a case, and the recording of each case must agree with the ledger.

use std::time::Duration;

use mio_echo_load::{Arrivals, Until};
use sim::timed::{
    Behaviour, Costs, Injection, Link, NetworkSettings, Pause, Stall, StallKind, Times, Wrong,
};

use super::case::Case;
use super::due::Random;
use super::truth::violation;

/// The number of seeds; `MIO_ECHO_SEEDS` sets another one.
const SEEDS: u64 = 3000;

#[test]
fn the_recording_agrees_with_the_ledger() {
    let seeds = std::env::var("MIO_ECHO_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    if let Some(Find { seed, violation }) = hunt(0..seeds) {
        panic!("seed {seed}: {violation}\n{:#?}", case_of(seed));
    }
}

/// The random cases contain everything that they are meant to test.
#[test]
fn the_cases_have_every_error_of_the_server() {
    let mut seen = [0; 8];
    let (mut failed, mut unfinished, mut unsent) = (0, 0, 0);
    for seed in 0..300 {
        let outcome = case_of(seed).run().unwrap();
        for error in &outcome.ledger.injected {
            seen[match error.injection.wrong {
                Wrong::Corrupt => 0,
                Wrong::Insert(_) => 1,
                Wrong::Repeat(_) => 2,
                Wrong::Foreign => 3,
                Wrong::Omit(_) => 4,
                Wrong::End => 5,
                Wrong::Reset => 6,
                Wrong::Silence => 7,
            }] += 1;
        }
        let counts = outcome.recording.counts;
        failed += counts.failed;
        unfinished += counts.unfinished;
        unsent += counts.scheduled - counts.sent;
    }
    assert!(seen.iter().all(|n| *n >= 5), "{seen:?}");
    assert!(failed > 0 && unfinished > 0 && unsent > 0);
}

/// The seed that found a violation.
#[derive(Debug)]
pub(crate) struct Find {
    pub(crate) seed: u64,
    pub(crate) violation: String,
}

/// Runs the cases of these seeds and returns the first violation.
pub(crate) fn hunt(seeds: impl IntoIterator<Item = u64>) -> Option<Find> {
    seeds.into_iter().find_map(|seed| {
        let violation = violation(&case_of(seed))?;
        Some(Find { seed, violation })
    })
}

/// Makes the case of a seed.
pub(crate) fn case_of(seed: u64) -> Case {
    let mut random = Random::of(seed, 0);
    let mut case = Case::simple();
    let length_ns = plan(&mut case, &mut random);
    (case.plan.seed, case.plan.payload_key) = (seed, seed);
    case.settings = settings(&case, &mut random, length_ns);
    // With planned ends during the run the ledger does not show when the driver counts the messages that were not sent.
    let shows_the_end = case.plan.reconnect.is_none() || case.plan.rate.is_none();
    case.plan.half_close = shows_the_end && random.below(3) > 0;
    case
}

/// Makes the plan. Returns the length of the window.
fn plan(case: &mut Case, random: &mut Random) -> u64 {
    let plan = &mut case.plan;
    plan.connections = random.pick(&[1, 2, 2, 3, 5, 8]);
    plan.pipeline = random.pick(&[1, 1, 2, 4, 16]);
    plan.warmup = Duration::from_millis(random.pick(&[0, 0, 10]));
    plan.timeout = Duration::from_millis(random.pick(&[15, 50, 200, 5000]));
    plan.never_sleep = random.below(8) == 0;
    plan.rate = random.pick(&[
        None,
        Some(500.0),
        Some(3000.0),
        Some(10_000.0),
        Some(40_000.0),
    ]);
    if plan.rate.is_some() {
        plan.arrivals = random.pick(&[Arrivals::Fixed, Arrivals::Poisson]);
    }
    plan.reconnect = random.pick(&[None, None, None, Some(1), Some(20)]);
    // A closed loop over a fast network has a message each microsecond.
    let longest_ms = match plan.rate {
        Some(rate) if rate < 5000.0 => 300,
        _ => 30,
    };
    let length_ns = MS * (10 + random.below(longest_ms));
    plan.until = Until::Elapsed(Duration::from_nanos(length_ns));
    length_ns
}

fn settings(case: &Case, random: &mut Random, length_ns: u64) -> NetworkSettings {
    let message = random.pick(&[16, 64, 100, 600, 5000]);
    let mut cost = || random.pick(&[0, 50, 500, 2000, 10_000]);
    let costs = Costs {
        // A plan that never sleeps makes a poll for each of these times.
        poll_ns: if case.plan.never_sleep { 20_000 } else { 100 } + cost(),
        wake_up_ns: cost(),
        read_ns: 50 + cost(),
        write_ns: 50 + cost(),
        connect_ns: cost(),
        accept_ns: 0,
        register_ns: cost(),
        close_ns: cost(),
    };
    let server = match random.below(3) {
        0 => Behaviour::Stream {
            service_ns: 200_000 + random.below(300_000),
        },
        1 => Behaviour::Queue(Times::Constant(10_000 + random.below(100_000))),
        _ => Behaviour::Queue(Times::Exponential {
            mean_ns: 10_000.0 + random.below(100_000) as f64,
            seed: random.below(u64::MAX),
        }),
    };
    NetworkSettings {
        costs,
        link: Link {
            delay_ns: random.pick(&[0, 0, 5_000, 300_000]),
            ps_per_byte: random.pick(&[0, 0, 100, 8_000, 80_000]),
            segment: random.pick(&[64 * 1024, 1448, 200]),
        },
        send_buffer: random.pick(&[256 * 1024, 16 * 1024, 4096]),
        receive_buffer: random.pick(&[256 * 1024, 16 * 1024, 4096]),
        message,
        accepts: usize::MAX,
        server: Some(server),
        pauses: pauses(random, length_ns),
        injections: injections(case, random, message),
        stalls: stalls(random, length_ns),
        most_events: random.pick(&[1024, 1024, 1]),
    }
}

fn pauses(random: &mut Random, length_ns: u64) -> Vec<Pause> {
    if random.below(3) > 0 {
        return Vec::new();
    }
    let from_ns = random.below(length_ns);
    let to_ns = from_ns + random.below(length_ns);
    vec![Pause { from_ns, to_ns }]
}

fn stalls(random: &mut Random, length_ns: u64) -> Vec<Stall> {
    if random.below(3) > 0 {
        return Vec::new();
    }
    let mut at_ns = 0;
    let mut stalls = Vec::new();
    for _ in 0..1 + random.below(3) {
        at_ns += random.below(length_ns);
        let length_ns = random.below(30 * MS);
        let kind = random.pick(&[StallKind::Suspended, StallKind::RunQueue]);
        stalls.push(Stall {
            at_ns,
            length_ns,
            kind,
        });
        at_ns += length_ns;
    }
    stalls
}

/// At most one error of each kind, because a recording names the first one of each kind.
fn injections(case: &Case, random: &mut Random, message: u64) -> Vec<Injection> {
    let mut injections: Vec<Injection> = Vec::new();
    if random.below(2) == 0 {
        return injections;
    }
    let n = random.pick(&[16, 40]);
    let surplus = random.pick(&[Wrong::Insert(n), Wrong::Repeat(n)]);
    let ending = random.pick(&[Wrong::End, Wrong::Reset, Wrong::Silence]);
    let wrongs = [
        Wrong::Corrupt,
        surplus,
        Wrong::Foreign,
        Wrong::Omit(n),
        ending,
    ];
    for wrong in wrongs {
        let connection = random.below(2 * case.plan.connections as u64) as usize;
        let is_taken = injections
            .iter()
            .any(|other| other.connection == connection);
        if is_taken || random.below(2) == 0 {
            continue;
        }
        injections.push(Injection {
            connection,
            offset: random.below(30) * message + random.below(message),
            wrong,
        });
    }
    injections
}

const MS: u64 = 1_000_000;
