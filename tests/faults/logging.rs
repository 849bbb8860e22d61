//! Standard error that does not accept the log: the event loop must go on.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::pipe::pipe;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::common::*;

/// Messages of a test. With `-vv` a message is about four log lines: far more than an unread standard error and the log
/// queue can hold.
const MESSAGES: u64 = 10_000;

/// Starts a server with the log level of `-vv` and this standard error.
fn serve_with_log_to(errors: impl Into<Stdio>) -> Process {
    let mut command = mio_echo();
    command.args(["serve", "127.0.0.1:auto", "-vv", "--json"]);
    Process::start_with_errors_to(errors, command, 1)
}

/// Asserts that the server echoes all messages, and ends with success soon after SIGTERM.
fn answers_and_ends(server: Process) {
    let client = connect(server.address());
    for _ in 0..MESSAGES {
        ping(&client, b"ping\x1b[31m\r\n");
    }
    drop(client);
    let start = Instant::now();
    let stats = server.stop_and_count();
    let took = start.elapsed();
    assert_eq!(stats["bytes_out"], 11 * MESSAGES, "{stats}");
    // At its end the server waits for the last log lines, at most half a second.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Faults 38 and 32. The pseudo-terminal behaves as a terminal that the user has stopped with Ctrl-S.
#[test]
fn a_terminal_that_is_not_read_stops_nothing() {
    let (_terminal, errors) = terminal();
    answers_and_ends(serve_with_log_to(errors));
}

/// Returns the two ends of a pseudo-terminal: ours, and the one for the server.
fn terminal() -> (OwnedFd, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let theirs = OpenOptions::new()
        .read(true)
        .write(true)
        .open(name)
        .unwrap();
    (ours, theirs)
}

/// The log lines in the pipe are complete and in order.
#[test]
fn a_full_pipe_stops_nothing_and_holds_whole_lines_in_order() {
    let (reader, errors) = pipe().unwrap();
    let ours = errors.try_clone().unwrap();
    answers_and_ends(serve_with_log_to(errors));
    // The server must not set O_NONBLOCK: it would apply to every process that shares the descriptor.
    assert!(!fcntl_getfl(&ours).unwrap().contains(OFlags::NONBLOCK));
    drop(ours);
    let mut log = String::new();
    File::from(reader).read_to_string(&mut log).unwrap();
    assert_in_order(&log);
    assert!(log.contains(r"ping\x1b[31m\r\n"), "{log}");
    assert!(!log.contains("\x1b[31m\r"), "{log}");
}

/// Asserts that the time stamps at the start of the lines never decrease.
fn assert_in_order(log: &str) {
    let times: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(time, _)| time)
        .collect();
    assert!(times.len() > 100, "{log}");
    if let Some(pair) = times.windows(2).find(|pair| pair[0] > pair[1]) {
        panic!("{pair:?} in\n{log}");
    }
}

/// When the pipe is read again, the log states how many lines are missing, at the place where they are missing.
#[test]
fn left_out_lines_are_counted_where_they_are_missing() {
    let (reader, errors) = pipe().unwrap();
    let server = serve_with_log_to(errors);
    let client = connect(server.address());
    for _ in 0..MESSAGES {
        ping(&client, b"before");
    }
    let mut reader = std::io::BufReader::new(File::from(reader));
    let mut log = String::new();
    let note = "log lines left out because standard error did not accept them: ";
    while !log.contains(note) {
        let read = std::io::BufRead::read_line(&mut reader, &mut log).unwrap();
        assert!(read > 0, "no note in\n{log}");
    }
    ping(&client, b"after");
    server.signal(Signal::TERM);
    drop(client);
    let rest = std::io::read_to_string(&mut reader).unwrap();
    assert!(rest.contains("after"), "{rest}");
    log.push_str(&rest);
    assert_in_order(&log);
    // Each counted event has a line. The others are ignored events, and a few lines about the server itself.
    let stats = server.counts();
    let count = |name: &str| stats[name].as_u64().unwrap();
    let with_a_line = ["polls", "reads", "writes", "would_blocks", "accepted"];
    let fewest: u64 = with_a_line.map(count).iter().sum();
    let (notes, lines): (Vec<_>, Vec<_>) = log.lines().partition(|line| line.contains(note));
    let left_out = notes.iter().map(|line| line.rsplit(' ').next().unwrap());
    let left_out: u64 = left_out.map(|lines| lines.parse::<u64>().unwrap()).sum();
    let all = lines.len() as u64 + left_out;
    let most = fewest + count("events") + 10;
    assert!(
        (fewest..=most).contains(&all),
        "{} lines and {left_out} missing lines, but {fewest} to {most} were logged: {stats}",
        lines.len()
    );
}

/// Another process can fill the pipe after the server has checked that it has room, and before the server writes.
#[test]
fn a_pipe_that_another_process_fills_stops_nothing() {
    let (_reader, errors) = pipe().unwrap();
    let mut other = Command::new("yes")
        .stdout(errors.try_clone().unwrap())
        .spawn()
        .unwrap();
    answers_and_ends(serve_with_log_to(errors));
    other.kill().unwrap();
    other.wait().unwrap();
}

/// Under systemd standard error is a socket of the journal.
#[test]
fn a_socket_that_is_not_read_stops_nothing() {
    let (_reader, errors) = UnixStream::pair().unwrap();
    answers_and_ends(serve_with_log_to(OwnedFd::from(errors)));
}

#[test]
fn a_pipe_whose_reader_has_gone_stops_nothing() {
    let (reader, errors) = pipe().unwrap();
    drop(reader);
    answers_and_ends(serve_with_log_to(errors));
}

#[test]
fn a_device_that_is_full_stops_nothing() {
    let errors = OpenOptions::new().write(true).open("/dev/full").unwrap();
    answers_and_ends(serve_with_log_to(errors));
}

/// Standard error is closed when the server starts.
#[test]
fn a_closed_log_stops_nothing() {
    let mut command = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_mio-echo");
    command.args([
        "-c",
        "exec \"$0\" serve 127.0.0.1:auto -vv --json 2>&-",
        program,
    ]);
    answers_and_ends(Process::start(command, 1));
}

/// A file accepts every line, and the server waits for the last one before it ends.
#[test]
fn a_file_has_every_line() {
    let mut file = tempfile::tempfile().unwrap();
    let server = serve_with_log_to(file.try_clone().unwrap());
    let client = connect(server.address());
    for _ in 0..1000 {
        ping(&client, b"hello");
    }
    drop(client);
    let stats = server.stop_and_count();
    file.rewind().unwrap();
    let log = std::io::read_to_string(&mut file).unwrap();
    assert_in_order(&log);
    assert!(!log.contains("left out"), "{log}");
    let writes = log.lines().filter(|line| line.contains("wrote 5")).count();
    assert_eq!(writes, 1000, "{stats}\n{log}");
    assert!(
        log.ends_with('\n') && log.lines().last().unwrap().contains("served: "),
        "{log}"
    );
}

/// The error message of a failed start comes after the log lines. If standard error is not read, the program gives up.
#[test]
fn an_error_message_waits_for_a_full_pipe_half_a_second() {
    let (_reader, errors) = pipe().unwrap();
    let mut filler = File::from(errors.try_clone().unwrap());
    // A pipe holds 64 KiB unless it was changed (pipe(7)).
    std::io::Write::write_all(&mut filler, &[b'x'; 64 * 1024]).unwrap();
    let start = Instant::now();
    let mut server = mio_echo()
        .args(["serve", "unix:/nonexistent/echo.sock"])
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .unwrap();
    let status = eventually("the end", || {
        server.try_wait().unwrap().ok_or("it is running")
    });
    assert_eq!(status.code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(10));
}
