//! The page of `mio-echo bench` in a browser. Opened as a file, it shows the figures, loads nothing from the network,
//! and causes no error in the browser's console.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::browser::{
    assert_that_a_phone_shows_all, assert_that_light_dark_and_print_are_drawn,
    opened_with_messages, smallest_text_on_a_phone,
};
use crate::common::{Process, mio_echo};

/// A report of `mio-echo bench`, as JSON and as a page, in its folder.
struct Reported {
    folder: TempDir,
    page: PathBuf,
    report: Value,
}

/// Runs `mio-echo bench` with these arguments.
fn report(args: &[&str]) -> Reported {
    let folder = tempfile::tempdir().unwrap();
    let (page, json) = (
        folder.path().join("report.html"),
        folder.path().join("report.json"),
    );
    let output = mio_echo()
        .arg("bench")
        .args(args)
        .arg("--html")
        .arg(&page)
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    assert!(page.exists(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    Reported {
        folder,
        page,
        report,
    }
}

impl Reported {
    /// Opens the page.
    fn opened(&self) -> String {
        crate::browser::opened(self.folder.path(), &self.page)
    }
}

/// Shows that `opened` would fail for a page that loads anything.
pub(crate) fn the_test_notices_a_page_that_loads_a_file() {
    let reported = report(&["-n", "100", "-c", "2"]);
    let page = fs::read_to_string(&reported.page).unwrap();
    let asking = page.replace("<main>", "<main><img src='report.json'>");
    assert_ne!(asking, page);
    let file = reported.folder.path().join("asking.html");
    fs::write(&file, asking).unwrap();
    let (_, messages) = opened_with_messages(reported.folder.path(), &file);
    assert!(
        messages
            .iter()
            .any(|line| line.contains("Content Security Policy")),
        "{messages:#?}"
    );
}

/// Returns a number as the page writes it, with a comma after each group of three digits.
fn thousands(n: u64) -> String {
    let text = n.to_string();
    let digits: Vec<char> = text.chars().rev().collect();
    let groups: Vec<String> = digits
        .chunks(3)
        .map(|group| group.iter().collect())
        .collect();
    groups.join(",").chars().rev().collect()
}

pub(crate) fn a_run_is_shown_with_its_figures_and_without_the_network() {
    let reported = report(&[
        "-c",
        "20",
        "-r",
        "2000",
        "-w",
        "0s",
        "-d",
        "2s",
        "--fail-if",
        "p50>1m",
        "--fail-if",
        "p99.99>1us",
    ]);
    let page = reported.opened();
    let run = &reported.report["runs"][0];
    for count in ["scheduled", "sent", "ok"] {
        let shown = format!(">{}<", thousands(run["counts"][count].as_u64().unwrap()));
        assert!(page.contains(&shown), "{count}: {shown} is not in the page");
    }
    // On a busy machine the report may be overloaded or invalid.
    let verdict = match reported.report["validity"]["verdict"].as_str() {
        Some("valid") => ">Valid<",
        Some("overloaded") => ">Overloaded<",
        _ => ">Invalid<",
    };
    for figure in [
        verdict,
        "Latency by percentile",
        "Latency over time",
        "Fairness across connections",
        "The generator itself",
        "Second by second",
        "pass</strong> p50",
        "UNKNOWN</strong> p99.99",
        run["target"].as_str().unwrap(),
    ] {
        assert!(page.contains(figure), "{figure} is not in the page");
    }
    // Two curves by percentile and the heat map. A flat curve is a sentence, and two seconds are no curve.
    assert!(page.matches("<svg").count() >= 3, "{page}");
}

pub(crate) fn sweeps_and_comparisons_are_shown() {
    let sweep = report(&["-w", "0s", "-d", "300ms", "--sweep", "rate=1k..8k*2"]);
    let page = sweep.opened();
    assert!(page.contains("Rate and latency"));
    for rate in [">1,000<", ">2,000<", ">4,000<", ">8,000<"] {
        assert!(page.contains(rate), "{rate} is not in the page");
    }
    let servers = [Process::serve(&[]), Process::serve(&[])];
    let targets = [&servers[0].addresses[0], &servers[1].addresses[0]];
    let both = report(&[
        targets[0], targets[1], "-w", "0s", "-d", "200ms", "--runs", "3",
    ]);
    let page = both.opened();
    let letters = [format!("A: {}", targets[0]), format!("B: {}", targets[1])];
    for shown in [
        "Ratio B / A",
        "all runs of each",
        &letters[0],
        &letters[1],
        ">1 A<",
        ">2 B<",
    ] {
        assert!(page.contains(shown), "{shown} is not in the page");
    }
    let ratio = both.report["comparisons"][0]["metrics"][0]["ratio"]
        .as_f64()
        .unwrap();
    let shown = format!(">{ratio:.3}<");
    assert!(page.contains(&shown), "{shown} is not in the page");
}

pub(crate) fn two_saved_reports_are_compared_on_a_page() {
    let servers = [Process::serve(&[]), Process::serve(&[])];
    let reports = servers
        .each_ref()
        .map(|server| report(&[&server.addresses[0], "-w", "0s", "-d", "200ms"]));
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("compared.html");
    let output = mio_echo()
        .arg("compare")
        .args(
            reports
                .each_ref()
                .map(|report| report.folder.path().join("report.json")),
        )
        .arg("--html")
        .arg(&page)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = crate::browser::opened(folder.path(), &page);
    for text in [
        "Echo comparison",
        "B compared with A",
        "cannot tell",
        ">1 A<",
        ">1 B<",
        "A: Valid",
        "B: Valid",
    ] {
        assert!(shown.contains(text), "{text} is not in {shown}");
    }
    for server in &servers {
        assert!(shown.contains(&server.addresses[0]), "{shown}");
    }
}

pub(crate) fn the_smallest_text_on_a_phone_has_twelve_pixels() {
    let reported = report(&["-c", "20", "-r", "2000", "-w", "0s", "-d", "2s"]);
    let smallest = smallest_text_on_a_phone(reported.folder.path(), "report.html");
    assert!((12.0..20.0).contains(&smallest), "{smallest} px");
    // Checks the measurement itself.
    let page = fs::read_to_string(&reported.page).unwrap();
    fs::write(
        reported.folder.path().join("small.html"),
        page.replace("13.8px", "9px"),
    )
    .unwrap();
    let smaller = smallest_text_on_a_phone(reported.folder.path(), "small.html");
    assert!(smaller < 12.0, "{smaller} px");
}

pub(crate) fn a_phone_needs_no_sideways_scrolling() {
    let reported = report(&["-c", "20", "-r", "2000", "-w", "0s", "-d", "1s"]);
    assert_that_a_phone_shows_all(reported.folder.path(), "report.html");
}

pub(crate) fn light_dark_and_print_are_drawn() {
    let reported = report(&["-c", "20", "-r", "2000", "-w", "0s", "-d", "1s"]);
    assert_that_light_dark_and_print_are_drawn(reported.folder.path(), &reported.page);
}
