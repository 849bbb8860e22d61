//! A load generator that runs out of local ports. The report says that this is the client's limit, and how to raise it.

use std::fs;

use crate::common::{Process, mio_echo};
use crate::vanished::in_own_network;

/// Calls `run` in a network namespace with ten local ports to connect from, with the address of a server there.
fn with_ten_ports<T: Send>(run: impl FnOnce(&str) -> T + Send) -> T {
    let done = in_own_network(|| {
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009").unwrap();
        // A process has the network namespace of the thread that starts it.
        let mut command = mio_echo();
        command.args(["serve", "127.0.0.1:30000"]);
        let server = Process::start(command, 1);
        run(&server.addresses[0])
    });
    done.unwrap()
}

/// Runs `mio-echo bench` for 300 ms, and returns its exit code and its report.
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

/// Each source address has ten ports. A local port is in use only towards one server: another server can use it again.
pub(crate) fn several_sources_have_as_many_ports_each() {
    with_ten_ports(|target| {
        let sources = "127.0.0.1,127.0.0.2,127.0.0.3";
        let (code, report) = bench(&[target, "-c", "30", "--source", sources]);
        assert!(matches!(code, Some(0 | 4)), "{report:#}");
        assert_eq!(report["runs"][0]["generator"]["connections_opened"], 30);
    });
}
