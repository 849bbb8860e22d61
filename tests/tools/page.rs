//! The report's page in a real browser, Chromium without a window. Opened as a file, the page shows the figures,
//! loads nothing from the network, and causes no error in the browser's console.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{Process, mio_echo};

/// Returns true if Chromium is installed.
pub(crate) fn browser_works() -> bool {
    browser().is_some()
}

fn browser() -> Option<&'static str> {
    ["chromium", "chromium-browser"].into_iter().find(|name| {
        let version = Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    })
}

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

/// Opens a page in Chromium with these options, and returns its output.
fn chromium(folder: &Path, args: &[&str], page: &Path) -> Output {
    let profile = tempfile::tempdir_in(folder).unwrap();
    let output = Command::new(browser().unwrap())
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--enable-logging=stderr",
            "--log-level=0",
            "--timeout=20000",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(args)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

/// Returns the page as the browser parsed it. Fails if the console has a message: an error, or an attempt to load
/// anything, which the page's content security policy forbids.
fn opened(reported: &Reported) -> String {
    let (page, messages) = opened_with_messages(reported.folder.path(), &reported.page);
    assert!(messages.is_empty(), "{messages:#?}");
    page
}

/// Returns the page as the browser parsed it, and the messages of the console.
fn opened_with_messages(folder: &Path, page: &Path) -> (String, Vec<String>) {
    let output = chromium(folder, &["--dump-dom"], page);
    let said = String::from_utf8_lossy(&output.stderr);
    let messages = said.lines().filter(|line| line.contains("CONSOLE"));
    let messages = messages.map(str::to_owned).collect();
    (String::from_utf8(output.stdout).unwrap(), messages)
}

/// Shows that [`opened`] would fail for a page that loads anything.
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
    let reported = report(&["-c", "20", "-r", "2000", "-w", "0s", "-d", "2s"]);
    let page = opened(&reported);
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
        "Throughput over time",
        "p99 over time",
        "Fairness across connections",
        "The generator itself",
        "Second by second",
        run["target"].as_str().unwrap(),
    ] {
        assert!(page.contains(figure), "{figure} is not in the page");
    }
    assert_eq!(page.matches("<svg").count(), 6);
}

pub(crate) fn sweeps_and_comparisons_are_shown() {
    let sweep = report(&["-w", "0s", "-d", "300ms", "--sweep", "rate=1k..8k*2"]);
    let page = opened(&sweep);
    assert!(page.contains("Rate and latency"));
    for rate in [">1,000<", ">2,000<", ">4,000<", ">8,000<"] {
        assert!(page.contains(rate), "{rate} is not in the page");
    }
    let servers = [Process::serve(&[]), Process::serve(&[])];
    let targets = [&servers[0].addresses[0], &servers[1].addresses[0]];
    let both = report(&[
        targets[0], targets[1], "-w", "0s", "-d", "200ms", "--runs", "3",
    ]);
    let page = opened(&both);
    for shown in ["Ratio B / A", "all runs of each", targets[0], targets[1]] {
        assert!(page.contains(shown), "{shown} is not in the page");
    }
    let ratio = both.report["comparison"]["metrics"][0]["ratio"]
        .as_f64()
        .unwrap();
    let shown = format!(">{ratio:.3}<");
    assert!(page.contains(&shown), "{shown} is not in the page");
}

/// Another page shows the report in a frame as wide as a phone (360 pixels), and measures the width that it needs.
pub(crate) fn a_phone_needs_no_sideways_scrolling() {
    let reported = report(&["-c", "20", "-r", "2000", "-w", "0s", "-d", "1s"]);
    let folder = reported.folder.path();
    let script = "const f = document.querySelector('iframe'); f.onload = () => { \
                  const needed = f.contentDocument.documentElement.scrollWidth; \
                  document.title = 'fits ' + (needed <= 360); };";
    let around = |page: &str| {
        let text = format!(
            "<!DOCTYPE html><iframe style='border:0' width=360 height=600></iframe>\
             <script>{script} f.src = '{page}'</script>"
        );
        let file = folder.join(format!("around-{page}"));
        fs::write(&file, text).unwrap();
        let asked = [
            "--allow-file-access-from-files",
            "--virtual-time-budget=5000",
            "--dump-dom",
        ];
        let output = chromium(folder, &asked, &file);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // Checks the measurement itself: a page that is too wide must not fit.
    fs::write(folder.join("wide.html"), "<p style='width: 500px'>wide").unwrap();
    let wide = around("wide.html");
    assert!(wide.contains("<title>fits false</title>"), "{wide}");
    let page = around("report.html");
    assert!(page.contains("<title>fits true</title>"), "{page}");
}

/// Draws the page with light colours, with dark colours and for print. Light and dark must differ.
pub(crate) fn light_dark_and_print_are_drawn() {
    let reported = report(&["-c", "20", "-r", "2000", "-w", "0s", "-d", "1s"]);
    let folder = reported.folder.path();
    let picture = |name: &str, args: &[&str]| {
        let file = folder.join(name);
        let to = match name.ends_with("pdf") {
            true => format!("--print-to-pdf={}", file.display()),
            false => format!("--screenshot={}", file.display()),
        };
        let args = [args, &[to.as_str(), "--window-size=1200,2000"]].concat();
        chromium(folder, &args, &reported.page);
        fs::read(file).unwrap()
    };
    let light = picture("light.png", &[]);
    let dark = picture("dark.png", &["--blink-settings=preferredColorScheme=0"]);
    let paper = picture("paper.pdf", &[]);
    assert!(light.len() > 20_000 && dark.len() > 20_000 && light != dark);
    assert!(paper.starts_with(b"%PDF") && paper.len() > 20_000);
}
