//! Kinds of messages, run through the server's state machine and the client's without a kernel.

#![allow(
    dead_code,
    reason = "each bench includes this module and uses its own part"
)]

use mio_echo::bench_support::{Pump, Pumped, TURN};
use mio_echo::load::bench_support::Conversation;

/// One kind of message. Each call of `run` echoes one message.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Size of the message, in bytes.
    pub(crate) bytes: u64,
    /// Whether the bytes are made and compared. Otherwise they are only counted.
    pub(crate) touches_bytes: bool,
    pub(crate) run: Box<dyn FnMut()>,
}

/// Returns all kinds.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        server("small message", 64, false, |pump| {
            let blocked = pump.pump(64, usize::MAX, usize::MAX, TURN);
            assert_eq!(blocked, Pumped::Blocked);
        }),
        server("64 KiB", READ, false, |pump| {
            let blocked = pump.pump(READ, usize::MAX, usize::MAX, TURN);
            assert_eq!(blocked, Pumped::Blocked);
        }),
        server("256 KiB through the pipe", TURN, true, |pump| {
            let before = pump.spliced();
            let yielded = pump.pump(TURN, usize::MAX, usize::MAX, TURN);
            assert_eq!(yielded, Pumped::Yielded);
            let blocked = pump.pump(0, usize::MAX, usize::MAX, TURN);
            assert_eq!(blocked, Pumped::Blocked);
            // The first message is read: the server splices only after it has seen that much input comes.
            assert!(pump.spliced() > before || before == 0);
        }),
        server("short writes", 64, false, |pump| {
            let blocked = pump.pump(64, 16, usize::MAX, TURN);
            assert_eq!(blocked, Pumped::Blocked);
        }),
        server("pending write", 64, false, |pump| {
            let blocked = pump.pump(64, usize::MAX, 16, TURN);
            assert_eq!(blocked, Pumped::Blocked);
            let blocked = pump.pump(0, usize::MAX, usize::MAX, TURN);
            assert_eq!(blocked, Pumped::Blocked);
        }),
        server("yield", 2 * TURN, false, |pump| {
            let yielded = pump.pump(2 * TURN, usize::MAX, usize::MAX, TURN);
            assert_eq!(yielded, Pumped::Yielded);
            let yielded = pump.pump(0, usize::MAX, usize::MAX, TURN);
            assert_eq!(yielded, Pumped::Yielded);
            let blocked = pump.pump(0, usize::MAX, usize::MAX, TURN);
            assert_eq!(blocked, Pumped::Blocked);
        }),
        client("client: 64 B verified", 64),
        client("client: 64 KiB verified", READ),
    ]
}

/// A message through the server's connection.
fn server(name: &'static str, bytes: usize, splices: bool, message: fn(&mut Pump)) -> Case {
    let mut pump = Pump::new(READ, splices);
    let bytes = bytes as u64;
    let run = Box::new(move || {
        let before = pump.echoed();
        message(&mut pump);
        assert_eq!(pump.echoed() - before, bytes, "{name}");
    });
    Case {
        name,
        bytes,
        touches_bytes: false,
        run,
    }
}

/// A message through the load generator's exchange, which makes and verifies its bytes.
fn client(name: &'static str, size: usize) -> Case {
    let mut conversation = Conversation::new(size as u32);
    let run = Box::new(move || assert_eq!(conversation.message(), 1, "{name}"));
    Case {
        name,
        bytes: size as u64,
        touches_bytes: true,
        run,
    }
}

/// Size of a read, in bytes.
const READ: usize = 64 * 1024;
