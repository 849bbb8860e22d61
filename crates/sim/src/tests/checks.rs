//! Servers with a bug on purpose, and the violations that the kernel reports.

use std::io::{Read, Write};
use std::time::Duration;

use net::poller::{Poller, Signal};

use super::*;

/// A server with one listener, registered under key 0, and one accepted connection.
struct Server {
    poller: SimulatedPoller,
    stream: SimulatedStream,
}

impl Server {
    fn new() -> Server {
        Server::of(&Script::of(World::simple(), &[&[Action::Send(3)], &[]]))
    }

    fn of(script: &Script) -> Server {
        let mut poller = poller_of(script);
        let mut listener = poller.listener(None);
        poller.register_listener(&mut listener, 0).unwrap();
        poller.poll(&mut Vec::new(), None).unwrap();
        let (stream, _) = poller.accept(&mut listener).unwrap();
        Server { poller, stream }
    }

    /// Closes the stream, and returns the violation that the kernel has found.
    fn violation(self) -> Option<String> {
        drop(self.stream);
        self.poller.kernel().borrow_mut().take_violation()
    }
}

#[test]
fn deregistering_a_stream_before_its_close_is_no_violation() {
    let mut server = Server::new();
    server
        .poller
        .register_stream(&mut server.stream, 1)
        .unwrap();
    server.poller.deregister_stream(&mut server.stream);
    assert_eq!(server.violation(), None);
}

#[test]
fn closing_a_registered_stream_is_a_violation() {
    let mut server = Server::new();
    server
        .poller
        .register_stream(&mut server.stream, 1)
        .unwrap();
    let violation = server.violation().unwrap();
    assert_eq!(violation, "peer 0 is closed and still registered");
}

#[test]
fn registering_a_key_twice_is_a_violation() {
    let mut server = Server::new();
    server
        .poller
        .register_stream(&mut server.stream, 0)
        .unwrap();
    assert_eq!(server.violation().unwrap(), "key 0 is registered twice");
}

#[test]
fn reading_or_writing_no_bytes_is_a_violation() {
    let mut server = Server::new();
    let _ = server.stream.read(&mut []);
    assert!(server.violation().unwrap().contains("a read of no bytes"));
    let mut server = Server::new();
    let _ = server.stream.write(&[]);
    assert!(server.violation().unwrap().contains("a write of no bytes"));
}

#[test]
fn polling_without_progress_is_a_violation() {
    let mut server = Server::new();
    for _ in 0..20 {
        let timeout = Some(Duration::ZERO);
        server.poller.poll(&mut Vec::new(), timeout).unwrap();
    }
    assert!(server.violation().unwrap().starts_with("a spin"));
}

/// The server never accepts the second peer.
#[test]
fn leaving_a_peer_in_the_backlog_is_a_violation() {
    let mut server = Server::new();
    for _ in 0..3 {
        server.poller.poll(&mut Vec::new(), None).unwrap();
    }
    let violation = server.violation().unwrap();
    assert!(violation.starts_with("a hang"), "{violation}");
}

#[test]
fn a_server_that_has_served_its_peers_is_told_to_stop() {
    let script = Script::of(World::simple(), &[&[]]);
    let mut server = Server::of(&script);
    drop(server.stream);
    server.poller.poll(&mut Vec::new(), None).unwrap();
    assert_eq!(server.poller.signal(), Some(Signal::Stop));
    server.poller.poll(&mut Vec::new(), None).unwrap();
    let violation = server.poller.kernel().borrow_mut().take_violation();
    assert!(violation.unwrap().contains("without a deadline"));
}
