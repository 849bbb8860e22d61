//! Clients that do not read, read late, or send in an expensive way.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use mio_echo::Config;
use rustix::process::{Pid, Signal};
use socket2::SockRef;

use crate::common::*;

/// If the kernel accepts nothing for this long, the server has stopped reading from the client.
const STILL: Duration = Duration::from_millis(300);

/// Fault 9. In libuv's example, gnet #764, uSockets, muduo and rustls' example the queue for a client that does not
/// read grows as long as the client sends.
#[test]
fn a_reader_that_never_reads_is_stopped_by_tcp_and_costs_one_buffer() {
    let server = Process::serve(&[]);
    ping(&connect(server.address()), b"warm up");
    let before = server.resident();
    let client = connect_narrow(server.address());
    let sent = send_until_stopped(&client, &vec![7; 256 << 20], STILL);
    assert!(sent < 256 << 20, "TCP never stopped the sender");
    let growth = server.resident().saturating_sub(before);
    assert!(
        growth < 1 << 20,
        "{sent} bytes were sent, and the server's memory grew by {growth} bytes"
    );
    ping(&connect(server.address()), b"others are served");
}

/// Fault 10. uSockets' echo example writes new bytes before older pending ones; busybox inetd takes a partial write
/// for a whole one.
#[test]
fn a_reader_that_resumes_gets_everything_in_order() {
    let server = Embedded::start();
    let client = connect_narrow(server.address);
    let bytes = pattern(32 << 20);
    let sent = send_until_stopped(&client, &bytes, STILL);
    let stats = server.stats();
    assert!(
        stats.pending_bytes > 0 && sent < bytes.len(),
        "{sent}: {stats}"
    );
    // Now the client reads, and sends the rest at the same time.
    let sending = send_and_finish(&client, bytes[sent..].to_vec());
    assert_same(&read_to_end(&client), &bytes);
    sending.join().unwrap();
    let stats = server.stop();
    assert!(stats.spills > 0, "{stats}");
    assert!(stats.peak_pending_bytes <= 64 * 1024, "{stats}");
}

/// The memory of 200 clients that did not read returns to the system within seconds. The clients close in an order that
/// leaves no long free block in an allocator's heap.
#[test]
fn memory_of_a_burst_goes_back() {
    let server = Process::serve(&[]);
    ping(&connect(server.address()), b"warm up");
    let before = server.resident();
    let bytes = vec![7; 256 << 10];
    let mut clients: Vec<_> = (0..200)
        .map(|_| {
            let client = connect_narrow(server.address());
            SockRef::from(&client)
                .set_send_buffer_size(16 << 10)
                .unwrap();
            client.set_nonblocking(true).unwrap();
            client
        })
        .collect();
    // Until most connections have a pending write. Its resident size depends on how much of a read the kernel accepted.
    let most = eventually("the memory of the burst to be in use", || {
        for mut client in &clients {
            let _ = client.write(&bytes);
        }
        let most = server.resident() - before;
        match most > 4 << 20 {
            true => Ok(most),
            false => Err(most),
        }
    });
    while clients.len() > 1 {
        clients.remove(clients.len() / 3);
        clients.swap_remove(0);
    }
    drop(clients);
    let start = Instant::now();
    eventually("the memory to return to the system", || {
        let kept = server.resident().saturating_sub(before);
        match kept < 512 << 10 {
            true => Ok(()),
            false => Err(format!("the server still holds {kept} of {most} bytes")),
        }
    });
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// The memory limit of all pending writes is 0: still every byte comes back in order, and other clients do not wait for
/// clients that do not read.
#[test]
fn without_memory_for_pending_writes_nothing_is_lost() {
    let server = Embedded::with(&Config {
        memory: 0,
        ..config()
    });
    let slow: Vec<_> = (0..4).map(|_| connect_narrow(server.address)).collect();
    let bytes = pattern(16 << 20);
    let sent: Vec<_> = slow
        .iter()
        .map(|client| send_until_stopped(client, &bytes, STILL))
        .collect();
    ping(&connect(server.address), b"others are served");
    for (client, sent) in slow.iter().zip(sent) {
        let sending = send_and_finish(client, bytes[sent..].to_vec());
        assert_same(&read_to_end(client), &bytes);
        sending.join().unwrap();
    }
    let stats = server.stop();
    assert_eq!(stats.peak_pending_bytes, 0, "{stats}");
    assert!(stats.peeks > 0, "{stats}");
}

/// The memory limit allows pending writes of two connections, and six clients do not read.
#[test]
fn pending_writes_stay_within_their_budget() {
    let server = Embedded::with(&Config {
        memory: 2 * 64 * 1024 + 1,
        ..config()
    });
    let bytes = pattern(16 << 20);
    let slow: Vec<_> = (0..6).map(|_| connect_narrow(server.address)).collect();
    let sending: Vec<_> = slow
        .iter()
        .map(|client| send_and_finish(client, bytes.clone()))
        .collect();
    let stats = server.until("two pending writes and four peeks", |stats| {
        stats.spills >= 2 && stats.peeks >= 4
    });
    assert!(stats.peak_pending_bytes <= 2 * 64 * 1024, "{stats}");
    thread::scope(|scope| {
        for client in &slow {
            scope.spawn(|| assert_same(&read_to_end(client), &bytes));
        }
    });
    for sending in sending {
        sending.join().unwrap();
    }
    let stats = server.stop();
    assert!(stats.peak_pending_bytes <= 2 * 64 * 1024, "{stats}");
    assert_eq!(stats.closed.end_of_stream, 6, "{stats}");
}

/// Fault 11: 65,536 writes of one byte.
#[test]
fn byte_at_a_time_is_exact_and_costs_a_bounded_number_of_calls() {
    const BYTES: usize = 64 * 1024;
    let server = Embedded::start();
    let client = connect(server.address);
    let sent = pattern(BYTES);
    let mut sender = client.try_clone().unwrap();
    let bytes = sent.clone();
    let sending = thread::spawn(move || {
        for byte in bytes.chunks(1) {
            sender.write_all(byte).unwrap();
        }
    });
    let mut echo = vec![0; BYTES];
    (&client).read_exact(&mut echo).unwrap();
    sending.join().unwrap();
    assert_same(&echo, &sent);
    drop(client);
    let stats = server.stop();
    let most = BYTES as u64 + 10;
    assert!(stats.reads <= most && stats.writes <= most, "{stats}");
    assert!(
        stats.would_blocks <= most && stats.polls <= 3 * most,
        "{stats}"
    );
}

/// Fault 12: a client process is stopped for five seconds in the middle of its transfer.
#[test]
fn a_stopped_client_delays_no_other_client_and_loses_nothing() {
    let server = Embedded::start();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    let output = folder.path().join("output");
    let bytes = pattern(64 << 20);
    std::fs::write(&input, &bytes).unwrap();
    let mut client = mio_echo()
        .args(["send", &server.address.to_string()])
        .stdin(std::fs::File::open(&input).unwrap())
        .stdout(std::fs::File::create(&output).unwrap())
        .stderr(Stdio::inherit())
        .process_group(0)
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&client);
    server.until("the transfer", |stats| stats.bytes_out > 1 << 20);
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    let stats = server.stats();
    assert!(
        stats.bytes_in < bytes.len() as u64,
        "the transfer ended before the client was stopped: {stats}"
    );
    let other = connect(server.address);
    let stopped = Instant::now();
    let mut slowest = Duration::ZERO;
    while stopped.elapsed() < Duration::from_secs(5) {
        let start = Instant::now();
        ping(&other, b"undisturbed");
        slowest = slowest.max(start.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
    assert!(slowest < Duration::from_secs(1), "a ping took {slowest:?}");
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
    assert!(client.wait().unwrap().success());
    assert_same(&std::fs::read(&output).unwrap(), &bytes);
}

/// Fault 13: a firehose, a client that never stops sending and reading, beside 100 clients with small messages.
#[test]
fn a_firehose_does_not_starve_a_hundred_pingers() {
    let server = Embedded::start();
    let firehose = connect(server.address);
    let mut sender = firehose.try_clone().unwrap();
    let sending = thread::spawn(move || while sender.write_all(&[7; 1 << 20]).is_ok() {});
    let mut reader = firehose.try_clone().unwrap();
    let reading = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while reader.read(&mut buffer).is_ok_and(|n| n > 0) {}
    });
    let pingers: Vec<_> = (0..100).map(|_| connect(server.address)).collect();
    server.until("the firehose", |stats| stats.bytes_out > 64 << 20);
    let mut times: Vec<_> = (0..10)
        .flat_map(|_| &pingers)
        .map(|pinger| {
            let start = Instant::now();
            ping(pinger, b"ping");
            start.elapsed()
        })
        .collect();
    times.sort();
    let p99 = times[times.len() * 99 / 100];
    assert!(
        p99 < Duration::from_millis(100),
        "p99 {p99:?}, slowest {:?}",
        times.last()
    );
    let stats = server.stats();
    assert!(
        stats.yields > 0,
        "the firehose never used up its budget in a turn: {stats}"
    );
    firehose.shutdown(std::net::Shutdown::Both).unwrap();
    sending.join().unwrap();
    reading.join().unwrap();
}

/// The idle timeout closes idle connections, and no others.
#[test]
fn the_idle_timeout_closes_only_idle_connections() {
    let server = Embedded::with(&Config {
        idle_timeout: Some(Duration::from_millis(500)),
        ..config()
    });
    let busy = connect(server.address);
    let idle = connect(server.address);
    let start = Instant::now();
    while server.stats().closed.idle == 0 {
        ping(&busy, b"busy");
        assert!(start.elapsed() < LIMIT, "{}", server.stats());
        thread::sleep(Duration::from_millis(5));
    }
    assert!(start.elapsed() >= Duration::from_millis(450), "too early");
    assert_eq!(read_to_end(&idle), b"");
    ping(&busy, b"still here");
}

/// The stall timeout resets a client that reads nothing, even if it keeps sending.
#[test]
fn the_stall_timeout_resets_a_client_that_reads_nothing() {
    let server = Embedded::with(&Config {
        stall_timeout: Some(Duration::from_millis(300)),
        idle_timeout: Some(Duration::from_millis(100)),
        ..config()
    });
    let client = connect_narrow(server.address);
    let mut sender = client.try_clone().unwrap();
    // Ends with an error when the server resets the connection.
    let sending = thread::spawn(move || while sender.write_all(&[7; 65536]).is_ok() {});
    let stats = server.until("the stall timeout to close it", |stats| {
        // The loop publishes the pending bytes at the end of the turn that closes the connection.
        stats.open == 0 && stats.accepted == 1 && stats.pending_bytes == 0
    });
    assert_eq!(stats.closed.stalled, 1, "{stats}");
    sending.join().unwrap();
}

/// After a plain close the echo for a client that reads nothing would stay in the kernel's send buffer for minutes.
/// Here the server has read all input, so unread input is not the reason for the reset.
#[test]
fn a_stalled_peer_is_reset_and_not_merely_closed() {
    let server = Embedded::with(&Config {
        stall_timeout: Some(Duration::from_millis(300)),
        ..config()
    });
    let mut client = connect_narrow(server.address);
    let mut sent = 0;
    loop {
        client.write_all(&[7; 16 * 1024]).unwrap();
        sent += 16 * 1024;
        let stats = server.until("the message to be read, and written or pending", |stats| {
            stats.bytes_in == sent && (stats.bytes_out == sent || stats.pending_bytes > 0)
        });
        if stats.pending_bytes > 0 {
            break;
        }
    }
    let stats = server.until("the stall timeout to close it", |stats| stats.open == 0);
    assert_eq!(stats.closed.stalled, 1, "{stats}");
    let error = client.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
