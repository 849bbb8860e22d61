//! A check: its description, and the function that makes it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::outcome::{Level, Outcome};
use crate::words::Words;

/// A check of an echo server.
pub struct Check {
    /// The name, as in `--only`.
    pub name: &'static str,
    /// The group, which `--only` and `--except` accept too.
    pub group: Group,
    /// How strictly a server must pass it.
    pub level: Level,
    /// What it needs besides an address.
    pub needs: Needs,
    /// Whether it can harm a server that others use: many connections, much memory, or much traffic.
    pub harms: bool,
    /// What the client does.
    pub does: Words,
    /// When the server passes.
    pub passes: Words,
    /// Why a failure matters.
    pub why: Words,
    /// Where to read more: a file of this project, a manual page or an RFC.
    pub read: &'static str,
    /// Makes the check.
    pub(crate) run: fn(&mut Context<'_>) -> Outcome,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish()
    }
}

/// The subject of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Every byte comes back, in order.
    Echo,
    /// Ends of streams.
    Ends,
    /// Clients that reset or leave.
    Resets,
    /// Clients that do not read.
    Pressure,
    /// Many clients.
    Many,
    /// The cost in processor time, memory and descriptors.
    Cost,
    /// Signals and limits of the process.
    Process,
}

impl Group {
    /// All groups, in the order of the list.
    pub const ALL: [Group; 7] = [
        Group::Echo,
        Group::Ends,
        Group::Resets,
        Group::Pressure,
        Group::Many,
        Group::Cost,
        Group::Process,
    ];

    /// Returns the name, as in `--only`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Group::Echo => "echo",
            Group::Ends => "ends",
            Group::Resets => "resets",
            Group::Pressure => "pressure",
            Group::Many => "many",
            Group::Cost => "cost",
            Group::Process => "process",
        }
    }
}

/// What a check needs besides an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// TCP.
    Tcp,
    /// A TCP connection within this machine: the kernel reports the bytes in its queues (`/proc/net/tcp`).
    Loopback,
    /// The process of the server: `--pid`, or a command.
    Process,
    /// A command that starts the server.
    Command,
}
