//! The driver's part that leads a run from its first connection to its last echo.

use super::slot::{Slot, State};
use super::{DriveError, Driver, Phase, Update, ns};
use crate::clock::thread_processor_time;
use crate::load::plan::Until;
use crate::load::recorder::Window;
use crate::load::recording::Recording;

impl Driver {
    /// All that is not a message: dials, phases, timeouts, what is told.
    pub(super) fn manage(&mut self) -> Result<(), DriveError> {
        self.dial_some();
        if let Some(fault) = self.dialing.take_fatal() {
            return Err(DriveError::Unreachable(fault));
        }
        if self.now_ns >= self.recorder.current_end_ns() {
            self.recorder.pass(self.now_ns);
        }
        for interval in self.recorder.finished(self.open) {
            let _ = self.updates.send(Update::Interval(interval));
        }
        if self.common.stopper.ends_this_run() {
            self.stop()?;
        }
        if self.now_ns >= self.tick_ns {
            self.tick();
        }
        match self.phase {
            Phase::Connecting => self.look_whether_ready()?,
            Phase::Ready => self.look_whether_to_start(),
            Phase::Running => self.look_whether_to_end(),
            Phase::Draining(until_ns) if self.in_flight == 0 || self.now_ns >= until_ns => {
                self.phase = Phase::Over;
            }
            Phase::Draining(_) | Phase::Over => {}
        }
        Ok(())
    }

    fn look_whether_ready(&mut self) -> Result<(), DriveError> {
        self.tell_open();
        let settled = |slot: &Slot| matches!(slot.state, State::Open | State::Gone);
        if !self.dialing.all_dialled(self.slots.len()) || !self.slots.iter().all(settled) {
            return Ok(());
        }
        if self.open == 0 {
            let last = self.dialing.last_fault();
            return Err(DriveError::Unreachable(last));
        }
        self.phase = Phase::Ready;
        let _ = self.updates.send(Update::Ready);
        Ok(())
    }

    fn look_whether_to_start(&mut self) {
        let schedule_ns = self.common.gun.start_ns();
        if self.now_ns < schedule_ns {
            return;
        }
        let plan = &self.common.plan;
        let start_ns = schedule_ns + ns(plan.warmup);
        let end_ns = match plan.until {
            Until::Elapsed(duration) => start_ns + ns(duration),
            Until::Count(_) => u64::MAX,
        };
        let window = Window {
            schedule_ns,
            start_ns,
            end_ns,
        };
        self.recorder.open(window, self.open as u64);
        self.pace.start(schedule_ns, end_ns);
        self.phase = Phase::Running;
        self.ended_ns = self.now_ns;
        for key in 0..self.slots.len() {
            self.refill(key);
        }
    }

    fn look_whether_to_end(&mut self) {
        if self.cpu_start.is_none() && self.now_ns >= self.recorder.start_ns() {
            self.cpu_start = Some(thread_processor_time());
            // What came back in the warm-up is nobody's share of what is measured.
            self.slots.iter_mut().for_each(|slot| slot.ok = 0);
        }
        let plan = &self.common.plan;
        let timeout_ns = ns(plan.timeout);
        let grace_ns = timeout_ns.min(GRACE_NS);
        let end_ns = match plan.until {
            Until::Elapsed(_) => self.recorder.end_ns(),
            Until::Count(_) if self.pace.is_used_up() && self.in_flight == 0 => self.ended_ns,
            // There have been errors and nothing else for so long that there will be nothing else.
            Until::Count(_) if self.now_ns > self.failing_ns.saturating_add(2 * timeout_ns) => {
                self.now_ns
            }
            Until::Count(_) => return,
        };
        if self.now_ns >= end_ns {
            // The last of so many messages came back at that very moment, and is within the window.
            let within = u64::from(matches!(plan.until, Until::Count(_)));
            self.end(end_ns + within, grace_ns);
        }
    }

    /// Nothing is due from `end_ns` on.
    fn end(&mut self, end_ns: u64, grace_ns: u64) {
        let now = thread_processor_time();
        self.cpu = now.saturating_sub(self.cpu_start.unwrap_or(now));
        self.pace.end(end_ns);
        self.recorder.close(end_ns);
        self.phase = Phase::Draining(self.now_ns + grace_ns);
    }

    fn stop(&mut self) -> Result<(), DriveError> {
        match self.phase {
            Phase::Connecting | Phase::Ready => Err(DriveError::Stopped),
            Phase::Running => {
                // What was begun in this very moment is within the window.
                self.end(self.now_ns + 1, SHORT_GRACE_NS);
                Ok(())
            }
            Phase::Draining(_) | Phase::Over => Ok(()),
        }
    }

    fn tell_open(&mut self) {
        let more = self.open.saturating_sub(self.told_open);
        if more >= TELL_EVERY || more > 0 && self.open == self.slots.len() {
            self.told_open = self.open;
            let _ = self.updates.send(Update::Opened(more));
        }
    }

    pub(super) fn finish(mut self) -> Recording {
        let now_ns = self.now_ns;
        for slot in &mut self.slots {
            for (intended_ns, begun_ns) in slot.exchange.under_way_ns() {
                self.recorder.unfinished(intended_ns, begun_ns, now_ns);
            }
            let recorder = &mut self.recorder;
            self.pace.left_over(slot.schedule.as_mut(), |due_ns| {
                recorder.unsent(due_ns, now_ns);
            });
        }
        let shares = self.slots.iter().map(|slot| slot.ok).collect();
        for interval in self.recorder.finished(self.open) {
            let _ = self.updates.send(Update::Interval(interval));
        }
        self.recorder.finish(shares, ns(self.cpu))
    }
}

/// How long to wait at the end for what is under way, if the timeout is not shorter; what has not come back by then is
/// reported as unfinished, with its age.
const GRACE_NS: u64 = 1_000_000_000;

/// The same after a stop: somebody waits.
const SHORT_GRACE_NS: u64 = 100_000_000;

/// So often connections are told of while they are made.
const TELL_EVERY: usize = 100;
