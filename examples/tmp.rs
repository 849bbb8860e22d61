use mio_echo::load::*;
use std::time::Duration;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut plan = Plan::new(a[1].parse().unwrap());
    plan.connections = a[2].parse().unwrap();
    plan.rate = a[3].parse().ok().filter(|r| *r > 0.0);
    plan.until = Until::Elapsed(Duration::from_secs_f64(a[4].parse().unwrap()));
    plan.sizes = Sizes::one(a[5].parse().unwrap()).unwrap();
    plan.pipeline = a[6].parse().unwrap();
    if let Some(s) = a.get(7) {
        plan.send_buffer = s.parse().ok();
        plan.receive_buffer = s.parse().ok();
    }
    if let Some(s) = a.get(8) {
        plan.reconnect = s.parse().ok();
    }
    mio_echo::raise_descriptor_limit().unwrap();
    let r = run(&plan, &Stopper::default(), |p| match p {
        Progress::Second(i) => eprintln!(
            "{} ok {} p99 {}",
            i.index,
            i.ok,
            i.response.value_at_quantile(0.99)
        ),
        p => eprintln!("{p:?}"),
    });
    match r {
        Err(e) => println!("{e}"),
        Ok(r) => {
            println!(
                "{:?} completed {} in {} faults {:?}\n{:?}",
                r.counts, r.completed, r.window_ns, r.faults, r.health
            );
            for (n, h) in [
                ("resp", &r.response),
                ("serv", &r.service),
                ("first", &r.first_byte),
                ("conn", &r.connect),
                ("late", &r.lateness),
            ] {
                println!(
                    "{n} n {} p50 {} p99 {} p99.9 {} max {}",
                    h.len(),
                    h.value_at_quantile(0.5),
                    h.value_at_quantile(0.99),
                    h.value_at_quantile(0.999),
                    h.max()
                );
            }
            println!(
                "cpu/msg {} us",
                r.health.cpu_ns as f64 / 1e3 / r.completed as f64
            );
            println!(
                "in flight {}",
                r.health.in_flight_ns as f64 / r.window_ns as f64
            );
        }
    }
}
