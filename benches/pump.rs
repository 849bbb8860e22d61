//! What a message costs inside the program: `cargo bench --bench pump`.
//!
//! The server's connection over a socket of numbers, and the client's exchange with its verification. No kernel in it,
//! and no byte is copied but by the client, who makes and compares them all. That no message allocates is asserted before
//! anything is timed.

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
        // The first few may fill a pool.
        (0..8).for_each(|_| (case.run)());
        let made = allocation_counter::measure(|| (0..1000).for_each(|_| (case.run)()));
        assert_eq!(
            made.count_total, 0,
            "{}: allocations in 1000 messages",
            case.name
        );
        group.throughput(Throughput::ElementsAndBytes {
            elements: 1,
            bytes: case.bytes,
        });
        group.bench_function(case.name, |bencher| bencher.iter(|| (case.run)()));
    }
    group.finish();
    println!("pump: no message of any kind has allocated\n");
}

/// A connection that never runs dry moves one budget and no more: so long a pinger waits for each that is ready before it.
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
        "turn: behind {} connections that never stop sending, a pinger waits for {before_the_pinger} bytes to be \
         echoed, {TURN} for each of them\n",
        firehoses.len()
    );
}

criterion_group!(benches, pump, turn);
criterion_main!(benches);
