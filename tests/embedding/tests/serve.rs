//! The server inside the tests of another project, which uses the package without its default features.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mio_echo::{Address, Config, Server};

#[test]
fn a_spawned_server_echoes() {
    let server = Server::spawn().unwrap();
    let mut client = TcpStream::connect(server.local_addr()).unwrap();
    client.write_all(b"hello").unwrap();
    let mut echo = [0; 5];
    client.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello");
}

/// A client can get its echo before the server's loop has counted it, so a test must wait for the count.
#[test]
fn wait_for_waits_until_the_loop_has_counted_the_echo() {
    let server = Server::spawn().unwrap();
    let mut client = TcpStream::connect(server.local_addr()).unwrap();
    for n in 1..=1000 {
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        let stats = server
            .wait_for(Duration::from_secs(10), |stats| stats.bytes_out >= 5 * n)
            .unwrap();
        assert_eq!(stats.bytes_out, 5 * n);
    }
    let wrong = server.wait_for(Duration::ZERO, |stats| stats.bytes_out == 1);
    assert_eq!(wrong.unwrap_err().bytes_out, 5000);
}

/// A failed assertion drops the server while a client is connected. Then the server stops, and the test ends.
#[test]
fn a_failed_assertion_does_not_hang() {
    let start = Instant::now();
    let mut client = None;
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let server = Server::spawn().unwrap();
        let mut stream = TcpStream::connect(server.local_addr()).unwrap();
        stream.write_all(b"hello").unwrap();
        client = Some(stream);
        server
            .wait_for(Duration::from_secs(10), |stats| stats.bytes_out == 5)
            .unwrap();
        panic!("an assertion that fails on purpose");
    }));
    assert!(failed.is_err());
    assert!(start.elapsed() < Duration::from_secs(5));
    // The connection ends with the server.
    let mut rest = Vec::new();
    let _ = client.unwrap().read_to_end(&mut rest);
}

#[test]
fn stop_drains_and_returns_the_statistics() {
    let server = Server::spawn_with(&Config {
        addresses: vec!["127.0.0.1:0".parse().unwrap()],
        ..Config::default()
    })
    .unwrap();
    let mut client = TcpStream::connect(server.local_addr()).unwrap();
    client.write_all(b"hello").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut echo = String::new();
    client.read_to_string(&mut echo).unwrap();
    assert_eq!(echo, "hello");
    let stats = server.stop().unwrap();
    assert_eq!((stats.accepted, stats.bytes_out), (1, 5));
}

#[test]
fn a_socket_address_and_its_text_are_the_same_address() {
    let socket: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    assert_eq!(Address::from(socket), "127.0.0.1:0".parse().unwrap());
}
