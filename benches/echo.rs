//! Time of an echo from end to end: `cargo bench --bench echo`.
//!
//! The server runs on a thread of this process, and the load generator verifies every byte over real loopback
//! connections. The clock starts when all connections are open; only the group "connect, ask, close" opens
//! connections inside the time.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use criterion::{criterion_group, criterion_main};
use mio_echo::load::{Plan, Sizes, Stopper, Until, run};
use mio_echo::{Address, Config, Handle, Server};

/// A server on a thread of this process. Dropping it shuts the server down.
struct Target {
    address: Address,
    handle: Handle,
}

impl Target {
    fn start() -> Target {
        let _ = mio_echo::raise_descriptor_limit();
        let config = Config {
            addresses: vec!["127.0.0.1:auto".parse().expect("an address")],
            ..Config::default()
        };
        let server = Server::bind(&config).expect("a free port");
        let address = server.local_addresses()[0].clone();
        let handle = server.handle();
        std::thread::spawn(|| server.run());
        Target { address, handle }
    }

    /// Returns the plan that all benches start from: one connection, no warm-up.
    fn plan(&self) -> Plan {
        let mut plan = Plan::new(self.address.clone());
        plan.connections = 1;
        plan.warmup = Duration::ZERO;
        plan
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

/// Measures a message of `size` bytes under this plan, with the load generator's own clock.
fn bench(group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, size: u32, plan: &Plan) {
    group.throughput(Throughput::ElementsAndBytes {
        elements: 1,
        bytes: u64::from(size),
    });
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|messages| {
            // At least four messages for each place in flight: otherwise start and end would be most of the measured
            // time.
            let count = messages.max(4 * plan.connections as u64 * plan.pipeline as u64);
            let mut plan = plan.clone();
            plan.sizes = Sizes::one(size).expect("a size");
            plan.until = Until::Count(count);
            let recording = run(&plan, &Stopper::default(), |_| ()).expect("a run");
            assert_eq!(recording.counts.ok, count, "{:?}", recording.faults);
            Duration::from_nanos(recording.window_ns).mul_f64(messages as f64 / count as f64)
        });
    });
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    // Each sample is a whole run with new connections: so few samples, each of the same number of messages.
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(2));
    group
}

fn by_size(criterion: &mut Criterion) {
    let target = Target::start();
    let mut group = group(criterion, "round trip by size");
    for size in [1, 64, 1 << 10, 16 << 10, 64 << 10, 1 << 20] {
        let id = BenchmarkId::from_parameter(size);
        bench(&mut group, id, size, &target.plan());
    }
    group.finish();
}

fn by_pipeline(criterion: &mut Criterion) {
    let target = Target::start();
    let mut group = group(criterion, "throughput by pipeline depth");
    for pipeline in [1, 4, 16, 64] {
        let mut plan = target.plan();
        plan.pipeline = pipeline;
        bench(&mut group, BenchmarkId::from_parameter(pipeline), 64, &plan);
    }
    group.finish();
}

fn by_connections(criterion: &mut Criterion) {
    let target = Target::start();
    let mut group = group(criterion, "throughput by connections");
    // Client and server are one process, so each connection takes two of its descriptors.
    let most = mio_echo::load::Environment::here().limits["descriptors"].parse();
    let most = most.map_or(usize::MAX, |descriptors: usize| {
        (descriptors / 2).saturating_sub(100)
    });
    for connections in [1, 10, 100, 1_000, 10_000.min(most)] {
        let mut plan = target.plan();
        plan.connections = connections;
        let id = BenchmarkId::from_parameter(connections);
        bench(&mut group, id, 64, &plan);
    }
    group.finish();
}

fn connect_ask_close(criterion: &mut Criterion) {
    let target = Target::start();
    let mut group = group(criterion, "connect, ask, close");
    for connections in [1, 16] {
        let mut plan = target.plan();
        plan.connections = connections;
        plan.reconnect = Some(1);
        let id = BenchmarkId::from_parameter(connections);
        bench(&mut group, id, 64, &plan);
    }
    group.finish();
}

criterion_group!(
    benches,
    by_size,
    by_pipeline,
    by_connections,
    connect_ask_close
);
criterion_main!(benches);
