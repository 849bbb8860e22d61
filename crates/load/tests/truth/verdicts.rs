//! The verdict of a report agrees with what was injected.
//!
//! Only `Blame::of` knows the words of the reasons.
//!
//! The cases are a table, so that the mutants of the judgement can be hunted with the same cases.

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
fn the_verdict_agrees_with_what_was_injected() {
    assert_eq!(disagreement(20), None);
}

/// A fault, and what the report must blame.
struct Verdict {
    name: &'static str,
    blames: &'static [Blame],
    inject: fn(&mut Case, &mut Random),
}

const VERDICTS: &[Verdict] = &[
    Verdict {
        name: "a run without faults is valid",
        blames: &[],
        inject: |_, _| (),
    },
    Verdict {
        name: "a generator that stood still is blamed",
        blames: &[Blame::GeneratorStall],
        inject: |case, random| {
            case.settings.stalls = vec![Stall {
                at_ns: SECOND + random.below(SECOND),
                length_ns: SECOND / 5 + random.below(SECOND / 4),
                kind: StallKind::Suspended,
            }];
        },
    },
    Verdict {
        name: "a generator that waits for a processor is blamed",
        blames: &[Blame::NoProcessor],
        inject: |case, random| {
            let length_ns = SECOND * 3 / 8 + random.below(SECOND / 40);
            let stall = |n| Stall {
                at_ns: SECOND / 2 + n * SECOND,
                length_ns,
                kind: StallKind::RunQueue,
            };
            case.settings.stalls = (0..4).map(stall).collect();
        },
    },
    // The messages come back after the pause, so the rate is reached. The times are true, and nothing is wrong with the
    // generator.
    Verdict {
        name: "a server that stood still is not blamed on the generator",
        blames: &[],
        inject: |case, random| {
            let from_ns = SECOND + random.below(SECOND);
            let to_ns = from_ns + SECOND / 5 + random.below(SECOND / 4);
            case.settings.pauses = vec![Pause { from_ns, to_ns }];
        },
    },
    Verdict {
        name: "a generator that is too slow is blamed",
        blames: &[Blame::GeneratorLimit],
        inject: |case, random| {
            case.settings.costs = Costs::all(100_000 + random.below(100_000));
            case.plan.rate = Some(20_000.0);
            case.plan.pipeline = 1;
        },
    },
    Verdict {
        name: "a server that is too slow is blamed",
        blames: &[Blame::Server],
        inject: |case, random| {
            let service_ns = 1_200_000 + random.below(1_000_000);
            case.settings.server = Some(Behaviour::Queue(Times::Constant(service_ns)));
        },
    },
    // The server is fast, but its answers take 20 ms, and each connection has one message under way.
    Verdict {
        name: "a plan with too few connections is blamed",
        blames: &[Blame::Plan],
        inject: |case, _| {
            case.settings.link.delay_ns = SECOND / 100;
            case.plan.pipeline = 1;
        },
    },
    Verdict {
        name: "missing connections are named",
        blames: &[Blame::Connections],
        inject: |case, random| {
            refuse_connections(case, random);
            case.plan.rate = None;
            case.plan.pipeline = 1;
        },
    },
    // The messages of connections that were not made are never sent.
    Verdict {
        name: "missing connections are not blamed on the server",
        blames: &[Blame::Connections],
        inject: refuse_connections,
    },
    Verdict {
        name: "a wrong echo is named",
        blames: &[Blame::WrongEcho],
        inject: |case, random| {
            case.settings.injections = vec![Injection {
                connection: random.below(10) as usize,
                offset: random.below(64 * 50),
                wrong: random.pick(&[Wrong::Corrupt, Wrong::Insert(16), Wrong::Omit(4)]),
            }];
        },
    },
    // This is less than a tenth of the window.
    Verdict {
        name: "a server that hangs in the last second of a long window is silent",
        blames: &[Blame::Silent],
        inject: |case, random| {
            case.plan.until = Until::Elapsed(Duration::from_secs(30));
            case.plan.rate = Some(100.0);
            case.settings.pauses = vec![hang(29 * SECOND + random.below(SECOND / 10))];
        },
    },
    Verdict {
        name: "a server that hangs is silent in an open loop with timeouts",
        blames: &[Blame::Silent, Blame::Lost],
        inject: hang_with_timeouts,
    },
    Verdict {
        name: "a server that hangs is silent in a closed loop with timeouts",
        blames: &[Blame::Silent, Blame::Lost],
        inject: |case, random| {
            hang_with_timeouts(case, random);
            case.plan.rate = None;
        },
    },
];

fn refuse_connections(case: &mut Case, random: &mut Random) {
    case.settings.accepts = 1 + random.below(9) as usize;
    // The connecting phase ends after the timeout.
    case.plan.timeout = Duration::from_secs(1);
}

/// Each timeout ends a connection, and the next connection begins a new wait.
fn hang_with_timeouts(case: &mut Case, random: &mut Random) {
    case.plan.pipeline = 1;
    case.plan.timeout = Duration::from_millis(200);
    case.settings.pauses = vec![hang(SECOND + random.below(SECOND))];
}

/// Returns a pause that does not end before the run.
fn hang(from_ns: u64) -> Pause {
    Pause {
        from_ns,
        to_ns: 1000 * SECOND,
    }
}

/// Runs each case with this number of seeds, and returns the first report that does not blame exactly what was
/// injected. A case has 10 connections at a rate of 1,000 messages a second for 4 s, a server that is idle for nine
/// tenths of the time, and one fault.
pub(crate) fn disagreement(seeds: u64) -> Option<String> {
    VERDICTS.iter().find_map(|verdict| {
        (0..seeds).find_map(|seed| {
            let validity = validity(verdict, seed);
            let blames = Blame::of(&validity);
            (blames != verdict.blames)
                .then(|| format!("verdict: {}: seed {seed}: {validity:#?}", verdict.name))
        })
    })
}

fn validity(verdict: &Verdict, seed: u64) -> Validity {
    let mut case = Case::simple();
    case.settings.server = Some(Behaviour::Queue(Times::Constant(SECOND / 10_000)));
    case.plan.connections = 10;
    case.plan.pipeline = 100;
    case.plan.rate = Some(1000.0);
    case.plan.until = Until::Elapsed(Duration::from_secs(4));
    (case.plan.seed, case.plan.payload_key) = (seed, seed);
    (verdict.inject)(&mut case, &mut Random::of(seed, 1));
    let outcome = case.run().unwrap();
    let name = verdict.name;
    assert_eq!(violation_of(&case, &outcome), None, "{name}: seed {seed}");
    let start = SystemTime::UNIX_EPOCH;
    let mut builder = DocumentBuilder::new(Options::from(&case.plan), start);
    builder.add(Measured::new(&case.plan, outcome.recording, start));
    builder.build().validity
}

const SECOND: u64 = 1_000_000_000;
