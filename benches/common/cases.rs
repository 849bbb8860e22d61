//! What an echo can be, for the server's state machine and for the client's, with no kernel in it.

#![allow(
    dead_code,
    reason = "each bench includes this module and uses its own part"
)]

use mio_echo::bench_support::{Pump, Pumped, TURN};
use mio_echo::load::bench_support::Conversation;

/// One of them: each call of `run` is one message.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) bytes: u64,
    pub(crate) run: Box<dyn FnMut()>,
}

/// All of them.
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
        server("256 KiB by the pipe", TURN, true, |pump| {
            let before = pump.spliced();
            let yielded = pump.pump(TURN, usize::MAX, usize::MAX, TURN);
            assert_eq!(yielded, Pumped::Yielded);
            let blocked = pump.pump(0, usize::MAX, usize::MAX, TURN);
            assert_eq!(blocked, Pumped::Blocked);
            // The first is read, as nothing has shown yet how much comes.
            assert!(pump.spliced() > before || before == 0);
        }),
        server("short writes", 64, false, |pump| {
            let blocked = pump.pump(64, 16, usize::MAX, TURN);
            assert_eq!(blocked, Pumped::Blocked);
        }),
        server("spill and flush", 64, false, |pump| {
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

fn server(name: &'static str, bytes: usize, splices: bool, message: fn(&mut Pump)) -> Case {
    let mut pump = Pump::new(READ, splices);
    let bytes = bytes as u64;
    let run = Box::new(move || {
        let before = pump.echoed();
        message(&mut pump);
        assert_eq!(pump.echoed() - before, bytes, "{name}");
    });
    Case { name, bytes, run }
}

fn client(name: &'static str, size: usize) -> Case {
    let mut conversation = Conversation::new(size as u32);
    let run = Box::new(move || assert_eq!(conversation.message(), 1, "{name}"));
    let bytes = size as u64;
    Case { name, bytes, run }
}

const READ: usize = 64 * 1024;
