//! Tests that merging loses nothing, and how rates are merged for reports of the same time and of different times.

use super::*;
use std::time::{Duration, UNIX_EPOCH};

use crate::report::{Document, DocumentBuilder, Measured, Options};
use crate::{Counts, Plan, Recording};

const SECOND: u64 = 1_000_000_000;

/// Makes a report of these response times. Its window is ten seconds long and starts at `start_s`, in seconds.
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

#[test]
fn rates_add_up_only_for_reports_of_the_same_time() {
    let at = |starts: &[u64]| {
        let reports = starts.iter().enumerate();
        let reports: Vec<_> = reports
            .map(|(n, s)| report(n as u64 + 1..=n as u64 + 1000, *s))
            .collect();
        let run = merge(&reports).unwrap().runs.remove(0);
        (run.throughput.messages_per_second, run.window_ns)
    };
    assert_eq!(at(&[0, 0, 0]), (300.0, 10 * SECOND));
    assert_eq!(at(&[0, 10, 20]), (100.0, 30 * SECOND));
    // A gap between the windows does not count.
    assert_eq!(at(&[0, 60]), (100.0, 20 * SECOND));
}

#[test]
fn rates_that_were_asked_for_add_up_only_for_reports_of_the_same_time() {
    let asked = |starts: [u64; 2]| {
        let reports = [0, 1].map(|n| {
            let mut report = report(n + 1..=n + 1000, starts[n as usize]);
            report.runs[0].parameters.rate = Some(100.0);
            report
        });
        merge(&reports).unwrap().runs[0].parameters.rate
    };
    assert_eq!(asked([0, 0]), Some(200.0));
    assert_eq!(asked([0, 10]), Some(100.0));
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
