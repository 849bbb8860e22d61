//! Echo servers that are wrong or slow on purpose. Each connection has a thread. All threads end with the test's
//! process.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// Starts a server that calls `talk` for each connection, with the connection's number (from 0) and its stream.
pub(crate) fn server(
    talk: impl Fn(usize, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let talk = Arc::new(talk);
    thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let (mut stream, talk) = (stream.unwrap(), talk.clone());
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || {
                // Not an error of the test: the client closes its connections at the end of the run.
                let _ = talk(n, &mut stream);
            });
        }
    });
    address
}

/// Starts a server for messages of `size` bytes. `answer` gets each message and its number on the connection (from
/// 0). It may change the bytes of the echo.
pub(crate) fn echoing(
    size: usize,
    answer: impl Fn(usize, &mut Vec<u8>) -> Then + Send + Sync + 'static,
) -> SocketAddr {
    server(move |_, stream| {
        let mut message = vec![0; size];
        for n in 0.. {
            stream.read_exact(&mut message)?;
            let mut echo = message.clone();
            let then = answer(n, &mut echo);
            stream.write_all(&echo)?;
            match then {
                Then::GoOn => {}
                Then::End => stream.shutdown(Shutdown::Both)?,
                Then::Reset => {
                    SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                    return Ok(());
                }
            }
        }
        Ok(())
    })
}

/// What a server does after an answer.
pub(crate) enum Then {
    /// Read the next message.
    GoOn,
    /// End the stream.
    End,
    /// Reset the connection.
    Reset,
}

/// Starts a server that mixes up connections: connections other than the first echo, instead of every tenth message,
/// the first connection's last message.
pub(crate) fn swapping(size: usize) -> SocketAddr {
    let last: Arc<Mutex<Vec<u8>>> = Arc::default();
    server(move |connection, stream| {
        let mut message = vec![0; size];
        for n in 0.. {
            stream.read_exact(&mut message)?;
            if connection == 0 {
                *last.lock().unwrap() = message.clone();
            } else if n % 10 == 9 {
                message.clone_from(&last.lock().unwrap());
            }
            stream.write_all(&message)?;
        }
        Ok(())
    })
}
