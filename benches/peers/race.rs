//! Who runs against whom, round by round.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::block::{Contender, Sample, Start, Timing, measure};
use crate::common::environment;
use crate::common::process::{LOAD_CORE, pin};
use crate::common::spread::Spread;
use crate::servers::{PEERS, serve};
use crate::workloads::WORKLOADS;

/// Compare echo servers, ours and others
#[derive(Parser, Debug)]
struct Args {
    /// Only workloads whose name contains one of these
    only: Vec<String>,
    /// Another program: NAME=COMMAND, with {port} where its port belongs
    #[arg(long, value_name = "NAME=COMMAND {port}")]
    peer: Vec<String>,
    #[arg(long)]
    all: bool,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long, default_value = "400ms", value_parser = humantime::parse_duration)]
    window: Duration,
    /// Be a peer, on a free port
    #[arg(long, hide = true)]
    serve: Option<String>,
    /// What `cargo bench` says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(name) = &args.serve {
        return match serve(name) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => panic!("{name}: {error}"),
        };
    }
    match compare(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(args: &Args) -> io::Result<()> {
    mio_echo::raise_descriptor_limit()?;
    pin(None, LOAD_CORE);
    println!("{}", environment());
    let mut contenders = vec![Contender {
        name: "mio-echo".into(),
        start: Start::Ours(&[]),
    }];
    for peer in &args.peer {
        let (name, command) = peer.split_once('=').unwrap();
        contenders.push(Contender {
            name: name.into(),
            start: Start::Command(command.into()),
        });
    }
    for (name, _) in PEERS
        .iter()
        .filter(|(n, _)| args.all || n.contains("limit") || n.contains("book"))
    {
        contenders.push(Contender {
            name: name.to_string(),
            start: Start::Peer(name),
        });
    }
    let timing = Timing {
        warmup: Duration::from_millis(100),
        window: args.window,
    };
    for workload in WORKLOADS {
        if !args.only.is_empty() && !args.only.iter().any(|o| workload.name.contains(o.as_str())) {
            continue;
        }
        let mut all: Vec<Vec<Sample>> = vec![Vec::new(); contenders.len()];
        for round in 0..args.rounds {
            for n in 0..contenders.len() {
                let n = (n + round) % contenders.len();
                match measure(&contenders[n], &workload, timing) {
                    Ok(s) => all[n].push(s),
                    Err(e) => println!("{}: {e}", contenders[n].name),
                }
            }
        }
        println!("\n{}", workload.name);
        for (n, c) in contenders.iter().enumerate() {
            let s = |f: fn(&Sample) -> f64| Spread::of(all[n].iter().map(f));
            let ratio = Spread::of(
                all[n]
                    .iter()
                    .zip(
                        &all[contenders
                            .iter()
                            .position(|c| c.name == "epoll limit")
                            .unwrap()],
                    )
                    .map(|(a, b)| a.cpu_us / b.cpu_us),
            );
            let fault = all[n]
                .iter()
                .find_map(|s| s.fault.clone())
                .unwrap_or_default();
            println!(
                "{:14} {:9.0}/s {:8.2} us  p50 {:8.1} p99 {:8.1} KiB {:6.2} cpu ratio {ratio} {fault}",
                c.name,
                s(|s| s.rate).median,
                s(|s| s.cpu_us).median,
                s(|s| s.p50_us).median,
                s(|s| s.p99_us).median,
                s(|s| s.kib).median
            );
        }
    }
    Ok(())
}
