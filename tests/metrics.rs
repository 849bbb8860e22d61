//! `--metrics`: what it shows, and what its clients cannot do.

#![cfg(all(unix, feature = "metrics"))]
#![allow(missing_docs, reason = "a test has no public interface")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{LIMIT, Process, connect, eventually, mio_echo};
use serde_json::Value;

/// Starts a server with `--metrics`, and returns it with the address of its site.
fn serve(args: &[&str]) -> (Process, SocketAddr) {
    let args = [&["--metrics", "auto"], args].concat();
    let mut server = Process::serve(&args);
    let line = server.line();
    (server, site(&line))
}

fn site(line: &str) -> SocketAddr {
    let address = line
        .trim()
        .strip_prefix("metrics on http://")
        .and_then(|rest| rest.strip_suffix('/'));
    address
        .unwrap_or_else(|| panic!("{line:?}"))
        .parse()
        .unwrap()
}

/// Asks for a path, and returns the header and the body of the answer.
fn get(site: SocketAddr, path: &str) -> (String, String) {
    let mut client = connect(site);
    write!(client, "GET {path} HTTP/1.1\r\nHost: {site}\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (header, body) = answer.split_once("\r\n\r\n").unwrap();
    (header.to_owned(), body.to_owned())
}

/// Returns the samples of an OpenMetrics text: a name with its labels, and the value.
fn samples(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

/// Sends one message, and compares its echo.
fn echo(client: &mut TcpStream, message: &[u8]) {
    client.write_all(message).unwrap();
    let mut echo = vec![0; message.len()];
    client.read_exact(&mut echo).unwrap();
    assert_eq!(echo, message);
}

#[test]
fn the_metrics_are_those_of_the_server_and_of_each_loop() {
    let (server, site) = serve(&["--threads", "2", "--max-connections", "50", "--json"]);
    let mut clients: Vec<_> = (0..20).map(|_| connect(server.address())).collect();
    clients.iter_mut().for_each(|client| echo(client, b"hello"));
    drop(clients.split_off(15));
    let samples = eventually("five closes", || {
        let (header, text) = get(site, "/metrics");
        assert!(header.contains("application/openmetrics-text"), "{header}");
        let samples = samples(&text);
        match samples["mio_echo_connections_open"] {
            15.0 => Ok(samples),
            _ => Err(text),
        }
    });
    for (name, value) in [
        ("mio_echo_connections_accepted_total", 20.0),
        ("mio_echo_connections_limit", 50.0),
        ("mio_echo_received_bytes_total", 100.0),
        ("mio_echo_sent_bytes_total", 100.0),
        ("mio_echo_closed_total{reason=\"end_of_stream\"}", 5.0),
        ("mio_echo_accept_errors_total{kind=\"memory\"}", 0.0),
        ("mio_echo_loops", 2.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name}: {samples:#?}");
    }
    for name in ["connections_accepted_total", "polls_total", "events_total"] {
        let of_loop = |n| samples[&format!("mio_echo_loop_{name}{{loop=\"{n}\"}}")];
        let sum = samples[&format!("mio_echo_{name}")];
        assert!(of_loop(0) > 0.0 && of_loop(1) > 0.0, "{samples:#?}");
        // A loop may make a poll between the two readings.
        assert!(
            (of_loop(0) + of_loop(1) - sum).abs() < 5.0,
            "{name}: {samples:#?}"
        );
    }
    let turns = samples["mio_echo_turn_duration_seconds_count"];
    let events = samples["mio_echo_turn_events_sum"];
    assert!(turns > 0.0 && events >= 20.0, "{samples:#?}");
    // The number of every statistic is there, with the name that JSON has, or with a name of its own.
    let stats = server.stop_and_count();
    let others = BTreeMap::from([
        ("accepted", "connections_accepted"),
        ("rejected", "connections_rejected"),
        ("left_in_backlog", "connections_left_in_backlog"),
        ("open", "connections_open"),
        ("peak", "connections_peak"),
        ("bytes_in", "received_bytes"),
        ("bytes_out", "sent_bytes"),
        ("bytes_spliced", "spliced_bytes"),
        ("bytes_discarded", "discarded_bytes"),
        ("spills", "pending_writes"),
        ("peak_pending_bytes", "pending_peak_bytes"),
    ]);
    for (name, value) in stats.as_object().unwrap() {
        let name = others
            .get(name.as_str())
            .unwrap_or(&name.as_str())
            .to_owned();
        match value {
            Value::Number(_) => assert!(
                samples.contains_key(&format!("mio_echo_{name}_total"))
                    || samples.contains_key(&format!("mio_echo_{name}")),
                "{name}: {samples:#?}"
            ),
            Value::Object(kinds) => assert_eq!(
                samples
                    .keys()
                    .filter(|key| key.starts_with(&format!("mio_echo_{name}_total")))
                    .count(),
                kinds.len(),
                "{name}: {samples:#?}"
            ),
            _ => {}
        }
    }
}

/// `docs/METRICS.md` names each metric, and no other.
#[test]
fn the_document_names_exactly_these_metrics() {
    let (_server, site) = serve(&[]);
    let mut bench = mio_echo();
    bench.args(["bench", "-d", "30s", "-c", "1", "--metrics", "auto"]);
    let mut bench = bench
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(bench.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let texts = [
        get(site, "/metrics").1,
        get(self::site(&line), "/metrics").1,
    ];
    bench.kill().unwrap();
    bench.wait().unwrap();
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md");
    let document = std::fs::read_to_string(document).unwrap();
    let mut names = BTreeSet::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        let Some(rest) = line.strip_prefix("# TYPE ") else {
            continue;
        };
        let (name, kind) = rest.split_once(' ').unwrap();
        let end = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        // A number of one loop has the name of the sum after `loop_`.
        let name = format!("`{name}{end}`").replace("mio_echo_loop_", "mio_echo_");
        names.insert(name);
    }
    let named: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `mio_echo_"))
        .filter_map(|rest| rest.split('`').next())
        .map(|name| format!("`mio_echo_{name}`"))
        .collect();
    assert_eq!(named, names);
}

#[test]
fn other_paths_and_methods_are_refused() {
    let (_server, site) = serve(&[]);
    let (header, _) = get(site, "/other");
    assert!(header.starts_with("HTTP/1.1 404"), "{header}");
    let mut client = connect(site);
    client
        .write_all(b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

/// Eight clients that send nothing hold the site for ten seconds, and no longer. Meanwhile others are closed.
#[test]
fn the_ninth_client_is_closed_and_the_eight_have_ten_seconds() {
    let (_server, site) = serve(&[]);
    let start = Instant::now();
    let mut eight: Vec<_> = (0..8).map(|_| connect(site)).collect();
    let mut ninth = connect(site);
    assert_eq!(ninth.read(&mut [0]).unwrap_or(0), 0);
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "{:?}",
        start.elapsed()
    );
    for client in &mut eight {
        assert!(client.read_to_end(&mut Vec::new()).is_ok());
    }
    let held = start.elapsed();
    assert!(held > Duration::from_secs(9) && held < LIMIT, "{held:?}");
    let (header, _) = get(site, "/metrics");
    assert!(header.starts_with("HTTP/1.1 200"), "{header}");
}

/// Clients of the site that send nothing, that send without end, or that come in hundreds change no echo: each message
/// of a client of the server comes back, and the table and the counters have that client alone.
#[test]
fn hostile_clients_of_the_site_change_no_echo() {
    let (server, site) = serve(&["--json"]);
    let is_over = AtomicBool::new(false);
    let goes_on = || !is_over.load(Ordering::Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut silent = Vec::new();
            while goes_on() {
                // At most 200 at a time, so that this process has descriptors left.
                if silent.len() == 200 {
                    silent.clear();
                }
                silent.extend(TcpStream::connect_timeout(
                    &site,
                    Duration::from_millis(100),
                ));
            }
        });
        scope.spawn(|| {
            while goes_on() {
                let Ok(mut client) = TcpStream::connect(site) else {
                    continue;
                };
                let _ = client.write_all(
                    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n",
                );
                let block = [b'x'; 65536];
                while goes_on() && client.write_all(&block).is_ok() {}
            }
        });
        scope.spawn(|| {
            while goes_on() {
                let Ok(mut client) = TcpStream::connect(site) else {
                    continue;
                };
                let _ = client.write_all(b"GET / HTTP/1.1\r\nx: ");
                while goes_on() && client.write_all(&[b'x'; 65536]).is_ok() {}
            }
        });
        let mut client = connect(server.address());
        let start = Instant::now();
        let mut messages = 0u64;
        while start.elapsed() < Duration::from_secs(2) {
            echo(&mut client, &[b'm'; 1000]);
            messages += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        drop(client);
        let stats = server.stop_and_count();
        assert!(messages > 100, "{messages} messages");
        assert_eq!(stats["bytes_out"], messages * 1000, "{stats}");
        assert_eq!(
            (&stats["accepted"], &stats["peak"]),
            (&1.into(), &1.into()),
            "{stats}"
        );
    });
}

#[test]
fn a_running_load_shows_its_messages() {
    let mut bench = mio_echo();
    bench.args([
        "bench",
        "-c",
        "3",
        "-r",
        "100",
        "-d",
        "20s",
        "-w",
        "0s",
        "--metrics",
        "auto",
    ]);
    let mut bench = bench
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(bench.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    let site = site(&line);
    let samples = eventually("messages", || {
        let samples = samples(&get(site, "/metrics").1);
        match samples["mio_echo_bench_messages_ok_total"] >= 50.0 {
            true => Ok(samples),
            false => Err(samples),
        }
    });
    assert_eq!(samples["mio_echo_bench_connections_open"], 3.0);
    assert_eq!(samples["mio_echo_bench_planned_rate"], 100.0);
    let status: Value = serde_json::from_str(&get(site, "/status.json").1).unwrap();
    assert_eq!(status["title"], "mio-echo bench");
    bench.kill().unwrap();
    bench.wait().unwrap();
}

#[test]
fn an_address_in_use_and_a_bare_port_are_explained() {
    let (_server, site) = serve(&[]);
    let used = mio_echo()
        .args(["serve", "127.0.0.1:auto", "--metrics", &site.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&used.stderr);
    assert_eq!(used.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("cannot listen for --metrics on {site}")),
        "{said}"
    );
    let bare = mio_echo()
        .args(["serve", "--metrics", ":9000"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&bare.stderr);
    assert_eq!(bare.status.code(), Some(2), "{said}");
    assert!(
        said.contains("127.0.0.1:9000") && said.contains("0.0.0.0:9000"),
        "{said}"
    );
}
