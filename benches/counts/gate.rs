//! Compares the counts with the expected ones.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

use crate::cases::cases;
use crate::common::environment;
use crate::{instructions, memory, system_calls};

/// All counts, by name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// The compiler of the program whose instructions were counted.
    rustc: String,
    /// System calls of the server for a message of 64 bytes. 50 clients send the next message when an echo is back.
    system_calls_a_message: BTreeMap<String, f64>,
    /// System calls of the server for a connection with one message. The connections run one after the other.
    system_calls_a_short_connection: BTreeMap<String, f64>,
    /// Allocations, by kind of message.
    allocations_a_message: BTreeMap<String, f64>,
    /// Instructions in user space, by kind of message.
    instructions_a_message: BTreeMap<String, f64>,
    /// Bytes of the server's memory for an idle connection.
    bytes_an_idle_connection: BTreeMap<String, f64>,
}

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, name, messages] = arguments.as_slice()
        && flag == instructions::REPEAT
    {
        instructions::repeat(name, messages);
        return ExitCode::SUCCESS;
    }
    let known = ["--update", "--bench"];
    if let Some(unknown) = arguments[1..].iter().find(|a| !known.contains(&a.as_str())) {
        eprintln!(
            "counts: unknown option {unknown:?}. The only option is --update: it writes the counts to \
             benches/counts/expected.json"
        );
        return ExitCode::from(2);
    }
    // As in the tests: with this variable, as in CI, a missing tool is an error.
    let must = std::env::var_os("MIO_ECHO_ALL_TOOLS").is_some();
    for tool in ["strace", "valgrind"] {
        let there = Command::new(tool).arg("--version").output().is_ok();
        if !there && !must {
            println!(
                "counts: nothing was counted: {tool} is missing (apt-get install strace valgrind)"
            );
            return ExitCode::SUCCESS;
        }
    }
    let update = arguments.iter().any(|argument| argument == "--update");
    match count().and_then(|counts| check(&counts, update)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cannot count: {error}");
            ExitCode::FAILURE
        }
    }
}

fn count() -> io::Result<Counts> {
    mio_echo::raise_descriptor_limit()?;
    println!("{}", environment());
    let (a_message, a_short_connection) = system_calls::count()?;
    Ok(Counts {
        rustc: instructions::rustc()?,
        system_calls_a_message: a_message,
        system_calls_a_short_connection: a_short_connection,
        allocations_a_message: allocations(),
        instructions_a_message: instructions::count()?,
        bytes_an_idle_connection: memory::count()?,
    })
}

fn allocations() -> BTreeMap<String, f64> {
    let counted = cases().into_iter().map(|mut case| {
        // The first messages may allocate: they fill a buffer pool.
        (0..8).for_each(|_| (case.run)());
        let made = allocation_counter::measure(|| (0..1000).for_each(|_| (case.run)()));
        (case.name.to_owned(), made.count_total as f64 / 1000.0)
    });
    counted.collect()
}

/// Prints all counts, and returns true if they are as expected. With `update` the counts become the expected ones
/// first.
fn check(counts: &Counts, update: bool) -> io::Result<bool> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/counts/expected.json");
    if update {
        std::fs::write(path, serde_json::to_string_pretty(counts)? + "\n")?;
    }
    let expected: Counts = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    // Another compiler generates other instructions, so their tolerance is then 25 % instead of 3 %.
    let same_compiler = counts.rustc == expected.rustc;
    let instructions = if same_compiler { 0.03 } else { 0.25 };
    if !same_compiler {
        println!(
            "expected instructions are from {}, this compiler is {}: they may differ by {:.0} %",
            expected.rustc,
            counts.rustc,
            instructions * 100.0
        );
    }
    let groups = [
        (
            "system calls a message, 50 clients x 64 B",
            &counts.system_calls_a_message,
            &expected.system_calls_a_message,
            Tolerance {
                share: 0.0,
                by: 0.05,
            },
        ),
        (
            "system calls a short connection",
            &counts.system_calls_a_short_connection,
            &expected.system_calls_a_short_connection,
            Tolerance {
                share: 0.0,
                by: 0.2,
            },
        ),
        (
            "allocations a message",
            &counts.allocations_a_message,
            &expected.allocations_a_message,
            Tolerance {
                share: 0.0,
                by: 0.0,
            },
        ),
        (
            "instructions a message",
            &counts.instructions_a_message,
            &expected.instructions_a_message,
            Tolerance {
                share: instructions,
                by: 0.5,
            },
        ),
        (
            "bytes an idle connection",
            &counts.bytes_an_idle_connection,
            &expected.bytes_an_idle_connection,
            Tolerance {
                share: 0.0,
                by: 2.0,
            },
        ),
    ];
    let mut good = true;
    for (title, counted, expected, tolerance) in groups {
        println!("\n{title}");
        if counted.keys().ne(expected.keys()) {
            println!("  the names differ; expected: {:?}", expected.keys());
            good = false;
        }
        for (name, count) in counted {
            let wanted = expected.get(name).copied().unwrap_or(f64::NAN);
            let is_good = (count - wanted).abs() <= tolerance.by.max(wanted * tolerance.share);
            let verdict = if is_good { "" } else { "  NOT AS EXPECTED" };
            println!("  {name:<36} {count:>9.2}   expected {wanted:>9.2}{verdict}");
            good &= is_good;
        }
    }
    if !good {
        println!(
            "\nnot as expected; to accept the new counts: cargo bench --bench counts -- --update"
        );
    }
    Ok(good)
}

/// How far a count may be from the expected one: the larger of the two.
struct Tolerance {
    /// A share of the expected count.
    share: f64,
    /// An absolute difference.
    by: f64,
}
