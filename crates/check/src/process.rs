//! The process of the server under test: what it costs, and how it is stopped and continued. Linux only: the figures
//! come from proc(5).

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::outcome::Problem;
use crate::words::text;

/// The process of the server, with its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(Pid);

impl Process {
    /// Takes the id of a process; `None` if there is no such process, or if the system has no proc(5).
    #[must_use]
    pub fn new(id: u32) -> Option<Process> {
        let pid = Pid::from_raw(i32::try_from(id).ok()?)?;
        fs::metadata(format!("/proc/{id}/stat")).ok()?;
        Some(Process(pid))
    }

    /// Returns the id.
    #[must_use]
    pub fn id(self) -> u32 {
        self.0.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether the process still runs. A process that has ended and that its parent has not waited for does not.
    pub(crate) fn is_alive(self) -> bool {
        let state = stat(self.id()).map(|stat| stat.state);
        state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    /// Returns the ids of the process and of its descendants.
    pub(crate) fn tree(self) -> Vec<u32> {
        let mut tree = vec![self.id()];
        let all: Vec<(u32, u32)> = ids()
            .filter_map(|id| Some((id, stat(id)?.parent)))
            .collect();
        let mut next = 0;
        while let Some(&parent) = tree.get(next) {
            let children = all.iter().filter(|(_, of)| *of == parent);
            tree.extend(children.map(|(id, _)| *id));
            next += 1;
        }
        tree
    }

    /// Returns the processor time of the process and its descendants so far.
    ///
    /// # Errors
    /// [`Problem::Inconclusive`] if the system does not say.
    pub(crate) fn processor_time(self) -> Result<Duration, Problem> {
        let mut ns = 0;
        let mut known = false;
        for id in self.tree() {
            for task in children_of(&format!("/proc/{id}/task")) {
                let schedstat = fs::read_to_string(format!("/proc/{id}/task/{task}/schedstat"));
                let Ok(schedstat) = schedstat else { continue };
                let running = schedstat.split_ascii_whitespace().next();
                ns += running.and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
                known = true;
            }
        }
        match known {
            true => Ok(Duration::from_nanos(ns)),
            false => Err(unknown("/proc/PID/task/*/schedstat")),
        }
    }

    /// Returns the number of open descriptors of the process and its descendants.
    pub(crate) fn descriptors(self) -> Result<usize, Problem> {
        let count = |id: u32| {
            fs::read_dir(format!("/proc/{id}/fd"))
                .ok()
                .map(Iterator::count)
        };
        let counts: Vec<usize> = self.tree().into_iter().filter_map(count).collect();
        match counts.is_empty() {
            true => Err(unknown("/proc/PID/fd")),
            false => Ok(counts.iter().sum()),
        }
    }

    /// Returns how many descriptors the process can still open: the numbers below its limit that are not in use. `None`
    /// if the system does not say, or if there is no limit.
    pub(crate) fn free_descriptors(self) -> Option<usize> {
        let (limit, _) = limits(self.id())?;
        let open = children_of(&format!("/proc/{}/fd", self.id()));
        let used = open.iter().filter(|number| u64::from(**number) < limit);
        usize::try_from(limit).ok()?.checked_sub(used.count())
    }

    /// Returns the resident memory of the process and its descendants in bytes: `VmRSS` of proc_pid_status(5).
    pub(crate) fn memory(self) -> Result<u64, Problem> {
        let sizes: Vec<u64> = self
            .tree()
            .into_iter()
            .filter_map(|id| status(id, "VmRSS:"))
            .collect();
        match sizes.is_empty() {
            true => Err(unknown("/proc/PID/status")),
            false => Ok(sizes.iter().sum::<u64>() * 1024),
        }
    }

    /// Returns the number of threads of the process and its descendants.
    pub(crate) fn threads(self) -> Result<u64, Problem> {
        let counts = self
            .tree()
            .into_iter()
            .filter_map(|id| status(id, "Threads:"));
        match counts.sum() {
            0 => Err(unknown("/proc/PID/status")),
            threads => Ok(threads),
        }
    }

    /// Stops the process and its descendants (SIGSTOP) until the returned value is dropped.
    pub(crate) fn stop(self) -> Result<Stopped, Problem> {
        let mut stopped = Stopped(Vec::new());
        let until = Instant::now() + Duration::from_secs(2);
        for id in self.tree() {
            let Some(pid) = pid(id) else { continue };
            match kill_process(pid, Signal::STOP) {
                Ok(()) => stopped.0.push(pid),
                // A child that has just ended.
                Err(rustix::io::Errno::SRCH) => continue,
                Err(error) => return Err(refused("SIGSTOP", error)),
            }
            while stat(id).is_some_and(|stat| !matches!(stat.state, 'T' | 't' | 'Z' | 'X')) {
                if Instant::now() > until {
                    return Err(Problem::Inconclusive(text!(
                        "the process did not stop within 2 s of SIGSTOP",
                        "SIGSTOP から 2 秒たってもプロセスが止まらなかった"
                    )));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(stopped)
    }

    /// Sends a signal to the process alone.
    pub(crate) fn signal(self, signal: Signal) -> Result<(), Problem> {
        kill_process(self.0, signal).map_err(|error| refused("a signal", error))
    }

    /// Limits the descriptors of the process, as [`Process::limit_descriptors`] does, so that it can open `free` more.
    pub(crate) fn leave_descriptors(self, free: usize) -> Result<Limited, Problem> {
        let open = children_of(&format!("/proc/{}/fd", self.id()));
        if open.is_empty() {
            return Err(unknown("/proc/PID/fd"));
        }
        // A new descriptor gets the lowest number that is free. The next one after these is the limit.
        let mut unused = (0..).filter(|number| !open.contains(number));
        self.limit_descriptors(unused.nth(free).unwrap_or(u32::MAX).into())
    }

    /// Limits the descriptors of the process until the returned value is dropped (prlimit(2), `RLIMIT_NOFILE`). The
    /// limit counts descriptor numbers: descriptors that are open stay open. The hard limit is kept, so that the soft
    /// limit can be raised again without privileges.
    pub(crate) fn limit_descriptors(self, limit: u64) -> Result<Limited, Problem> {
        let (_, hard) = limits(self.id()).ok_or_else(|| unknown("/proc/PID/limits"))?;
        let wanted = Rlimit {
            current: Some(limit),
            maximum: hard,
        };
        let before = prlimit(Some(self.0), Resource::Nofile, wanted)
            .map_err(|error| refused("prlimit", error))?;
        Ok(Limited {
            process: self,
            before,
        })
    }
}

/// Processes that are stopped. Dropping it continues them (SIGCONT).
#[derive(Debug)]
pub(crate) struct Stopped(Vec<Pid>);

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            // The process may have ended.
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}

/// A process with fewer descriptors than before. Dropping it restores the limit.
#[derive(Debug)]
pub(crate) struct Limited {
    process: Process,
    before: Rlimit,
}

impl Drop for Limited {
    fn drop(&mut self) {
        // The process may have ended.
        let _ = prlimit(Some(self.process.0), Resource::Nofile, self.before);
    }
}

/// What `/proc/PID/stat` says.
struct Stat {
    state: char,
    parent: u32,
}

fn stat(id: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program is in parentheses and may contain spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some(Stat {
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
    })
}

/// Returns the number after a name in `/proc/PID/status`.
fn status(id: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Returns the soft and the hard limit of descriptors; `None` for a limit that there is not.
fn limits(id: u32) -> Option<(u64, Option<u64>)> {
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let mut fields = line.split_ascii_whitespace();
    let soft = fields.next()?.parse().ok()?;
    Some((soft, fields.next()?.parse().ok()))
}

fn ids() -> impl Iterator<Item = u32> {
    children_of("/proc").into_iter()
}

/// Returns the names of a folder that are numbers.
fn children_of(folder: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect()
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

fn unknown(what: &str) -> Problem {
    Problem::Inconclusive(text!(
        "the system does not say ({what})",
        "システムから値が得られない ({what})"
    ))
}

fn refused(what: &str, error: rustix::io::Errno) -> Problem {
    Problem::Inconclusive(text!(
        "the kernel refused {what}: {error}",
        "カーネルが {what} を拒否した: {error}"
    ))
}
