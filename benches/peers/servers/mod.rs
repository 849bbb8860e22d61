//! The other servers: written as the documentation of each library shows, with the usual socket options (no delay, the
//! longest backlog) and a buffer of 64 KiB, which large messages need. That buffer was this bench's choice. So there is
//! a row with each library's own idiom too: its `io::copy`, which chooses the buffer itself.

mod bare;
mod smol_tasks;
mod textbook;
mod threads;
mod tokio_tasks;

use std::io::{self, Write};
use std::net::TcpListener;

use socket2::{Domain, Socket, Type};

/// Serves until the process is killed, or until an error.
type Serve = fn(TcpListener) -> io::Result<()>;

/// The names of the servers, and their functions.
pub(crate) const PEERS: [(&str, Serve); 9] = [
    (BARE[0], bare::serve_levels),
    (BARE[1], bare::serve_edges),
    ("mio textbook", textbook::serve),
    (TOKIO, tokio_tasks::serve),
    ("smol", smol_tasks::serve),
    ("std threads", threads::serve),
    ("tokio, io::copy", tokio_tasks::serve_copying),
    ("smol, io::copy", smol_tasks::serve_copying),
    ("std threads, io::copy", threads::serve_copying),
];

/// The bare epoll loops.
pub(crate) const BARE: [&str; 2] = ["bare epoll, level", "bare epoll, edge"];
pub(crate) const TOKIO: &str = "tokio";

/// Whether the size of the buffers was the library's choice.
pub(crate) fn chooses_its_buffer(name: &str) -> bool {
    name.ends_with("io::copy")
}

/// Listens on a free port, prints `listening on ADDRESS`, and runs the server of this name.
///
/// # Errors
/// If no server has this name, or a system call fails.
pub(crate) fn serve(name: &str) -> io::Result<()> {
    let Some((_, serve)) = PEERS.iter().find(|(peer, _)| *peer == name) else {
        return Err(io::Error::other(format!("no server is called {name}")));
    };
    mio_echo::raise_descriptor_limit()?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // On Linux accepted sockets inherit TCP_NODELAY from the listener.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(i32::MAX)?;
    let listener = TcpListener::from(socket);
    let mut output = io::stdout();
    writeln!(output, "listening on {}", listener.local_addr()?)?;
    output.flush()?;
    serve(listener)
}

/// Size of each server's read buffer, in bytes.
const BUFFER: usize = 64 * 1024;
