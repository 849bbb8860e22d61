//! Bugs on purpose, each behind a switch, to see whether the simulator finds them. Compiled into its tests only:
//! everywhere else a `planted!` line is nothing at all.
//!
//! A bug is one that echo servers really have: see `docs/TESTING.md`.

/// Does the statement where the simulator's tests have planted this bug, and does not exist anywhere else.
#[cfg(test)]
macro_rules! planted {
    ($bug:ident => $statement:stmt) => {
        if $crate::planted::is($crate::planted::Bug::$bug) {
            $statement
        }
    };
}

#[cfg(not(test))]
macro_rules! planted {
    ($bug:ident => $statement:stmt) => {};
}

#[cfg(test)]
pub(crate) use switch::{Bug, is, now, with};

#[cfg(test)]
mod switch {
    use std::cell::Cell;

    /// What may be planted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Bug {
        /// One accept for each event, as under level triggering.
        AcceptOncePerEvent,
        /// Who yields does not queue: the next edge will do, and there is none.
        NoReadyQueueAfterYield,
        /// A short read is drained, whatever the event hinted.
        StopAfterShortRead,
        /// The hint is forgotten when the turn ends before `WouldBlock`.
        ForgetTheHintAfterATurn,
        /// A short read is drained, whatever the selector re-arms on.
        TrustShortReadsEverywhere,
        /// The connection is closed when its event says that the peer has ended its stream.
        CloseOnAFlag,
        /// What is pending is given up when the peer ends its stream.
        DropTheSpillAtTheEnd,
        /// The peer is read while its output is pending.
        ReadWhilePending,
        /// What was just read overtakes what is pending.
        NewBeforeOld,
        /// A partial write is taken for a whole one.
        PartialWriteIsWhole,
        /// Spills are lent without looking at the budget.
        SpillBeyondTheBudget,
        /// A spill is not given back when its connection closes.
        KeepTheSpill,
        /// `EMFILE` is taken for an empty backlog.
        NoRetryAfterEmfile,
        /// A pause has its timer, and nobody is remembered for its end.
        ForgetWhoWaitsForAPause,
        /// A connection that closes ends no pause: only the timer does.
        NoRetryWhenAConnectionCloses,
        /// `EMFILE` is tried again at once.
        RetryAtOnce,
        /// An event that says that all is over closes whatever has the key by now.
        CloseOnAStaleEvent,
        /// Nobody looks for stalled peers.
        ForgetTheStallTimer,
        /// At the cap, nothing is accepted, and nobody comes back to the listener.
        LoseTheListenerAtTheCap,
        /// The last free place is not given to anybody.
        TurnAwayTooEarly,
        /// The loop wakes up every millisecond, for nothing.
        WakeUpForNothing,
        /// A closed stream is left with the selector.
        LeaveItRegistered,
        /// A write is counted with what was offered, not with what was taken.
        CountWhatWasOffered,
        /// A drain gives up at half of its time.
        GiveUpTooEarly,
        /// A turn has no budget.
        TurnWithoutEnd,
        /// What is not waited for is tried all the same.
        TryWhatIsNotAwaited,
        /// A drained connection is closed without reading on to the peer's end.
        NoLingeringClose,
        /// A drain ends the stream without echoing what had been received.
        NoLastWords,
        /// The last words end where a read ends in front of an urgent byte.
        LastWordsEndAtAShortRead,
        /// The stop flag is looked at when something else ends the poll.
        WaitForALostWakeUp,
        /// An interrupted read ends the connection.
        DieOfEintr,
        /// A listener whose event comes while accepting pauses is not remembered.
        LoseAListenerDuringAPause,
        /// A splice that moves less than it was asked for is taken for a drained queue.
        ShortSpliceIsDrained,
        /// A splice that would block is taken for a drained queue, whatever the event hinted.
        TrustASplicesWouldBlock,
        /// What a broken connection leaves in the pipe stays there, for the next.
        LeaveItInThePipe,
        /// What the kernel does not take out of the pipe is taken for written.
        PartialSpliceIsWhole,
        /// A timer that expires closes its connection without another look at the socket.
        TrustATimer,
        /// The same, of a stall timer alone: the socket may have room again.
        TrustAStallTimer,
        /// A write that succeeds counts as progress of a stalled peer.
        TakeAWriteForProgress,
        /// An idle timeout counts what the peer sends, and not what it acknowledges.
        IdleWhileItReads,
        /// An idle timeout does not count what was acknowledged while it ran.
        IdleWhileItAcknowledges,
        /// A connection is closed at the peer's end of stream while the kernel holds bytes of its echo.
        CloseWithOutputInTheKernel,
        /// The kernel's own timer for peers that take nothing is left as it is.
        LetTheKernelDecide,
        /// A lingering connection is closed while the kernel holds bytes of its echo.
        EndWithOutputInTheKernel,
        /// The listeners are closed before their backlogs are accepted.
        ForgetTheBacklog,
        /// Free spills are kept for ever.
        KeepFreeMemory,
    }

    impl Bug {
        /// All of them.
        pub(crate) const ALL: [Bug; 46] = [
            Bug::AcceptOncePerEvent,
            Bug::NoReadyQueueAfterYield,
            Bug::StopAfterShortRead,
            Bug::ForgetTheHintAfterATurn,
            Bug::TrustShortReadsEverywhere,
            Bug::CloseOnAFlag,
            Bug::DropTheSpillAtTheEnd,
            Bug::ReadWhilePending,
            Bug::NewBeforeOld,
            Bug::PartialWriteIsWhole,
            Bug::SpillBeyondTheBudget,
            Bug::KeepTheSpill,
            Bug::NoRetryAfterEmfile,
            Bug::ForgetWhoWaitsForAPause,
            Bug::NoRetryWhenAConnectionCloses,
            Bug::RetryAtOnce,
            Bug::CloseOnAStaleEvent,
            Bug::ForgetTheStallTimer,
            Bug::LoseTheListenerAtTheCap,
            Bug::TurnAwayTooEarly,
            Bug::WakeUpForNothing,
            Bug::LeaveItRegistered,
            Bug::CountWhatWasOffered,
            Bug::GiveUpTooEarly,
            Bug::TurnWithoutEnd,
            Bug::TryWhatIsNotAwaited,
            Bug::NoLingeringClose,
            Bug::NoLastWords,
            Bug::LastWordsEndAtAShortRead,
            Bug::WaitForALostWakeUp,
            Bug::DieOfEintr,
            Bug::LoseAListenerDuringAPause,
            Bug::ShortSpliceIsDrained,
            Bug::TrustASplicesWouldBlock,
            Bug::LeaveItInThePipe,
            Bug::PartialSpliceIsWhole,
            Bug::TrustATimer,
            Bug::TrustAStallTimer,
            Bug::TakeAWriteForProgress,
            Bug::IdleWhileItReads,
            Bug::IdleWhileItAcknowledges,
            Bug::CloseWithOutputInTheKernel,
            Bug::LetTheKernelDecide,
            Bug::EndWithOutputInTheKernel,
            Bug::ForgetTheBacklog,
            Bug::KeepFreeMemory,
        ];
    }

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this bug is planted on this thread.
    pub(crate) fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Which bug is planted on this thread.
    pub(crate) fn now() -> Option<Bug> {
        PLANTED.get()
    }

    /// Runs something with a bug planted, or with none.
    pub(crate) fn with<T>(bug: impl Into<Option<Bug>>, run: impl FnOnce() -> T) -> T {
        PLANTED.set(bug.into());
        let result = run();
        PLANTED.set(None);
        result
    }
}
