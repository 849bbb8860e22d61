//! What is measured, and against which bound.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::load::Clients;

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, address] = arguments.as_slice()
        && command == crate::client::CLIENT_LIMIT
    {
        return match crate::client_limit::measure(address) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => panic!("the minimal client: {error}"),
        };
    }
    if arguments.iter().any(|argument| argument == EPOLL_LIMIT) {
        return match crate::epoll_limit::serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => panic!("the epoll limit: {error}"),
        };
    }
    match figures() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => panic!("cannot measure: {error}"),
    }
}

/// Measures all of them; whether all are within their bounds.
fn figures() -> io::Result<bool> {
    mio_echo::raise_descriptor_limit()?;
    println!("{}", environment());
    // The load on one core, the servers on the other, where there are two.
    pin(None, 1);
    let mut good = true;
    for (name, figure) in FIGURES {
        // `cargo bench --bench figures -- NAME` measures one.
        let asked: Vec<String> = std::env::args()
            .skip(1)
            .filter(|a| !a.starts_with('-'))
            .collect();
        if asked.is_empty() || asked.iter().any(|asked| name.contains(asked.as_str())) {
            good &= figure()?;
        }
    }
    Ok(good)
}

type Figure = fn() -> io::Result<bool>;

const FIGURES: [(&str, Figure); 4] = [
    ("calls", calls_a_message),
    ("memory", memory_and_burst),
    ("time", time_a_message),
    ("client", crate::client::time_a_verified_message),
];

/// Reads and writes a message, of 50 clients with 64 bytes each, counted by strace.
fn calls_a_message() -> io::Result<bool> {
    let table = std::env::temp_dir().join(format!("mio-echo-calls-{}", std::process::id()));
    let mut command = Command::new("strace");
    command.args(["-D", "-c", "-f", "-qq", "-o"]).arg(&table);
    command.arg(env!("CARGO_BIN_EXE_mio-echo"));
    let Ok(server) = Server::start(command.args(SERVE)) else {
        println!("calls a message: not counted, strace is missing (apt-get install strace)");
        return Ok(true);
    };
    let clients = Clients::connect(server.address, 50)?;
    let messages = clients.ping_pong(64, Duration::from_secs(2))?;
    drop(clients);
    server.stop()?;
    let start = Instant::now();
    let text = loop {
        let text = fs::read_to_string(&table).unwrap_or_default();
        if text.contains("total") || start.elapsed() > Duration::from_secs(10) {
            break text;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    fs::remove_file(&table)?;
    let count = |name: &str| -> f64 {
        text.lines()
            .find(|line| line.ends_with(&format!(" {name}")))
            .and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
            .unwrap_or(0.0)
    };
    let moving = (count("recvfrom") + count("sendto")) / messages as f64;
    let polls = count("epoll_wait") / messages as f64;
    let registrations = count("epoll_ctl");
    println!(
        "calls a message, 50 clients x 64 B: {moving:.3} reads and writes (bound 2.1), {polls:.3} polls; \
         {registrations} registrations in all, for {messages} messages"
    );
    Ok(moving > 1.9 && moving < 2.1 && registrations < 60.0)
}

/// A burst of 15,000 clients, what each of them costs when it is idle, and what is left when they have gone.
fn memory_and_burst() -> io::Result<bool> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mio-echo"));
    let server = Server::start(command.args(SERVE).args(["--idle-timeout", "1h"]))?;
    let descriptors = server.descriptors()?;
    drop(crowd(server.address, 64)?);
    server.wait_for_descriptors(descriptors)?;
    let resident = server.resident()?;
    let start = Instant::now();
    let clients = crowd(server.address, CROWD)?;
    let took = start.elapsed();
    let a_client = (server.resident()? - resident) as f64 / CROWD as f64;
    drop(clients);
    server.wait_for_descriptors(descriptors)?;
    // The last descriptor is closed just before the memory is given back.
    std::thread::sleep(Duration::from_millis(100));
    let left = server.resident()? - resident;
    println!("burst: {CROWD} clients connected and were served in {took:.2?}");
    println!("memory: {a_client:.1} bytes an idle client, timeouts on (bound 128)");
    println!(
        "after they left: {} descriptors more than before, {left} bytes more",
        server.descriptors()? - descriptors
    );
    server.stop()?;
    Ok(a_client <= 128.0 && left < 512 * 1024)
}

/// The server's processor time a message, beside the minimal epoll server's, in alternating blocks.
///
/// The load shares the servers' core here. On a core of its own it would run while they do, and how many messages a
/// poll finds, which is most of what a message costs, would depend on which of the two happens to be faster. And there
/// are several processes of each server: where the system puts a process in memory alone makes a difference of 5 %.
fn time_a_message() -> io::Result<bool> {
    pin(None, 0);
    let start = |command: &mut Command| -> io::Result<(Server, Clients)> {
        let server = Server::start(command)?;
        let clients = Clients::connect(server.address, 50)?;
        block(&server, &clients)?;
        Ok((server, clients))
    };
    let mut pairs = Vec::new();
    for _ in 0..PROCESSES {
        let ours = start(Command::new(env!("CARGO_BIN_EXE_mio-echo")).args(SERVE))?;
        let limit = start(Command::new(std::env::current_exe()?).arg(EPOLL_LIMIT))?;
        pairs.push((ours, limit));
    }
    let (mut our_times, mut limit_times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (mut our_time, mut limit_time) = (0.0, 0.0);
        for (ours, limit) in &pairs {
            // Each goes first every other time.
            if round % 2 == 0 {
                our_time += block(&ours.0, &ours.1)?;
                limit_time += block(&limit.0, &limit.1)?;
            } else {
                limit_time += block(&limit.0, &limit.1)?;
                our_time += block(&ours.0, &ours.1)?;
            }
        }
        our_times.push(our_time / PROCESSES as f64);
        limit_times.push(limit_time / PROCESSES as f64);
        ratios.push(our_time / limit_time);
    }
    let [our_median, limit_median] = [&mut our_times, &mut limit_times].map(|t| quartiles(t)[1]);
    let [low, ratio, high] = quartiles(&mut ratios);
    println!(
        "processor time a message, 50 clients x 64 B: {our_median:.2} µs, the epoll limit's {limit_median:.2} µs; \
         ratio {ratio:.3} (bound 1.05), half of {ROUNDS} rounds between {low:.3} and {high:.3}"
    );
    for (ours, _) in pairs {
        ours.0.stop()?;
    }
    Ok(ratio <= 1.05)
}

/// Processor time a message, in microseconds, over a quarter of a second.
fn block(server: &Server, clients: &Clients) -> io::Result<f64> {
    let before = server.cpu()?;
    let messages = clients.ping_pong(64, Duration::from_millis(250))?;
    Ok((server.cpu()? - before).as_secs_f64() * 1e6 / messages as f64)
}

/// Connects all of them before the first is served, then has each of them served.
fn crowd(address: SocketAddr, clients: usize) -> io::Result<Vec<TcpStream>> {
    let clients: Vec<_> = (0..clients)
        .map(|_| TcpStream::connect(address))
        .collect::<io::Result<_>>()?;
    for mut client in &clients {
        client.write_all(b"!")?;
    }
    for mut client in &clients {
        client.read_exact(&mut [0])?;
    }
    Ok(clients)
}

/// A server in a process of its own, on the core that the load is not on.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> io::Result<Server> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        pin(Some(Pid::from_child(&child)), 0);
        let mut line = String::new();
        if let Some(output) = &mut child.stdout {
            BufReader::new(output).read_line(&mut line)?;
        }
        let address = line.trim_end().trim_start_matches("listening on ");
        let address = address
            .parse()
            .map_err(|_| io::Error::other(line.clone()))?;
        Ok(Server { child, address })
    }

    fn proc(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))
    }

    fn cpu(&self) -> io::Result<Duration> {
        let schedstat = self.proc("schedstat")?;
        let ns = schedstat
            .split_whitespace()
            .next()
            .and_then(|ns| ns.parse().ok());
        ns.map(Duration::from_nanos)
            .ok_or_else(|| io::Error::other(schedstat))
    }

    /// Without the program's own file, which is read page by page as it is first used.
    fn resident(&self) -> io::Result<i64> {
        let status = self.proc("status")?;
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let kib: Option<i64> = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        kib.map(|kib| kib * 1024)
            .ok_or_else(|| io::Error::other(status))
    }

    fn descriptors(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    fn wait_for_descriptors(&self, most: usize) -> io::Result<()> {
        let start = Instant::now();
        while self.descriptors()? > most {
            if start.elapsed() > Duration::from_secs(30) {
                return Err(io::Error::other(
                    "the server keeps descriptors of clients that have gone",
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(crate) fn stop(mut self) -> io::Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Pins a process, or this one, to a core. Where there is only one, nothing is pinned.
pub(crate) fn pin(process: Option<Pid>, core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let _ = sched_setaffinity(process, &cores);
}

/// Lower quartile, median, upper quartile.
pub(crate) fn quartiles(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[values.len() * quarter / 4])
}

fn environment() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!(
        "{} {}, {} cores, Linux {}",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
        std::thread::available_parallelism().map_or(0, usize::from),
        read("/proc/sys/kernel/osrelease").trim(),
    ) + &model.map_or(String::new(), |(_, model)| format!(", {model}"))
}

const EPOLL_LIMIT: &str = "--epoll-limit";
pub(crate) const SERVE: [&str; 2] = ["serve", "127.0.0.1:auto"];
const CROWD: usize = 15_000;

/// Processes of each server, and blocks that each of them is measured in.
const PROCESSES: usize = 3;
const ROUNDS: usize = 16;
