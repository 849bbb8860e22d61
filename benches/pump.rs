//! Time of a message inside the program, without the kernel: `cargo bench --bench pump`.
//!
//! The server's connection runs over a simulated socket that only counts bytes: nothing is copied, and so its cases
//! have no bytes a second. The client makes and compares every byte, and has them. Before the measurement the bench
//! asserts that no message allocates.

#[path = "common/cases.rs"]
mod cases;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mio_echo::bench_support::{Pump, TURN};

use cases::cases;

fn pump(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pump");
    group
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for mut case in cases() {
        // The first messages may allocate: they fill a buffer pool.
        (0..8).for_each(|_| (case.run)());
        let made = allocation_counter::measure(|| (0..1000).for_each(|_| (case.run)()));
        assert_eq!(
            made.count_total, 0,
            "{}: messages must not allocate; allocations in 1000 messages",
            case.name
        );
        group.throughput(match case.touches_bytes {
            true => Throughput::ElementsAndBytes {
                elements: 1,
                bytes: case.bytes,
            },
            false => Throughput::Elements(1),
        });
        group.bench_function(case.name, |bencher| bencher.iter(|| (case.run)()));
    }
    group.finish();
    println!(
        "pump: no kind of message allocates memory. The server's cases copy no byte: the simulated socket only counts \
         them. The client's cases make and compare every byte.\n"
    );
}

/// Asserts that a connection with endless input moves at most one budget in a turn. A pinger waits that long for each
/// connection that runs before it.
fn turn(_: &mut Criterion) {
    let mut firehoses: Vec<Pump> = (0..100).map(|_| Pump::new(64 * 1024, false)).collect();
    let before_the_pinger: u64 = firehoses
        .iter_mut()
        .map(|firehose| {
            firehose.pump(usize::MAX / 2, usize::MAX, usize::MAX, TURN);
            firehose.echoed()
        })
        .sum();
    let most = firehoses.len() * TURN;
    assert!(
        before_the_pinger <= most as u64,
        "{before_the_pinger} bytes"
    );
    println!(
        "turn: {} connections that never stop sending run before a pinger; it waits until {before_the_pinger} bytes \
         are echoed, at most {TURN} for each\n",
        firehoses.len()
    );
}

criterion_group!(benches, pump, turn);
criterion_main!(benches);
