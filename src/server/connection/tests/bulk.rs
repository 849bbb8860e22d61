//! Bulk, through the pipe.

use super::*;

/// A turn that continues none has not shown enough.
#[test]
fn a_first_turn_of_bulk_is_read_and_written() {
    let mut world = World::edge();
    world.buffers.use_pipe(Bytes::default(), READ);
    world.continues = false;
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(8)
        .reads(b"9")
        .takes(1);
    assert_eq!(world.pump(&mut socket), BLOCKED);
}

/// Reads are of 8 bytes, and so many are bulk.
fn with_a_pipe() -> World {
    let mut world = World::edge();
    world.buffers.use_pipe(Bytes::default(), READ);
    world.turn = LEAST_CHARGE;
    world
}

/// A turn of full reads is over, and the rest goes by the pipe.
fn with_bulk() -> World {
    let mut world = with_a_pipe();
    let mut socket = Scripted::new().reads(b"12345678").takes(8);
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
    world.turn = 2 * TURN;
    world
}

#[test]
fn bulk_goes_by_the_pipe_after_a_whole_turn_of_full_reads() {
    let mut world = with_a_pipe();
    world.buffers.splice_threshold = 2 * READ;
    world.turn = 2 * LEAST_CHARGE;
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(8)
        .reads(b"abcdefgh")
        .takes(8);
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
    let mut socket = Scripted::new()
        .splices_in(b"ijklmnop")
        .splices_out(8)
        .splices_in(b"qrst")
        .splices_out(4);
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
    assert_eq!(socket.written, b"ijklmnopqrst");
}

#[test]
fn one_full_read_is_not_bulk() {
    let mut world = with_a_pipe();
    world.buffers.splice_threshold = 2 * READ;
    world.turn = 2 * LEAST_CHARGE;
    for _ in 0..10 {
        let mut socket = Scripted::new()
            .reads(b"12345678")
            .takes(8)
            .read_fails(WouldBlock);
        assert_eq!(world.pump(&mut socket), BLOCKED);
    }
    // Nor is a turn in which a read found less.
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(8)
        .reads(b"short")
        .takes(5);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    let mut socket = Scripted::new().reads(b"12345678").takes(8).reads(b"");
    assert_eq!(
        world.pump(&mut socket),
        Answer::Finished(Reason::EndOfStream)
    );
}

#[test]
fn bulk_of_a_peer_on_our_processor_is_read() {
    let mut world = with_a_pipe();
    let mut socket = Scripted::new().reads(b"12345678").takes(8);
    socket.shares_our_processor = true;
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
    let mut socket = Scripted::new().reads(b"abcdefgh").takes(8);
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
}

#[test]
fn bulk_of_a_peer_that_is_behind_with_its_echo_is_read() {
    let behind = |acknowledged| {
        Some(Delivery {
            since_last_ack: std::time::Duration::ZERO,
            acknowledged,
            is_outstanding: true,
        })
    };
    let mut world = with_bulk();
    world.turn = LEAST_CHARGE;
    // 32 bytes are echoed then, and 31 on their way: less than four times the bulk.
    for piece in [b"abcdefgh", b"ijklmnop", b"qrstuvwx"] {
        let mut socket = Scripted::new().splices_in(piece).splices_out(8);
        socket.delivery = behind(1);
        assert_eq!(world.pump(&mut socket), Answer::Yielded);
    }
    let mut socket = Scripted::new().splices_in(b"yz012345").splices_out(8);
    socket.delivery = behind(8);
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
    let mut socket = Scripted::new().reads(b"abcdefgh").takes(8);
    socket.delivery = behind(16);
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
    // Once it has caught up, its bulk goes by the pipe again.
    let mut socket = Scripted::new().reads(b"abcdefgh").takes(8);
    socket.delivery = behind(48);
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
    let mut socket = Scripted::new().splices_in(b"abcdefgh").splices_out(8);
    assert_eq!(world.pump(&mut socket), Answer::Yielded);
}

#[test]
fn a_connection_leaves_the_pipe_when_little_has_come_in_a_row() {
    let mut world = with_bulk();
    let mut socket = Scripted::new().splice_in_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    // As much came as makes a connection go this way, so it goes on.
    let mut socket = Scripted::new()
        .splices_in(b"abc")
        .splices_out(3)
        .splice_in_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    // That was little.
    let mut socket = Scripted::new().reads(b"small").takes(5);
    assert_eq!(world.pump(&mut socket), BLOCKED);
}

#[test]
fn what_the_kernel_does_not_take_from_the_pipe_is_pending() {
    let mut world = with_bulk();
    let mut socket = Scripted::new()
        .splices_in(b"abcdefgh")
        .splices_out(3)
        .splice_out_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
    assert_eq!(world.connection.awaits(), Direction::Write);
    assert_eq!(world.pending(), 5);
    assert!(world.buffers.pipe.as_ref().unwrap().0.is_empty());
    let mut rest = Scripted::new().takes(5).splice_in_fails(WouldBlock);
    assert_eq!(world.pump(&mut rest), BLOCKED);
    assert_eq!(rest.written, b"defgh");
    assert_eq!(world.pending(), 0);
}

#[test]
fn what_a_broken_connection_leaves_in_the_pipe_is_nobodys() {
    let mut world = with_bulk();
    let mut socket = Scripted::new()
        .splices_in(b"abcdefgh")
        .splices_out(3)
        .splice_out_fails(BrokenPipe);
    assert_eq!(world.pump(&mut socket), Answer::Finished(Reason::Reset));
    assert!(world.buffers.pipe.as_ref().unwrap().0.is_empty());
}

#[test]
fn the_end_of_the_stream_is_left_to_a_read() {
    let mut world = with_bulk();
    let mut socket = Scripted::new().splices_in(b"").reads(b"");
    assert_eq!(
        world.pump(&mut socket),
        Answer::Finished(Reason::EndOfStream)
    );
}

#[test]
fn a_splice_in_front_of_an_urgent_byte_is_left_to_a_read() {
    let mut world = with_bulk();
    world.connection.on_readiness(Readiness {
        readable: true,
        read_on: true,
        ..Readiness::default()
    });
    let mut socket = Scripted::new()
        .splice_in_fails(WouldBlock)
        .reads(b"!rest")
        .takes(5)
        .read_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
}

#[test]
fn a_splice_that_takes_the_reset_away_tells_of_it() {
    let mut world = with_bulk();
    let mut socket = Scripted::new().splice_in_fails(ConnectionReset);
    assert_eq!(world.pump(&mut socket), Answer::Finished(Reason::Reset));
}

#[test]
fn a_socket_that_cannot_be_spliced_is_read() {
    let mut world = with_bulk();
    let mut socket = Scripted::new()
        .splice_in_fails(ErrorKind::InvalidInput)
        .reads(b"abc")
        .takes(3);
    assert_eq!(world.pump(&mut socket), BLOCKED);
}

#[test]
fn without_memory_for_a_pending_write_nothing_is_spliced() {
    let mut world = World::without_memory();
    world.buffers.use_pipe(Bytes::default(), READ / 2);
    let mut socket = Scripted::new()
        .peeks(b"12345678")
        .takes(8)
        .reads(b"12345678")
        .peek_fails(WouldBlock);
    assert_eq!(world.pump(&mut socket), BLOCKED);
}
