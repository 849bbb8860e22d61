//! The fuzzer writes the tape of a simulated run: the world, the actions of the peers, and the kernel's decisions.

#![no_main]

use mio_echo_sim::tape::Tape;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mio_echo::check_tape(&Tape::from_bytes(bytes)));
