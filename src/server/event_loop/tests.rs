//! The loop over a kernel in which nothing ever happens: what it does before it waits.

use std::time::{Duration, Instant};

use super::*;
use crate::server::Config;
use crate::server::scripted::Scripted;

/// Notes each wait, and wakes up for none of the reasons that a wait may have.
struct Silent {
    waits: Vec<Option<Duration>>,
    now: Instant,
}

impl Poller for Silent {
    type Listener = ();
    type Stream = Scripted;
    type PeerName = String;

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        self.waits.push(timeout);
        // To wait for ever here is to hang: what should have ended it has come and gone.
        let timeout = timeout.ok_or_else(|| io::Error::other("waits for ever"))?;
        self.now += timeout;
        Ok(())
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn signal(&mut self) -> Option<Signal> {
        None
    }

    fn accept(&mut self, (): &mut ()) -> io::Result<(Scripted, String)> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn backlog_length(&self, (): &()) -> Option<usize> {
        None
    }

    fn register_listener(&mut self, (): &mut (), _: usize) -> io::Result<()> {
        Ok(())
    }

    fn register_stream(&mut self, _: &mut Scripted, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn deregister_listener(&mut self, (): &mut ()) {}

    fn deregister_stream(&mut self, _: &mut Scripted) {}

    fn short_read_means_empty(&self, _: &Scripted) -> bool {
        true
    }
}

fn silent_loop(config: &Config) -> (EventLoop<Silent>, Arc<Control>) {
    let control = Arc::new(Control::default());
    let poller = Silent {
        waits: Vec::new(),
        now: Instant::now(),
    };
    let (limits, _) = Limits::of(config);
    let mut event_loop = EventLoop::new(poller, limits, control.clone());
    event_loop.listen(()).unwrap();
    (event_loop, control)
}

/// mio's `poll(2)` selector may lose the wake-up that a handle sends. Here it is lost for certain.
#[test]
fn a_lost_wake_up_does_not_lose_the_shutdown() {
    let (mut event_loop, control) = silent_loop(&Config::default());
    control.stop();
    event_loop.run().unwrap();
    assert_eq!(event_loop.poller.waits, [Some(Duration::ZERO)]);
}

#[test]
fn with_nothing_to_wait_for_it_waits_for_ever() {
    let (mut event_loop, _) = silent_loop(&Config::default());
    event_loop.run().unwrap_err();
    assert_eq!(event_loop.poller.waits, [None]);
}

#[test]
fn it_waits_no_longer_than_to_the_next_report() {
    let every = Duration::from_secs(10);
    let config = Config {
        stats_every: Some(every),
        ..Config::default()
    };
    let (mut event_loop, _) = silent_loop(&config);
    let mut events = Vec::new();
    for _ in 0..3 {
        event_loop.turn(&mut events).unwrap();
    }
    assert_eq!(event_loop.poller.waits, [Some(every); 3]);
}
