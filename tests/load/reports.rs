//! Reports and their use: the schema, tables, comparisons, merging and conditions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::common::{Embedded, mio_echo};
use crate::servers::{Then, echoing};
use crate::{Benched, bench, bench_command};

/// Fails unless the report matches the published schema.
fn assert_matches_the_schema(report: &Value) {
    let schema = include_str!("../../docs/bench.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(report)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Runs `mio-echo bench` and checks its report against the schema.
fn checked(args: &[&str]) -> Benched {
    let seen = bench(args);
    assert_matches_the_schema(&seen.report);
    seen
}

/// Saves the report of a run without a warm-up as JSON. Returns the file's path.
fn saved(folder: &Path, name: &str, args: &[&str]) -> PathBuf {
    let file = folder.join(name);
    let output = bench_command(args)
        .args(["-w", "0s", "--json"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(file.exists(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn every_kind_of_report_matches_the_schema() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let short = ["-w", "0s", "-d", "200ms"];
    let cases: [&[&str]; 8] = [
        &[],
        &[
            "-r",
            "1000",
            "--arrivals",
            "poisson",
            "--fail-if",
            "p99>1h",
            "--source",
            "127.0.0.1",
        ],
        &[&target, &target, "--runs", "3"],
        &[&target, "--sweep", "connections=1..4*2"],
        &[
            &target,
            "--reconnect",
            "2",
            "-P",
            "2",
            "--sndbuf",
            "64KiB",
            "--connect-rate",
            "1k",
        ],
        &[&target, "--find-max", "p50<1h", "-d", "50ms"],
        &[&target, "--sweep", "rate=1k..8k*2", "--runs", "3"],
        &["-s", "64-200", "--fail-if", "service.p50>1h"],
    ];
    for case in cases {
        let mut args = case.to_vec();
        if !case.contains(&"-d") {
            args.extend(short);
        }
        let seen = checked(&args);
        let report = &seen.report;
        assert_eq!(report["schema"], "mio-echo-bench/3");
        for run in report["runs"].as_array().unwrap() {
            for name in ["scheduled", "sent", "ok", "unfinished", "errors"] {
                assert!(run["counts"][name].is_u64(), "{name}: {}", run["counts"]);
            }
            assert!(run["latency"]["service"]["percentiles"].is_object());
        }
    }
    // The report of a wrong server matches too.
    let wrong = echoing(64, |n, echo| {
        echo[0] ^= u8::from(n == 5);
        Then::GoOn
    });
    let seen = checked(&[&wrong.to_string(), "-w", "0s", "-d", "300ms"]);
    assert_eq!(seen.code, Some(3));
}

#[test]
fn the_schema_refuses_a_wrong_report() {
    let mut report = bench(&["-n", "10", "-c", "1"]).report;
    report["runs"][0]["counts"]["ok"] = "many".into();
    let checked = std::panic::catch_unwind(|| assert_matches_the_schema(&report));
    assert!(checked.is_err());
}

#[test]
fn conditions_decide_the_exit_code() {
    let server = Embedded::start();
    let target = server.address.to_string();
    for (condition, code) in [
        ("p50>1ns", Some(99)),
        ("p50>1h", Some(0)),
        ("errors>0", Some(0)),
        ("rate<1", Some(0)),
        ("rate>=1", Some(99)),
        ("max<1h", Some(99)),
        // 500 messages are too few for a p99.99.
        ("p99.99>1h", Some(4)),
    ] {
        let seen = bench(&[&target, "-n", "500", "-c", "2", "--fail-if", condition]);
        assert_eq!(
            seen.code, code,
            "{condition}: {:#}",
            seen.report["assertions"]
        );
        assert_eq!(seen.report["assertions"][0]["condition"], condition);
    }
    let seen = bench(&[
        &target,
        "-n",
        "500",
        "--fail-if",
        "errors>0",
        "--fail-if",
        "p50>1ns",
    ]);
    assert_eq!(seen.code, Some(99), "one of several conditions is enough");
}

#[test]
fn the_csv_has_every_second_and_the_hgrm_the_whole_distribution() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, hgrm) = (folder.path().join("a.csv"), folder.path().join("a.hgrm"));
    let runs = folder.path().join("runs.csv");
    let seen = bench(&[
        "-r",
        "1000",
        "-w",
        "0s",
        "-d",
        "2500ms",
        "--csv",
        csv.to_str().unwrap(),
        "--csv-runs",
        runs.to_str().unwrap(),
        "--hgrm",
        hgrm.to_str().unwrap(),
    ]);
    seen.assert_measured();
    assert!(
        seen.stderr.contains(&format!("wrote {}", csv.display())),
        "{}",
        seen.stderr
    );
    let runs = fs::read_to_string(runs).unwrap();
    let lines: Vec<Vec<&str>> = runs.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 2, "{runs}");
    assert_eq!(lines[0].len(), lines[1].len(), "{runs}");
    assert!(!lines[0].iter().any(|name| name.contains('.')), "{runs}");
    let of_the_run = |name: &str| {
        let place = lines[0].iter().position(|column| *column == name);
        lines[1][place.unwrap()].to_owned()
    };
    assert_eq!(of_the_run("run"), "1");
    assert_eq!(of_the_run("ok"), seen.number("/counts/ok").to_string());
    let csv = fs::read_to_string(csv).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines.len(),
        4,
        "a header, two seconds and a half second: {csv}"
    );
    let columns = lines[0].split(',').count();
    assert!(
        lines.iter().all(|line| line.split(',').count() == columns),
        "{csv}"
    );
    let sent = lines[0].split(',').position(|name| name == "sent").unwrap();
    let of_the_table: Vec<u64> = lines[1..]
        .iter()
        .map(|l| l.split(',').nth(sent).unwrap().parse().unwrap())
        .collect();
    let of_the_report: Vec<u64> = seen.run()["intervals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|second| second["sent"].as_u64().unwrap())
        .collect();
    assert_eq!(of_the_table, of_the_report);
    // On a busy machine some of the last messages are sent after the window, and are in no second.
    let sum: u64 = of_the_table.iter().sum();
    assert!((2000..=2500).contains(&sum), "{csv}");
    let hgrm = fs::read_to_string(hgrm).unwrap();
    assert!(hgrm.trim_start().starts_with("Value"), "{hgrm}");
    assert!(hgrm.contains("Total count    =         2500"), "{hgrm}");
}

#[test]
fn the_text_begins_with_the_validity_and_then_has_the_figures() {
    let output = bench_command(&["-r", "1000", "-w", "0s", "-d", "2s"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // All are possible: on a busy machine the run may be overloaded or invalid.
    let verdict = text.lines().next().unwrap();
    assert!(
        ["valid", "OVERLOADED", "INVALID"].contains(&verdict),
        "{text}"
    );
    for part in [
        "messages/s of 1,000 asked for",
        "verified   2,000 echoes, every byte compared",
        "p99.99",
        "response",
        "service",
        "opening",
        "█",
        "p99 of each second:",
        "sends late by",
        "Jain's index",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(
        text.lines().all(|line| !line.contains('\u{1b}')),
        "colours are for terminals only"
    );
    let progress = String::from_utf8(output.stderr).unwrap();
    assert!(progress.contains("connecting: 50 of 50"), "{progress}");
    assert!(
        progress.lines().count() >= 3 && !progress.contains(['\r', '\u{1b}']),
        "without a terminal, progress is plain lines: {progress:?}"
    );
    assert!(
        progress.contains("0:01 left, ") && progress.contains(" of 1000/s, p50 "),
        "{progress}"
    );
}

/// Runs `mio-echo compare`. Returns its exit code and its output.
fn compared(a: &Path, b: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = mio_echo()
        .arg("compare")
        .args([a, b])
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}

/// Starts a server that takes this long for each echo, and returns its address.
fn slow(ms: u64) -> String {
    let server = echoing(64, move |_, _| {
        std::thread::sleep(std::time::Duration::from_millis(ms));
        Then::GoOn
    });
    server.to_string()
}

/// With a difference as large as this four runs are enough, even on a busy machine.
const FOUR_RUNS: [&str; 6] = ["-c", "20", "-d", "400ms", "--runs", "4"];

#[test]
fn a_slower_server_is_worse_side_by_side() {
    let (fast, slow) = (slow(2), slow(40));
    let against = |a: &str, b: &str, condition: &str| {
        let targets = [a, b, "-w", "0s", "--fail-if", condition];
        bench(&[&targets[..], &FOUR_RUNS].concat())
    };
    let worse = against(&fast, &slow, "regress(p50)>5%");
    assert_eq!(worse.code, Some(99), "{}", worse.stderr);
    assert!(
        worse.stderr.contains("FAIL  regress(p50) B +"),
        "{}",
        worse.stderr
    );
    assert!(worse.stderr.contains("B is worse"), "{}", worse.stderr);
    let better = against(&slow, &fast, "regress(p50)>5%");
    assert_eq!(better.code, Some(0), "{}", better.stderr);
    assert!(
        better.stderr.contains("pass  regress(p50) B -"),
        "{}",
        better.stderr
    );
    assert!(better.stderr.contains("B is better"), "{}", better.stderr);
}

#[test]
fn two_sittings_are_compared_only_with_a_control() {
    let folder = tempfile::tempdir().unwrap();
    let (control, fast, slow) = (slow(5), slow(2), slow(40));
    let alone = |name: &str, target: &str| {
        saved(folder.path(), name, &[&FOUR_RUNS[..], &[target]].concat())
    };
    let (a, b) = (alone("a.json", &fast), alone("b.json", &slow));
    let fail_if = ["--fail-if", "regress(p50)>5%"];
    let (code, text) = compared(&a, &b, &[]);
    // On a busy machine a run may be invalid.
    let expected = if text.contains("report is invalid") {
        4
    } else {
        0
    };
    assert_eq!(code, Some(expected), "{text}");
    assert!(text.contains("cannot tell"), "{text}");
    let (code, text) = compared(&a, &b, &fail_if);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("two sittings cannot tell"), "{text}");
    let beside = |name: &str, target: &str| {
        saved(
            folder.path(),
            name,
            &[&FOUR_RUNS[..], &[&control, target]].concat(),
        )
    };
    let (a, b) = (beside("c.json", &fast), beside("d.json", &slow));
    for file in [&a, &b] {
        let mut report = read(file);
        report["validity"]["verdict"] = "valid".into();
        fs::write(file, report.to_string()).unwrap();
    }
    let files = [folder.path().join("c.md"), folder.path().join("c.html")];
    let [markdown, html] = [&files[0], &files[1]].map(|file| file.to_str().unwrap());
    let written = ["--markdown", markdown, "--html", html];
    let (code, text) = compared(&a, &b, &[&fail_if[..], &written].concat());
    assert_eq!(code, Some(99), "{text}");
    assert!(text.contains("B is worse"), "{text}");
    assert!(text.contains(&format!("wrote {markdown}")), "{text}");
    let markdown = fs::read_to_string(markdown).unwrap();
    assert!(markdown.contains("**FAIL**: regress(p50) +"), "{markdown}");
    assert!(markdown.contains("| B is worse |"), "{markdown}");
    assert!(fs::read_to_string(html).unwrap().contains("B is worse"));
    // The limit is the observed change itself, so the interval has ratios on both sides of it.
    let (_, json) = compared(&a, &b, &["--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let metrics = json["comparison"]["metrics"].as_array().unwrap();
    let p50 = metrics.iter().find(|metric| metric["name"] == "p50");
    let change = p50.unwrap()["ratio"].as_f64().unwrap() - 1.0;
    let close = format!("regress(p50)>{:.6}%", change * 100.0);
    let (code, text) = compared(&a, &b, &["--fail-if", &close]);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("UNKNOWN  regress(p50)"), "{text}");
    assert!(text.contains("would"), "{text}");
    let (code, text) = compared(&b, &a, &fail_if);
    assert_eq!(code, Some(0), "an improvement is not a regression: {text}");
    let (code, text) = compared(&a, &a, &["--fail-if", "regress(p50)>500%"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        !text.contains("is worse") && !text.contains("is better"),
        "{text}"
    );
}

#[test]
fn different_options_and_invalid_reports_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let target = slow(1);
    let runs = ["-d", "100ms", "--runs", "3", &target];
    let a = saved(folder.path(), "a.json", &runs);
    let other = ["--reconnect", "1", "--no-delay", "off"];
    let b = saved(folder.path(), "b.json", &[&runs[..], &other].concat());
    let (_, text) = compared(&a, &b, &[]);
    for named in [
        "--reconnect none (A) and 1 (B)",
        "--no-delay on (A) and off (B)",
    ] {
        assert!(text.contains(named), "{text}");
    }
    let mut report = read(&b);
    report["validity"]["verdict"] = "invalid".into();
    report["validity"]["reasons"] = serde_json::json!(["of this test"]);
    fs::write(&b, report.to_string()).unwrap();
    let (code, text) = compared(&a, &b, &[]);
    assert_eq!(code, Some(4), "{text}");
    assert!(
        text.contains("second report is invalid: of this test"),
        "{text}"
    );
}

#[test]
fn servers_are_started_by_their_commands_and_ended() {
    let program = env!("CARGO_BIN_EXE_mio-echo");
    let old = format!("{program} serve {{address}}");
    let new = format!("{program} serve {{address}} --read-buffer 32KiB");
    let short = ["-w", "0s", "-d", "100ms", "--runs", "3"];
    let seen = bench(&[&["--cmd", &old, "--cmd", &new][..], &short].concat());
    seen.assert_measured();
    let targets = seen.report["options"]["targets"].as_array().unwrap();
    assert_eq!(targets, &[old.as_str(), new.as_str()]);
    assert_eq!(seen.report["comparisons"][0]["b"], new.as_str());
    let still_there = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .any(|process| {
            let line = fs::read_to_string(process.path().join("cmdline"));
            line.is_ok_and(|line| line.contains("32KiB"))
        });
    assert!(!still_there, "the servers have ended");
    for (command, why) in [
        ("false {port}", "ended (exit status: 1) before it listened"),
        ("/does/not/exist {port}", "cannot be started"),
    ] {
        let output = bench_command(&["--cmd", command]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
    // The last command is started first. It listens, and must end too when another one cannot be started.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let program = mio_echo().get_program().to_owned();
    let good = format!(
        "sh -c 'echo $$ >{}; exec {} serve -q {{address}}'",
        file.display(),
        program.display()
    );
    let output = bench_command(&["--cmd", "false {port}", "--cmd", &good])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let pid = fs::read_to_string(&file).unwrap();
    let process = Path::new("/proc").join(pid.trim());
    assert!(!process.exists(), "server {pid} has not ended");
    let output = bench_command(&["--cmd", "echo"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn no_line_of_a_report_is_wider_than_80_columns() {
    let target = slow(1);
    let reset = echoing(64, |n, _| if n == 3 { Then::Reset } else { Then::GoOn });
    let reset = reset.to_string();
    let cases: [&[&str]; 5] = [
        &[&target, "-r", "2k", "-d", "3s"],
        &[&target, &target, &target, "--runs", "3"],
        &[&target, "--sweep", "rate=500..4k*2"],
        &[&target, "--find-max", "p99<2ms"],
        &[
            &reset,
            "-s",
            "64:9,4096:1",
            "--reconnect",
            "1",
            "--fail-if",
            "p99>1us",
        ],
    ];
    for case in cases {
        let mut args = case.to_vec();
        args.extend(["-w", "0s"]);
        if !case.contains(&"-d") {
            args.extend(["-d", "200ms"]);
        }
        let output = bench_command(&args).output().unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let wide: Vec<&str> = text.lines().filter(|l| l.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{args:?}: {wide:#?}");
    }
}

/// Measures with several processes that run at the same time, each with its arguments. Returns the files of their
/// reports.
fn saved_together(folder: &Path, processes: &[&[&str]]) -> Vec<PathBuf> {
    let all = processes.iter().enumerate().map(|(n, args)| {
        let file = folder.join(format!("{n}.json"));
        let mut command = bench_command(args);
        command.args(["-w", "0s", "--json"]).arg(&file);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped());
        (child.spawn().unwrap(), file)
    });
    let all: Vec<_> = all.collect();
    let ended = all.into_iter().map(|(child, file)| {
        let output = child.wait_with_output().unwrap();
        assert!(file.exists(), "{}", String::from_utf8_lossy(&output.stderr));
        file
    });
    ended.collect()
}

/// Runs `mio-echo merge`, and returns its output. The report is on standard output, as JSON.
fn merged(files: &[PathBuf]) -> Output {
    let mut command = mio_echo();
    command.arg("merge").args(files).args(["--json", "-"]);
    command.output().unwrap()
}

#[test]
fn merging_adds_up_the_counts_and_histograms_of_the_files() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let at = SystemTime::now() + Duration::from_secs(2);
    let at = humantime::format_rfc3339(at).to_string();
    let process = |rate| [&target, "-d", "1s", "--start-at", &at, "-r", rate];
    let processes = [process("300"), process("500"), process("700")];
    let files = saved_together(folder.path(), &processes.each_ref().map(|p| p.as_slice()));
    let output = merged(&files);
    let merged: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_matches_the_schema(&merged);
    let run = &merged["runs"][0];
    assert_eq!(run["counts"]["scheduled"], 1500);
    assert_eq!(run["latency"]["response"]["count"], 1500);
    let notes = merged["validity"]["notes"].to_string();
    assert!(notes.contains("--rate: 300 and 500 and 700"), "{notes}");
    let max = files
        .iter()
        .map(|file| read(file)["runs"][0]["latency"]["response"]["max"].as_u64());
    assert_eq!(
        run["latency"]["response"]["max"].as_u64(),
        max.max().unwrap()
    );
}

/// Two processes of 750 messages a second make 1,500 messages a second if they measure at the same time.
#[test]
fn reports_are_merged_only_if_their_processes_ran_together() {
    let server = Embedded::start();
    let target = server.address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let process = |at, seed| {
        [
            &target,
            "-r",
            "750",
            "-d",
            "4s",
            "--seed",
            seed,
            "--start-at",
            at,
        ]
    };
    let processes = [
        process("+1s", "1"),
        process("+1s", "2"),
        process("+3s", "3"),
    ];
    let files = saved_together(folder.path(), &processes.each_ref().map(|p| p.as_slice()));
    let output = merged(&files[..2]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &report["runs"][0];
    let rate = run["throughput"]["messages_per_second"].as_f64().unwrap();
    assert!((1400.0..1550.0).contains(&rate), "{rate}");
    let common_ns = run["common_window_ns"].as_u64().unwrap();
    assert!(
        (3_500_000_000..=4_000_000_000).contains(&common_ns),
        "{common_ns}"
    );
    let output = merged(&files[1..]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty());
    assert!(
        said.contains("measured together for only") && said.contains("--start-at"),
        "{said}"
    );
}

#[test]
fn the_schedule_starts_at_the_time_of_the_option() {
    let first: Arc<OnceLock<SystemTime>> = Arc::default();
    let server = echoing(64, {
        let first = first.clone();
        move |_, _| {
            first.get_or_init(SystemTime::now);
            Then::GoOn
        }
    });
    let at = SystemTime::now() + Duration::from_millis(1500);
    let text = humantime::format_rfc3339(at).to_string();
    let target = server.to_string();
    let args = [
        &target,
        "-d",
        "200ms",
        "-w",
        "300ms",
        "-r",
        "1000",
        "--start-at",
        &text,
    ];
    let seen = checked(&[&args[..], &["--runs", "2"]].concat());
    assert_eq!(seen.report["options"]["start_at"], text.as_str());
    let first = *first.get().unwrap();
    let tolerance = Duration::from_millis(50);
    assert!(first + tolerance > at, "{first:?} is before {at:?}");
    assert!(
        first < at + Duration::from_secs(1),
        "{first:?} is long after {at:?}"
    );
    // The warm-up is before the window. The time has whole nanoseconds, so it is the same in the report.
    let window = (at + Duration::from_millis(300))
        .duration_since(UNIX_EPOCH)
        .unwrap();
    assert_eq!(
        seen.run()["started_at_ns"].as_u64(),
        Some(window.as_nanos() as u64)
    );
    assert_eq!(seen.run()["counts"]["scheduled"], 200);
    // The option is about the first run. The second run follows it.
    let second = seen.report["runs"][1]["started_at_ns"].as_u64().unwrap();
    assert!(second > window.as_nanos() as u64 + 200_000_000, "{second}");
}

#[test]
fn connections_that_are_open_too_late_for_the_start_are_a_failure() {
    let output = bench_command(&["-c", "4", "--connect-rate", "4", "--start-at", "+200ms"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("too late") && said.contains("use a later time"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_not_a_report_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, hint) in [
        ("a.json", "not json", "is not JSON"),
        ("b.json", "{}", "is not a report"),
        (
            "c.json",
            r#"{"schema":"mio-echo-bench/9"}"#,
            "mio-echo-bench/9",
        ),
        ("d.json", r#"{"schema":"mio-echo-bench/3"}"#, "is damaged"),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let (code, said) = compared(&file, &file, &[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(hint) && said.contains(name), "{said}");
    }
}

#[test]
fn a_run_that_cannot_be_made_does_not_lose_the_run_before_it() {
    // The listener accepts four connections and is closed, so that the second run cannot connect.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let streams: Vec<_> = (0..4).map(|_| listener.accept().unwrap().0).collect();
        drop(listener);
        for mut stream in streams {
            std::thread::spawn(move || {
                let mut message = [0; 64];
                while stream.read_exact(&mut message).is_ok() {
                    stream.write_all(&message).unwrap();
                }
            });
        }
    });
    let seen = bench(&[&target, "-c", "4", "-n", "400", "--runs", "2"]);
    assert_eq!(seen.code, Some(4), "{seen:#?}");
    assert_eq!(seen.report["runs"].as_array().unwrap().len(), 1);
    assert!(
        seen.reasons().contains("run 2 could not be made"),
        "{}",
        seen.reasons()
    );
}

#[test]
fn a_search_without_a_result_is_reported_too() {
    let seen = bench(&["--find-max", "p99<1ns", "-w", "0s", "-d", "50ms"]);
    assert_eq!(seen.code, Some(4), "{seen:#?}");
    assert!(!seen.report["runs"].as_array().unwrap().is_empty());
}
