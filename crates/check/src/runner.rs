//! Makes the checks, one after another, and judges what they found.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::check::{Check, Needs};
use crate::checks;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::launcher::{Launcher, Started};
use crate::outcome::{Level, Outcome, Problem, Verdict};
use crate::process::Process;
use crate::report::{CheckReport, ServerReport};
use crate::rungs::Standing;
use crate::words::{Text, text};

/// What to check.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name of the server in the report.
    pub name: String,
    /// How the server is reached.
    pub server: Server,
    /// The names of the checks to make.
    pub checks: Vec<&'static str>,
    /// How long an answer may take. A short answer has 3/4 of it, and a pause may be 1.5 times as long.
    pub timeout: Duration,
    /// The time after which the server closes idle clients; `None` if it is not known. The check `squatters` needs it.
    pub idle_timeout: Option<Duration>,
    /// Whether the server promises to return what it has acknowledged when it gets SIGTERM. Then `sigterm` is of level
    /// should; otherwise it is a note.
    pub drains: bool,
    /// Whether checks with many connections or much traffic may be made on a server that is not on this machine.
    pub may_harm: bool,
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub enum Server {
    /// It runs already.
    Running {
        /// Its addresses: the first one for all checks, and further ones for the checks `unix` and `ipv6`.
        addresses: Vec<Endpoint>,
        /// Its process, if it is known.
        process: Option<Process>,
    },
    /// A command starts it, anew for each check.
    Command(Launcher),
}

/// A report on the progress.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A check begins: its number from 1, and how many there are.
    Begins(&'static Check, usize, usize),
    /// A check is over.
    Over(&'a CheckReport),
}

/// Makes the checks of a plan. `progress` is called before and after each check. The run ends early if `interrupted` is
/// set.
///
/// # Errors
/// The server is not reached: its address refuses connections, or its command does not start it. The text says why.
pub fn run(
    plan: &Plan,
    interrupted: &AtomicBool,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<ServerReport, Text> {
    reach(plan, interrupted)?;
    let wanted: Vec<&'static Check> = checks::all()
        .filter(|check| plan.checks.contains(&check.name))
        .collect();
    let mut report = ServerReport {
        name: plan.name.clone(),
        checks: Vec::new(),
        gone_since: None,
        interrupted: false,
        standing: Standing::of(|_| None),
    };
    for (n, check) in wanted.iter().copied().enumerate() {
        progress(Progress::Begins(check, n + 1, wanted.len()));
        let began = Instant::now();
        let outcome = match &report.gone_since {
            Some(name) => Err(Problem::Skipped(text!(
                "the server has not answered since {name}",
                "サーバーは {name} 以降応答しない"
            ))),
            None => {
                // A server of one client is gone after each check. `again` reports that, and no other check.
                let is_for_one_client =
                    check.name == "hello" || report.verdict("again") == Some(Verdict::Fail);
                let (outcome, is_gone) = make(plan, check, is_for_one_client, interrupted);
                report.gone_since = is_gone.then(|| check.name.to_owned());
                outcome
            }
        };
        let (verdict, remark) = match outcome {
            Ok(remark) => (Verdict::Pass, remark),
            Err(Problem::Failed(what)) => (Verdict::Fail, Some(what)),
            Err(Problem::Inconclusive(why)) => (Verdict::Inconclusive, Some(why)),
            Err(Problem::Skipped(why)) => (Verdict::Skipped, Some(why)),
            Err(Problem::Interrupted) => {
                report.interrupted = true;
                break;
            }
        };
        let made = CheckReport {
            name: check.name.to_owned(),
            group: check.group,
            level: match check.name {
                "sigterm" if plan.drains => Level::Should,
                _ => check.level,
            },
            verdict,
            remark,
            took_ms: began.elapsed().as_millis() as u64,
        };
        progress(Progress::Over(&made));
        report.checks.push(made);
    }
    report.standing = Standing::of(|name| report.verdict(name));
    Ok(report)
}

/// Checks that the server is there at all.
fn reach(plan: &Plan, interrupted: &AtomicBool) -> Result<(), Text> {
    let reached = match &plan.server {
        // A connection could be the only one that the server accepts, so the kernel is asked first. If nothing listens,
        // the run ends with an error, and not with a failed check.
        Server::Running { addresses, .. } => match addresses.first() {
            Some(endpoint) => match listens(endpoint) {
                Some(true) => Ok(()),
                _ => {
                    crate::client::Client::connect(endpoint, plan.timeout, interrupted).map(|_| ())
                }
            },
            None => Err(Problem::Failed(text!("no address", "アドレスがない"))),
        },
        Server::Command(launcher) => launcher.start(interrupted).map(|_| ()),
    };
    match reached {
        Ok(()) | Err(Problem::Interrupted) => Ok(()),
        Err(Problem::Failed(why) | Problem::Inconclusive(why) | Problem::Skipped(why)) => Err(why),
    }
}

/// Whether a server listens on an address of this machine; `None` if the system does not say.
fn listens(endpoint: &Endpoint) -> Option<bool> {
    match endpoint {
        Endpoint::Tcp(address) if endpoint.is_local() => {
            crate::queues::is_listening(address.port())
        }
        _ => None,
    }
}

/// Makes one check. Returns what it found, and whether the server is gone for the checks after it.
fn make(
    plan: &Plan,
    check: &Check,
    is_for_one_client: bool,
    interrupted: &AtomicBool,
) -> (Outcome, bool) {
    let mut context = match context(plan, interrupted) {
        Ok(context) => context,
        Err(problem) => return (Err(problem), false),
    };
    if let Some(why) = not_possible(plan, check, &context) {
        return (Err(Problem::Skipped(why)), false);
    }
    let meter = DelayMeter::start();
    let mut outcome = (check.run)(&mut context);
    let late = meter.stop();
    let is_over = matches!(outcome, Err(Problem::Interrupted | Problem::Skipped(_)));
    let mut is_gone = false;
    if !is_over && !interrupted.load(Ordering::Relaxed) {
        let is_new_for_each_check = context.launcher.is_some();
        let alive = match is_for_one_client && is_new_for_each_check {
            // A new client would not be served. If the check did not pass, the server may have ended instead.
            true if outcome.is_err() => has_not_ended(&mut context),
            true => Ok(()),
            false => alive(&mut context),
        };
        if let Err(how) = alive {
            is_gone = context.launcher.is_none();
            if let Some(started) = &mut context.started {
                // A process that ends closes its sockets first.
                let _ = started.wait(Duration::from_millis(200));
            }
            if !matches!(outcome, Err(Problem::Failed(_))) {
                outcome = Err(Problem::Failed(how));
            }
        }
    }
    if let Err(Problem::Failed(what)) = &mut outcome
        && let Some(how) = context.started.as_mut().and_then(Started::how_it_ended)
        && *what != how
    {
        what.en = format!("{}; {}", what.en, how.en);
        what.ja = format!("{}。{}", what.ja, how.ja);
    }
    // A failure of the server cannot be told from a machine that ran nothing for a long time.
    if let Err(Problem::Failed(what)) = &outcome
        && late > plan.timeout / 4
    {
        let (ms, en, ja) = (late.as_millis(), &what.en, &what.ja);
        outcome = Err(Problem::Inconclusive(text!(
            "this machine was busy: a sleep of 10 ms ended {ms} ms late. Seen: {en}",
            "このマシンが忙しかった: 10 ms のスリープが {ms} ms 遅れて終わった。観測: {ja}"
        )));
    }
    (outcome, is_gone)
}

fn context<'a>(plan: &'a Plan, interrupted: &'a AtomicBool) -> Result<Context<'a>, Problem> {
    let (endpoint, others, process, launcher, started) = match &plan.server {
        Server::Running { addresses, process } => {
            let Some((first, others)) = addresses.split_first() else {
                return Err(Problem::Skipped(text!("no address", "アドレスがない")));
            };
            (first.clone(), others, *process, None, None)
        }
        Server::Command(launcher) => {
            let started = launcher.start(interrupted)?;
            let process = started.process();
            (
                started.endpoint(),
                &[][..],
                process,
                Some(launcher),
                Some(started),
            )
        }
    };
    Ok(Context {
        endpoint,
        others,
        timeout: plan.timeout,
        idle_timeout: plan.idle_timeout,
        process,
        launcher,
        started,
        interrupted,
    })
}

/// Returns why a check is not made; `None` if it can be made.
fn not_possible(plan: &Plan, check: &Check, context: &Context<'_>) -> Option<Text> {
    let is_local = context.endpoint.is_local();
    let has = match check.needs {
        Needs::Nothing => true,
        Needs::Tcp => context.endpoint.is_tcp(),
        Needs::Loopback => context.endpoint.is_tcp() && is_local,
        Needs::Process => context.process.is_some(),
        Needs::Command => context.launcher.is_some(),
    };
    if !has {
        return Some(match check.needs {
            Needs::Nothing | Needs::Tcp => text!("it needs TCP", "TCP が必要"),
            Needs::Loopback => text!(
                "it needs a TCP server on this machine",
                "このマシン上の TCP サーバーが必要"
            ),
            Needs::Process => text!(
                "it needs the process of the server: --pid, or a command",
                "サーバーのプロセスが必要: --pid またはコマンドを指定する"
            ),
            Needs::Command => text!(
                "it needs a command that starts the server",
                "サーバーを起動するコマンドが必要"
            ),
        });
    }
    (check.harms && !is_local && !plan.may_harm).then(|| {
        text!(
            "it could harm a server that is not on this machine: --yes-it-is-mine allows it",
            "このマシン上にないサーバーに害を与えるおそれがある: --yes-it-is-mine で許可する"
        )
    })
}

/// Fails if the server has ended, or ends within 200 ms.
fn has_not_ended(context: &mut Context<'_>) -> Result<(), Text> {
    let Some(started) = &mut context.started else {
        return Ok(());
    };
    let _ = started.wait(Duration::from_millis(200));
    started.how_it_ended().map_or(Ok(()), Err)
}

/// Checks that a new client is served after a check.
fn alive(context: &mut Context<'_>) -> Result<(), Text> {
    let Some(started) = &mut context.started else {
        // Without a command, or after a check that has ended the server on purpose.
        if context.launcher.is_some() {
            return Ok(());
        }
        return answers(context);
    };
    match started.how_it_ended() {
        Some(how) => Err(how),
        None => answers(context),
    }
}

fn answers(context: &Context<'_>) -> Result<(), Text> {
    let what = match context.hello() {
        Ok(()) | Err(Problem::Interrupted | Problem::Inconclusive(_) | Problem::Skipped(_)) => {
            return Ok(());
        }
        Err(Problem::Failed(what)) => what,
    };
    let (en, ja) = (what.en, what.ja);
    Err(text!(
        "a new client got no answer after the check: {en}",
        "チェックの後、新しいクライアントが応答を得られなかった: {ja}"
    ))
}

/// A thread that sleeps for short times, and notices how late it wakes up. It shows whether the machine itself was too
/// busy to judge a time.
struct DelayMeter {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl DelayMeter {
    fn start() -> DelayMeter {
        let is_over: Arc<AtomicBool> = Arc::default();
        let until = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !until.load(Ordering::Relaxed) {
                let began = Instant::now();
                std::thread::sleep(NAP);
                longest = longest.max(began.elapsed().saturating_sub(NAP));
            }
            longest
        });
        DelayMeter { is_over, thread }
    }

    /// Ends the thread, and returns the longest delay.
    fn stop(self) -> Duration {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// How long the thread sleeps.
const NAP: Duration = Duration::from_millis(10);
