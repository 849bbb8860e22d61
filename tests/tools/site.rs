//! The site of `--metrics` as its users see it: the page in a browser, and the numbers in Prometheus.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::browser::{
    assert_that_a_phone_shows_all, assert_that_light_dark_and_print_are_drawn, opened_at,
    opened_with_messages,
};
use crate::common::{Process, connect, eventually};

/// Starts a server with `--metrics`, and returns it with the address of its site.
fn serve() -> (Process, SocketAddr) {
    let mut server = Process::serve(&["--metrics", "auto", "--threads", "2"]);
    let line = server.line();
    let site = line.trim().strip_prefix("metrics on http://").unwrap();
    (server, site.trim_end_matches('/').parse().unwrap())
}

/// Asks for a path, and returns the body of the answer.
fn get(site: SocketAddr, path: &str) -> String {
    let mut client = connect(site);
    write!(
        client,
        "GET {path} HTTP/1.1\r\nHost: {site}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Serves three clients. They stay connected.
fn three_clients(server: &Process) -> Vec<std::net::TcpStream> {
    (0..3)
        .map(|_| {
            let mut client = connect(server.address());
            client.write_all(b"hello").unwrap();
            client.read_exact(&mut [0; 5]).unwrap();
            client
        })
        .collect()
}

pub(crate) fn the_page_draws_the_numbers_of_the_server() {
    let (server, site) = serve();
    let _clients = three_clients(&server);
    let folder = tempfile::tempdir().unwrap();
    // A few seconds of the page's clock: it asks several times.
    let waits = ["--virtual-time-budget=5000", "--dump-dom"];
    let (page, messages) = opened_at(folder.path(), &waits, &format!("http://{site}/"));
    assert!(messages.is_empty(), "{messages:#?}");
    for text in [
        ">mio-echo serve</h1>",
        ">3</b> open",
        "≤ ",
        "Closed connections",
        "process descriptors",
        &format!("listening on {}", server.address()),
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(
        page.contains(r#"<path class="s0" d="M"#),
        "no curve: {page}"
    );
}

/// Saves the page with the server's numbers in it, and looks at it without the server.
pub(crate) fn the_page_fits_a_phone_and_has_light_and_dark() {
    let (server, site) = serve();
    let _clients = three_clients(&server);
    let (page, status) = (get(site, "/"), get(site, "/status.json"));
    let answer =
        format!("window.fetch = async () => ({{ ok: true, json: async () => ({status}) }})");
    let saved = page.replacen("<script>", &format!("<script>{answer}</script><script>"), 1);
    assert_ne!(saved, page);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("saved.html");
    fs::write(&file, saved).unwrap();
    let (drawn, messages) = opened_with_messages(folder.path(), &file);
    assert!(
        messages.is_empty() && drawn.contains(">3</b> open"),
        "{messages:#?}: {drawn}"
    );
    assert_that_a_phone_shows_all(folder.path(), "saved.html");
    assert_that_light_dark_and_print_are_drawn(folder.path(), &file);
}

/// Returns true if Prometheus and promtool are installed.
pub(crate) fn prometheus_works() -> bool {
    ["prometheus", "promtool"].into_iter().all(|name| {
        let version = Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    })
}

/// A Prometheus that this test started. Dropping it kills the process.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A real Prometheus reads the configuration of the repository, with the server's own port, and answers a query.
pub(crate) fn prometheus_reads_the_server() {
    let (server, site) = serve();
    let _clients = three_clients(&server);
    let folder = tempfile::tempdir().unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    let text = fs::read_to_string(deploy.join("prometheus.yml")).unwrap();
    let config = text.replace("127.0.0.1:7008", &site.to_string()).replace(
        "scrape_interval: 5s",
        "scrape_interval: 200ms\n  scrape_timeout: 200ms",
    );
    assert!(config.contains(&site.to_string()) && config.contains("200ms"));
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, config).unwrap();
    fs::copy(deploy.join("alerts.yml"), folder.path().join("alerts.yml")).unwrap();
    // The port is free again when Prometheus binds it, unless another process takes it in between.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = free.local_addr().unwrap();
    drop(free);
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let process = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={api}"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let process = Prometheus(process);
    let query = |query: &str| {
        if std::net::TcpStream::connect(api).is_err() {
            return Value::Null;
        }
        let answer = get(api, &format!("/api/v1/query?query={query}"));
        let answer: Value = serde_json::from_str(answer.trim()).unwrap_or_default();
        answer["data"]["result"][0]["value"][1].clone()
    };
    let log = || fs::read_to_string(folder.path().join("log")).unwrap();
    eventually("Prometheus to have the connections", || {
        match query("mio_echo_connections_open") == "3" {
            true => Ok(()),
            false => Err(log()),
        }
    });
    assert_eq!(query("mio_echo_received_bytes_total"), "15", "{}", log());
    assert_eq!(
        query("sum(mio_echo_loop_connections_open)"),
        "3",
        "{}",
        log()
    );
    assert_eq!(query("up{job=%22mio-echo%22}"), "1", "{}", log());
    drop(process);
}

pub(crate) fn the_alert_rules_pass_their_tests() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    for args in [
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let output = Command::new("promtool")
            .args(args)
            .current_dir(&deploy)
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
}
