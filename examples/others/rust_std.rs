//! An echo server with Rust's standard library: a thread for each client.
//! Build: rustc -O -o /tmp/rust_std examples/others/rust_std.rs
//! Run: mio-echo check -- /tmp/rust_std {address}
//! Stands on: rung 10 of the ladder. Next: `out-of-descriptors`, because an accept error ends it. It fails `storm` too.
use std::{env, io, net, thread};

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7007".into());
    let listener = net::TcpListener::bind(address)?;
    loop {
        let (client, _) = listener.accept()?;
        thread::spawn(move || io::copy(&mut &client, &mut &client));
    }
}
