//! Tests of the timeout that the loop passes to each poll. The kernel here never reports an event.

use std::time::{Duration, Instant};

use super::*;
use crate::server::Config;
use crate::server::scripted::Scripted;

/// A poller that reports no event and no signal. It records the timeout of each poll.
struct Silent {
    /// The timeouts of all polls, in order; `None` means without limit.
    waits: Vec<Option<Duration>>,
    /// The virtual time. Each poll moves it forward by its timeout.
    now: Instant,
}

impl Poller for Silent {
    type Listener = ();
    type Stream = Scripted;
    type PeerName = String;

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        self.waits.push(timeout);
        // A poll without a timeout would hang, because no event comes. It returns an error, which ends the loop.
        let timeout = timeout.ok_or_else(|| io::Error::other("the poll has no timeout"))?;
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

/// mio's `poll(2)` selector may lose the wake-up that a handle sends. This poller always loses it.
#[test]
fn a_lost_wake_up_does_not_lose_the_shutdown() {
    let (mut event_loop, control) = silent_loop(&Config::default());
    control.stop();
    event_loop.run().unwrap();
    assert_eq!(event_loop.poller.waits, [Some(Duration::ZERO)]);
}

#[test]
fn without_a_timer_the_poll_has_no_timeout() {
    let (mut event_loop, _) = silent_loop(&Config::default());
    event_loop.run().unwrap_err();
    assert_eq!(event_loop.poller.waits, [None]);
}

#[test]
fn the_poll_ends_at_the_next_report() {
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
