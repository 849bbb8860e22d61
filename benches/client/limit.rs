//! The minimal client: the least work of an epoll client that measures.
//!
//! Level-triggered; a write, a read, a comparison and two clock readings a message. No histogram, no schedule, no
//! handling of errors.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::time::{ClockId, clock_gettime};

/// Warms up and measures. Prints the number of messages, nanoseconds of processor time and the median latency in
/// nanoseconds.
pub(crate) fn measure(address: &str) -> io::Result<()> {
    let message: Vec<u8> = (0..SIZE).map(|n| (n * 31 % 251) as u8).collect();
    let mut echo = [0; 64 * 1024];
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut streams = Vec::new();
    for n in 0..CONNECTIONS {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(
            &epoll,
            &stream,
            EventData::new_u64(n as u64),
            EventFlags::IN,
        )?;
        streams.push((stream, Instant::now()));
    }
    let mut latencies: Vec<u32> = Vec::with_capacity(1 << 20);
    let mut events = Vec::with_capacity(1024);
    let start = Instant::now();
    let (from, until) = (start + WARMUP, start + WARMUP + DURATION);
    for (stream, begun) in &mut streams {
        *begun = Instant::now();
        send(&*stream, &message, SendFlags::NOSIGNAL)?;
    }
    let mut processor = None;
    'measuring: loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let (stream, begun) = &mut streams[event.data.u64() as usize];
            let (n, _) = recv(&*stream, &mut echo, RecvFlags::empty())?;
            let now = Instant::now();
            assert!(echo[..n] == message, "a wrong echo");
            if now >= from {
                if now >= until {
                    break 'measuring;
                }
                processor.get_or_insert_with(processor_time);
                latencies.push((now - *begun).as_nanos() as u32);
            }
            *begun = Instant::now();
            send(&*stream, &message, SendFlags::NOSIGNAL)?;
        }
    }
    let processor = processor_time() - processor.unwrap_or_default();
    let messages = latencies.len();
    let (_, median, _) = latencies.select_nth_unstable(messages / 2);
    writeln!(io::stdout(), "{messages} {} {median}", processor.as_nanos())
}

/// Returns the processor time of this thread.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

pub(crate) const CONNECTIONS: usize = 50;
/// Size of a message, in bytes.
pub(crate) const SIZE: usize = 64;
/// Time before the window.
pub(crate) const WARMUP: Duration = Duration::from_millis(100);
/// Length of the window.
pub(crate) const DURATION: Duration = Duration::from_millis(400);
