//! A client that runs out of ports: the limit is its own, and it says so, with the cure.

use std::fs;

use crate::common::{Process, mio_echo};
use crate::vanished::in_own_network;

/// In a network with ten ports to connect from.
fn with_ten_ports<T: Send>(run: impl FnOnce(&str) -> T + Send) -> T {
    let done = in_own_network(|| {
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009").unwrap();
        // A child has the network of the thread that starts it.
        let mut command = mio_echo();
        command.args(["serve", "127.0.0.1:30000"]);
        let server = Process::start(command, 1);
        run(&server.addresses[0])
    });
    done.unwrap()
}

fn bench(args: &[&str]) -> (Option<i32>, serde_json::Value) {
    let output = mio_echo()
        .args([
            "bench",
            "-w",
            "0s",
            "-d",
            "300ms",
            "--timeout",
            "500ms",
            "--json",
            "-",
        ])
        .args(args)
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

pub(crate) fn ports_that_are_used_up_are_the_clients_own_limit() {
    with_ten_ports(|target| {
        let (code, report) = bench(&[target, "-c", "30", "--source", "127.0.0.1"]);
        assert_eq!(code, Some(4), "{report:#}");
        let reasons = report["validity"]["reasons"].to_string();
        assert!(reasons.contains("a limit of the client"), "{reasons}");
        assert!(
            reasons.contains("--source") && reasons.contains("ip_local_port_range"),
            "{reasons}"
        );
        assert_eq!(report["runs"][0]["generator"]["connections_opened"], 10);
    });
}

pub(crate) fn on_loopback_further_addresses_are_used_when_ports_run_short() {
    with_ten_ports(|target| {
        let (code, report) = bench(&[target, "-c", "30"]);
        assert!(matches!(code, Some(0 | 4)), "{report:#}");
        assert_eq!(report["runs"][0]["generator"]["connections_opened"], 30);
        assert_eq!(report["runs"][0]["generator"]["connections_opened"], 30);
    });
}

/// Ten ports a source, and each source towards each server: a port is taken for one server only.
pub(crate) fn several_sources_have_as_many_ports_each() {
    with_ten_ports(|target| {
        let sources = "127.0.0.1,127.0.0.2,127.0.0.3";
        let (code, report) = bench(&[target, "-c", "30", "--source", sources]);
        assert!(matches!(code, Some(0 | 4)), "{report:#}");
        assert_eq!(report["runs"][0]["generator"]["connections_opened"], 30);
    });
}
