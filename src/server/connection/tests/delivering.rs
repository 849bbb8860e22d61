//! What our kernel holds after the last write.

use super::*;

fn delivery(acknowledged: u64, is_outstanding: bool) -> Option<Delivery> {
    Some(Delivery {
        since_last_ack: std::time::Duration::ZERO,
        acknowledged,
        is_outstanding,
    })
}

/// The peer has sent five bytes and its end of stream; five are echoed, and two of them acknowledged.
fn ended(world: &mut World, socket: Scripted) -> Answer {
    let mut socket = socket;
    socket.delivery = delivery(2, true);
    world.pump(&mut socket)
}

fn hello(world: &mut World) {
    let mut socket = Scripted::new().reads(b"hello").takes(5);
    assert_eq!(world.pump(&mut socket), BLOCKED);
}

#[test]
fn after_the_peers_end_a_connection_stays_until_all_is_acknowledged() {
    let mut world = World::edge();
    hello(&mut world);
    let end = Scripted::new().reads(b"").shuts_down();
    assert_eq!(ended(&mut world, end), BLOCKED);
    assert!(world.connection.is_delivering());
    // No call but those that ask.
    let mut socket = Scripted::new();
    socket.delivery = delivery(4, true);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    socket.delivery = delivery(6, false);
    assert_eq!(
        world.pump(&mut socket),
        Answer::Finished(Reason::EndOfStream)
    );
}

/// After the end of stream a read would say no more than that.
#[test]
fn an_error_meanwhile_is_the_reason_of_the_end() {
    for (kind, reason) in [
        (ConnectionReset, Reason::Reset),
        (TimedOut, Reason::Failed(TimedOut)),
    ] {
        let mut world = World::edge();
        hello(&mut world);
        let end = Scripted::new().reads(b"").shuts_down();
        assert_eq!(ended(&mut world, end), BLOCKED);
        let mut socket = Scripted::new();
        socket.delivery = delivery(2, false);
        socket.error.set(Some(kind));
        assert_eq!(world.pump(&mut socket), Answer::Finished(reason));
    }
}

#[test]
fn what_is_acknowledged_or_not_known_is_not_waited_for() {
    for known in [delivery(5, false), None] {
        let mut world = World::edge();
        hello(&mut world);
        let mut socket = Scripted::new().reads(b"");
        socket.delivery = known;
        let ended = Answer::Finished(Reason::EndOfStream);
        assert_eq!(world.pump(&mut socket), ended, "{known:?}");
    }
}

/// No call would make such a selector report the last acknowledgement.
#[test]
fn a_selector_that_rearms_on_wouldblock_leaves_the_rest_to_the_kernel() {
    let mut world = World::rearming();
    let mut socket = Scripted::new().reads(b"hello").takes(5).reads(b"");
    socket.delivery = delivery(2, true);
    assert_eq!(
        world.pump(&mut socket),
        Answer::Finished(Reason::EndOfStream)
    );
}

#[test]
fn a_peer_is_still_when_nothing_is_acknowledged_between_two_looks() {
    let mut connection = Connection::new(true);
    let mut look = |acknowledged, owes| {
        let look = connection.look_at_delivery(delivery(acknowledged, owes));
        (look.undelivered_looks, look.is_stalled())
    };
    assert_eq!(look(5, false), (0, false));
    // Written since the last look: nothing is late yet.
    assert_eq!(look(5, true), (1, false));
    assert_eq!(look(6, true), (2, false));
    assert_eq!(look(6, true), (3, true));
    assert_eq!(look(7, false), (0, false));
    assert_eq!(look(7, true), (1, false));
}

/// The 32 bits of it that are kept wrap after 4 GiB.
#[test]
fn a_difference_is_seen_across_4_gib() {
    let mut connection = Connection::new(true);
    let before = u64::from(u32::MAX);
    connection.look_at_delivery(delivery(before, true));
    let look = connection.look_at_delivery(delivery(before + 1, true));
    assert!(look.moved && !look.is_stalled(), "{look:?}");
}

#[test]
fn looks_are_counted_to_255() {
    let mut connection = Connection::new(true);
    for n in 0..300 {
        let look = connection.look_at_delivery(delivery(n, true));
        let looks = u8::try_from(n + 1).unwrap_or(u8::MAX);
        assert_eq!((look.undelivered_looks, look.is_stalled()), (looks, false));
    }
}
