//! Peers that vanish without sending a packet, and links that go down and come up again.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mio_echo::Config;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{setsockopt, sockopt::TcpRepair};

use crate::common::*;

/// Calls `run` on a thread with a network namespace of its own. Threads that this thread starts share the namespace,
/// and it ends with the last of them.
pub(crate) fn in_own_network<T: Send>(run: impl FnOnce() -> T + Send) -> thread::Result<T> {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                link("up");
                run()
            })
            .join()
    })
}

/// Sets the loopback link of this thread's network namespace `up` or `down`.
fn link(state: &str) {
    let status = Command::new("ip")
        .args(["link", "set", "lo", state])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Returns true if this process may create a network namespace, and `ip` is installed.
pub(crate) fn namespaces_work() -> bool {
    let ip_works = Command::new("ip")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    ip_works
        && thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET).is_ok())
            .join()
            .unwrap()
}

/// Returns true if `TCP_REPAIR` is permitted here.
pub(crate) fn repair_works() -> bool {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    vanish(stream)
}

/// Closes the socket without sending a segment: in repair mode (`TCP_REPAIR`) the kernel removes it silently. Returns
/// false if the mode is not permitted.
fn vanish(stream: TcpStream) -> bool {
    setsockopt(&stream, TcpRepair, &1).is_ok()
}

/// Fault 6: the idle timeout closes the connection of a client that vanished.
pub(crate) fn a_peer_that_vanishes_while_idle_is_reaped() {
    let server = Embedded::with(&Config {
        idle_timeout: Some(Duration::from_millis(300)),
        ..config()
    });
    let client = connect(server.address);
    ping(&client, b"hello");
    assert!(vanish(client));
    let start = Instant::now();
    let stats = server.until("the idle timeout to close it", |stats| stats.open == 0);
    assert_eq!(stats.closed.idle, 1, "{stats}");
    assert!(
        start.elapsed() > Duration::from_millis(200),
        "the server saw the client close: {stats}"
    );
}

/// Fault 7: the same with a pending write and the stall timeout.
pub(crate) fn a_peer_that_vanishes_with_output_pending_is_reaped() {
    in_own_network(|| {
        let server = Embedded::with(&Config {
            stall_timeout: Some(Duration::from_millis(300)),
            ..config()
        });
        let client = connect_narrow(server.address);
        let bytes = vec![7; 256 << 20];
        send_until_stopped(&client, &bytes, Duration::from_millis(50));
        assert!(server.stats().pending_bytes > 0, "{}", server.stats());
        link("down");
        drop(client);
        // The loop publishes the pending bytes at the end of the turn that closes the connection.
        let stats = server.until("the stall timeout to close it", |stats| {
            stats.open == 0 && stats.pending_bytes == 0
        });
        assert_eq!(stats.closed.stalled, 1, "{stats}");
    })
    .unwrap();
}

/// Fault 8: the loopback link is down for one second during a transfer.
pub(crate) fn a_link_that_comes_back_loses_nothing() {
    in_own_network(|| {
        let server = Embedded::start();
        let client = connect(server.address);
        let bytes = pattern(64 << 20);
        let sending = send_and_finish(&client, bytes.clone());
        let reading = {
            let client = client.try_clone().unwrap();
            thread::spawn(move || read_to_end(&client))
        };
        server.until("the transfer", |stats| stats.bytes_out > 1 << 20);
        link("down");
        let at = server.stats().bytes_out;
        thread::sleep(Duration::from_secs(1));
        let stats = server.stats();
        assert!(
            stats.bytes_out < bytes.len() as u64,
            "the transfer ended before the link was down, at {at} bytes: {stats}"
        );
        link("up");
        sending.join().unwrap();
        assert_same(&reading.join().unwrap(), &bytes);
    })
    .unwrap();
}
