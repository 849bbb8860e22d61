//! Nothing is left out: servers that hang, lose bytes, give up or send bytes late, and the messages that they cost.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::servers::{Then, echoing, server};
use crate::{Benched, bench};

/// Runs `mio-echo bench` without a warm-up.
fn measure(target: SocketAddr, args: &[&str]) -> Benched {
    let target = target.to_string();
    let mut all = vec![target.as_str(), "-w", "0s"];
    all.extend(args);
    bench(&all)
}

/// Starts a server that echoes this number of messages over all connections, and then nothing more. It never ends its
/// streams.
fn hanging_after(messages: usize) -> SocketAddr {
    let answered = AtomicUsize::new(0);
    server(move |_, stream| {
        let mut message = [0; 64];
        loop {
            stream.read_exact(&mut message)?;
            if answered.fetch_add(1, Ordering::Relaxed) >= messages {
                thread::park();
            }
            stream.write_all(&message)?;
        }
    })
}

#[test]
fn a_server_that_hangs_is_silent_and_the_run_is_invalid() {
    let target = hanging_after(500);
    let seen = measure(
        target,
        &["-c", "20", "-d", "1500ms", "--fail-if", "errors>0"],
    );
    assert_eq!(seen.code, Some(4), "{seen:#?}");
    let reasons = seen.reasons();
    assert!(
        reasons.contains("silent at the end: no byte came"),
        "{reasons}"
    );
    assert_eq!(seen.number("/generator/connections_silent"), 20.0);
    let error = seen.error("silent");
    assert!(
        error["first"]["detail"]
            .as_str()
            .unwrap()
            .contains("64 bytes are missing"),
        "{error}"
    );
    assert_eq!(error["messages"], 0, "the messages are still under way");
    assert_eq!(seen.report["assertions"][0]["met"], true);
    // The server fell silent long before the end of the window.
    assert!(
        seen.number("/generator/silent_since_ns") < 1.4e9,
        "{seen:#?}"
    );
}

#[test]
fn a_server_that_drops_the_last_byte_of_one_message_is_short() {
    let connections = AtomicUsize::new(0);
    let target = server(move |_, stream| {
        let is_first = connections.fetch_add(1, Ordering::Relaxed) == 0;
        let mut message = [0; 64];
        for n in 0.. {
            stream.read_exact(&mut message)?;
            let end = if is_first && n == 5 { 63 } else { 64 };
            stream.write_all(&message[..end])?;
        }
        Ok(())
    });
    let seen = measure(target, &["-c", "5", "-d", "300ms"]);
    assert_eq!(seen.code, Some(3), "{seen:#?}");
    let error = seen.error("short");
    assert_eq!(error["count"], 1);
    assert_eq!(error["first"]["offset"], 5 * 64 + 63);
}

#[test]
fn a_server_that_answers_one_message_of_ten_is_never_valid() {
    let one_of_ten = || {
        let messages = AtomicUsize::new(0);
        server(move |_, stream| {
            let mut message = [0; 64];
            loop {
                stream.read_exact(&mut message)?;
                if messages.fetch_add(1, Ordering::Relaxed).is_multiple_of(10) {
                    stream.write_all(&message)?;
                }
            }
        })
    };
    let args = ["-c", "20", "-r", "100", "-d", "1500ms"];
    let seen = measure(one_of_ten(), &args);
    assert_eq!(seen.code, Some(3), "{seen:#?}");
    let error = seen.error("short");
    let detail = error["first"]["detail"].as_str().unwrap();
    assert!(detail.contains("64 bytes are missing"), "{detail}");
    // Without the half-close the messages are unfinished, and their connections silent.
    let seen = measure(one_of_ten(), &[&args[..], &["--no-half-close"]].concat());
    assert_eq!(seen.code, Some(4), "{seen:#?}");
    assert!(
        seen.number("/generator/connections_silent") > 10.0,
        "{seen:#?}"
    );
}

#[test]
fn messages_that_time_out_are_in_the_percentiles_with_their_age() {
    let target = server(|_, stream| {
        let mut message = [0; 64];
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let args = [
        "-c",
        "20",
        "--timeout",
        "300ms",
        "-d",
        "350ms",
        "--fail-if",
        "max>250ms",
    ];
    let seen = measure(target, &args);
    assert_eq!(seen.report["assertions"][0]["met"], true, "{seen:#?}");
    let failed = seen.number("/counts/failed");
    assert!(failed >= 20.0, "{seen:#?}");
    assert!(
        seen.number("/latency/lower_bounds/count") >= failed,
        "{seen:#?}"
    );
    let counts = seen.number("/counts/scheduled");
    assert_eq!(seen.number("/latency/response/count"), counts, "{seen:#?}");
    assert_eq!(seen.number("/latency/service/count"), counts, "{seen:#?}");
    assert!(seen.number("/latency/response/max") >= 3e8, "{seen:#?}");
}

#[test]
fn messages_that_a_reset_loses_are_in_the_percentiles_of_an_open_loop() {
    let target = echoing(64, |n, _| {
        thread::sleep(Duration::from_millis(if n == 3 { 150 } else { 0 }));
        if n == 3 { Then::Reset } else { Then::GoOn }
    });
    let seen = measure(target, &["-c", "5", "-r", "100", "-P", "4", "-d", "1s"]);
    let count = |name: &str| seen.number(&format!("/counts/{name}"));
    assert!(count("failed") > 0.0, "{seen:#?}");
    assert_eq!(
        seen.number("/latency/response/count"),
        count("scheduled"),
        "{seen:#?}"
    );
    assert!(seen.number("/latency/lower_bounds/max") >= 1e8, "{seen:#?}");
}

#[test]
fn wrong_bytes_before_a_timeout_are_a_wrong_echo() {
    let target = server(|_, stream| {
        stream.read_exact(&mut [0; 64])?;
        stream.write_all(b"NO")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let seen = measure(target, &["-c", "2", "--timeout", "40ms", "-d", "300ms"]);
    assert_eq!(seen.code, Some(3), "{seen:#?}");
    let kinds: Vec<_> = seen.report["runs"][0]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert!(
        kinds.iter().all(|error| error["kind"] != "timeout"),
        "{kinds:?}"
    );
}

#[test]
fn a_surplus_byte_that_comes_after_the_last_echo_is_found() {
    let target = server(|_, stream| {
        let mut message = [0; 64];
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
        thread::sleep(Duration::from_millis(3));
        stream.write_all(b"!")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let args = ["-c", "5", "--reconnect", "1", "-n", "50"];
    let seen = measure(target, &args);
    assert_eq!(seen.code, Some(3), "{seen:#?}");
    assert_eq!(seen.error("surplus")["first"]["offset"], 64);
    assert_eq!(
        seen.number("/counts/ok"),
        50.0,
        "the echoes themselves were right"
    );
    // Without the half-close the byte comes too late, and the report says that it was not looked for.
    let seen = measure(target, &[&args[..], &["--no-half-close"]].concat());
    assert!(
        seen.notes().contains("were not checked"),
        "{}",
        seen.notes()
    );
}

#[test]
fn a_server_that_never_ends_its_stream_is_a_note() {
    let target = server(|_, stream| {
        let mut message = [0; 64];
        while stream.read_exact(&mut message).is_ok() {
            stream.write_all(&message)?;
        }
        thread::park();
        Ok(())
    });
    let seen = measure(target, &["-c", "3", "-d", "200ms"]);
    seen.assert_measured();
    assert_eq!(seen.number("/generator/ends_without_end_of_stream"), 3.0);
    assert!(
        seen.notes().contains("did not end its stream"),
        "{}",
        seen.notes()
    );
}

#[test]
fn each_run_sends_other_bytes_unless_its_key_is_given() {
    let first: Arc<Mutex<Vec<[u8; 64]>>> = Arc::default();
    let target = {
        let first = first.clone();
        server(move |_, stream| {
            let mut message = [0; 64];
            stream.read_exact(&mut message)?;
            first.lock().unwrap().push(message);
            stream.write_all(&message)
        })
    };
    let keys = ["--seed", "1", "--payload-key", "7"];
    let runs: [&[&str]; 4] = [&[], &[], &keys, &keys];
    let seen = runs.map(|more| measure(target, &[&["-c", "1", "-n", "1"][..], more].concat()));
    let first = first.lock().unwrap();
    assert_eq!(first.len(), 4);
    assert_ne!(first[0], first[1]);
    assert_eq!(first[2], first[3]);
    assert_eq!(seen[3].number("/parameters/payload_key"), 7.0);
    assert_ne!(
        seen[0].number("/parameters/seed"),
        seen[1].number("/parameters/seed")
    );
}
