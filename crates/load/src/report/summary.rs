//! Makes a run of the document from a recording.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use super::document::{
    ErrorSummary, Fairness, FirstError, Generator, IntervalSummary, LatencySet, Loop, Parameters,
    Run, SizeLatency, Throughput,
};
use super::latency::Latency;
use super::side::Side;
use super::validity;
use crate::{Interval, Plan, Recording, SizeClass, Until, Verify};

/// A measured run, for [`DocumentBuilder::add`](super::DocumentBuilder::add).
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    /// The plan of the run.
    pub plan: &'a Plan,
    /// The recording that [`run`](crate::run) returned.
    pub recording: Recording,
    /// When the window began: the plan's `start_at`, or otherwise the time of
    /// [`Progress::Started`](crate::Progress::Started), plus the plan's warm-up.
    pub window_start: SystemTime,
    /// Whether the run was stopped before its planned end.
    pub interrupted: bool,
    /// The side of the run, in a comparison of targets.
    pub side: Option<Side>,
    /// The name of the target in the report. `None`: its address.
    pub name: Option<String>,
}

impl<'a> Measured<'a> {
    /// Makes a run that ended as planned and is not part of a comparison.
    #[must_use]
    pub fn new(plan: &'a Plan, recording: Recording, window_start: SystemTime) -> Measured<'a> {
        Measured {
            plan,
            recording,
            window_start,
            interrupted: false,
            side: None,
            name: None,
        }
    }
}

impl Run {
    /// Summarises a measured run and judges it. `index` is its number in the order of the runs, from 0.
    #[must_use]
    pub fn new(index: usize, measured: Measured<'_>) -> Run {
        let Measured {
            plan,
            recording,
            window_start,
            interrupted,
            side,
            name,
        } = measured;
        let mut run = summarise(plan, recording);
        run.index = index;
        run.started_at_ns = since_1970_ns(window_start);
        run.interrupted = interrupted;
        run.side = side;
        if let Some(name) = name {
            run.target = name;
        }
        run.validity = validity::judge(&run);
        run
    }
}

/// Returns a time in nanoseconds since the start of 1970 (UTC); 0 for an earlier time.
fn since_1970_ns(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(0)
}

/// Makes the run with all its figures. It is not judged yet.
fn summarise(plan: &Plan, recording: Recording) -> Run {
    let seconds = recording.window_ns as f64 / 1e9;
    let a_second = |n: u64| {
        if seconds > 0.0 {
            n as f64 / seconds
        } else {
            0.0
        }
    };
    let throughput = Throughput {
        messages: recording.completed,
        backlog: recording.backlog,
        bytes: recording.completed_bytes,
        messages_per_second: a_second(recording.completed),
        bytes_per_second: a_second(recording.completed_bytes),
    };
    Run {
        index: 0,
        target: plan.target.to_string(),
        side: None,
        kind: match plan.rate {
            Some(_) => Loop::Open,
            None => Loop::Closed,
        },
        parameters: Parameters {
            connections: plan.connections,
            rate: plan.rate,
            count: match plan.until {
                Until::Count(count) => Some(count),
                Until::Elapsed(_) => None,
            },
            size: plan.sizes.to_string(),
            pipeline: plan.pipeline,
            reconnect: plan.reconnect,
            verify: plan.verify == Verify::Full,
            half_close: plan.half_close,
            seed: plan.seed,
            payload_key: plan.payload_key,
        },
        started_at_ns: 0,
        window_ns: recording.window_ns,
        common_window_ns: None,
        interrupted: false,
        validity: validity::unjudged(),
        counts: recording.counts,
        errors: errors(&recording),
        throughput,
        generator: generator(&recording, throughput.messages_per_second),
        latency: LatencySet {
            response: Latency::new(recording.response),
            service: Latency::new(recording.service),
            first_byte: Latency::new(recording.first_byte),
            connect: Latency::new(recording.connect),
            opening: Latency::new(recording.opening),
            cycle: Latency::new(recording.cycle),
            lower_bounds: Latency::new(recording.lower_bounds),
        },
        sizes: recording.sizes.into_iter().map(of_size).collect(),
        fairness: fairness(recording.shares),
        intervals: recording.intervals.into_iter().map(interval).collect(),
    }
}

fn errors(recording: &Recording) -> Vec<ErrorSummary> {
    let of_kind = |(kind, faults): (&_, &crate::Faults)| ErrorSummary {
        kind: *kind,
        count: faults.count,
        messages: faults.messages,
        first: FirstError {
            connection: faults.first.connection,
            offset: faults.first.offset,
            at_ns: faults.first.at_ns,
            detail: faults.first.detail.clone(),
        },
    };
    recording.faults.iter().map(of_kind).collect()
}

fn generator(recording: &Recording, messages_per_second: f64) -> Generator {
    let health = recording.health;
    let window_ns = recording.window_ns.max(1) as f64;
    Generator {
        threads: health.threads,
        cpu_ns: health.cpu_ns,
        cpu_share: health.cpu_ns as f64 / window_ns / health.threads.max(1) as f64,
        busy_share: 1.0 - (health.least_idle_ns as f64 / window_ns).min(1.0),
        lateness: Latency::new(recording.lateness.clone()),
        queued_ns: health.queued_ns,
        absent_ns: health.absent_ns,
        threads_not_accounted: health.not_accounted,
        longest_turn_ns: health.longest_turn_ns,
        in_flight: health.in_flight_ns as f64 / window_ns,
        in_flight_by_littles_law: messages_per_second * recording.service.mean() / 1e9,
        longest_silence_ns: health.longest_silence_ns,
        longest_silence_at_ns: health.longest_silence_at_ns,
        fastest_service_ns: Some(health.fastest_service_ns).filter(|ns| *ns < u64::MAX),
        ends_verified: health.ends_verified,
        ends_without_end_of_stream: health.not_ended,
        ends_not_checked: health.ends_not_checked,
        connections_silent: health.silent,
        silent_since_ns: health.silent_since_ns,
        connections_opened: health.opened,
        connections_made: health.connections,
        connections_down: health.down_ns as f64 / window_ns,
    }
}

/// Makes the fairness figures from the number of messages of each connection.
pub(super) fn fairness(mut shares: Vec<u64>) -> Fairness {
    shares.sort_unstable();
    let n = shares.len();
    let sum: f64 = shares.iter().map(|share| *share as f64).sum();
    let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
    let at = |place: usize| shares.get(place).copied().unwrap_or(0);
    let last = n.saturating_sub(1);
    let places = n.min(MOST_SHARES);
    let chosen = (0..places).map(|place| at(place * last / places.saturating_sub(1).max(1)));
    Fairness {
        connections: n,
        min: at(0),
        median: at(last / 2),
        max: at(last),
        jain: if squares > 0.0 {
            sum * sum / (n as f64 * squares)
        } else {
            1.0
        },
        shares: chosen.collect(),
    }
}

fn of_size((class, response): (SizeClass, Histogram<u64>)) -> SizeLatency {
    SizeLatency {
        class,
        response: Latency::new(response),
    }
}

fn interval(interval: Interval) -> IntervalSummary {
    IntervalSummary {
        start_ns: interval.start_ns,
        length_ns: interval.length_ns,
        sent: interval.sent,
        ok: interval.ok,
        errors: interval.errors,
        connections: interval.connections,
        queued_ns: interval.queued_ns,
        absent_ns: interval.absent_ns,
        response: Latency::new(interval.response),
    }
}

/// The most values of [`Fairness::shares`]: enough for one value at each per cent, from 0 to 100.
const MOST_SHARES: usize = 101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jains_index_is_one_for_equal_shares_and_one_in_n_for_a_monopoly() {
        assert_eq!(fairness(vec![5; 4]).jain, 1.0);
        assert_eq!(fairness(vec![0, 0, 0, 9]).jain, 0.25);
        assert_eq!(fairness(vec![]).jain, 1.0);
    }

    #[test]
    fn the_busiest_of_several_threads_counts() {
        let mut recording = Recording::empty();
        for idle_ns in [900, 200, 700] {
            let mut thread = Recording::empty();
            thread.window_ns = 1000;
            thread.health.threads = 1;
            (thread.health.idle_ns, thread.health.least_idle_ns) = (idle_ns, idle_ns);
            recording.add(thread);
        }
        assert_eq!(recording.health.idle_ns, 1800);
        assert_eq!(generator(&recording, 0.0).busy_share, 0.8);
    }

    #[test]
    fn at_most_101_shares_are_reported_in_ascending_order() {
        let reported = fairness((0..1000).rev().collect());
        assert_eq!((reported.min, reported.median, reported.max), (0, 499, 999));
        assert_eq!(reported.shares.len(), 101);
        assert_eq!((reported.shares[0], reported.shares[100]), (0, 999));
        assert_eq!(fairness(vec![3, 1]).shares, [1, 3]);
    }
}
