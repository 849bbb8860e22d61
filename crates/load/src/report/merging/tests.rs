//! Tests that merging loses nothing, that rates count the common window, and which reports are refused.

use std::time::{Duration, UNIX_EPOCH};

use super::*;

use crate::report::{Document, DocumentBuilder, Measured, Options};
use crate::{Counts, Interval, Plan, Recording};

const SECOND: u64 = 1_000_000_000;

/// Makes a report of these response times. Its window is ten seconds long and starts at `start_s`, in seconds. The
/// messages came back at equal intervals.
fn report(values: impl Iterator<Item = u64>, start_s: u64) -> Document {
    let mut recording = Recording::empty();
    for value in values {
        recording.response.record(value).unwrap();
        recording.completed += 1;
    }
    recording.counts = Counts {
        scheduled: recording.completed,
        sent: recording.completed,
        ok: recording.completed,
        ..Counts::default()
    };
    recording.service = recording.response.clone();
    recording.window_ns = 10 * SECOND;
    recording.intervals = (0..10)
        .map(|second| Interval {
            length_ns: SECOND,
            ok: recording.completed / 10,
            ..Interval::starting(second, second as u64 * SECOND)
        })
        .collect();
    recording.health.opened = 50;
    let plan = Plan::new("127.0.0.1:7007".parse().unwrap());
    let start = UNIX_EPOCH + Duration::from_secs(start_s);
    let mut builder = DocumentBuilder::new(Options::from(&plan), start);
    builder.add(Measured::new(&plan, recording, start));
    builder.build()
}

/// The values are spread over ten decades. Each report is written as JSON and read back, as the files of a real merge.
#[test]
fn three_reports_are_the_report_of_their_union_to_the_last_bucket() {
    let values = |part: u64| {
        (0..30_000)
            .filter(move |n| n % 3 == part)
            .map(|n: u64| n.pow(2) * 17 + 1)
    };
    let through_a_file = |document: Document| -> Document {
        serde_json::from_str(&serde_json::to_string(&document).unwrap()).unwrap()
    };
    let parts: Vec<Document> = (0..3)
        .map(|part| through_a_file(report(values(part), 0)))
        .collect();
    let merged = through_a_file(merge(&parts).unwrap());
    let union = report((0..30_000).map(|n: u64| n.pow(2) * 17 + 1), 0);
    let (merged, union) = (&merged.runs[0], &union.runs[0]);
    assert_eq!(merged.latency.response, union.latency.response);
    assert_eq!(
        serde_json::to_string(&merged.latency.response).unwrap(),
        serde_json::to_string(&union.latency.response).unwrap()
    );
    assert_eq!(merged.counts, union.counts);
    assert_eq!(merged.throughput, union.throughput);
}

/// Makes two reports of 100 messages a second. The second one starts `shift_ms` later.
fn two_reports(shift_ms: u64) -> [Document; 2] {
    let [one, mut other] = [1, 2].map(|first| report(first..first + 1000, 0));
    other.runs[0].started_at_ns += shift_ms * 1_000_000;
    [one, other]
}

#[test]
fn the_verdict_is_the_worst_of_the_reports() {
    use crate::report::Verdict::{Invalid, Overloaded, Valid};
    for (verdicts, expected) in [
        ([Valid, Overloaded], Overloaded),
        ([Overloaded, Overloaded], Overloaded),
        ([Invalid, Overloaded], Invalid),
        ([Valid, Valid], Valid),
    ] {
        let mut reports = two_reports(0);
        for (report, verdict) in reports.iter_mut().zip(verdicts) {
            report.runs[0].validity.verdict = verdict;
        }
        let merged = merge(&reports).unwrap();
        assert_eq!(merged.validity.verdict, expected, "{verdicts:?}");
    }
}

#[test]
fn the_rate_is_the_rate_of_the_common_window() {
    let merged = |shift_ms: u64| {
        let run = merge(&two_reports(shift_ms)).unwrap().runs.remove(0);
        let rate = run.throughput.messages_per_second;
        let common_ns = run.common_window_ns.unwrap();
        assert_eq!(run.throughput.messages, 2000, "every message is counted");
        (rate, run.window_ns / 1_000_000, common_ns / 1_000_000)
    };
    assert_eq!(merged(0), (200.0, 10_000, 10_000));
    assert_eq!(merged(1_000), (200.0, 11_000, 9_000));
    assert_eq!(merged(250), (200.0, 10_250, 9_750));
}

#[test]
fn a_second_partly_within_the_common_window_counts_by_its_share() {
    let [mut one, mut other] = two_reports(500);
    one.runs[0].intervals[0].ok = 200;
    one.runs[0].throughput = Throughput {
        messages: 1100,
        bytes: 110_000,
        ..one.runs[0].throughput
    };
    other.runs[0].throughput.bytes = 100_000;
    let run = merge(&[one, other]).unwrap().runs.remove(0);
    // Half of the first 200 messages of one report, and half of the last 100 messages of the other, are outside.
    let messages = (1100 - 100 + 1000 - 50) as f64;
    assert_eq!(run.throughput.messages_per_second, messages / 9.5);
    assert_eq!(run.throughput.bytes_per_second, messages * 100.0 / 9.5);
    assert_eq!(
        (run.throughput.messages, run.throughput.bytes),
        (2100, 210_000)
    );
}

#[test]
fn windows_that_overlap_too_little_are_noted_or_refused() {
    let note = |shift_ms: u64| merge(&two_reports(shift_ms)).unwrap().validity.notes.pop();
    let common = |note: &Option<String>| {
        note.as_ref()
            .is_some_and(|n| n.contains("measured together"))
    };
    assert!(!common(&note(500)), "95 % is enough");
    let noted = note(600);
    assert!(common(&noted), "{noted:?}");
    assert!(
        noted
            .unwrap()
            .contains("9.40 s, which is 94.0 % of the longest window (10.0 s)")
    );
    assert!(common(&note(2_000)));
    for (shift_ms, figures) in [
        (
            2_100,
            "7.90 s, which is 79.0 % of the longest window (10.0 s)",
        ),
        (10_000, "0 ns, which is 0 %"),
        (60_000, "0 ns, which is 0 %"),
    ] {
        let refused = merge(&two_reports(shift_ms)).unwrap_err().to_string();
        assert!(refused.contains(figures), "{refused}");
        assert!(
            refused.contains("at least 80.0 %") && refused.contains("--start-at"),
            "{refused}"
        );
    }
    // The time that is common to all three reports is 60 %, although neighbours have 80 % in common.
    let [one, two] = two_reports(2_000);
    let mut three = report(3..1003, 0);
    three.runs[0].started_at_ns += 4 * SECOND;
    let refused = merge(&[one, two, three]).unwrap_err().to_string();
    assert!(refused.contains("60.0 %"), "{refused}");
}

#[test]
fn a_refusal_names_the_run() {
    let [mut one, mut other] = two_reports(0);
    for report in [&mut one, &mut other] {
        report.runs.push(report.runs[0].clone());
    }
    other.runs[1].started_at_ns += 5 * SECOND;
    let refused = merge(&[one, other]).unwrap_err().to_string();
    assert!(refused.starts_with("run 2: "), "{refused}");
}

#[test]
fn a_merged_report_is_not_merged_again() {
    let [one, other] = two_reports(0);
    let merged = merge(&[one, other]).unwrap();
    let refused = merge(&[merged, report(3..1003, 0)]).unwrap_err();
    assert!(refused.to_string().contains("already merged"), "{refused}");
}

#[test]
fn rates_that_were_asked_for_add_up() {
    let mut reports = two_reports(1_000);
    for report in &mut reports {
        report.runs[0].parameters.rate = Some(100.0);
    }
    assert_eq!(
        merge(&reports).unwrap().runs[0].parameters.rate,
        Some(200.0)
    );
}

#[test]
fn the_busiest_process_counts() {
    let mut reports = two_reports(0);
    reports[0].runs[0].generator.busy_share = 0.2;
    reports[1].runs[0].generator.busy_share = 0.7;
    let merged = merge(&reports).unwrap();
    assert_eq!(merged.runs[0].generator.busy_share, 0.7);
}

#[test]
fn different_options_are_named_with_their_values() {
    let [one, mut other] = two_reports(0);
    let notes = |one: &Document, other: &Document| {
        let notes = merge(&[one.clone(), other.clone()]).unwrap().validity.notes;
        let named = notes
            .into_iter()
            .filter(|note| note.contains("different values"));
        named.collect::<Vec<_>>()
    };
    // Each process has its own source addresses, seed and time of the start.
    other.options.source = vec!["127.0.0.3".to_owned()];
    (other.options.seed, other.options.payload_key) = (Some(2), Some(2));
    other.options.start_at = Some("2030-01-31T12:00:00Z".to_owned());
    assert_eq!(notes(&one, &other), [""; 0]);
    other.options.warmup_ns = 0;
    other.options.no_delay = false;
    other.options.reconnect = Some(5);
    other.options.rate = Some(1500.0);
    assert_eq!(
        notes(&one, &other),
        [
            "--no-delay: on and off",
            "--rate: none and 1500",
            "--reconnect: none and 5",
            "--warmup: 1s and 0s",
        ]
        .map(|what| format!("the processes had different values of {what}"))
    );
}

#[test]
fn equal_seeds_of_poisson_arrivals_are_refused() {
    let mut reports = [1, 2, 3].map(|first| report(first..first + 1000, 0));
    let mut seeds = |seeds: [u64; 3], arrivals| {
        for (report, seed) in reports.iter_mut().zip(seeds) {
            report.options.arrivals = Some(arrivals);
            report.runs[0].parameters.seed = seed;
        }
        merge(&reports)
    };
    assert!(seeds([1, 1, 1], Arrivals::Fixed).is_ok());
    assert!(seeds([1, 2, 3], Arrivals::Poisson).is_ok());
    let refused = seeds([1, 2, 2], Arrivals::Poisson).unwrap_err().to_string();
    assert!(
        refused.contains("same seed (2)") && refused.contains("--seed"),
        "{refused}"
    );
}

#[test]
fn an_invalid_report_makes_the_merged_report_invalid() {
    let (good, mut bad) = (report(1..=1000, 0), report(2..=1001, 0));
    bad.runs[0].validity = validity::of(vec!["a reason".to_owned()], Vec::new());
    let merged = merge(&[good, bad]).unwrap();
    assert_eq!(merged.validity.reasons, ["a reason"]);
}

#[test]
fn reports_of_different_loads_are_refused() {
    let (one, mut other) = (report(1..=10, 0), report(1..=10, 0));
    other.runs.push(other.runs[0].clone());
    assert!(merge(&[one.clone(), other]).is_err());
    assert!(
        merge(&[one.clone(), one.clone()]).is_err(),
        "the same report twice"
    );
    let mut other = report(2..=11, 0);
    other.runs[0].parameters.size = "4096".to_owned();
    assert!(merge(&[one.clone(), other]).is_err());
    let mut other = one.clone();
    other.runs[0].kind = super::super::document::Loop::Open;
    assert!(merge(&[one, other]).is_err());
    assert!(merge(&[]).is_err());
}
