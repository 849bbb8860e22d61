//! Describes the system on which a measurement runs, because it can explain a figure. The module only reads.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

/// The machine, and its limits that matter with thousands of connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Environment {
    /// The operating system, such as `linux`.
    pub os: String,
    /// The kernel's release; empty if it is not known.
    pub kernel: String,
    /// The instruction set, such as `x86_64`.
    pub architecture: String,
    /// The processor's name; empty if it is not known.
    pub cpu: String,
    /// The number of processors that this process may use; 0 if it is not known.
    pub cores: usize,
    /// Limits by name: `descriptors` (file descriptors of the process), and settings of sysctl(8) that limit
    /// connections and buffers.
    pub limits: BTreeMap<String, String>,
}

impl Environment {
    /// Describes the system that this process runs on.
    pub fn here() -> Environment {
        let mut limits = BTreeMap::new();
        for name in SYSCTLS {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            if let Ok(value) = fs::read_to_string(path) {
                let value: Vec<_> = value.split_whitespace().collect();
                limits.insert(name.to_owned(), value.join(" "));
            }
        }
        let descriptors = net::descriptors::descriptor_limit();
        if descriptors != usize::MAX {
            limits.insert("descriptors".to_owned(), descriptors.to_string());
        }
        Environment {
            os: std::env::consts::OS.to_owned(),
            kernel: kernel(),
            architecture: std::env::consts::ARCH.to_owned(),
            cpu: cpu(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            limits,
        }
    }
}

fn kernel() -> String {
    #[cfg(unix)]
    {
        let name = rustix::system::uname();
        name.release().to_string_lossy().into_owned()
    }
    #[cfg(not(unix))]
    String::new()
}

fn cpu() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names = ["model name", "Model", "Hardware"];
    let named = |line: &str| {
        let (key, value) = line.split_once(':')?;
        names.contains(&key.trim()).then(|| value.trim().to_owned())
    };
    cpuinfo.lines().find_map(named).unwrap_or_default()
}

/// The settings in `/proc/sys` that are reported.
const SYSCTLS: [&str; 7] = [
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_congestion_control",
];
