//! Bugs that the generator had: each test failed before its mending.

use std::time::Duration;

use mio_echo_load::{FaultKind, Until};
use sim::timed::{Behaviour, Injection, Stall, StallKind, Wrong};

use super::case::Case;
use super::truth::violation;

/// The run ends while the driver collects unexpected bytes. With a timeout of 50 ms it waits for 50 ms at the end. The
/// windows end at different times after the wrong message has begun.
#[test]
fn a_wrong_echo_just_before_the_end_of_the_run_is_named() {
    for window_us in (10_000..12_000).step_by(20) {
        let mut case = left_out(Duration::from_millis(50));
        // The driver checks a tenth of its connections at each tick.
        case.plan.connections = 20;
        case.plan.until = Until::Elapsed(Duration::from_micros(window_us));
        let outcome = case.run().unwrap();
        // A time-out is the other bug.
        let is_named = !outcome.recording.faults.is_empty();
        let is_wrong = outcome.ledger.connections[0].wrong_ns.is_some();
        assert!(is_named || !is_wrong, "nothing is named at {window_us} µs");
    }
}

/// The timeout of a message ends while the driver collects unexpected bytes.
#[test]
fn a_wrong_echo_whose_message_times_out_is_named() {
    let case = left_out(Duration::from_millis(50));
    assert_eq!(violation(&case), None);
}

/// Returns a case in a closed loop whose server leaves out 16 bytes of a message after about 10 ms.
fn left_out(timeout: Duration) -> Case {
    let mut case = Case::simple();
    case.settings.server = Some(Behaviour::Stream {
        service_ns: 1_000_000,
    });
    case.settings.injections = vec![Injection {
        connection: 0,
        offset: 10 * 64 + 8,
        wrong: Wrong::Omit(16),
    }];
    case.plan.timeout = timeout;
    case.plan.until = Until::Elapsed(Duration::from_millis(500));
    case
}

/// 16 messages of 5,000 bytes do not fit into the buffer of one write. The last ones are offered in a second write.
#[test]
fn a_message_behind_a_full_buffer_begins_at_its_own_write() {
    let mut case = Case::simple();
    case.settings.message = 5000;
    case.settings.costs.write_ns = 100_000;
    case.plan.pipeline = 16;
    assert_eq!(violation(&case), None);
}

/// A send buffer of 4 KiB takes a part of the messages. The others are offered when the buffer has room.
#[test]
fn a_message_behind_a_small_send_buffer_begins_at_its_own_write() {
    let mut case = Case::simple();
    case.settings.message = 600;
    case.settings.send_buffer = 4096;
    case.settings.link.ps_per_byte = 8_000;
    case.plan.pipeline = 64;
    assert_eq!(violation(&case), None);
}

/// The echoes of 3,000 connections are in the receive queues while the generator has no processor for longer than the
/// timeout. A poll returns 1,024 events at most, so timeouts are checked before the other events are known.
#[test]
fn an_echo_in_the_receive_queue_does_not_time_out() {
    assert_eq!(faults_of_arrived_echoes(), None);
}

pub(crate) fn faults_of_arrived_echoes() -> Option<String> {
    (900..1000).step_by(10).find_map(|at_ms| {
        let mut case = Case::simple();
        case.settings.server = Some(Behaviour::Stream {
            service_ns: 100_000_000,
        });
        case.settings.stalls = vec![Stall {
            at_ns: at_ms * 1_000_000,
            length_ns: 600_000_000,
            kind: StallKind::Suspended,
        }];
        case.plan.connections = 3000;
        case.plan.timeout = Duration::from_millis(500);
        case.plan.until = Until::Elapsed(Duration::from_secs(2));
        let outcome = case.run().unwrap();
        let faults = &outcome.recording.faults;
        (!faults.is_empty())
            .then(|| format!("stall at {at_ms} ms: faults of echoes that had arrived: {faults:#?}"))
    })
}

/// A part of an echo, and no more for longer than a second: the rest is missing, whether the wait ends with the timeout
/// or with the run.
#[test]
fn a_part_of_an_echo_before_a_long_silence_is_short() {
    for timeout_ms in [1000, 1500, 60_000] {
        let mut case = Case::simple();
        case.settings.server = Some(Behaviour::Stream {
            service_ns: 1_000_000,
        });
        case.settings.injections = vec![Injection {
            connection: 0,
            offset: 10 * 64 + 8,
            wrong: Wrong::Silence,
        }];
        case.plan.timeout = Duration::from_millis(timeout_ms);
        case.plan.until = Until::Elapsed(Duration::from_secs(3));
        let outcome = case.run().unwrap();
        let faults = &outcome.recording.faults;
        let named = faults.get(&FaultKind::Short);
        let is_named = named.is_some_and(|short| short.first.connection == 0);
        assert!(is_named, "timeout of {timeout_ms} ms: {faults:#?}");
    }
}
