//! The fuzzer writes the tape of a simulated run: what the world is like, what the peers do, what the kernel decides.

#![no_main]

use mio_echo_sim::tape::Tape;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mio_echo::check_tape(&Tape::from_bytes(bytes)));
