//! Tests of the recorder: which messages count, in which second, and that the sums are complete.

use super::*;
use crate::diagnosis::FaultKind;

const SECOND: u64 = 1_000_000_000;

/// Makes a recorder with a window of two seconds, after a warm-up of one.
fn recorder(open_loop: bool) -> Recorder {
    let mut recorder = Recorder::new(open_loop, SizeClasses::default());
    let window = Window {
        schedule_ns: SECOND,
        start_ns: 2 * SECOND,
        end_ns: 4 * SECOND,
    };
    recorder.open(window, 1);
    recorder
}

fn exchange(recorder: &mut Recorder, intended_ns: u64, begun_ns: u64, last_byte_ns: u64) {
    recorder.sent(intended_ns, 0, begun_ns);
    recorder.echo(&Echo {
        intended_ns,
        begun_ns,
        first_byte_ns: last_byte_ns - 1,
        last_byte_ns,
        bytes: 64,
    });
}

fn finished(mut recorder: Recorder, open_loop: bool) -> Recording {
    recorder.close(4 * SECOND);
    let intervals: Vec<_> = recorder.finished(1).collect();
    let mut together = Recording::empty();
    for interval in intervals {
        together.add_interval(interval);
    }
    together.add(recorder.finish(vec![1], Totals::default()));
    together.complete(open_loop);
    together
}

#[test]
fn response_time_starts_at_the_due_time_and_service_time_at_the_sending() {
    let mut recorder = recorder(true);
    exchange(
        &mut recorder,
        2 * SECOND,
        2 * SECOND + 900,
        2 * SECOND + 1_000,
    );
    let recording = finished(recorder, true);
    assert_eq!(recording.response.max(), 1_000);
    assert_eq!(recording.service.max(), 100);
    assert_eq!(recording.first_byte.max(), 99);
    assert_eq!(recording.lateness.max(), 900);
}

#[test]
fn a_message_due_in_the_warm_up_does_not_count() {
    let mut recorder = recorder(false);
    exchange(&mut recorder, SECOND, SECOND, SECOND + 5);
    exchange(
        &mut recorder,
        2 * SECOND - 1,
        2 * SECOND - 1,
        2 * SECOND + 5,
    );
    exchange(&mut recorder, 2 * SECOND, 2 * SECOND, 2 * SECOND + 7);
    let recording = finished(recorder, false);
    assert_eq!(recording.counts.ok, 1);
    assert_eq!(recording.service.len(), 1);
    // Both came back within the window, so both are throughput.
    assert_eq!(recording.completed, 2);
}

#[test]
fn an_echo_after_the_window_counts_as_ok_and_not_as_throughput() {
    let mut recorder = recorder(false);
    exchange(&mut recorder, 3 * SECOND, 3 * SECOND, 5 * SECOND);
    let recording = finished(recorder, false);
    assert_eq!((recording.counts.ok, recording.completed), (1, 0));
    assert_eq!(recording.response.len(), 1);
}

#[test]
fn each_second_counts_its_messages_and_the_sum_is_complete() {
    let mut recorder = recorder(false);
    for n in 0..10 {
        let at_ns = 2 * SECOND + n * SECOND / 5;
        exchange(&mut recorder, at_ns, at_ns, at_ns + 10);
    }
    let recording = finished(recorder, false);
    let counts: Vec<_> = recording
        .intervals
        .iter()
        .map(|i| (i.index, i.ok))
        .collect();
    assert_eq!(counts, [(0, 5), (1, 5)]);
    assert!(recording.intervals.iter().all(|i| i.length_ns == SECOND));
    assert_eq!(recording.response.len(), 10);
}

#[test]
fn scheduled_is_ok_unfinished_and_failed() {
    let mut recorder = recorder(true);
    exchange(&mut recorder, 2 * SECOND, 2 * SECOND, 2 * SECOND + 10);
    recorder.sent(3 * SECOND, 0, 3 * SECOND);
    recorder.sent(3 * SECOND + 1, 0, 3 * SECOND + 1);
    let fault = Fault {
        kind: FaultKind::Reset,
        offset: Some(0),
        detail: String::new(),
    };
    recorder.fault(
        fault,
        0,
        [under_way(3 * SECOND)].into_iter(),
        3 * SECOND + 200,
    );
    recorder.unfinished(&under_way(3 * SECOND + 1), 4 * SECOND);
    recorder.unsent(3 * SECOND + 2, 4 * SECOND);
    let recording = finished(recorder, true);
    let counts = recording.counts;
    assert_eq!((counts.scheduled, counts.sent), (4, 3));
    assert_eq!((counts.ok, counts.unfinished, counts.failed), (1, 2, 1));
    // Every message is in the response times: the failed one with its age at the error, the others with theirs at the
    // end.
    assert_eq!(
        (recording.response.len(), recording.lower_bounds.len()),
        (4, 3)
    );
    assert_eq!(recording.lower_bounds.min(), 200);
    assert!(recording.lower_bounds.max() >= SECOND - 2);
    // Three messages were sent, and each has a service time and a time of its first byte.
    assert_eq!(
        (recording.service.len(), recording.first_byte.len()),
        (3, 3)
    );
}

/// A message that was due at this time, began then, and has no byte of its echo.
fn under_way(intended_ns: u64) -> UnderWay {
    UnderWay {
        intended_ns,
        begun_ns: intended_ns,
        first_byte_ns: None,
        bytes: 64,
    }
}

#[test]
fn silence_is_measured_while_a_message_is_under_way() {
    let mut recorder = recorder(false);
    exchange(&mut recorder, 2 * SECOND, 2 * SECOND, 2 * SECOND + 10);
    // No message is under way for half a second; then one is under way for a second.
    let at_ns = 2 * SECOND + SECOND / 2;
    exchange(&mut recorder, at_ns, at_ns, at_ns + SECOND);
    let health = finished(recorder, false).health;
    assert_eq!(health.longest_silence_ns, SECOND);
    assert_eq!(health.longest_silence_at_ns, SECOND / 2);
}

#[test]
fn messages_under_way_are_integrated_over_the_window() {
    let mut recorder = recorder(false);
    // One message is under way from 0.5 s before the window to 1 s after its start. Another one is under way for 0.5 s.
    recorder.sent(SECOND + SECOND / 2, 0, SECOND + SECOND / 2);
    exchange(
        &mut recorder,
        2 * SECOND,
        2 * SECOND,
        2 * SECOND + SECOND / 2,
    );
    recorder.echo(&Echo {
        intended_ns: SECOND + SECOND / 2,
        begun_ns: SECOND + SECOND / 2,
        first_byte_ns: 3 * SECOND,
        last_byte_ns: 3 * SECOND,
        bytes: 64,
    });
    let health = finished(recorder, false).health;
    assert_eq!(health.in_flight_ns, u128::from(SECOND + SECOND / 2));
}

#[test]
fn a_silence_until_the_end_of_the_window_is_measured() {
    let mut recorder = recorder(false);
    recorder.sent(2 * SECOND, 0, 2 * SECOND + SECOND / 2);
    let health = finished(recorder, false).health;
    assert_eq!(health.longest_silence_ns, 3 * SECOND / 2);
}

#[test]
fn errors_before_the_window_belong_to_no_second() {
    let mut recorder = recorder(false);
    let fault = || Fault {
        kind: FaultKind::Connect,
        offset: None,
        detail: String::new(),
    };
    recorder.fault(fault(), 0, [].into_iter(), SECOND);
    recorder.fault(fault(), 0, [].into_iter(), 3 * SECOND + 1);
    recorder.end_intervals(3 * SECOND);
    let recording = finished(recorder, false);
    assert_eq!(recording.counts.errors, 2);
    let errors: u64 = recording.intervals.iter().map(|i| i.errors).sum();
    assert_eq!(errors, 1);
}
