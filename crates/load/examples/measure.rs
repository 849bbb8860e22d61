//! Measures an echo server and reports the figures as text, as JSON and as an HTML page, like `mio-echo bench`.
//!
//! Run it with `cargo run -p mio-echo-load --example measure`. The server here needs only the standard library. The
//! address of any other echo server works too.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, SystemTime};

use mio_echo_load::report::{self, Document, DocumentBuilder, Measured, Options};
use mio_echo_load::{Plan, Progress, Stopper, Until, run};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let document = measure(start_echo_server()?)?;
    print!("{}", report::text(&document));
    let json = document.to_json()?;
    println!("\nthe JSON report has {} bytes and begins:\n", json.len());
    json.lines().take(8).for_each(|line| println!("{line}"));
    println!(
        "\nthe HTML page has {} bytes",
        report::page(&document).len()
    );
    Ok(())
}

/// Plans a run, carries it out and makes the report document.
fn measure(target: SocketAddr) -> Result<Document, Box<dyn Error>> {
    let mut plan = Plan::new(target.into());
    plan.connections = 10;
    plan.rate = Some(2000.0);
    plan.sizes = "64:9,4KiB:1".parse()?;
    plan.warmup = Duration::from_millis(100);
    plan.until = Until::Elapsed(Duration::from_millis(500));

    let started_at = SystemTime::now();
    let mut window_start = started_at;
    // Another thread could end the run through a clone of the stopper.
    let stopper = Stopper::default();
    let recording = run(&plan, &stopper, |progress| match progress {
        Progress::Started => window_start = SystemTime::now() + plan.warmup,
        Progress::Connected(open) => println!("{open} connections"),
        Progress::Second(second) => println!("{} messages came back", second.ok),
    })?;

    let mut builder = DocumentBuilder::new(Options::from(&plan), started_at);
    builder.add(Measured::new(&plan, recording, window_start));
    builder.fail_if("errors>0".parse()?);
    Ok(builder.build())
}

/// An echo server with a thread for each connection.
fn start_echo_server() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    Ok(address)
}
