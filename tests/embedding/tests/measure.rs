//! The library of the load generator: measures a server, and makes each report of the command `bench`.

use std::time::{Duration, SystemTime};

use mio_echo::Server;
use mio_echo::load::{Plan, Progress, Stopper, Until, run};
use mio_echo::report::{self, Document, DocumentBuilder, Measured, Options};

#[test]
fn a_measurement_can_be_reported_as_text_page_and_json() {
    let server = Server::spawn().unwrap();
    let mut plan = Plan::new(server.local_addr().into());
    plan.connections = 4;
    plan.sizes = "64:9,4KiB:1".parse().unwrap();
    plan.warmup = Duration::ZERO;
    plan.until = Until::Count(500);
    let started_at = SystemTime::now();
    let mut window_start = started_at;
    let recording = run(&plan, &Stopper::default(), |progress| {
        if matches!(progress, Progress::Started) {
            window_start = SystemTime::now();
        }
    })
    .unwrap();
    assert_eq!(recording.counts.ok, 500);
    let mut builder = DocumentBuilder::new(Options::from(&plan), started_at);
    builder.add(Measured::new(&plan, recording, window_start));
    builder.fail_if("errors>0".parse().unwrap());
    let document = builder.build();

    assert!(report::text(&document).contains("verified   500 echoes"));
    assert!(report::page(&document).contains("<svg"));
    let json = document.to_json().unwrap();
    let back = Document::from_json(&json).unwrap();
    assert_eq!(back.to_json().unwrap(), json);
    let stats = server.stop().unwrap();
    assert_eq!(stats.accepted, 4);
}

#[test]
fn the_check_of_an_impossible_plan_returns_the_reason() {
    let mut plan = Plan::new("127.0.0.1:7".parse().unwrap());
    plan.connections = 0;
    let error = plan.check().unwrap_err();
    assert_eq!(error.to_string(), "a run needs at least one connection");
    assert!("64-".parse::<mio_echo::load::Sizes>().is_err());
}
