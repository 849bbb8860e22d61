//! The verdict of a report agrees with what was injected.
//!
//! Only `Blame::of` knows the words of the reasons.

use std::time::{Duration, SystemTime};

use mio_echo_load::Until;
use mio_echo_load::report::{DocumentBuilder, Measured, Options, Validity};
use sim::timed::{Behaviour, Costs, Injection, Pause, Stall, StallKind, Times, Wrong};

use super::case::Case;
use super::due::Random;
use super::truth::violation_of;

/// What a report blames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// The generator stood still.
    GeneratorStall,
    /// The generator waited for a processor.
    NoProcessor,
    /// The generator was too slow for the rate.
    GeneratorLimit,
    /// The server was too slow for the rate.
    Server,
    /// The plan has too few connections for the rate.
    Plan,
    /// Fewer connections were made than asked for.
    Connections,
    /// Echoes were wrong.
    WrongEcho,
    /// Connections were silent at the end.
    Silent,
    /// Messages were lost, or their connections were down.
    Lost,
    /// Another reason.
    Other,
}

impl Blame {
    fn of(validity: &Validity) -> Vec<Blame> {
        let blame = |reason: &String| {
            let words = [
                ("itself stood still", Blame::GeneratorStall),
                ("the generator was the limit", Blame::GeneratorLimit),
                ("messages were sent late", Blame::GeneratorLimit),
                ("the server was the limit", Blame::Server),
                ("the connections were the limit", Blame::Plan),
                ("waited for a processor", Blame::NoProcessor),
                ("connections were asked for", Blame::Connections),
                ("wrong", Blame::WrongEcho),
                ("silent at the end", Blame::Silent),
                ("were lost because of errors", Blame::Lost),
                ("were down on average", Blame::Lost),
            ];
            let known = words.iter().find(|(words, _)| reason.contains(words));
            known.map_or(Blame::Other, |(_, blame)| *blame)
        };
        let mut blames: Vec<Blame> = validity.reasons.iter().map(blame).collect();
        blames.dedup();
        blames
    }
}

#[test]
fn a_run_without_faults_is_valid() {
    expect(&[], |_, _| ());
}

#[test]
fn a_generator_that_stood_still_is_blamed() {
    expect(&[Blame::GeneratorStall], |case, random| {
        case.settings.stalls = vec![Stall {
            at_ns: SECOND + random.below(SECOND),
            length_ns: SECOND / 5 + random.below(SECOND / 4),
            kind: StallKind::Suspended,
        }];
    });
}

#[test]
fn a_generator_that_waits_for_a_processor_is_blamed() {
    expect(&[Blame::NoProcessor], |case, random| {
        let length_ns = SECOND * 3 / 8 + random.below(SECOND / 40);
        let stall = |n| Stall {
            at_ns: SECOND / 2 + n * SECOND,
            length_ns,
            kind: StallKind::RunQueue,
        };
        case.settings.stalls = (0..4).map(stall).collect();
    });
}

/// The messages come back after the pause, so the rate is reached. The times are true, and nothing is wrong with the
/// generator.
#[test]
fn a_server_that_stood_still_is_not_blamed_on_the_generator() {
    expect(&[], |case, random| {
        let from_ns = SECOND + random.below(SECOND);
        let to_ns = from_ns + SECOND / 5 + random.below(SECOND / 4);
        case.settings.pauses = vec![Pause { from_ns, to_ns }];
    });
}

#[test]
fn a_generator_that_is_too_slow_is_blamed() {
    expect(&[Blame::GeneratorLimit], |case, random| {
        case.settings.costs = Costs::all(100_000 + random.below(100_000));
        case.plan.rate = Some(20_000.0);
        case.plan.pipeline = 1;
    });
}

#[test]
fn a_server_that_is_too_slow_is_blamed() {
    expect(&[Blame::Server], |case, random| {
        let service_ns = 1_200_000 + random.below(1_000_000);
        case.settings.server = Some(Behaviour::Queue(Times::Constant(service_ns)));
    });
}

/// The server is fast, but its answers take 20 ms, and each connection has one message under way.
#[test]
fn a_plan_with_too_few_connections_is_blamed() {
    expect(&[Blame::Plan], |case, _| {
        case.settings.link.delay_ns = SECOND / 100;
        case.plan.pipeline = 1;
    });
}

#[test]
fn missing_connections_are_named() {
    expect(&[Blame::Connections], |case, random| {
        refuse_connections(case, random);
        case.plan.rate = None;
        case.plan.pipeline = 1;
    });
}

/// The messages of connections that were not made are never sent.
#[test]
fn missing_connections_are_not_blamed_on_the_server() {
    expect(&[Blame::Connections], refuse_connections);
}

fn refuse_connections(case: &mut Case, random: &mut Random) {
    case.settings.accepts = 1 + random.below(9) as usize;
    // The connecting phase ends after the timeout.
    case.plan.timeout = Duration::from_secs(1);
}

#[test]
fn a_wrong_echo_is_named() {
    expect(&[Blame::WrongEcho], |case, random| {
        case.settings.injections = vec![Injection {
            connection: random.below(10) as usize,
            offset: random.below(64 * 50),
            wrong: random.pick(&[Wrong::Corrupt, Wrong::Insert(16), Wrong::Omit(4)]),
        }];
    });
}

/// The server serves nothing more from the last second of a long window on. This is less than a tenth of the window.
#[test]
fn a_server_that_hangs_in_the_last_second_is_silent() {
    expect(&[Blame::Silent], |case, random| {
        case.plan.until = Until::Elapsed(Duration::from_secs(30));
        case.plan.rate = Some(100.0);
        let from_ns = 29 * SECOND + random.below(SECOND / 10);
        case.settings.pauses = vec![hang(from_ns)];
    });
}

/// Each timeout of 200 ms ends a connection, and the next connection begins a new wait. The server is silent all the
/// same.
#[test]
fn a_server_that_hangs_is_silent_even_if_its_messages_time_out() {
    for rate in [None, Some(1000.0)] {
        expect(&[Blame::Lost, Blame::Silent], |case, random| {
            case.plan.rate = rate;
            case.plan.pipeline = 1;
            case.plan.timeout = Duration::from_millis(200);
            case.settings.pauses = vec![hang(SECOND + random.below(SECOND))];
        });
    }
}

/// Returns a pause that does not end before the run.
fn hang(from_ns: u64) -> Pause {
    Pause {
        from_ns,
        to_ns: 1000 * SECOND,
    }
}

/// Runs 20 cases: 10 connections at a rate of 1,000 messages a second for 4 s, a server that is idle for nine tenths of
/// the time, and one fault. Each report must blame exactly this.
fn expect(blames: &[Blame], inject: impl Fn(&mut Case, &mut Random)) {
    for seed in 0..20 {
        let mut case = Case::simple();
        case.settings.server = Some(Behaviour::Queue(Times::Constant(SECOND / 10_000)));
        case.plan.connections = 10;
        case.plan.pipeline = 100;
        case.plan.rate = Some(1000.0);
        case.plan.until = Until::Elapsed(Duration::from_secs(4));
        (case.plan.seed, case.plan.payload_key) = (seed, seed);
        inject(&mut case, &mut Random::of(seed, 1));
        let outcome = case.run().unwrap();
        assert_eq!(violation_of(&case, &outcome), None, "seed {seed}");
        let start = SystemTime::UNIX_EPOCH;
        let mut builder = DocumentBuilder::new(Options::from(&case.plan), start);
        builder.add(Measured::new(&case.plan, outcome.recording, start));
        let validity = builder.build().validity;
        assert_eq!(Blame::of(&validity), blames, "seed {seed}: {validity:#?}");
    }
}

const SECOND: u64 = 1_000_000_000;
