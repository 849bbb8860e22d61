//! Tests of the delivery: the bytes that our kernel holds after the last write.

use super::*;

fn delivery(acknowledged: u64, is_outstanding: bool) -> Option<Delivery> {
    Some(Delivery {
        since_last_ack: std::time::Duration::ZERO,
        acknowledged,
        is_outstanding,
    })
}

/// Pumps at the end of the peer's stream. The peer has sent five bytes, all are echoed, and two of them are
/// acknowledged.
fn ended(tested: &mut TestedConnection, socket: Scripted) -> Answer {
    let mut socket = socket;
    socket.delivery = delivery(2, true);
    tested.pump(&mut socket)
}

/// Pumps once: the peer sends five bytes, and they are echoed.
fn hello(tested: &mut TestedConnection) {
    let mut socket = Scripted::new().reads(b"hello").takes(5);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
}

#[test]
fn after_the_peers_end_a_connection_stays_until_all_is_acknowledged() {
    let mut tested = TestedConnection::edge();
    hello(&mut tested);
    let end = Scripted::new().reads(b"").shuts_down();
    assert_eq!(ended(&mut tested, end), BLOCKED);
    assert!(tested.connection.is_delivering());
    // The script is empty: no reads and no writes.
    let mut socket = Scripted::new();
    socket.delivery = delivery(4, true);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    socket.delivery = delivery(6, false);
    assert_eq!(
        tested.pump(&mut socket),
        Answer::Finished(Reason::EndOfStream)
    );
}

/// After the end of the peer's stream a read returns 0, so only `SO_ERROR` reports the error.
#[test]
fn an_error_while_delivering_is_the_reason_of_the_end() {
    for (kind, reason) in [
        (ConnectionReset, Reason::Reset),
        (TimedOut, Reason::Failed(TimedOut)),
    ] {
        let mut tested = TestedConnection::edge();
        hello(&mut tested);
        let end = Scripted::new().reads(b"").shuts_down();
        assert_eq!(ended(&mut tested, end), BLOCKED);
        let mut socket = Scripted::new();
        socket.delivery = delivery(2, false);
        socket.error.set(Some(kind));
        assert_eq!(tested.pump(&mut socket), Answer::Finished(reason));
    }
}

#[test]
fn a_connection_without_known_unacknowledged_bytes_ends_at_once() {
    for known in [delivery(5, false), None] {
        let mut tested = TestedConnection::edge();
        hello(&mut tested);
        let mut socket = Scripted::new().reads(b"");
        socket.delivery = known;
        let ended = Answer::Finished(Reason::EndOfStream);
        assert_eq!(tested.pump(&mut socket), ended, "{known:?}");
    }
}

/// A selector that re-arms on `WouldBlock` would not report the last acknowledgement, because no call returns
/// `WouldBlock` in this state.
#[test]
fn with_a_selector_that_rearms_on_would_block_the_kernel_delivers_the_rest() {
    let mut tested = TestedConnection::rearming();
    let mut socket = Scripted::new().reads(b"hello").takes(5).reads(b"");
    socket.delivery = delivery(2, true);
    assert_eq!(
        tested.pump(&mut socket),
        Answer::Finished(Reason::EndOfStream)
    );
}

#[test]
fn a_peer_is_stalled_when_nothing_is_acknowledged_between_two_looks() {
    let mut connection = Connection::new(true);
    let mut look = |acknowledged, is_outstanding| {
        let look = connection.look_at_delivery(delivery(acknowledged, is_outstanding));
        (look.undelivered_looks, look.is_stalled())
    };
    assert_eq!(look(5, false), (0, false));
    // The bytes were written after the last look, so the peer is not stalled yet.
    assert_eq!(look(5, true), (1, false));
    assert_eq!(look(6, true), (2, false));
    assert_eq!(look(6, true), (3, true));
    assert_eq!(look(7, false), (0, false));
    assert_eq!(look(7, true), (1, false));
}

/// The connection stores 32 bits of the number of delivered bytes. They wrap after 4 GiB.
#[test]
fn a_look_sees_progress_across_4_gib() {
    let mut connection = Connection::new(true);
    let before = u64::from(u32::MAX);
    connection.look_at_delivery(delivery(before, true));
    let look = connection.look_at_delivery(delivery(before + 1, true));
    assert!(look.moved && !look.is_stalled(), "{look:?}");
}

#[test]
fn the_count_of_looks_stops_at_255() {
    let mut connection = Connection::new(true);
    for n in 0..300 {
        let look = connection.look_at_delivery(delivery(n, true));
        let looks = u8::try_from(n + 1).unwrap_or(u8::MAX);
        assert_eq!((look.undelivered_looks, look.is_stalled()), (looks, false));
    }
}
