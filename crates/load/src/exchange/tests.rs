//! Tests of the exchange, byte by byte, without a socket.

use super::*;

const CHECK: (Payload, Verify) = (PAYLOAD, Verify::Full);
const PAYLOAD: Payload = Payload::fixed();

/// Makes a connection whose messages of these sizes began at 100 ns and are all accepted. Returns it with their bytes.
fn sent(sizes: &[u32]) -> (Exchange, Vec<u8>) {
    let mut exchange = Exchange::new(0, 1, 1);
    for size in sizes {
        exchange.begin(*size, 90, 100);
    }
    let mut buffer = vec![0; 1 << 16];
    let n = exchange.unsent(PAYLOAD, &mut buffer).len();
    exchange.accepted(n, n);
    buffer.truncate(n);
    (exchange, buffer)
}

fn receive(exchange: &mut Exchange, bytes: &[u8], now_ns: u64) -> (Received, Vec<Echo>) {
    let mut echoes = Vec::new();
    let received = exchange.received(bytes, now_ns, CHECK, |echo| echoes.push(echo));
    (received, echoes)
}

#[test]
fn a_message_has_its_four_times() {
    let (mut exchange, bytes) = sent(&[10]);
    assert_eq!(receive(&mut exchange, &bytes[..1], 200).1, []);
    assert_eq!(receive(&mut exchange, &bytes[1..9], 300).1, []);
    let (received, echoes) = receive(&mut exchange, &bytes[9..], 400);
    assert_eq!(received, Received::Right);
    let echo = Echo {
        intended_ns: 90,
        begun_ns: 100,
        first_byte_ns: 200,
        last_byte_ns: 400,
        bytes: 10,
    };
    assert_eq!(echoes, [echo]);
    assert_eq!(exchange.outstanding(), 0);
}

#[test]
fn messages_come_back_however_the_stream_is_cut() {
    for cut in 1..30 {
        let (mut exchange, bytes) = sent(&[10, 1, 7, 12]);
        let mut echoes = Vec::new();
        for (n, part) in bytes.chunks(cut).enumerate() {
            let (received, more) = receive(&mut exchange, part, n as u64);
            assert_eq!(received, Received::Right);
            echoes.extend(more);
        }
        let sizes: Vec<u64> = echoes.iter().map(|echo| echo.bytes).collect();
        assert_eq!(sizes, [10, 1, 7, 12], "in parts of {cut}");
        assert!(echoes.iter().all(|e| e.first_byte_ns <= e.last_byte_ns));
    }
}

#[test]
fn bytes_that_the_kernel_did_not_accept_are_offered_again() {
    let mut exchange = Exchange::new(5, 1, 1);
    exchange.begin(100, 0, 0);
    let mut buffer = [0; 64];
    let mut stream = Vec::new();
    loop {
        let n = exchange.unsent(PAYLOAD, &mut buffer).len();
        if n == 0 {
            break;
        }
        let accepted = n.min(7);
        stream.extend(&buffer[..accepted]);
        exchange.accepted(accepted, n);
    }
    assert_eq!(stream.len(), 100);
    assert_eq!(PAYLOAD.matching(5, 0, &stream), 100);
}

#[test]
fn a_message_before_the_wrong_byte_counts_and_the_one_with_it_does_not() {
    let (mut exchange, mut bytes) = sent(&[10, 10]);
    bytes[15] ^= 1;
    let (received, echoes) = receive(&mut exchange, &bytes, 200);
    assert_eq!((received, echoes.len()), (Received::Wrong, 1));
    let fault = exchange.diagnose(PAYLOAD, 1);
    assert_eq!((fault.kind, fault.offset), (FaultKind::Corrupt, Some(15)));
}

#[test]
fn an_echo_of_bytes_that_are_not_sent_yet_is_wrong() {
    let (mut exchange, bytes) = sent(&[10]);
    exchange.begin(10, 0, 0);
    let mut too_early = vec![0; 10];
    let _ = exchange.unsent(PAYLOAD, &mut too_early);
    let both = [bytes, too_early].concat();
    let (received, echoes) = receive(&mut exchange, &both, 200);
    assert_eq!((received, echoes.len()), (Received::Wrong, 1));
}

#[test]
fn bytes_before_the_first_message_are_surplus() {
    let mut exchange = Exchange::new(0, 1, 1);
    assert_eq!(
        receive(&mut exchange, b"220 welcome\r\n", 200).0,
        Received::Wrong
    );
    let fault = exchange.diagnose(PAYLOAD, 1);
    assert_eq!((fault.kind, fault.offset), (FaultKind::Surplus, Some(0)));
}

/// The same bytes as in the test above, but read after the first message was sent.
#[test]
fn wrong_bytes_instead_of_an_echo_are_corrupt_once_the_wait_is_over() {
    let (mut exchange, _) = sent(&[64]);
    assert_eq!(
        receive(&mut exchange, b"220 welcome\r\n", 200).0,
        Received::Doubtful
    );
    let fault = exchange.diagnose(PAYLOAD, 1);
    assert_eq!((fault.kind, fault.offset), (FaultKind::Corrupt, Some(0)));
}

#[test]
fn unexpected_bytes_are_collected_up_to_the_length_of_the_echo() {
    let (mut exchange, bytes) = sent(&[64]);
    let wrong = [b"HTTP/1.1 ".as_slice(), &bytes].concat();
    assert_eq!(
        receive(&mut exchange, &wrong[..5], 200).0,
        Received::Doubtful
    );
    assert_eq!(receive(&mut exchange, &wrong[5..], 300).0, Received::Wrong);
    let fault = exchange.diagnose(PAYLOAD, 1);
    assert_eq!(fault.kind, FaultKind::Surplus);
    assert!(fault.detail.starts_with("9 bytes"), "{fault:?}");
}

#[test]
fn an_end_of_stream_is_short_within_a_message_and_closed_before_one() {
    let (mut exchange, bytes) = sent(&[64, 64]);
    assert_eq!(exchange.ended(FaultKind::Closed).kind, FaultKind::Closed);
    let (_, echoes) = receive(&mut exchange, &bytes[..96], 200);
    assert_eq!(echoes.len(), 1);
    let fault = exchange.ended(FaultKind::Closed);
    assert_eq!((fault.kind, fault.offset), (FaultKind::Short, Some(96)));
    assert!(fault.detail.contains("32 bytes into a message of 64"));
    // A reset stays a reset: it does not show what the server would have sent.
    assert_eq!(exchange.ended(FaultKind::Reset).kind, FaultKind::Reset);
}

#[test]
fn without_verification_the_lengths_are_still_checked() {
    let (mut exchange, bytes) = sent(&[10]);
    let zeros = vec![0; bytes.len() + 1];
    let off = (PAYLOAD, Verify::Off);
    let mut echoes = 0;
    let received = exchange.received(&zeros[..10], 1, off, |_| echoes += 1);
    assert_eq!((received, echoes), (Received::Right, 1));
    assert_eq!(
        exchange.received(&zeros[..1], 1, off, |_| ()),
        Received::Wrong
    );
}
