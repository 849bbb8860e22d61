//! The bytes of a TCP stream that the peer's kernel has acknowledged, from `TCP_INFO` (tcp(7)).
//!
//! Only acknowledgements prove that a peer receives its echo. A write that succeeds proves nothing: for a peer that
//! reads nothing, Linux still accepts bytes into our send buffer, 64 KiB at a time, for many seconds.

use std::time::Duration;

/// The delivery of a stream: the part of it that the peer's kernel has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The number of bytes that the peer's kernel has acknowledged since the connection was accepted. Our end of stream
    /// counts as one byte.
    pub acknowledged: u64,
    /// Whether our kernel still holds unacknowledged bytes, or our end of stream is unacknowledged.
    pub is_outstanding: bool,
    /// The time since the last acknowledgement, in whole milliseconds. That acknowledgement may cover no new
    /// byte.
    pub since_last_ack: Duration,
}

#[cfg(target_os = "linux")]
pub use linux::{backlog_length, of_tcp};

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::AsFd;
    use std::sync::OnceLock;

    // The macro below needs the name `libc` in scope.
    use nix::libc;
    use nix::sys::socket::{getsockopt, sockopt};

    use super::{Delivery, Duration};

    /// Returns the delivery of a TCP stream, even if the stream has failed. `None` before Linux 4.6, whose `TCP_INFO`
    /// does not have all fields, and if getsockopt(2) fails.
    pub fn of_tcp(stream: impl AsFd) -> Option<Delivery> {
        let info = Info::of(stream)?;
        Some(Delivery {
            acknowledged: info.u64_at(BYTES_ACKED)?,
            is_outstanding: info.u32_at(UNACKED)? > 0 || info.u32_at(NOTSENT_BYTES)? > 0,
            since_last_ack: Duration::from_millis(info.u32_at(LAST_ACK_RECV)?.into()),
        })
    }

    /// Returns the number of connections in the backlog of a TCP listener. Linux reports it in `tcpi_unacked` if the
    /// socket is a listener (`tcp_get_info`). `None` in the same cases as [`of_tcp`].
    pub fn backlog_length(listener: impl AsFd) -> Option<usize> {
        Info::of(listener)?.u32_at(UNACKED).map(|n| n as usize)
    }

    /// The first bytes of the kernel's `struct tcp_info`. The `struct tcp_info` of libc is shorter and does not have
    /// all fields that this module reads.
    struct Info([u8; SIZE]);

    impl Info {
        fn of(socket: impl AsFd) -> Option<Info> {
            // nix panics if the kernel returns fewer bytes than requested.
            if !*IS_COMPLETE.get_or_init(has_all_fields) {
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

    /// `getsockopt(IPPROTO_TCP, TCP_INFO)`, up to the last field that this module reads.
    #[derive(Clone, Copy, Debug)]
    struct TcpInfo;

    nix::getsockopt_impl!(
        TcpInfo,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        [u8; SIZE],
        sockopt::GetStruct<[u8; SIZE]>
    );

    /// Whether this kernel's `struct tcp_info` has all the fields. The last one, `tcpi_notsent_bytes`, is there since
    /// Linux 4.6.
    fn has_all_fields() -> bool {
        let system = rustix::system::uname();
        let release = system.release().to_string_lossy();
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map(|number| number.parse().unwrap_or(0));
        let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        version >= (4, 6)
    }

    /// The result of [`has_all_fields`].
    static IS_COMPLETE: OnceLock<bool> = OnceLock::new();

    // Offsets in `struct tcp_info` (linux/tcp.h), in bytes. New versions of Linux add fields only at its end.
    const UNACKED: usize = 24;
    const LAST_ACK_RECV: usize = 56;
    const BYTES_ACKED: usize = 120;
    const NOTSENT_BYTES: usize = 144;
    const SIZE: usize = 148;
}

/// Sets the time after which the kernel ends the connection if the peer acknowledges nothing (`TCP_USER_TIMEOUT`,
/// tcp(7), RFC 5482). `None` is the system's default, about 15 minutes.
///
/// A time above 24 days becomes 24 days: the kernel accepts only as many milliseconds as an `int` holds. On systems
/// other than Linux, this function does nothing.
///
/// # Errors
/// The errors of setsockopt(2), if the socket is not a TCP socket.
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

/// Returns `None`: this system has no such option, or a different one that this project does not use.
#[cfg(not(target_os = "linux"))]
pub fn of_tcp<S>(_: S) -> Option<Delivery> {
    None
}

/// Returns `None`: this system does not report the length of the backlog.
#[cfg(not(target_os = "linux"))]
pub fn backlog_length<S>(_: S) -> Option<usize> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    /// Waits until `look` returns true. Fails after 30 seconds.
    fn eventually(what: &str, mut look: impl FnMut() -> bool) {
        let start = std::time::Instant::now();
        while !look() {
            assert!(start.elapsed().as_secs() < 30, "waited 30 s for {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn acknowledged_bytes_count_from_the_accept_and_the_end_of_stream_counts_as_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let delivery = || of_tcp(&stream).unwrap();
        assert_eq!(delivery().acknowledged, 0);
        (&stream).write_all(b"hello").unwrap();
        eventually("the acknowledgement of 5 bytes", || {
            delivery().acknowledged == 5 && !delivery().is_outstanding
        });
        stream.shutdown(Shutdown::Write).unwrap();
        eventually("the acknowledgement of the end of stream", || {
            delivery().acknowledged == 6 && !delivery().is_outstanding
        });
        eventually("an acknowledgement that is 50 ms old", || {
            delivery().since_last_ack >= Duration::from_millis(50)
        });
        // A segment with data is an acknowledgement too.
        peer.write_all(b"x").unwrap();
        (&stream).read_exact(&mut [0]).unwrap();
        let age = delivery().since_last_ack;
        assert!(age < Duration::from_millis(50), "{age:?}");
    }

    #[test]
    fn bytes_are_outstanding_while_the_peer_does_not_read() {
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
        eventually("3 connections in the backlog", || {
            backlog_length(&listener) == Some(3)
        });
    }
}
