//! What a peer's kernel has acknowledged of a TCP stream, as `TCP_INFO` tells it (tcp(7)).
//!
//! Only acknowledgements prove that a peer takes its echo. A write that succeeds proves nothing: Linux goes on taking
//! bytes into the send buffer of a peer that reads nothing, 64 KiB at a time, for many seconds.

use std::time::Duration;

/// How far a stream has got to its peer's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Bytes that the peer's kernel has acknowledged since the connection was accepted. Our end of stream counts as one.
    pub acknowledged: u64,
    /// Whether our kernel still holds bytes, or our end of stream, that the peer's kernel has not acknowledged.
    pub is_outstanding: bool,
    /// How long ago the last acknowledgement came, whether it acknowledged anything new or not.
    pub since_last_ack: Duration,
}

#[cfg(target_os = "linux")]
pub use linux::{backlog_length, of_tcp};

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::AsFd;
    use std::sync::OnceLock;

    // `libc` is a name that the macro below looks for.
    use nix::libc;
    use nix::sys::socket::{getsockopt, sockopt};

    use super::{Delivery, Duration};

    /// The delivery of a TCP stream, also of one that has failed. `None` before Linux 4.6, which does not tell all of it.
    pub fn of_tcp(stream: impl AsFd) -> Option<Delivery> {
        let info = Info::of(stream)?;
        Some(Delivery {
            acknowledged: info.u64_at(BYTES_ACKED)?,
            is_outstanding: info.u32_at(UNACKED)? > 0 || info.u32_at(NOTSENT_BYTES)? > 0,
            since_last_ack: Duration::from_millis(info.u32_at(LAST_ACK_RECV)?.into()),
        })
    }

    /// How many connections wait in the backlog of a TCP listener. For a socket that listens, `tcpi_unacked` is that
    /// number (Linux, `tcp_get_info`).
    pub fn backlog_length(listener: impl AsFd) -> Option<usize> {
        Info::of(listener)?.u32_at(UNACKED).map(|n| n as usize)
    }

    /// The beginning of the kernel's `struct tcp_info`, as bytes: libc's own ends before the fields that count here.
    struct Info([u8; SIZE]);

    impl Info {
        fn of(socket: impl AsFd) -> Option<Info> {
            // A shorter answer than was asked for would panic in nix.
            if !*IS_WHOLE.get_or_init(tells_all) {
                return None;
            }
            getsockopt(&socket, TcpInfo).ok().map(Info)
        }

        fn u32_at(&self, offset: usize) -> Option<u32> {
            let bytes = self.0.get(offset..)?.first_chunk()?;
            Some(u32::from_ne_bytes(*bytes))
        }

        fn u64_at(&self, offset: usize) -> Option<u64> {
            let bytes = self.0.get(offset..)?.first_chunk()?;
            Some(u64::from_ne_bytes(*bytes))
        }
    }

    /// `getsockopt(IPPROTO_TCP, TCP_INFO)`, cut off behind the last field that is read here.
    #[derive(Clone, Copy, Debug)]
    struct TcpInfo;

    nix::getsockopt_impl!(
        TcpInfo,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        [u8; SIZE],
        sockopt::GetStruct<[u8; SIZE]>
    );

    /// Whether this kernel's `struct tcp_info` is at least so long: `tcpi_notsent_bytes` came with Linux 4.6.
    fn tells_all() -> bool {
        let system = rustix::system::uname();
        let release = system.release().to_string_lossy();
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map(|number| number.parse().unwrap_or(0));
        let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        version >= (4, 6)
    }

    static IS_WHOLE: OnceLock<bool> = OnceLock::new();

    /// Offsets in `struct tcp_info` (linux/tcp.h), which grows only at its end.
    const UNACKED: usize = 24;
    const LAST_ACK_RECV: usize = 56;
    const BYTES_ACKED: usize = 120;
    const NOTSENT_BYTES: usize = 144;
    const SIZE: usize = 148;
}

/// For how long the kernel goes on with a peer that takes nothing, of itself (`TCP_USER_TIMEOUT`, tcp(7), RFC 5482); `None`
/// is its default, about a quarter of an hour. More than 24 days count as 24 days: the kernel refuses more milliseconds than
/// an `int` holds. Other systems do nothing.
///
/// # Errors
/// On what is no TCP socket.
pub fn give_up_after(socket: &socket2::Socket, time: Option<Duration>) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let longest = Duration::from_millis(i32::MAX as u64);
        socket.set_tcp_user_timeout(time.map(|time| time.min(longest)))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (socket, time);
        Ok(())
    }
}

/// Other systems have no such option, or one of their own that this project does not use.
#[cfg(not(target_os = "linux"))]
pub fn of_tcp<S>(_: S) -> Option<Delivery> {
    None
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
pub fn backlog_length<S>(_: S) -> Option<usize> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    fn eventually(what: &str, mut look: impl FnMut() -> bool) {
        let start = std::time::Instant::now();
        while !look() {
            assert!(start.elapsed().as_secs() < 30, "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn acknowledged_bytes_are_counted_from_the_accept_and_the_end_of_stream_is_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let delivery = || of_tcp(&stream).unwrap();
        assert_eq!(delivery().acknowledged, 0);
        (&stream).write_all(b"hello").unwrap();
        eventually("5 bytes to be acknowledged", || {
            delivery().acknowledged == 5 && !delivery().is_outstanding
        });
        stream.shutdown(Shutdown::Write).unwrap();
        eventually("the end to be acknowledged", || {
            delivery().acknowledged == 6 && !delivery().is_outstanding
        });
        eventually("the acknowledgement to be 50 ms old", || {
            delivery().since_last_ack >= Duration::from_millis(50)
        });
        // A segment with data acknowledges too.
        peer.write_all(b"x").unwrap();
        (&stream).read_exact(&mut [0]).unwrap();
        let age = delivery().since_last_ack;
        assert!(age < Duration::from_millis(50), "{age:?}");
    }

    #[test]
    fn what_a_peer_does_not_read_is_outstanding() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(n) = (&stream).write(&[0; 65536]) {
            written += n as u64;
        }
        let delivery = of_tcp(&stream).unwrap();
        assert!(
            delivery.is_outstanding && delivery.acknowledged < written,
            "{written} bytes were written; {delivery:?}"
        );
    }

    #[test]
    fn the_backlog_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(backlog_length(&listener), Some(0));
        let _peers = [0; 3].map(|_| TcpStream::connect(address).unwrap());
        eventually("3 connections to wait", || {
            backlog_length(&listener) == Some(3)
        });
    }
}
