//! Servers whose response times follow from their settings.

use std::time::{Duration, SystemTime};

use mio_echo_load::{Arrivals, PlanError, Recording, RunError, Until};
use sim::timed::{Behaviour, Costs, Pause, Stall, StallKind, Times};

use super::case::Case;
use super::truth::violation_of;

const MS: u64 = 1_000_000;

#[test]
fn a_closed_loop_measures_the_service_time() {
    let mut case = queue(MS);
    case.settings.costs = Costs::all(0);
    let recording = measure(&case);
    assert_eq!(recording.counts.ok, 1000);
    assert_eq!(recording.window_ns, 1_000_000_000);
    assert!(about(recording.response.min() as f64, 1e6, 0.001));
    assert!(about(recording.response.max() as f64, 1e6, 0.001));
}

/// The time from before the write to after the read has, besides the service: the write, the way there and back, the
/// wake-up, and the read.
#[test]
fn the_costs_of_the_calls_are_part_of_the_service_time() {
    let mut case = queue(MS);
    case.settings.costs = Costs {
        write_ns: 10_000,
        wake_up_ns: 20_000,
        read_ns: 40_000,
        ..Costs::all(1000)
    };
    case.settings.link.delay_ns = 100_000;
    let recording = measure(&case);
    let expected_ns = 1e6 + 10e3 + 20e3 + 40e3 + 200e3;
    assert!(about(recording.service.min() as f64, expected_ns, 0.001));
    assert!(about(recording.service.max() as f64, expected_ns, 0.001));
}

#[test]
fn a_plan_for_virtual_time_has_no_time_of_day() {
    let mut case = queue(MS);
    case.plan.start_at = Some(SystemTime::UNIX_EPOCH);
    let refused = case.run();
    assert!(matches!(refused, Err(RunError::Plan(PlanError::StartAt))));
}

/// Fixed arrivals at twice the server's rate: the queue grows at a known rate, and no message is left out at the end.
#[test]
fn an_overloaded_server_changes_the_response_times_and_not_the_schedule() {
    let mut case = queue(MS);
    case.settings.costs = Costs::all(0);
    case.plan.pipeline = 10_000;
    case.plan.rate = Some(2000.0);
    case.plan.timeout = Duration::from_secs(60);
    let recording = measure(&case);
    let counts = recording.counts;
    assert_eq!((counts.scheduled, counts.sent), (2000, 2000));
    // One half comes back within the window. The other half comes back in the second that the driver waits afterwards.
    assert_eq!(counts.ok + counts.unfinished, 2000);
    assert!(counts.unfinished <= 2, "{counts:?}");
    assert!(about(recording.response.max() as f64, 1e9, 0.01));
}

#[test]
fn two_runs_in_virtual_time_are_the_same() {
    let mut case = queue(MS);
    case.plan.connections = 50;
    case.plan.rate = Some(700.0);
    case.plan.arrivals = Arrivals::Poisson;
    case.plan.until = Until::Elapsed(Duration::from_secs(5));
    let [one, other] = [(); 2].map(|()| measure(&case));
    assert_eq!(one.counts, other.counts);
    assert_eq!(one.response, other.response);
    assert_eq!(one.shares, other.shares);
}

/// While calls cost nothing, the generator is never late.
#[test]
fn a_generator_whose_calls_cost_nothing_is_never_late() {
    let mut case = queue(MS);
    case.settings.costs = Costs::all(0);
    case.plan.connections = 10;
    case.plan.pipeline = 1000;
    case.plan.rate = Some(800.0);
    case.plan.arrivals = Arrivals::Poisson;
    case.plan.until = Until::Elapsed(Duration::from_secs(20));
    let recording = measure(&case);
    assert_eq!(recording.lateness.max(), 0);
}

/// A server of 10,000 messages a second stands still for a second, at 1,000 messages a second. A message that is due
/// `x` seconds after the start of the pause waits for its end and for the messages before it:
/// `1 - x + 1000 x / 10000` seconds. So those with `x` below 5/9 wait for more than 0.5 s.
#[test]
fn a_stop_of_a_second_is_in_the_response_times_of_all_messages_that_were_due() {
    let mut case = queue(MS / 10);
    case.plan.connections = 10;
    case.plan.pipeline = 1000;
    case.plan.rate = Some(1000.0);
    case.plan.until = Until::Elapsed(Duration::from_secs(3));
    case.settings.pauses = vec![Pause {
        from_ns: 1_000 * MS,
        to_ns: 2_000 * MS,
    }];
    let recording = measure(&case);
    assert_eq!(recording.counts.ok, 3000);
    let slow = recording.response.len() - recording.response.count_between(0, 500 * MS);
    assert!(
        (550..=560).contains(&slow),
        "{slow} messages waited for more than 0.5 s"
    );
    assert!(about(recording.response.max() as f64, 1e9, 0.005));
}

/// The generator is stopped from 1.5 s to 2.1 s, and waits for a processor from 3.2 s to 3.4 s.
#[test]
fn each_second_has_the_times_in_which_the_generator_was_away() {
    let mut case = queue(MS / 10);
    case.plan.rate = Some(1000.0);
    case.plan.pipeline = 1000;
    case.plan.until = Until::Elapsed(Duration::from_secs(4));
    let stall = |at_ms, length_ms, kind| Stall {
        at_ns: at_ms * MS,
        length_ns: length_ms * MS,
        kind,
    };
    case.settings.stalls = vec![
        stall(1500, 600, StallKind::Suspended),
        stall(3200, 200, StallKind::RunQueue),
    ];
    let seconds = measure(&case).intervals;
    let absent = seconds.iter().map(|second| second.absent_ns / MS);
    let queued = seconds.iter().map(|second| second.queued_ns / MS);
    // The window begins 2 ms after the clock's start, and a period of 50 ms is divided by its length.
    for (seen, expected) in [
        (absent.collect::<Vec<_>>(), [0, 500, 100, 0]),
        (queued.collect(), [0, 0, 0, 200]),
    ] {
        let close = |(seen, expected): (&u64, u64)| seen.abs_diff(expected) <= 30;
        assert!(seen.iter().zip(expected).all(close), "{seen:?}");
    }
}

/// 100,000 bytes over 100 Mbit/s take 8 ms in each direction. The server echoes each segment at once, so the first byte
/// is back long before the last one.
#[test]
fn a_slow_link_delays_the_last_byte_more_than_the_first() {
    let mut case = Case::simple();
    case.settings.message = 100_000;
    case.settings.link.ps_per_byte = 80_000;
    case.settings.link.segment = 1448;
    case.settings.link.delay_ns = MS;
    let recording = measure(&case);
    let segment_ns = 1448.0 * 80.0;
    assert!(about(
        recording.first_byte.mean(),
        2e6 + 2.0 * segment_ns,
        0.02
    ));
    assert!(about(
        recording.service.mean(),
        2e6 + 8e6 + segment_ns,
        0.02
    ));
}

/// 800,000 bytes are in the receive queue after a stall. The driver reads 256 KiB of them in a turn, and must go on
/// without an event.
#[test]
fn a_receive_queue_of_several_budgets_is_read_to_its_end() {
    let mut case = Case::simple();
    case.settings.message = 100_000;
    case.settings.send_buffer = 1_000_000;
    case.settings.receive_buffer = 1_000_000;
    case.settings.costs.write_ns = 0;
    case.settings.stalls = vec![Stall {
        at_ns: 100 * MS,
        length_ns: 20 * MS,
        kind: StallKind::Suspended,
    }];
    case.settings.server = Some(Behaviour::Stream { service_ns: 5 * MS });
    case.plan.pipeline = 8;
    let recording = measure(&case);
    assert_eq!(recording.counts.unfinished, 0);
    assert!(recording.counts.ok > 1000);
}

/// Returns a case whose server is one queue with a constant service time.
fn queue(service_ns: u64) -> Case {
    let mut case = Case::simple();
    case.settings.server = Some(Behaviour::Queue(Times::Constant(service_ns)));
    case
}

/// Runs a case. The recording must agree with the ledger, and have no error.
fn measure(case: &Case) -> Recording {
    let outcome = case.run().unwrap();
    assert_eq!(violation_of(case, &outcome), None);
    assert_eq!(outcome.recording.counts.errors, 0);
    outcome.recording
}

fn about(value: f64, expected: f64, tolerance: f64) -> bool {
    (value / expected - 1.0).abs() <= tolerance
}
