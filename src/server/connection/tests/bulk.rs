//! Tests of bulk through the pipe.

use super::*;

/// The connection did not use up its budget in the turn before, so it does not splice.
#[test]
fn bulk_in_a_first_turn_is_not_spliced() {
    let mut tested = TestedConnection::edge();
    tested.buffers.use_pipe(Bytes::default(), READ);
    tested.continues = false;
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(8)
        .reads(b"9")
        .takes(1);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
}

/// Makes a connection with a pipe. One read of 8 bytes reaches the splice threshold.
fn with_a_pipe() -> TestedConnection {
    let mut tested = TestedConnection::edge();
    tested.buffers.use_pipe(Bytes::default(), READ);
    tested.turn = LEAST_CHARGE;
    tested
}

/// Makes a connection that splices, after a turn of reads that filled the buffer.
fn with_bulk() -> TestedConnection {
    let mut tested = with_a_pipe();
    let mut socket = Scripted::new().reads(b"12345678").takes(8);
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
    tested.turn = 2 * TURN;
    tested
}

#[test]
fn bulk_is_spliced_after_a_whole_turn_of_full_reads() {
    let mut tested = with_a_pipe();
    tested.buffers.splice_threshold = 2 * READ;
    tested.turn = 2 * LEAST_CHARGE;
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(8)
        .reads(b"abcdefgh")
        .takes(8);
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
    let mut socket = Scripted::new()
        .splices_in(b"ijklmnop")
        .splices_out(8)
        .splices_in(b"qrst")
        .splices_out(4);
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
    assert_eq!(socket.written, b"ijklmnopqrst");
}

#[test]
fn one_full_read_is_not_bulk() {
    let mut tested = with_a_pipe();
    tested.buffers.splice_threshold = 2 * READ;
    tested.turn = 2 * LEAST_CHARGE;
    for _ in 0..10 {
        let mut socket = Scripted::new()
            .reads(b"12345678")
            .takes(8)
            .read_fails(WouldBlock);
        assert_eq!(tested.pump(&mut socket), BLOCKED);
    }
    // A turn with a short read is not bulk either.
    let mut socket = Scripted::new()
        .reads(b"12345678")
        .takes(8)
        .reads(b"short")
        .takes(5);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    let mut socket = Scripted::new().reads(b"12345678").takes(8).reads(b"");
    assert_eq!(
        tested.pump(&mut socket),
        Answer::Finished(Reason::EndOfStream)
    );
}

#[test]
fn bulk_of_a_peer_on_our_processor_is_not_spliced() {
    let mut tested = with_a_pipe();
    let mut socket = Scripted::new().reads(b"12345678").takes(8);
    socket.shares_our_processor = true;
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
    let mut socket = Scripted::new().reads(b"abcdefgh").takes(8);
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
}

#[test]
fn bulk_of_a_peer_that_is_behind_with_its_echo_is_not_spliced() {
    let behind = |acknowledged| {
        Some(Delivery {
            since_last_ack: std::time::Duration::ZERO,
            acknowledged,
            is_outstanding: true,
        })
    };
    let mut tested = with_bulk();
    tested.turn = LEAST_CHARGE;
    // After these passes 32 bytes are echoed and 31 of them unacknowledged: less than four thresholds of 8 bytes.
    for piece in [b"abcdefgh", b"ijklmnop", b"qrstuvwx"] {
        let mut socket = Scripted::new().splices_in(piece).splices_out(8);
        socket.delivery = behind(1);
        assert_eq!(tested.pump(&mut socket), Answer::Yielded);
    }
    let mut socket = Scripted::new().splices_in(b"yz012345").splices_out(8);
    socket.delivery = behind(8);
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
    let mut socket = Scripted::new().reads(b"abcdefgh").takes(8);
    socket.delivery = behind(16);
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
    // Once the peer has caught up, its bulk is spliced again.
    let mut socket = Scripted::new().reads(b"abcdefgh").takes(8);
    socket.delivery = behind(48);
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
    let mut socket = Scripted::new().splices_in(b"abcdefgh").splices_out(8);
    assert_eq!(tested.pump(&mut socket), Answer::Yielded);
}

#[test]
fn a_connection_stops_splicing_after_a_short_burst() {
    let mut tested = with_bulk();
    let mut socket = Scripted::new().splice_in_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    // The burst before this `WouldBlock` reached the threshold, so the connection still splices.
    let mut socket = Scripted::new()
        .splices_in(b"abc")
        .splices_out(3)
        .splice_in_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    // The last burst, of 3 bytes, was below the threshold.
    let mut socket = Scripted::new().reads(b"small").takes(5);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
}

#[test]
fn bytes_that_stay_in_the_pipe_become_the_pending_write() {
    let mut tested = with_bulk();
    let mut socket = Scripted::new()
        .splices_in(b"abcdefgh")
        .splices_out(3)
        .splice_out_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
    assert_eq!(tested.connection.awaits(), Direction::Write);
    assert_eq!(tested.pending(), 5);
    assert!(tested.buffers.pipe.as_ref().unwrap().0.is_empty());
    let mut rest = Scripted::new().takes(5).splice_in_fails(WouldBlock);
    assert_eq!(tested.pump(&mut rest), BLOCKED);
    assert_eq!(rest.written, b"defgh");
    assert_eq!(tested.pending(), 0);
}

#[test]
fn a_broken_connection_leaves_the_pipe_empty() {
    let mut tested = with_bulk();
    let mut socket = Scripted::new()
        .splices_in(b"abcdefgh")
        .splices_out(3)
        .splice_out_fails(BrokenPipe);
    assert_eq!(tested.pump(&mut socket), Answer::Finished(Reason::Reset));
    assert!(tested.buffers.pipe.as_ref().unwrap().0.is_empty());
}

#[test]
fn a_read_follows_a_splice_that_returns_0() {
    let mut tested = with_bulk();
    let mut socket = Scripted::new().splices_in(b"").reads(b"");
    assert_eq!(
        tested.pump(&mut socket),
        Answer::Finished(Reason::EndOfStream)
    );
}

#[test]
fn a_read_follows_a_splice_that_stops_at_an_urgent_byte() {
    let mut tested = with_bulk();
    tested.connection.on_readiness(Readiness {
        readable: true,
        read_on: true,
        ..Readiness::default()
    });
    let mut socket = Scripted::new()
        .splice_in_fails(WouldBlock)
        .reads(b"!rest")
        .takes(5)
        .read_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
}

#[test]
fn a_splice_that_consumes_the_reset_ends_the_connection() {
    let mut tested = with_bulk();
    let mut socket = Scripted::new().splice_in_fails(ConnectionReset);
    assert_eq!(tested.pump(&mut socket), Answer::Finished(Reason::Reset));
}

#[test]
fn a_socket_that_cannot_be_spliced_is_read() {
    let mut tested = with_bulk();
    let mut socket = Scripted::new()
        .splice_in_fails(ErrorKind::InvalidInput)
        .reads(b"abc")
        .takes(3);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
}

#[test]
fn without_memory_for_a_pending_write_nothing_is_spliced() {
    let mut tested = TestedConnection::without_memory();
    tested.buffers.use_pipe(Bytes::default(), READ / 2);
    let mut socket = Scripted::new()
        .peeks(b"12345678")
        .takes(8)
        .reads(b"12345678")
        .peek_fails(WouldBlock);
    assert_eq!(tested.pump(&mut socket), BLOCKED);
}
