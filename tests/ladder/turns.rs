//! Makes checks on several servers together, except those that need the machine for themselves.

use std::sync::atomic::AtomicBool;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use check::{CheckReport, Launcher, Plan, Server, run};

/// Makes these checks on a server, beside other servers.
pub(crate) fn made_together(launcher: &Launcher, checks: Vec<&'static str>) -> Vec<CheckReport> {
    let _together = TURN.read().unwrap_or_else(PoisonError::into_inner);
    made(launcher, checks)
}

/// Makes a check while no other server is checked, and again up to five times until `is_expected`. If another program
/// was busy, the server may survive its fault.
pub(crate) fn made_alone(
    launcher: &Launcher,
    check: &'static str,
    is_expected: impl Fn(&CheckReport) -> bool,
) -> Vec<CheckReport> {
    let _alone = TURN.write().unwrap_or_else(PoisonError::into_inner);
    let mut reports = Vec::new();
    for _ in 0..5 {
        reports = made(launcher, vec![check]);
        if reports.iter().all(&is_expected) {
            break;
        }
    }
    reports
}

/// Returns true if a check needs the machine for itself: with another busy process beside it, a client cannot send
/// without a pause, and then the server is not unfair.
pub(crate) fn needs_the_machine(check: &str) -> bool {
    ["idle-crowd", "fairness"].contains(&check)
}

fn made(launcher: &Launcher, checks: Vec<&'static str>) -> Vec<CheckReport> {
    if checks.is_empty() {
        return Vec::new();
    }
    let plan = Plan {
        name: String::new(),
        server: Server::Command(launcher.clone()),
        checks,
        timeout: Duration::from_millis(1500),
        idle_timeout: Some(Duration::from_secs(1)),
        drains: true,
        may_harm: false,
    };
    let report = run(&plan, &AtomicBool::new(false), |_| ());
    report.unwrap_or_else(|why| panic!("{}", why.en)).checks
}

/// Servers are checked together (read) or alone (write).
static TURN: RwLock<()> = RwLock::new(());
