//! Runs the program as a user or a script does, and checks its output, its messages and its exit code.

#![cfg(target_os = "linux")]

mod common;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use rustix::process::Signal;
use socket2::{Domain, SockAddr, Socket, Type};

fn run(args: &[&str]) -> Output {
    mio_echo().args(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs the program, expects this exit code, and returns its standard error.
#[track_caller]
fn fails(args: &[&str], code: i32) -> String {
    let output = run(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(
        output.stdout.is_empty(),
        "{args:?} printed {:?}",
        output.stdout
    );
    said
}

#[test]
fn usage_errors_exit_with_2_and_say_what_to_write() {
    for (args, hint) in [
        (&["serve", "127.0.0.1:0"][..], "auto"),
        (&["serve", "7007"], ":7007"),
        (&["serve", "::1:7007"], "[::1]:7007"),
        (&["serve", "127.0.0.1:66000"], "1 to 65535"),
        (&["serve", "--memory", "lots"], "64KiB"),
        (&["serve", "--read-buffer", "0"], "at least 1 byte"),
        (&["serve", "--idle-timeout", "0s"], "off"),
        (&["serve", "--idle-timeout", "5"], "500ms"),
        (&["serve", "--idle-timeout", "-1s"], "cannot be negative"),
        (&["serve", "--drain-timeout", "off"], "from 0s to 24days"),
        (&["serve", "--max-connections", "0"], "1.."),
        (&["serve", "--backlog", "-1"], "1.."),
        (&["serve", "--unix-mode", "999"], "0660"),
        (&["serve", "-q", "-v"], "cannot be used"),
        (&["bench", "--start-at", "12:00"], "2030-01-31T12:00:00Z"),
        (&["bench", "--start-at", "2030-01-31T12:00:00"], "in UTC"),
        (&["bench", "--start-at", "2020-01-31T12:00:00Z"], "ago"),
        (&["bench", "--start-at", "2999-01-31T12:00:00Z"], "24days"),
        (&["bench", "--start-at", "+5"], "500ms"),
        (&["bench", "--start-at", "+30d"], "24days"),
        (&["bench", "--start-at", "-5s"], "or +5s"),
        (&["send", "hello"], "HOST:PORT"),
        (&["send", "--timeout", "0s"], "off"),
        (&["sing"], "unrecognized"),
        (&[], "serve"),
    ] {
        let said = fails(args, 2);
        assert!(said.contains(hint), "{args:?} was answered with {said:?}");
    }
}

#[test]
fn failures_exit_with_1_and_say_what_to_do_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let unix = |path: &str| format!("unix:{}", folder.path().join(path).display());
    for (address, hint) in [
        (taken.as_str(), "in use"),
        // No machine has an address of TEST-NET-1 (RFC 5737), and no resolver knows a name under .invalid (RFC 6761).
        ("192.0.2.1:7007", "not an address of this machine"),
        ("no-such-host.invalid:7007", "spelled right"),
        (&unix("file"), "not a socket"),
        (&unix("no/such/directory"), "no such directory"),
        (&unix(&"long".repeat(40)), "too long"),
    ] {
        let said = fails(&["serve", "-q", address], 1);
        assert!(
            said.contains(address) && said.contains(hint),
            "{address}: {said:?}"
        );
        assert_eq!(said.lines().count(), 1, "{address}: {said:?}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
}

#[test]
fn permissions_of_a_unix_socket_follow_the_unix_mode_or_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    for (umask, args, expected) in [
        ("077", &[][..], 0o700),
        ("022", &[], 0o755),
        ("077", &["--unix-mode", "0660"], 0o660),
        ("022", &["--unix-mode", "0660"], 0o660),
        ("022", &["--unix-mode", "0"], 0),
        ("077", &["--unix-mode", "777"], 0o777),
    ] {
        let mut command = Command::new("sh");
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_mio-echo"), "serve"]);
        command.arg(format!("unix:{}", path.display())).args(args);
        let server = Process::start(command, 1);
        let found = path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, expected, "{umask} {args:?}: {found:o}");
        // Another user who can open the lock file could hold the lock.
        let lock = folder.path().join("echo.sock.lock");
        let found = lock.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, 0o600, "{umask} {args:?}: {found:o}");
        server.signal(Signal::TERM);
        assert!(server.wait().status.success());
    }
}

/// An IPv6-only socket cannot bind an IPv4-mapped address (IPV6_V6ONLY, ipv6(7)).
#[test]
fn an_ipv4_address_written_as_ipv6_is_listened_on() {
    let mut command = mio_echo();
    command.args(["serve", "[::ffff:127.0.0.1]:auto"]);
    let server = Process::start(command, 1);
    ping(&connect(server.address()), b"hello");
}

#[test]
fn both_log_lines_name_the_same_limit_of_connections() {
    let server = Process::serve(&["--max-connections", "4294967295"]);
    let said = server.until_it_says("memory if every connection stalls");
    let figure = |after: &str| {
        let (_, rest) = said.split_once(after).unwrap();
        rest.split(' ').next().unwrap().to_owned()
    };
    let warned = figure("the descriptor limit allows ");
    assert_eq!(warned, figure("] room for "), "{said}");
    assert!(warned.parse::<u32>().unwrap() < 4_294_967_295, "{said}");
}

#[test]
fn a_server_without_an_address_is_an_error() {
    let error = mio_echo::Server::bind(&mio_echo::Config {
        addresses: Vec::new(),
        ..mio_echo::Config::default()
    })
    .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(
        error.to_string().contains("configure at least one"),
        "{error}"
    );
}

/// The kernel releases the lock of a killed process (flock(2)). Both files stay.
#[test]
fn the_next_server_can_use_the_path_of_a_killed_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let names = ["echo.sock", "echo.sock.lock"];
    let exist = || names.map(|name| folder.path().join(name).exists());
    let address = format!("unix:{}", path.display());
    let serve = || {
        let mut command = mio_echo();
        command.args(["serve", &address]);
        Process::start(command, 1)
    };
    let server = serve();
    let said = fails(&["serve", "-q", &address], 1);
    assert!(
        said.contains(&format!("{address}: another server owns this path")),
        "{said}"
    );
    server.signal(Signal::KILL);
    server.wait();
    assert_eq!(exist(), [true, true]);
    let server = serve();
    server.signal(Signal::TERM);
    assert!(server.wait().status.success());
    assert_eq!(exist(), [false, false]);
}

#[test]
fn a_hostname_is_resolved_with_a_warning() {
    let mut command = mio_echo();
    command.args(["serve", "localhost:auto"]);
    let server = Process::start(command, 1);
    ping(&connect(server.address()), b"hello");
    let said = server.until_it_says("WARN");
    let taken = server.addresses[0].clone();
    assert!(said.contains("localhost:auto resolved to"), "{said}");
    assert!(said.contains("deterministic"), "{said}");
    let (host, _) = taken.rsplit_once(':').unwrap();
    assert!(said.contains(host), "{said}");
}

#[test]
fn connections_are_logged_only_on_request() {
    let log_of = |args: &[&str], environment: &[(&str, &str)]| {
        let mut command = mio_echo();
        command.args(["serve", "127.0.0.1:auto"]).args(args);
        command.envs(environment.iter().copied());
        let server = Process::start(command, 1);
        ping(&connect(server.address()), b"hello");
        server.signal(Signal::TERM);
        server.wait().stderr
    };
    let default = log_of(&[], &[]);
    assert!(
        default.contains("room for") && default.contains("served: "),
        "{default}"
    );
    assert!(!default.contains("accepted, from"), "{default}");
    assert_eq!(log_of(&["-q"], &[]), "");
    for log in [log_of(&["-v"], &[]), log_of(&[], &[("RUST_LOG", "debug")])] {
        assert!(
            log.contains("accepted, from") && log.contains("closed after 5 bytes"),
            "{log}"
        );
        assert!(!log.contains("poll →"), "{log}");
    }
    for log in [log_of(&["-vv"], &[]), log_of(&[], &[("RUST_LOG", "trace")])] {
        for step in ["poll → 1 event", "read 5 bytes \"hello\"", "wrote 5 of 5"] {
            assert!(log.contains(step), "no {step:?} in {log}");
        }
    }
}

#[test]
fn json_is_one_object_after_the_listening_lines() {
    let server = Process::serve(&["--json"]);
    let client = connect(server.address());
    ping(&client, b"hello");
    drop(client);
    // The echo of a second client shows that the server has handled the end of the first one.
    let other = connect(server.address());
    ping(&other, b"world");
    drop(other);
    let stats = server.stop_and_count();
    for key in [
        "accepted",
        "rejected",
        "peak",
        "bytes_in",
        "bytes_out",
        "reads",
        "writes",
        "would_blocks",
        "spills",
        "peak_pending_bytes",
        "yields",
        "polls",
        "events",
    ] {
        assert!(stats[key].is_u64(), "no {key} in {stats}");
    }
    assert!(stats["closed"]["end_of_stream"].is_u64(), "{stats}");
    assert!(
        stats["accept_errors"]["process_descriptors"].is_u64(),
        "{stats}"
    );
    assert_eq!(
        (&stats["accepted"], &stats["bytes_out"]),
        (&2.into(), &10.into())
    );
}

#[test]
fn statistics_are_logged_at_the_interval_of_the_option() {
    let server = Process::serve(&["--stats-every", "50ms"]);
    eventually("three reports", || {
        let log = server.stderr();
        if log.matches("accepted 0").count() >= 3 {
            Ok(())
        } else {
            Err(log)
        }
    });
}

#[test]
fn send_prints_what_comes_back() {
    let server = Embedded::start();
    let address = server.address.to_string();
    let output = run(&["send", &address, "hello"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"hello");

    let bytes = pattern(20 << 20);
    let mut child = mio_echo()
        .args(["send", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let sending = {
        let bytes = bytes.clone();
        thread::spawn(move || input.write_all(&bytes).unwrap())
    };
    let output = child.wait_with_output().unwrap();
    sending.join().unwrap();
    assert!(output.status.success());
    assert_same(&output.stdout, &bytes);
}

/// Starts a server for one client, on its own thread.
fn server_that(serve: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    address
}

/// Starts a server for one client, which reads to the end of the stream before it answers.
fn server_that_reads_all_then(answer: impl FnOnce(TcpStream) + Send + 'static) -> String {
    server_that(|mut stream| {
        stream.read_to_end(&mut Vec::new()).unwrap();
        answer(stream);
    })
}

/// A process of `send`. Dropping it kills the process, so that a `send` that hangs does not outlive its test.
struct Sending(Child);

impl Sending {
    fn start(args: &[&str], stdin: Stdio) -> Sending {
        let mut command = mio_echo();
        command.arg("send").args(args).stdin(stdin);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Sending(command.spawn().unwrap())
    }

    /// Waits until the process ends. Returns its exit code, standard output and standard error. The output must fit
    /// into the buffers of the pipes (64 KiB, pipe(7)).
    #[track_caller]
    fn end(mut self) -> (Option<i32>, String, String) {
        let status = eventually("send to end", || {
            self.0.try_wait().unwrap().ok_or("it still runs")
        });
        let read = |pipe: &mut dyn Read| {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let stdout = read(self.0.stdout.as_mut().unwrap());
        let stderr = read(self.0.stderr.as_mut().unwrap());
        (status.code(), stdout, stderr)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `send` with these arguments, expects exit code 1 and one line on standard error, and returns that line.
#[track_caller]
fn send_fails(args: &[&str]) -> String {
    let (code, _, said) = Sending::start(args, Stdio::null()).end();
    assert_eq!(code, Some(1), "{args:?}: {said:?}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said:?}");
    said
}

#[test]
fn send_says_when_the_echo_is_wrong() {
    for (answer, hint) in [
        ("hellO", "differs from what was sent at offset 4"),
        ("hell", "ended its stream after 4 of 5 bytes had come back"),
        ("hello, and more", "more bytes came back than were sent (5)"),
    ] {
        let address = server_that_reads_all_then(|mut stream| {
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let said = send_fails(&[&address, "hello"]);
        assert!(said.contains(hint), "{answer}: {said}");
    }
}

/// The server's end of stream may arrive before the sending thread has recorded the end of its input.
#[test]
fn send_succeeds_when_the_server_echoes_once_and_closes() {
    const RUNS: usize = 200;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut buffer) = (stream.unwrap(), [0; 1024]);
            let n = stream.read(&mut buffer).unwrap();
            stream.write_all(&buffer[..n]).unwrap();
        }
    });
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"hello").unwrap();
    let (mut message, mut standard_input) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let ended = Sending::start(&[&address, "hello"], Stdio::null()).end();
        message.extend((ended != (Some(0), "hello".into(), String::new())).then_some(ended));
        input.rewind().unwrap();
        let stdin = input.try_clone().unwrap();
        let ended = Sending::start(&[&address], stdin.into()).end();
        standard_input.extend((ended != (Some(0), "hello".into(), String::new())).then_some(ended));
    }
    assert!(
        message.is_empty() && standard_input.is_empty(),
        "{} of {RUNS} messages failed, {} of {RUNS} standard inputs: {:?}",
        message.len(),
        standard_input.len(),
        message.first().or(standard_input.first())
    );
}

#[test]
fn send_reports_a_reset_with_what_had_come_back() {
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"hello").unwrap();
    for run in 0..40 {
        let address = server_that_reads_all_then(|mut stream| {
            stream.write_all(b"he").unwrap();
            reset(stream);
        });
        input.rewind().unwrap();
        let (args, stdin) = match run % 2 {
            0 => (vec![&*address, "hello"], Stdio::null()),
            _ => (vec![&*address], input.try_clone().unwrap().into()),
        };
        let (code, _, said) = Sending::start(&args, stdin).end();
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("reset the connection after 2 of 5 bytes had come back"),
            "{said}"
        );
    }
}

/// The kernel reports ECONNRESET once, to recv(2) or to send(2). The other call sees EPIPE or an end of stream.
#[test]
fn send_reports_a_reset_that_the_writing_thread_gets() {
    for _ in 0..20 {
        // The input never ends, so the reset comes during a write of the client.
        let address = server_that(|mut stream| {
            stream.read_exact(&mut vec![0; 8 << 20]).unwrap();
            reset(stream);
        });
        let stdin = File::open("/dev/zero").unwrap();
        let (code, _, said) = Sending::start(&[&address], stdin.into()).end();
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("reset the connection before the input had ended: 0 of the "),
            "{said}"
        );
    }
}

/// A wrong byte is always an error of the server. The end of the connection may only be its consequence.
#[test]
fn send_reports_a_wrong_byte_before_the_end_of_the_connection() {
    type End = fn(TcpStream);
    let ends: [End; 3] = [reset, drop, std::mem::forget];
    for end in ends {
        let address = server_that_reads_all_then(move |mut stream| {
            stream.write_all(b"hEl").unwrap();
            end(stream);
        });
        let said = send_fails(&[&address, "hello", "--timeout", "300ms"]);
        assert!(
            said.contains("differs from what was sent at offset 1"),
            "{said}"
        );
    }
}

#[test]
fn send_succeeds_with_a_remark_if_the_echo_is_complete_before_a_reset() {
    let address = server_that_reads_all_then(|mut stream| {
        stream.write_all(b"hello").unwrap();
        reset(stream);
    });
    let (code, stdout, said) = Sending::start(&[&address, "hello"], Stdio::null()).end();
    assert_eq!((code, &*stdout), (Some(0), "hello"), "{said}");
    assert!(
        said.contains("reset the connection after all 5 bytes"),
        "{said}"
    );
}

#[test]
fn send_waits_one_second_for_the_servers_end_of_stream() {
    // The timeout bounds only the wait for the echo, and the echo is complete.
    for timeout in ["10s", "100ms", "off"] {
        let address = server_that_reads_all_then(|mut stream| {
            stream.write_all(b"hello").unwrap();
            std::mem::forget(stream);
        });
        let start = Instant::now();
        let args = [&address, "hello", "--timeout", timeout];
        let (code, stdout, said) = Sending::start(&args, Stdio::null()).end();
        let took = start.elapsed();
        assert_eq!((code, &*stdout), (Some(0), "hello"), "{said}");
        assert!(said.contains("did not end its stream"), "{said}");
        assert!(took >= Duration::from_secs(1), "{timeout}: {took:?}");
        assert!(took < Duration::from_secs(5), "{timeout}: {took:?}");
    }
}

#[test]
fn a_surplus_byte_that_comes_late_is_an_error() {
    let address = server_that_reads_all_then(|mut stream| {
        stream.write_all(b"hello").unwrap();
        thread::sleep(Duration::from_millis(100));
        stream.write_all(b"!").unwrap();
        std::mem::forget(stream);
    });
    let said = send_fails(&[&address, "hello"]);
    assert!(
        said.contains("more bytes came back than were sent (5)"),
        "{said}"
    );
}

#[test]
fn send_gives_up_when_an_answer_is_due_and_no_byte_moves() {
    let help = String::from_utf8(run(&["send", "--help"]).stdout).unwrap();
    assert!(help.contains("[default: 10s]"), "{help}");
    let address = server_that_reads_all_then(std::mem::forget);
    let start = Instant::now();
    let said = send_fails(&[&address, "hello", "--timeout", "300ms"]);
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(
        said.contains("no byte moved for 300ms") && said.contains("0 of 5 bytes had come back"),
        "{said}"
    );
}

/// The server does not read, so the sending thread is blocked too.
#[test]
fn send_gives_up_when_the_server_reads_nothing() {
    let address = server_that(std::mem::forget);
    let stdin = File::open("/dev/zero").unwrap();
    let (code, _, said) = Sending::start(&[&address, "--timeout", "300ms"], stdin.into()).end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no byte moved for 300ms"), "{said}");
}

/// The whole answer takes longer than the timeout of one second. Each pause in it takes a quarter of a second.
#[test]
fn a_slow_answer_with_short_pauses_does_not_time_out() {
    let address = server_that_reads_all_then(|mut stream| {
        for byte in b"hello" {
            thread::sleep(Duration::from_millis(250));
            stream.write_all(&[*byte]).unwrap();
        }
    });
    let args = [&address, "hello", "--timeout", "1s"];
    let ended = Sending::start(&args, Stdio::null()).end();
    assert_eq!(ended, (Some(0), "hello".into(), String::new()));
}

#[test]
fn a_session_in_which_nothing_is_typed_does_not_time_out() {
    let server = Embedded::start();
    let address = server.address.to_string();
    let mut sending = Sending::start(&[&address, "--timeout", "200ms"], Stdio::piped());
    let mut input = sending.0.stdin.take().unwrap();
    for line in ["one\n", "two\n"] {
        thread::sleep(Duration::from_millis(1200));
        input.write_all(line.as_bytes()).unwrap();
        let mut echo = vec![0; line.len()];
        let stdout = sending.0.stdout.as_mut().unwrap();
        stdout.read_exact(&mut echo).unwrap();
        assert_eq!(echo, line.as_bytes());
    }
    thread::sleep(Duration::from_millis(600));
    drop(input);
    assert_eq!(sending.end(), (Some(0), String::new(), String::new()));
}

/// The server keeps its socket open. The input ends long after the last byte has come back.
#[test]
fn a_session_ends_one_second_after_its_input() {
    let address = server_that(|mut stream| {
        let mut line = [0; 4];
        stream.read_exact(&mut line).unwrap();
        stream.write_all(&line).unwrap();
        std::mem::forget(stream);
    });
    let mut sending = Sending::start(&[&address, "--timeout", "off"], Stdio::piped());
    let mut input = sending.0.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    let mut echo = [0; 4];
    let stdout = sending.0.stdout.as_mut().unwrap();
    stdout.read_exact(&mut echo).unwrap();
    thread::sleep(Duration::from_millis(1500));
    drop(input);
    let start = Instant::now();
    let (code, _, said) = sending.end();
    let took = start.elapsed();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("did not end its stream"), "{said}");
    assert!(took >= Duration::from_millis(900), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// The backlog is full. TCP drops the first segment of the handshake; connect(2) of a Unix-domain socket waits
/// (unix(7)).
#[test]
fn the_timeout_bounds_connecting_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full.sock");
    let tcp = SockAddr::from("127.0.0.1:0".parse::<SocketAddr>().unwrap());
    let unix = SockAddr::unix(&path).unwrap();
    for (domain, address) in [(Domain::IPV4, tcp), (Domain::UNIX, unix)] {
        let listener = Socket::new(domain, Type::STREAM, None).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let _filling: Vec<_> = std::iter::repeat_with(|| {
            let socket = Socket::new(domain, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address);
            socket
        })
        .take(4)
        .collect();
        let name = match address.as_socket() {
            Some(address) => address.to_string(),
            None => format!("unix:{}", path.display()),
        };
        let start = Instant::now();
        let said = send_fails(&[&name, "hello", "--timeout", "300ms"]);
        assert!(start.elapsed() >= Duration::from_millis(300), "{said}");
        assert!(
            said.contains("cannot connect") && said.contains("300ms"),
            "{said}"
        );
    }
}

#[test]
fn send_says_that_no_server_listens() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let said = fails(&["send", &free.to_string(), "hello"], 1);
    assert!(said.contains("is a server running there"), "{said}");
    let said = fails(&["send", "127.0.0.1:auto", "hello"], 1);
    assert!(said.contains("name the port"), "{said}");
}

/// A server at its limit of connections closes a new one at once. `send` has sent no byte, so no byte of the echo is
/// missing. It still fails.
#[test]
fn send_fails_if_the_server_is_at_its_limit_of_connections() {
    let server = Process::serve(&["-q", "--max-connections", "1"]);
    let inside = connect(server.address());
    ping(&inside, b"inside");
    let mut child = mio_echo()
        .args(["send", &server.addresses[0]])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The input sends no byte and does not end, as in a session at a terminal where the user types nothing.
    let input = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(input);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("before the input had ended"), "{said}");
}

#[test]
fn a_closed_standard_output_causes_no_panic() {
    let server = Embedded::start();
    let pipeline = "head -c 5000000 /dev/zero | \"$0\" send \"$1\" | head -c 1";
    let output = Command::new("sh")
        .args([
            "-c",
            pipeline,
            env!("CARGO_BIN_EXE_mio-echo"),
            &server.address.to_string(),
        ])
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"\0");
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn help_shows_each_default() {
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).unwrap();
    let help: Vec<_> = help.split_whitespace().collect();
    let help = help.join(" ");
    assert!(help.contains("-vv") || help.contains("twice"), "{help}");
    for default in [
        "127.0.0.1:7007",
        "64KiB",
        "256MiB",
        "default: off",
        "default: 1m",
        "default: 5s",
        "system's maximum",
        "descriptor limit",
    ] {
        assert!(help.contains(default), "no {default:?} in {help}");
    }
}
