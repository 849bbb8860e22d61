//! The process's descriptor limit: how to raise it, and how many connections it has room for.

use std::io;

/// Raises the soft descriptor limit to the hard one, which needs no privilege, and returns what it is now.
///
/// It is the process's limit, so a library does not touch it unasked: a program calls this before it binds a server.
///
/// # Errors
/// Those of setrlimit(2). Always succeeds where there is no such limit.
pub fn raise_descriptor_limit() -> io::Result<usize> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            limit.current = limit.maximum;
            let raised = setrlimit(Resource::Nofile, limit);
            // Darwin gives out an unlimited hard limit and takes no more than OPEN_MAX (setrlimit(2) there).
            #[cfg(target_vendor = "apple")]
            let raised = raised.or_else(|_| {
                limit.current = Some(10_240);
                setrlimit(Resource::Nofile, limit)
            });
            raised?;
        }
    }
    Ok(descriptor_limit())
}

/// How many connections the descriptor limit has room for now.
pub fn room_for_connections() -> usize {
    descriptor_limit()
        .saturating_sub(RESERVED)
        .clamp(1, MOST_CONNECTIONS)
}

/// The soft descriptor limit; `usize::MAX` where there is none.
pub fn descriptor_limit() -> usize {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};
        let limit = getrlimit(Resource::Nofile).current;
        limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
    }
    #[cfg(not(unix))]
    {
        usize::MAX
    }
}

/// Descriptors for all else: the standard three, the selector and its waker, signals, listeners, one to turn a client
/// away with, and what the rest of the program has open.
const RESERVED: usize = 32;

/// A bound where the system sets none; a table of so many takes 128 MiB.
const MOST_CONNECTIONS: usize = 1 << 20;
