//! smol: one task for each connection, all tasks on one thread. Once with the buffer that all servers of this bench
//! have, and once with `smol::io::copy`, as smol's own example writes an echo server.

use std::io;
use std::net::{TcpListener, TcpStream};

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor};

use super::BUFFER;

pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    serve_with(listener, echo)
}

pub(super) fn serve_copying(listener: TcpListener) -> io::Result<()> {
    serve_with(listener, copy)
}

fn serve_with<F>(listener: TcpListener, echo: fn(Async<TcpStream>) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = Async::new(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            let task = async move {
                let _ = echo(stream).await;
            };
            executor.spawn(task).detach();
        }
    }))
}

async fn echo(mut stream: Async<TcpStream>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn copy(stream: Async<TcpStream>) -> io::Result<()> {
    smol::io::copy(&stream, &mut &stream).await?;
    Ok(())
}
