//! Tests of the network itself: times, edges and buffers.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use net::connect::{Attempt, ConnectOptions, Connector, Target};
use net::poller::{Event, Poller};

use super::*;

/// Connects, and takes the event that reports that the stream is writable.
fn connected(settings: NetworkSettings) -> (Network, TimedPoller, TimedStream) {
    let network = Network::new(settings);
    let mut poller = network.client();
    let target = Target::Tcp(SocketAddr::from(([127, 0, 0, 1], 7007)));
    let options = ConnectOptions::default();
    let (mut stream, _) = poller.connect(&target, None, &options).unwrap();
    poller.register_stream(&mut stream, 0).unwrap();
    let [event] = poll(&mut poller, 0)[..] else {
        panic!("the registration reports the state of the stream once");
    };
    assert!(event.readiness.writable && !event.readiness.readable);
    assert!(matches!(poller.attempt(&stream), Attempt::Made));
    (network, poller, stream)
}

fn poll(poller: &mut TimedPoller, timeout_ms: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let timeout = Duration::from_millis(timeout_ms);
    poller.poll(&mut events, Some(timeout)).unwrap();
    events
}

#[test]
fn every_call_costs_time_and_the_ledger_has_it() {
    let mut settings = NetworkSettings::simple();
    settings.server = Some(Behaviour::Queue(Times::Constant(500_000)));
    settings.costs = Costs {
        write_ns: 300,
        wake_up_ns: 40,
        read_ns: 7,
        ..Costs::all(1)
    };
    settings.link.delay_ns = 0;
    let (network, mut poller, mut stream) = connected(settings);
    let offered_ns = poller.now_ns();
    assert_eq!(stream.write(&[1; 64]).unwrap(), 64);
    assert_eq!(poller.now_ns(), offered_ns + 300);
    assert_eq!(poll(&mut poller, 10).len(), 1);
    assert_eq!(poller.now_ns(), offered_ns + 300 + 500_000 + 40);
    assert_eq!(stream.read(&mut [0; 100]).unwrap(), 64);
    drop((poller, stream));
    let ledger = network.take_ledger();
    let expected = MessageTimes {
        offered_ns,
        served_ns: Some(offered_ns + 300 + 500_000),
        arrived_ns: Some(offered_ns + 300 + 500_000),
        first_byte_ns: Some(offered_ns + 300 + 500_000 + 40 + 7),
        back_ns: Some(offered_ns + 300 + 500_000 + 40 + 7),
    };
    assert_eq!(ledger.connections[0].messages, [expected]);
}

#[test]
fn an_arrival_is_reported_once() {
    let (_, mut poller, mut stream) = connected(NetworkSettings::simple());
    stream.write_all(&[1; 64]).unwrap();
    assert_eq!(poll(&mut poller, 1).len(), 1);
    assert_eq!(
        poll(&mut poller, 1),
        [],
        "the bytes are not read, and no more come"
    );
    stream.write_all(&[1; 64]).unwrap();
    assert_eq!(poll(&mut poller, 1).len(), 1);
}

#[test]
fn room_is_reported_after_a_write_that_would_block() {
    let mut settings = NetworkSettings::simple();
    settings.send_buffer = 1000;
    settings.link.delay_ns = 5_000_000;
    settings.server = Some(Behaviour::Queue(Times::Constant(1_000_000_000)));
    let network = Network::new(settings);
    let mut poller = network.client();
    let target = Target::Tcp(SocketAddr::from(([127, 0, 0, 1], 7007)));
    let (mut stream, _) = poller
        .connect(&target, None, &ConnectOptions::default())
        .unwrap();
    poller.register_stream(&mut stream, 0).unwrap();
    assert!(matches!(poller.attempt(&stream), Attempt::Pending));
    assert_eq!(poll(&mut poller, 20).len(), 1, "the handshake is over");
    assert_eq!(stream.write(&[1; 1500]).unwrap(), 1000);
    assert_eq!(poll(&mut poller, 20), [], "nothing waits for room");
    assert_eq!(stream.write(&[1; 1500]).unwrap(), 1000);
    let refused = stream.write(&[1; 500]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    let [event] = poll(&mut poller, 20)[..] else {
        panic!("the acknowledgement makes room");
    };
    assert!(event.readiness.writable);
}

#[test]
fn a_stall_takes_the_processor_in_a_call_and_at_the_end_of_a_wait() {
    let mut settings = NetworkSettings::simple();
    settings.stalls = vec![
        Stall {
            at_ns: 1_000_000,
            length_ns: 9_000_000,
            kind: StallKind::Suspended,
        },
        Stall {
            at_ns: 20_000_000,
            length_ns: 5_000_000,
            kind: StallKind::RunQueue,
        },
    ];
    settings.costs = Costs::all(0);
    settings.costs.write_ns = 3_000_000;
    let (network, mut poller, mut stream) = connected(settings);
    stream.write_all(&[1; 64]).unwrap();
    assert_eq!(poller.now_ns(), 1 + 3_000_000 + 9_000_000);
    poll(&mut poller, 0);
    assert_eq!(poll(&mut poller, 10), []);
    assert_eq!(
        poller.now_ns(),
        25_000_000,
        "the wait ended within the stall"
    );
    drop((poller, stream));
    let ledger = network.take_ledger();
    assert_eq!(ledger.run_queue_ns, 25_000_000 - 22_000_001);
}

/// A queue of constant service times: each message waits for the ones before it, over all connections.
#[test]
fn a_pause_delays_the_service_that_it_interrupts() {
    let mut settings = NetworkSettings::simple();
    settings.costs = Costs::all(0);
    settings.server = Some(Behaviour::Queue(Times::Constant(1_000_000)));
    settings.pauses = vec![Pause {
        from_ns: 1_500_001,
        to_ns: 3_500_001,
    }];
    let (network, poller, mut stream) = connected(settings);
    stream.write_all(&[1; 3 * 64]).unwrap();
    let mut poller = poller;
    poll(&mut poller, 10);
    poll(&mut poller, 10);
    poll(&mut poller, 10);
    drop((poller, stream));
    let ledger = network.take_ledger();
    let messages = ledger.connections[0].messages.iter();
    let served: Vec<_> = messages.map(|message| message.served_ns.unwrap()).collect();
    assert_eq!(served, [1_000_001, 4_000_001, 5_000_001]);
}
