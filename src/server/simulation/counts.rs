//! What a run counts: what the server should have counted too, and what there was to be met with.

/// How many connections were closed for which cause, as the kernel saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Causes {
    pub(super) end_of_stream: u64,
    pub(super) reset: u64,
    pub(super) failed: u64,
    pub(super) idle: u64,
    pub(super) stalled: u64,
    pub(super) drained: u64,
    pub(super) abandoned: u64,
    pub(super) unregistered: u64,
    pub(super) turned_away: u64,
}

/// How many calls came to what, as the server should have counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) accepted: u64,
    pub(super) failed_accepts: u64,
    pub(super) reads: u64,
    pub(super) peeks: u64,
    pub(super) writes: u64,
    pub(super) would_blocks: u64,
    pub(super) left_in_backlog: u64,
}

/// What a run has met with: a simulator that meets nothing proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) turns: u64,
    pub(crate) spurious: u64,
    pub(crate) would_block_writes: u64,
    pub(crate) keys_reused_in_a_batch: u64,
    pub(crate) ends_with_output_pending: u64,
    pub(crate) left_for_later: u64,
    pub(crate) time_jumps: u64,
    pub(crate) urgent_bytes: u64,
    pub(crate) interrupted: u64,
    pub(crate) lost_wake_ups: u64,
    pub(crate) splices: u64,
    pub(crate) splices_held_up: u64,
    pub(crate) failed_pipes: u64,
    pub(crate) lost_times: u64,
    pub(crate) busy_polls: u64,
    pub(crate) reports: u64,
    pub(crate) crowds: u64,
    pub(crate) complete_at_stop: u64,
    pub(crate) kernel_time_outs: u64,
    pub(crate) grown_queues: u64,
}
