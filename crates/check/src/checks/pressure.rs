//! Clients that do not read: bounded memory, and no lost byte.

use std::time::{Duration, Instant};

use crate::check::{Check, Group, Needs};
use crate::client::Client;
use crate::context::Context;
use crate::outcome::{Level, Outcome, Problem};
use crate::payload::payload;
use crate::process::Process;
use crate::words::{Text, text, words};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "never-reader",
        group: Group::Pressure,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: true,
        does: words(
            "A client sends and never reads, until nothing more is taken or 16 MiB are sent. Then another client asks.",
            "クライアントが、それ以上受け取られなくなるか 16 MiB に達するまで、読まずに送り続ける。その後、別のクライアントが送る。",
        ),
        passes: words(
            "The other client, and then a new one, get their echo within 1.5 s.",
            "別のクライアントも、その後の新しいクライアントも、1.5 秒以内にエコーを受け取る。",
        ),
        why: words(
            "write(2) on a blocking socket waits until the client reads. In a server with one loop, all other clients \
             wait with it.",
            "ブロッキングソケットの write(2) は、クライアントが読むまで待つ。ループが 1 つのサーバーでは、他のすべてのクライアントも待たされる。",
        ),
        read: "docs/FAULTS.md; write(2)",
        run: never_reader,
    },
    Check {
        name: "slow-reader",
        group: Group::Pressure,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: true,
        does: words(
            "A client sends without reading, until nothing more is taken or 16 MiB are sent. Then it reads everything, \
             and sends another message.",
            "クライアントが、それ以上受け取られなくなるか 16 MiB に達するまで、読まずに送る。その後、すべてを読み、もう 1 つメッセージを送る。",
        ),
        passes: words(
            "All bytes come back in order, with no pause of 3 s, and so does the message.",
            "すべてのバイトが順番どおりに、途中で 3 秒以上途切れることなく戻り、最後のメッセージも戻る。",
        ),
        why: words(
            "When its send buffer is full, write(2) takes a part of the bytes or none. A server that does not keep the \
             rest in order, or does not continue when there is room again, loses bytes or stops.",
            "送信バッファが満杯になると、write(2) は一部しか受け取らないか、まったく受け取らない。\
             残りを順番どおりに保持しないサーバーや、空きができても再開しないサーバーは、バイトを失うか止まる。",
        ),
        read: "examples/05_keep_the_rest.rs; write(2)",
        run: slow_reader,
    },
    Check {
        name: "small-window",
        group: Group::Pressure,
        level: Level::Must,
        needs: Needs::Tcp,
        harms: false,
        does: words(
            "A client with a receive buffer of 2 KiB (SO_RCVBUF) sends 1 MiB, and reads the echo at the same time.",
            "受信バッファが 2 KiB (SO_RCVBUF) のクライアントが 1 MiB を送りながら、同時にエコーを読む。",
        ),
        passes: words(
            "All 1,048,576 bytes come back, with no pause of 3 s.",
            "1,048,576 バイトすべてが、途中で 3 秒以上途切れることなく戻る。",
        ),
        why: words(
            "The window of TCP closes and opens hundreds of times. Each time the server must stop in the middle of a \
             write and go on at the right byte.",
            "TCP のウィンドウが何百回も閉じては開く。サーバーはそのたびに write の途中で止まり、正しいバイトから再開しなければならない。",
        ),
        read: "src/server/connection.rs; tcp(7)",
        run: small_window,
    },
    Check {
        name: "urgent",
        group: Group::Pressure,
        level: Level::Must,
        needs: Needs::Tcp,
        harms: false,
        does: words(
            "A client sends `a`, then `x` as urgent data (MSG_OOB), then `bc`: on one connection at once, on another \
             one with `bc` after the echo of `a`. If the process of the server is known, it is stopped (SIGSTOP) \
             while the first connection sends.",
            "クライアントが `a` を送り、次に緊急データ (MSG_OOB) として `x` を、そして `bc` を送る: \
             ある接続では一度に、別の接続では `bc` を `a` のエコーの後に。\
             サーバーのプロセスがわかっていれば、最初の接続が送る間は停止する (SIGSTOP)。",
        ),
        passes: words(
            "`a` and `bc` come back in order within 1.5 s. The urgent byte may come between them or be left out.",
            "`a` と `bc` が順番どおりに 1.5 秒以内に戻る。緊急データのバイトは、その間に入っても省かれてもよい。",
        ),
        why: words(
            "The urgent byte stops a read before it, and splice(2) does not pass it. A server that takes this for an \
             empty queue waits for ever.",
            "緊急データのバイトの手前で read は止まり、splice(2) はそこを越えられない。これを空のキューと見なすサーバーは永遠に待つ。",
        ),
        read: "src/server/connection/splice.rs; tcp(7); RFC 6093",
        run: urgent,
    },
    Check {
        name: "bounded-intake",
        group: Group::Pressure,
        level: Level::Should,
        needs: Needs::Loopback,
        harms: true,
        does: words(
            "A client sends and never reads, until nothing more is taken or 16 MiB are sent. The queues of the kernel \
             (/proc/net/tcp) tell how many of the bytes the process of the server holds.",
            "クライアントが、それ以上受け取られなくなるか 16 MiB に達するまで、読まずに送り続ける。\
             カーネルのキュー (/proc/net/tcp) から、サーバーのプロセスが保持するバイト数がわかる。",
        ),
        passes: words(
            "The process holds at most 2 MiB of them.",
            "プロセスが保持するのは、そのうち多くても 2 MiB である。",
        ),
        why: words(
            "A server that reads on while its output waits has a buffer without bound. One client that does not read \
             uses up its memory.",
            "出力が待たされている間も読み続けるサーバーのバッファには上限がない。読まない 1 つのクライアントがメモリを使い果たす。",
        ),
        read: "examples/06_back_pressure.rs; docs/FAULTS.md",
        run: bounded_intake,
    },
    Check {
        name: "many-never-readers",
        group: Group::Pressure,
        level: Level::Should,
        needs: Needs::Loopback,
        harms: true,
        does: words(
            "100 clients send and never read, each until nothing more is taken or 4 MiB are sent. Then another client \
             asks.",
            "100 のクライアントが、それぞれ、それ以上受け取られなくなるか 4 MiB に達するまで、読まずに送り続ける。その後、別のクライアントが送る。",
        ),
        passes: words(
            "The other client, and then a new one, get their echo within 1.5 s. The process holds at most 2 MiB a \
             client on average.",
            "別のクライアントも、その後の新しいクライアントも、1.5 秒以内にエコーを受け取る。\
             プロセスが保持するのは、平均して 1 クライアントあたり多くても 2 MiB である。",
        ),
        why: words(
            "A server with a fixed number of threads, or with one budget for all buffers, survives one such client and \
             stops at many.",
            "スレッド数が固定されたサーバーや、全バッファで 1 つの上限を共有するサーバーは、\
             このようなクライアントが 1 つなら耐えても、多数になると止まる。",
        ),
        read: "src/server/buffers.rs; docs/FAULTS.md",
        run: many_never_readers,
    },
];

fn never_reader(context: &mut Context<'_>) -> Outcome {
    let bystander = context.connect()?;
    context.ask_bystander(&bystander)?;
    let client = context.connect_narrow(WINDOW)?;
    // A server may also end such a connection: it harms no other client.
    let intake = fill_one(context, &client, &payload(41, MOST))?;
    context.ask_bystander(&bystander)?;
    context.hello()?;
    let remark = intake.remark();
    intake.leave(context.silence())?;
    Ok(remark)
}

fn slow_reader(context: &mut Context<'_>) -> Outcome {
    let client = context.connect_narrow(WINDOW)?;
    let bytes = payload(42, MOST);
    let intake = fill_one(context, &client, &bytes)?;
    if let Some(problem) = intake.broke {
        return Err(problem);
    }
    let sent = &bytes[..intake.sent];
    client
        .receive_steadily(sent.len(), context.silence())?
        .must_be(sent)?;
    client.ask(b"and on", context.answer())?;
    Ok(None)
}

fn small_window(context: &mut Context<'_>) -> Outcome {
    let client = context.connect_narrow(2 * 1024)?;
    let bytes = payload(43, 1 << 20);
    client
        .exchange(&bytes, context.silence())?
        .must_be(&bytes)?;
    Ok(None)
}

fn urgent(context: &mut Context<'_>) -> Outcome {
    let at_once = context.connect()?;
    at_once.ask(b"hello", context.answer())?;
    // A server that is stopped meanwhile finds all bytes at once. Otherwise it may read before the urgent byte comes.
    let stopped = context.process.map(Process::stop).transpose()?;
    at_once.send(b"a", context.answer())?;
    at_once.send_urgent(b'x')?;
    at_once.send(b"bc", context.answer())?;
    drop(stopped);
    let is_in_line = receive_around_urgent(context, &at_once, b"abc", b"axbc")?;

    let in_steps = context.connect()?;
    in_steps.ask(b"a", context.answer())?;
    in_steps.send_urgent(b'x')?;
    in_steps.send(b"bc", context.answer())?;
    receive_around_urgent(context, &in_steps, b"bc", b"xbc")?;
    Ok(Some(match is_in_line {
        true => text!(
            "the urgent byte came in line",
            "緊急データのバイトは順番どおりに戻った"
        ),
        false => text!(
            "the urgent byte was left out",
            "緊急データのバイトは省かれた"
        ),
    }))
}

/// Reads the echo of a message with an urgent byte. Returns whether the urgent byte came too.
fn receive_around_urgent(
    context: &Context<'_>,
    client: &Client<'_>,
    left_out: &[u8],
    in_line: &[u8],
) -> Result<bool, Problem> {
    let mut received = client.receive(left_out.len(), context.answer())?;
    if received.bytes == left_out {
        return Ok(false);
    }
    if in_line.starts_with(&received.bytes) && received.bytes.len() == left_out.len() {
        let rest = client.receive(in_line.len() - left_out.len(), context.answer())?;
        received.bytes.extend(rest.bytes);
        received.end = rest.end;
    }
    match left_out.starts_with(&received.bytes) {
        true => received.must_be(left_out)?,
        false => received.must_be(in_line)?,
    }
    Ok(true)
}

fn bounded_intake(context: &mut Context<'_>) -> Outcome {
    let client = context.connect_narrow(WINDOW)?;
    let intake = fill_one(context, &client, &payload(44, MOST))?;
    bounded(context, vec![intake], HELD_OF_ONE)
}

fn many_never_readers(context: &mut Context<'_>) -> Outcome {
    let bystander = context.connect()?;
    context.ask_bystander(&bystander)?;
    let clients = connect_never_readers(context, 100)?;
    let mut intakes: Vec<Intake<'_, '_>> = clients.iter().map(Intake::new).collect();
    fill(context, &mut intakes, &payload(45, 4 << 20))?;
    context.ask_bystander(&bystander)?;
    context.hello()?;
    bounded(context, intakes, HELD_OF_EACH)
}

/// Connects clients, each when the server has served the one before it, so that they do not wait in a short backlog.
fn connect_never_readers<'a>(context: &Context<'a>, n: usize) -> Result<Vec<Client<'a>>, Problem> {
    let connect = |number: usize| {
        let client = context.connect_narrow(WINDOW)?;
        match client.ask(b"first", context.answer()) {
            Ok(()) => Ok(client),
            Err(Problem::Failed(what)) => {
                let (en, ja) = (what.en, what.ja);
                Err(Problem::Failed(text!(
                    "client {number} of {n}, which still read: {en}",
                    "まだ読んでいた {n} 中 {number} 番目のクライアント: {ja}"
                )))
            }
            Err(other) => Err(other),
        }
    };
    (1..=n).map(connect).collect()
}

/// Fails if the process of the server holds more than `most` bytes of each client on average. Then the clients read all
/// echoes, so that no close is a reset.
fn bounded(context: &Context<'_>, mut intakes: Vec<Intake<'_, '_>>, most: u64) -> Outcome {
    let all = intakes.len();
    // A server may also end such connections: then it holds nothing for them.
    intakes.retain(Intake::is_open);
    let ended = all - intakes.len();
    let held = held_at_last(context, &intakes, most)?;
    let sent = sent_kib(&intakes);
    let until = Instant::now() + context.silence();
    for intake in &intakes {
        intake.leave(until.saturating_duration_since(Instant::now()))?;
    }
    Ok(Some(match ended {
        0 => text!(
            "the process holds {held} of {sent} KiB",
            "プロセスが保持するのは {sent} KiB のうち {held} KiB である"
        ),
        ended => text!(
            "the server ended {ended} of {all} connections",
            "サーバーは {all} のうち {ended} の接続を終えた"
        ),
    }))
}

/// Waits until the process of the server holds at most `most` bytes of each client on average. Returns how many KiB it
/// holds of all of them.
fn held_at_last(
    context: &Context<'_>,
    intakes: &[Intake<'_, '_>],
    most: u64,
) -> Result<u64, Problem> {
    let connections: Vec<(&Client<'_>, usize)> = intakes
        .iter()
        .map(|intake| (intake.client, intake.sent))
        .collect();
    let limit = most * connections.len() as u64;
    let mut held = 0;
    let is_bounded = context.eventually(context.answer(), || {
        held = context.held(&connections)?;
        Ok(held <= limit)
    })?;
    let (held, limit, sent) = (kib(held), kib(limit), sent_kib(intakes));
    match is_bounded {
        true => Ok(held),
        false => Err(Problem::Failed(text!(
            "the process holds, or has lost, {held} of {sent} KiB that no client has read; the limit is {limit} KiB",
            "クライアントが読んでいない {sent} KiB のうち {held} KiB を、プロセスが保持しているか失った (上限は {limit} KiB)"
        ))),
    }
}

/// Returns how many KiB were taken from all clients.
fn sent_kib(intakes: &[Intake<'_, '_>]) -> u64 {
    kib(intakes.iter().map(|intake| intake.sent as u64).sum())
}

fn kib(bytes: u64) -> u64 {
    bytes / 1024
}

/// What is taken from a client that does not read.
#[derive(Debug)]
pub(super) struct Intake<'c, 'a> {
    client: &'c Client<'a>,
    /// The number of bytes that the kernel and the server took.
    pub(super) sent: usize,
    /// How the connection broke, if it did.
    pub(super) broke: Option<Problem>,
}

impl<'c, 'a> Intake<'c, 'a> {
    fn new(client: &'c Client<'a>) -> Intake<'c, 'a> {
        Intake {
            client,
            sent: 0,
            broke: None,
        }
    }

    /// Sends what is taken at once. Returns whether anything was.
    fn advance(&mut self, bytes: &[u8]) -> Result<bool, Problem> {
        if self.is_over(bytes) {
            return Ok(false);
        }
        match self.client.send_now(&bytes[self.sent..]) {
            Ok(n) => {
                self.sent += n;
                Ok(n > 0)
            }
            Err(Problem::Failed(how)) => {
                self.broke = Some(Problem::Failed(how));
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    /// Whether nothing is left to send.
    fn is_over(&self, bytes: &[u8]) -> bool {
        self.broke.is_some() || self.sent == bytes.len()
    }

    /// Whether the server has not reset the connection.
    fn is_open(&self) -> bool {
        // Unread bytes hide the reset from a read. SO_ERROR shows it.
        self.broke.is_none() && matches!(self.client.socket().take_error(), Ok(None))
    }

    /// Reads what was sent, within `limit`. Otherwise closing the connection would reset it, and this is the subject
    /// of other checks.
    pub(super) fn leave(&self, limit: Duration) -> Result<(), Problem> {
        self.client.receive(self.sent, limit).map(drop)
    }

    /// Says how the connection broke, if it did.
    fn remark(&self) -> Option<Text> {
        let Some(Problem::Failed(how)) = &self.broke else {
            return None;
        };
        let (sent, en, ja) = (kib(self.sent as u64), &how.en, &how.ja);
        Some(text!("after {sent} KiB: {en}", "{sent} KiB の後: {ja}"))
    }
}

/// Sends on all connections at the same time and reads nothing, until nothing more is taken for [`QUIET`] or all bytes
/// are sent. On a slow machine this may end too early: then a check is easier to pass, and fails nothing.
fn fill(
    context: &Context<'_>,
    intakes: &mut [Intake<'_, '_>],
    bytes: &[u8],
) -> Result<(), Problem> {
    let until = Instant::now() + context.silence();
    let mut last = Instant::now();
    while last.elapsed() < QUIET && Instant::now() < until {
        let mut has_advanced = false;
        for intake in &mut *intakes {
            has_advanced |= intake.advance(bytes)?;
        }
        if intakes.iter().all(|intake| intake.is_over(bytes)) {
            break;
        }
        if has_advanced {
            last = Instant::now();
        } else {
            context.sleep(Duration::from_millis(1))?;
        }
    }
    Ok(())
}

/// As [`fill`], on one connection.
pub(super) fn fill_one<'c, 'a>(
    context: &Context<'_>,
    client: &'c Client<'a>,
    bytes: &[u8],
) -> Result<Intake<'c, 'a>, Problem> {
    let mut intake = Intake::new(client);
    fill(context, std::slice::from_mut(&mut intake), bytes)?;
    Ok(intake)
}

/// The most that a single client sends without reading, in bytes. The kernel takes 1 to 6 MiB of it from a client of
/// [`Context::connect_narrow`].
pub(super) const MOST: usize = 16 << 20;

/// The receive buffer of a client that does not read, in bytes.
pub(super) const WINDOW: usize = 64 * 1024;

/// How long nothing is taken before a client gives up.
const QUIET: Duration = Duration::from_millis(200);

/// How many bytes the process of a server may hold for a single client.
const HELD_OF_ONE: u64 = 2 << 20;

/// How many bytes it may hold for each of many clients. A slow server without a bound takes less of each of them.
const HELD_OF_EACH: u64 = 512 << 10;
