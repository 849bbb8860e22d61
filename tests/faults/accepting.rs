//! The backlog, the cap on connections, and descriptors that run out.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use mio_echo::{Config, Server};
use rustix::process::{Resource, Rlimit};

use crate::common::*;

/// mio's `TcpListener::bind` always sets a backlog of 128; clients beyond it stay in SYN_SENT for a second and more.
/// The server does not run yet and accepts none, so the backlog must hold all clients.
#[test]
fn the_backlog_holds_hundreds_that_connect_at_once() {
    let bound = Bound::new(&config());
    let start = std::time::Instant::now();
    let clients: Vec<_> = (0..500).map(|_| connect(bound.address)).collect();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "a SYN was dropped: {took:?}");
    let _server = bound.run();
    for client in &clients {
        ping(client, b"hello");
    }
}

/// With `backlog` set to 1, clients beyond the kernel's small backlog cannot connect.
#[test]
fn the_kernel_uses_the_configured_backlog() {
    let bound = Bound::new(&Config {
        backlog: Some(1),
        ..config()
    });
    let try_one = || TcpStream::connect_timeout(&bound.address, Duration::from_millis(200));
    let connected: Vec<_> = (0..4).filter_map(|_| try_one().ok()).collect();
    assert!(
        (1..4).contains(&connected.len()),
        "{} of 4 clients connected",
        connected.len()
    );
}

/// Fault 26.
#[test]
fn one_client_more_than_the_cap_is_turned_away_visibly() {
    let server = Process::serve(&["--max-connections", "3", "--json"]);
    let clients: Vec<_> = (0..3).map(|_| connect(server.address())).collect();
    for client in &clients {
        ping(client, b"inside");
    }
    for _ in 0..100 {
        // The client sends nothing: a close with unread input would be a reset instead of the end of the stream.
        assert_eq!(read_to_end(&connect(server.address())), b"");
    }
    for client in &clients {
        ping(client, b"undisturbed");
    }
    drop(clients);
    // The listener still accepts after the cap: new clients are served when connections have closed.
    eventually("a client below the cap to be served", || {
        let mut client = connect(server.address());
        use std::io::{Read, Write};
        let _ = client.write_all(b"x");
        let mut echo = [0];
        client.read_exact(&mut echo)
    });
    let log = server.until_it_says("turned 127.0.0.1");
    let lines = log.matches("turned 127.0.0.1").count();
    assert!(
        (1..=3).contains(&lines),
        "{lines} log lines for 100 rejected clients: {log}"
    );
    let stats = server.stop_and_count();
    assert!(stats["rejected"].as_u64() >= Some(100), "{stats}");
    assert_eq!(stats["peak"], 3, "{stats}");
}

/// Faults 14 and 15. Programs with this bug: uSockets (98,000 failed accepts in 10 s), fortio, libevent, asio's
/// example.
#[test]
fn out_of_descriptors_it_idles_and_serves_the_backlog_when_some_are_freed() {
    let server = Process::serve(&["--json"]);
    server.leave_room_for(8);
    let mut clients: Vec<_> = (0..40).map(|_| connect(server.address())).collect();
    let waiting = clients.split_off(8);
    for client in &clients {
        ping(client, b"one of the eight");
    }
    server.until_it_says("cannot accept");

    let (before, lines_before) = (server.cpu(), server.stderr().lines().count());
    thread::sleep(Duration::from_secs(1));
    let (cpu, lines) = (
        server.cpu() - before,
        server.stderr().lines().count() - lines_before,
    );
    assert!(
        cpu < Duration::from_millis(50),
        "{cpu:?} of processor time in one second without a free descriptor"
    );
    assert!(
        lines <= 2,
        "{lines} log lines in one second:\n{}",
        server.stderr()
    );
    for client in &clients {
        ping(client, b"served meanwhile");
    }

    // Eight clients close and no new client connects, so no event announces the clients in the backlog. This happens
    // four times.
    for group in waiting.chunks(8) {
        drop(std::mem::take(&mut clients));
        for client in group {
            clients.push(client.try_clone().unwrap());
        }
        for client in &clients {
            ping(client, b"from the backlog");
        }
        for client in group {
            // `clients` holds a clone of this socket, so dropping one handle would not close the connection.
            client.shutdown(std::net::Shutdown::Both).unwrap();
        }
    }
    let stats = server.stop_and_count();
    assert!(
        stats["accept_errors"]["process_descriptors"].as_u64() > Some(0),
        "{stats}"
    );
}

/// Fault 15 in another way: descriptors become free although the server has closed no connection.
#[test]
fn a_backlog_is_served_when_the_limit_is_raised() {
    let server = Process::serve(&[]);
    server.leave_room_for(0);
    let clients: Vec<_> = (0..4).map(|_| connect(server.address())).collect();
    server.until_it_says("cannot accept");
    let limit = Rlimit {
        current: Some(100),
        maximum: rustix::process::getrlimit(Resource::Nofile).maximum,
    };
    rustix::process::prlimit(Some(server.pid()), Resource::Nofile, limit).unwrap();
    for client in &clients {
        ping(client, b"at last");
    }
}

/// Fault 31, first half: the port can be bound although a connection of the last run is in TIME_WAIT.
#[test]
fn the_same_port_can_be_bound_again_at_once() {
    let server = Embedded::start();
    let address = server.address;
    let client = connect(address);
    ping(&client, b"hello");
    // The server closes first, so its side of the connection goes to TIME_WAIT.
    server.handle.shutdown();
    assert_eq!(read_to_end(&client), b"");
    drop(client);
    server.stop();
    let again = Embedded::with(&Config {
        addresses: vec![address.into()],
        ..config()
    });
    ping(&connect(again.address), b"again");
}

/// Fault 31, second half: another server listens on the port.
#[test]
fn a_port_that_is_taken_is_a_clear_error() {
    let server = Embedded::start();
    let error = Server::bind(&Config {
        addresses: vec![server.address.into()],
        ..config()
    })
    .unwrap_err();
    let said = error.to_string();
    assert!(said.contains(&server.address.to_string()), "{said}");
    assert!(said.contains("in use") && said.contains("auto"), "{said}");
}

/// `--reuse-port`: two servers listen on one port, and the kernel distributes the clients.
#[test]
fn servers_may_share_a_port() {
    let one = Process::serve(&["--reuse-port", "--json"]);
    let address = one.addresses[0].clone();
    let mut command = mio_echo();
    command.args(["serve", &address, "--reuse-port", "--json"]);
    let two = Process::start(command, 1);
    for _ in 0..64 {
        ping(&connect(one.address()), b"either server");
    }
    let counts = [one, two].map(|server| server.stop_and_count()["accepted"].as_u64().unwrap());
    assert_eq!(counts.iter().sum::<u64>(), 64);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
