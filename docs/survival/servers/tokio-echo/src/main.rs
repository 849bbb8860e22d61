//! An echo server on tokio, after the example `echo` in its repository: a task for each client, which reads and writes
//! in turn. Written anew from its description. An error of a client ends its task only.

use std::env;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_io()
        .build()?;
    runtime.block_on(serve(&address))
}

async fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(echo(client));
    }
}

async fn echo(mut client: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 1024];
    loop {
        let n = client.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        client.write_all(&buffer[..n]).await?;
    }
}
