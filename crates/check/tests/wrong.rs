//! Servers that are wrong on purpose: each fails the check that looks for its error. A correct server with a thread for
//! each client passes the checks that need nothing but an address.

#![cfg(target_os = "linux")]
#![allow(missing_docs, reason = "a test has no public interface")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use mio_echo_check::{CheckReport, Endpoint, Plan, Server, ServerReport, Verdict, checks, run};

/// Starts a server with a thread for each client, and returns its address.
fn server(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    Endpoint::Tcp(address)
}

/// Makes these checks on a server.
fn check(endpoint: Endpoint, names: &[&'static str]) -> ServerReport {
    let plan = Plan {
        name: "wrong on purpose".to_owned(),
        server: Server::Running {
            addresses: vec![endpoint],
            process: None,
        },
        checks: names.to_vec(),
        // The wrong servers do not answer in any time.
        timeout: Duration::from_millis(400),
        idle_timeout: None,
        drains: false,
        may_harm: false,
    };
    run(&plan, &AtomicBool::new(false), |_| ()).unwrap()
}

/// Makes a check on a server, which must fail it.
#[track_caller]
fn fails(name: &'static str, serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) {
    let report = check(server(serve), &[name]);
    let CheckReport {
        verdict, remark, ..
    } = &report.checks[0];
    assert_eq!(*verdict, Verdict::Fail, "{name}: {remark:#?}");
    let remark = remark.as_ref().unwrap();
    assert!(!remark.en.is_empty() && !remark.ja.is_empty(), "{remark:?}");
}

/// A correct echo of one client.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.shutdown(Shutdown::Write),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

#[test]
fn a_correct_server_passes_what_needs_nothing_but_an_address() {
    let names: Vec<&'static str> = checks()
        .filter(|check| check.group.name() == "echo" || check.group.name() == "ends")
        .map(|check| check.name)
        .collect();
    let plan_of = |timeout| Plan {
        name: "correct".to_owned(),
        server: Server::Running {
            addresses: vec![server(echo)],
            process: None,
        },
        checks: names.clone(),
        timeout,
        idle_timeout: None,
        drains: false,
        may_harm: false,
    };
    let report = run(
        &plan_of(Duration::from_secs(2)),
        &AtomicBool::new(false),
        |_| (),
    )
    .unwrap();
    for made in &report.checks {
        assert_ne!(made.verdict, Verdict::Fail, "{made:#?}");
    }
}

#[test]
fn a_server_that_closes_at_once_fails_hello() {
    fails("hello", |_| Ok(()));
}

#[test]
fn a_server_for_one_client_fails_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        drop(listener);
        echo(stream)
    });
    let report = check(endpoint, &["again", "bytes"]);
    assert_eq!(report.verdict("again"), Some(Verdict::Fail), "{report:#?}");
    assert_eq!(report.gone_since.as_deref(), Some("again"));
    assert_eq!(
        report.verdict("bytes"),
        Some(Verdict::Skipped),
        "{report:#?}"
    );
}

#[test]
fn a_server_of_one_client_at_a_time_fails_two_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = echo(stream);
        }
    });
    let report = check(endpoint, &["two-at-once"]);
    assert_eq!(
        report.verdict("two-at-once"),
        Some(Verdict::Fail),
        "{report:#?}"
    );
}

#[test]
fn a_server_that_reads_text_fails_bytes() {
    fails("bytes", |mut stream| {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
        stream.write_all(text.as_bytes())
    });
}

#[test]
fn a_server_that_waits_for_a_newline_fails_no_newline() {
    fails("no-newline", |stream| {
        let mut lines = io::BufReader::new(stream.try_clone()?);
        let mut line = Vec::new();
        io::BufRead::read_until(&mut lines, b'\n', &mut line)?;
        (&stream).write_all(&line)
    });
}

/// It takes a read for a message, and leaves out one that begins before the last answer is sent.
#[test]
fn a_server_that_takes_a_read_for_a_message_fails_byte_by_byte() {
    fails("byte-by-byte", |mut stream| {
        let mut buffer = [0; 64];
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                // A message of this server has one byte, and what follows it is not read.
                _ => stream.write_all(&buffer[..1])?,
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_server_that_takes_a_full_buffer_for_an_end_fails_boundaries() {
    fails("boundaries", |mut stream| {
        let mut buffer = [0; 1024];
        loop {
            let n = stream.read(&mut buffer)?;
            stream.write_all(&buffer[..n])?;
            if n == 0 || n == buffer.len() {
                return Ok(());
            }
        }
    });
}

#[test]
fn a_server_that_answers_a_part_of_a_read_fails_pipeline() {
    fails("pipeline", |mut stream| {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                n => stream.write_all(&buffer[..n.min(32)])?,
            }
        }
    });
}

#[test]
fn a_server_that_drops_the_rest_of_a_partial_write_fails_bulk() {
    fails("bulk", |mut stream| {
        stream.set_nonblocking(true)?;
        // Otherwise the kernel may take all bytes of a write.
        socket2::SockRef::from(&stream).set_send_buffer_size(4096)?;
        let mut buffer = [0; 64 * 1024];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    let _ = stream.write(&buffer[..n]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_micros(100));
                }
                Err(error) => return Err(error),
            }
        }
    });
}

#[test]
fn a_server_with_one_buffer_for_all_fails_not_mixed_up() {
    let shared = Mutex::new(Vec::new());
    fails("not-mixed-up", move |mut stream| {
        let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = [0; 4096];
        loop {
            let n = stream.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            *lock() = buffer[..n].to_vec();
            thread::sleep(Duration::from_millis(1));
            let bytes = lock().clone();
            stream.write_all(&bytes)?;
        }
    });
}

#[test]
fn a_server_that_ignores_the_end_fails_eof_is_answered() {
    fails("eof-is-answered", |mut stream| {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer)? {
                0 => thread::sleep(Duration::from_secs(60)),
                n => stream.write_all(&buffer[..n])?,
            }
        }
    });
}

/// The bytes of the client and its end arrive together, and the server sees the end first.
#[test]
fn a_server_that_closes_at_the_end_before_it_answers_fails_half_close() {
    fails("half-close", |mut stream| {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => all.extend_from_slice(&buffer[..n]),
                Err(_) => stream.write_all(&std::mem::take(&mut all))?,
            }
        }
    });
}

#[test]
fn an_unreachable_server_is_no_failed_check() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let plan = Plan {
        name: "nothing".to_owned(),
        server: Server::Running {
            addresses: vec![Endpoint::Tcp(closed.unwrap())],
            process: None,
        },
        checks: vec!["hello"],
        timeout: Duration::from_secs(1),
        idle_timeout: None,
        drains: false,
        may_harm: false,
    };
    let why = run(&plan, &AtomicBool::new(false), |_| ()).unwrap_err();
    assert!(why.en.contains("refused"), "{why:?}");
}
