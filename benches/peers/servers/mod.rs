//! The peers: echo servers as the documentation of each library would write them, with the options that everybody
//! sets (no delay, a full backlog), and a buffer of 64 KiB, which bulk needs.

mod limit;
mod smol_tasks;
mod textbook;
mod threads;
mod tokio_tasks;

use std::io::{self, Write};
use std::net::TcpListener;

use socket2::{Domain, Socket, Type};

/// For ever, or until it is killed.
type Serve = fn(TcpListener) -> io::Result<()>;

/// Their names, each with how it serves.
pub(crate) const PEERS: [(&str, Serve); 5] = [
    ("epoll limit", limit::serve),
    ("mio textbook", textbook::serve),
    ("tokio", tokio_tasks::serve),
    ("smol", smol_tasks::serve),
    ("std threads", threads::serve),
];

/// Listens on a free port, says so, and serves as the peer of that name does.
pub(crate) fn serve(name: &str) -> io::Result<()> {
    let Some((_, serve)) = PEERS.iter().find(|(peer, _)| *peer == name) else {
        return Err(io::Error::other(format!("no peer is called {name}")));
    };
    mio_echo::raise_descriptor_limit()?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // Inherited by what it accepts, on Linux.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(i32::MAX)?;
    let listener = TcpListener::from(socket);
    let mut output = io::stdout();
    writeln!(output, "listening on {}", listener.local_addr()?)?;
    output.flush()?;
    serve(listener)
}

/// How much each of them reads at once.
const BUFFER: usize = 64 * 1024;
