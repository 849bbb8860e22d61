//! The descriptor limit of the process: raising it, and the number of connections that it allows.

use std::io;

/// Raises the soft descriptor limit to the hard limit, which needs no privilege, and returns the new soft limit.
///
/// The limit applies to the whole process, so the library never raises it by itself. A program calls this function
/// before it binds a server.
///
/// # Errors
/// The errors of setrlimit(2). It always succeeds on a system without such a limit.
pub fn raise_descriptor_limit() -> io::Result<usize> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            limit.current = limit.maximum;
            let raised = setrlimit(Resource::Nofile, limit);
            // Darwin reports an unlimited hard limit, but accepts no soft limit above OPEN_MAX (setrlimit(2) there).
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

/// Returns the number of connections that the current descriptor limit allows beside `others`, at least 1. `others` are
/// descriptors in addition to the 32 that are never for connections.
pub fn room_for_connections(others: usize) -> usize {
    descriptor_limit()
        .saturating_sub(RESERVED.saturating_add(others))
        .clamp(1, MOST_CONNECTIONS)
}

/// Returns the soft descriptor limit, or `usize::MAX` if there is none.
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

/// Descriptors that are not for connections: the three standard streams, the selector and its waker, signals,
/// listeners, one to turn a client away, and those of the rest of the program.
const RESERVED: usize = 32;

/// The most connections if the system sets no limit. The tables for this number of connections take 128 MiB.
const MOST_CONNECTIONS: usize = 1 << 20;
