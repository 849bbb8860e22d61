//! The cost of a server: processor time while nothing happens, memory, descriptors, threads.

use std::time::{Duration, Instant};

use crate::check::{Check, Group, Needs};
use crate::client::{Client, End};
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::outcome::{Level, Outcome, Problem};
use crate::payload::payload;
use crate::process::Process;
use crate::queues::Queues;
use crate::words::{text, words};

use super::many::{all_stay, connect_crowd, crowd_size, wait_until_served};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "idle-cpu",
        group: Group::Cost,
        level: Level::Should,
        needs: Needs::Process,
        harms: false,
        does: words(
            "20 clients connect, and half of them ask once. Then all are silent, and the processor time of the server \
             is measured for 1 s, at most three times.",
            "20 のクライアントが接続し、その半分が一度だけ送る。その後はすべてが黙っている。サーバーのプロセッサ時間を 1 秒間、最大 3 回測る。",
        ),
        passes: words(
            "In at least one of three measurements, the server uses at most 5 % of a processor.",
            "1 回は、サーバーの使用がプロセッサの 5 % 以下である。",
        ),
        why: words(
            "A server that asks its sockets again and again, or that waits for sockets to be writable when it has \
             nothing to write, keeps a processor busy for nothing.",
            "ソケットに何度も問い合わせるサーバーや、書くものがないのに書き込み可能になるのを待つサーバーは、プロセッサを無駄に使い続ける。",
        ),
        read: "examples/04_readiness.rs; docs/FAULTS.md; poll(2)",
        run: idle_cpu,
    },
    Check {
        name: "stalled-cpu",
        group: Group::Cost,
        level: Level::Should,
        needs: Needs::Process,
        harms: true,
        does: words(
            "A client sends without reading, until nothing more is taken (at most 64 MiB). Then the processor \
             time of \
             the server is measured for 1 s, at most three times.",
            "クライアントが読まずに、それ以上受け取られなくなるまで送る (最大 64 MiB)。その後、サーバーのプロセッサ時間を 1 秒間、最大 3 回測る。",
        ),
        passes: words(
            "In at least one of three measurements, the server uses at most 5 % of a processor.",
            "1 回は、サーバーの使用がプロセッサの 5 % 以下である。",
        ),
        why: words(
            "The rest of an echo must wait for the client. A server that tries again at once, or that still \
             waits for \
             input that it will not read, is woken without end.",
            "エコーの残りはクライアントを待つしかない。すぐに書き直すサーバーや、読まない入力を待ち続けるサーバーは、際限なく起こされる。",
        ),
        read: "examples/06_back_pressure.rs; docs/FAULTS.md",
        run: stalled_cpu,
    },
    Check {
        name: "half-closed-cpu",
        group: Group::Cost,
        level: Level::Should,
        needs: Needs::Process,
        harms: true,
        does: words(
            "A client sends without reading, as in `stalled-cpu`, and ends its stream. Then the processor time \
             of the \
             server is measured for 1 s, at most three times.",
            "`stalled-cpu` と同じようにクライアントが読まずに送り、ストリームを終える。その後、サーバーのプロセッサ時間を 1 秒間、最大 3 回測る。",
        ),
        passes: words(
            "In at least one of three measurements, the server uses at most 5 % of a processor.",
            "1 回は、サーバーの使用がプロセッサの 5 % 以下である。",
        ),
        why: words(
            "The end of a stream stays readable: each poll reports it again. A server that has seen it must stop \
             waiting for input while it still has bytes to write.",
            "ストリームの終わりは読み取り可能であり続け、poll のたびに報告される。それを見たサーバーは、書くべきバイトが残っている間、入力を待つのをやめなければならない。",
        ),
        read: "src/server/connection.rs; epoll(7)",
        run: half_closed_cpu,
    },
    Check {
        name: "idle-crowd",
        group: Group::Cost,
        level: Level::Should,
        needs: Needs::Process,
        harms: true,
        does: words(
            "A client asks 150 times, first alone, then beside 3,000 silent clients (fewer, if a descriptor limit is \
             lower). The processor time of the server is measured.",
            "クライアントが 150 回送る。まず単独で、次に黙っている 3,000 のクライアント (ディスクリプタ上限が低ければ、より少ない) がいる中で送り、サーバーのプロセッサ時間を測る。",
        ),
        passes: words(
            "A message costs at most 4 times as much in the crowd as alone, or at most 40 µs more: the lowest \
             of five tries against the highest of five alone.",
            "メッセージ 1 つの費用が、単独のときの 4 倍以下、または 40 µs 増以下である (5 回のうち最小のものを、単独での 5 回のうち最大のものと比べる)。",
        ),
        why: words(
            "poll(2) and select(2) get the list of all sockets with each call, and the kernel looks at every one. \
             epoll(7) and kqueue(2) keep the list. A loop over all clients costs as much.",
            "poll(2) と select(2) は呼び出しのたびに全ソケットのリストを受け取り、カーネルはそのすべてを調べる。\
             epoll(7) と kqueue(2) はリストを保持する。全クライアントを回るループも同じだけ費用がかかる。",
        ),
        read: "examples/08_edges.rs; epoll(7)",
        run: idle_crowd,
    },
    Check {
        name: "memory",
        group: Group::Cost,
        level: Level::Note,
        needs: Needs::Process,
        harms: true,
        does: words(
            "100 clients connect and ask once, then 1,000. The memory of the server is measured.",
            "100、次に 1,000 のクライアントが接続して 1 回ずつ送る。サーバーのメモリを測る。",
        ),
        passes: words("It is a note.", "参考情報である。"),
        why: words(
            "The memory of a client decides how many clients a machine can serve: a process for each, a thread for \
             each, or a line in a table.",
            "1 つのクライアントあたりのメモリが、1 台のマシンで何クライアントを扱えるかを決める: クライアントごとのプロセス、スレッド、または表の 1 行。",
        ),
        read: "README.md; examples/02_thread_each.rs; proc_pid_status(5)",
        run: memory,
    },
    Check {
        name: "leak",
        group: Group::Cost,
        level: Level::Should,
        needs: Needs::Process,
        harms: false,
        does: words(
            "In each of three rounds, 60 clients end their connections in six ways: a close after an echo, a close at \
             once, a half-close with and without reading on, a reset while idle, and a reset with bytes under way. The \
             open descriptors of the server are counted after each round.",
            "60 のクライアントが 3 回、6 通りの終わり方をする: エコーの後のクローズ、すぐのクローズ、読み続けるハーフクローズと\
             読まないハーフクローズ、アイドル中のリセット、転送中のバイトがあるリセット。毎回、サーバーの開いているディスクリプタを数える。",
        ),
        passes: words(
            "There are at most 4 more after the third round than after the second.",
            "3 回目の後のディスクリプタは、2 回目の後より最大 4 しか多くない。",
        ),
        why: words(
            "A server that does not close its sockets has no free descriptor after some days. Then it accepts no new \
             client. The first two rounds may fill a pool of the server.",
            "ソケットを閉じ忘れるサーバーは、数日後にディスクリプタを使い果たし、その後は何も処理できない。最初の 2 回はプールを満たしてもよい。",
        ),
        read: "docs/FAULTS.md; close(2)",
        run: leak,
    },
    Check {
        name: "threads",
        group: Group::Cost,
        level: Level::Note,
        needs: Needs::Process,
        harms: false,
        does: words(
            "100 clients connect and ask once. The threads of the server are counted before and after.",
            "100 のクライアントが接続して 1 回ずつ送る。その前後でサーバーのスレッドを数える。",
        ),
        passes: words("It is a note.", "参考情報である。"),
        why: words(
            "It shows how the server is made: one loop, a pool, or a thread for each client.",
            "サーバーの作りがわかる: 1 つのループ、プール、またはクライアントごとのスレッド。",
        ),
        read: "examples/02_thread_each.rs; pthreads(7)",
        run: threads,
    },
    Check {
        name: "children",
        group: Group::Cost,
        level: Level::Note,
        needs: Needs::Process,
        harms: false,
        does: words(
            "100 clients connect and ask once. The child processes of the server are counted before, meanwhile, and \
             after the clients have left.",
            "100 のクライアントが接続して 1 回ずつ送る。サーバーの子プロセスを、その前、その間、クライアントが去った後に数える。",
        ),
        passes: words("It is a note.", "参考情報である。"),
        why: words(
            "A server that starts a process for each client must also wait for its end. Otherwise each client leaves \
             a zombie.",
            "クライアントごとにプロセスを起動するサーバーは、その終了も待たなければならない。そうしないと、クライアントごとにゾンビが残る。",
        ),
        read: "wait(2); fork(2)",
        run: children,
    },
];

fn idle_cpu(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    let clients = context.connect_many(20)?;
    // A server may wait for room to write only after its first echo.
    for client in clients.iter().step_by(2) {
        client.ask(b"hello", context.answer()).map_err(not_served)?;
    }
    is_idle(context, process, QUIET)
}

fn stalled_cpu(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    let (client, sent) = stalled_client(context)?;
    let is_idle = is_idle(context, process, QUIET);
    leave(context, &client, sent)?;
    is_idle
}

/// The processor time of a server says nothing before it serves its clients. Other checks judge that.
fn not_served(problem: Problem) -> Problem {
    match problem {
        Problem::Failed(what) => {
            let (en, ja) = (what.en, what.ja);
            Problem::Inconclusive(text!(
                "20 clients are not served beside each other: {en}",
                "20 のクライアントが並行して処理されない: {ja}"
            ))
        }
        other => other,
    }
}

fn half_closed_cpu(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    for _ in 0..TRIES {
        if let Some(outcome) = half_closed(context, process)? {
            return Ok(Some(outcome));
        }
    }
    Err(Problem::Inconclusive(text!(
        "the kernel took the whole echo each time, so the server had nothing left to write",
        "毎回カーネルがエコーをすべて受け取り、サーバーに書くものが残らなかった"
    )))
}

/// Measures the server while it has a half-closed client and bytes to write for it. Returns `None` if it has written
/// all bytes and has ended its stream: the kernel's buffers can grow while the client reads.
fn half_closed(context: &mut Context<'_>, process: Process) -> Outcome {
    let (client, sent) = stalled_client(context)?;
    client.end()?;
    // The end of the stream is behind the bytes that were not taken. It arrives when the client reads a little.
    let until = Instant::now() + context.timeout;
    let mut read = 0;
    while read < sent && Instant::now() < until && unacknowledged(context, &client)? > 0 {
        let received = client.receive(READ_BACK.min(sent - read), Duration::from_millis(20))?;
        read += received.bytes.len();
        if matches!(received.end, End::OfStream | End::Failed(_)) {
            break;
        }
        // The server gets time to take what has room now, so that its own echo stays pending.
        context.sleep(Duration::from_millis(1))?;
    }
    let is_idle = is_idle(context, process, QUIET);
    let measured = !has_ended(context, &client);
    leave(context, &client, sent - read)?;
    is_idle.map(|figure| figure.filter(|_| measured))
}

/// Returns true if the server has ended its stream of this client, as far as the kernel reports it.
fn has_ended(context: &Context<'_>, client: &Client<'_>) -> bool {
    match (
        context.endpoint.clone(),
        client.local_address(),
        Queues::read(),
    ) {
        (Endpoint::Tcp(server), Some(local), Some(queues)) => {
            queues.server_has_ended(local, server)
        }
        _ => false,
    }
}

/// Reads the rest of an echo, so that the client leaves without a reset.
fn leave(context: &Context<'_>, client: &Client<'_>, rest: usize) -> Result<(), Problem> {
    // Other checks judge the bytes.
    client.receive(rest, context.timeout)?;
    Ok(())
}

/// Returns how many bytes of a client the kernel of the server has not acknowledged. The end of the stream counts as
/// one byte.
pub(super) fn unacknowledged(context: &Context<'_>, client: &Client<'_>) -> Result<usize, Problem> {
    // A Unix-domain socket has no send queue: bytes go to the receive queue of the other end.
    let Endpoint::Tcp(server) = context.endpoint else {
        return Ok(0);
    };
    let Some(queues) = Queues::read() else {
        return Err(Problem::Inconclusive(text!(
            "the system does not tell the queues of a connection (/proc/net/tcp)",
            "接続のキューの長さがシステムから得られない (/proc/net/tcp)"
        )));
    };
    // A connection that has failed has no queue any more.
    let local = client.local_address();
    let bytes = local.and_then(|local| queues.unacknowledged(local, server));
    Ok(bytes.unwrap_or(0) as usize)
}

/// Connects a client that sends until nothing more is taken, and reads nothing. Returns how many bytes it has sent.
fn stalled_client<'a>(context: &Context<'a>) -> Result<(Client<'a>, usize), Problem> {
    let client = client_with_small_buffers(context, 64 * 1024)?;
    let bytes = payload(6, 64 * 1024);
    let quiet = Duration::from_millis(100);
    let sent = client.send_what_is_taken(&bytes, MOST_SENT, quiet)?;
    Ok((client, sent))
}

/// Connects a client for which the kernel holds little: small buffers, and small segments, for which the kernel of the
/// server makes a small send buffer.
pub(super) fn client_with_small_buffers<'a>(
    context: &Context<'a>,
    receive_buffer: usize,
) -> Result<Client<'a>, Problem> {
    let (socket, address) = context.endpoint.socket()?;
    socket.set_recv_buffer_size(receive_buffer)?;
    socket.set_send_buffer_size(64 * 1024)?;
    if context.endpoint.is_tcp() {
        socket.set_tcp_mss(1000)?;
    }
    Client::connect_with(socket, &address, context.timeout, context.interrupted)
}

/// Fails if the process uses more than a share of a processor in each of three periods.
pub(super) fn is_idle(context: &Context<'_>, process: Process, most: f64) -> Outcome {
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        let (began, before) = (Instant::now(), process.processor_time()?);
        context.sleep(PERIOD)?;
        let used = process.processor_time()?.saturating_sub(before);
        least = least.min(used.as_secs_f64() / began.elapsed().as_secs_f64());
        if least <= most {
            let percent = least * 100.0;
            return Ok(Some(text!(
                "{percent:.1} % of a processor",
                "プロセッサの {percent:.1} %"
            )));
        }
    }
    let (percent, most) = (least * 100.0, most * 100.0);
    Err(Problem::Failed(text!(
        "the server used {percent:.0} % of a processor, and the limit is {most:.0} %",
        "サーバーはプロセッサの {percent:.0} % を使った (上限は {most:.0} %)"
    )))
}

fn idle_crowd(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    let n = crowd_size(context, CROWD, FEWEST, 2)?;
    let asker = context.connect()?;
    let cost = |context: &Context<'_>| cost_of_a_message(context, process, &asker);
    // The first messages may cost more.
    cost(context)?;
    // The cost depends on the processors on which the scheduler puts both programs, and switches between 3 and 40 µs on
    // a busy machine. So the highest figure alone is compared with the lowest one in the crowd.
    let mut alone = Duration::ZERO;
    for _ in 0..TRIES {
        alone = alone.max(cost(context)?);
    }
    let crowd = connect_crowd(context, n)?;
    let n = crowd.len();
    let is_served = wait_until_served(context);
    if is_served.is_err() {
        context.still_alive()?;
    }
    all_stay(context, &crowd)?;
    is_served?;
    let mut among = Duration::MAX;
    for _ in 0..TRIES {
        among = among.min(cost(context)?);
        if among <= most_in_a_crowd(alone) {
            break;
        }
    }
    drop(crowd);
    wait_until_served(context)?;
    if alone.is_zero() {
        return Err(Problem::Inconclusive(text!(
            "the system reports no processor time (/proc/PID/task/*/schedstat)",
            "プロセッサ時間がシステムから得られない (/proc/PID/task/*/schedstat)"
        )));
    }
    let [one, many] = [alone, among].map(|cost| cost.as_secs_f64() * 1e6);
    let figure = text!(
        "a message cost at most {one:.1} µs of processor time alone, and at least {many:.1} µs beside {n} silent \
         clients",
        "メッセージ 1 つのプロセッサ時間は、単独で最大 {one:.1} µs、黙っている {n} のクライアントがいる中で最小 {many:.1} µs だった"
    );
    match among <= most_in_a_crowd(alone) {
        true => Ok(Some(figure)),
        false => Err(Problem::Failed(figure)),
    }
}

/// Returns how much a message may cost in a crowd.
fn most_in_a_crowd(alone: Duration) -> Duration {
    (alone * MOST_GROWTH).max(alone + NO_LIST)
}

/// Returns the processor time of the server for one message.
fn cost_of_a_message(
    context: &Context<'_>,
    process: Process,
    asker: &Client<'_>,
) -> Result<Duration, Problem> {
    let before = process.processor_time()?;
    for _ in 0..MESSAGES {
        asker.ask(b"what does it cost?", context.silence())?;
    }
    // The kernel adds up the time of a thread when it goes to sleep.
    context.sleep(Duration::from_millis(2))?;
    let used = process.processor_time()?.saturating_sub(before);
    Ok(used / MESSAGES)
}

fn memory(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    context.hello()?;
    let before = process.memory()?;
    let mut clients = ask_once_each(context, 100)?;
    let hundred = kib_each(before, process.memory()?, clients.len());
    let mib = before as f64 / 1048576.0;
    let is_possible = crowd_size(context, 1000, 1000, 10).is_ok();
    let has_children = process.tree().len() > 50;
    if !is_possible || has_children {
        return Ok(Some(text!(
            "{mib:.1} MiB, and {hundred:.1} KiB for each of 100 clients",
            "{mib:.1} MiB、100 クライアントのとき 1 つあたり {hundred:.1} KiB"
        )));
    }
    clients.extend(ask_once_each(context, 900)?);
    let thousand = kib_each(before, process.memory()?, clients.len());
    Ok(Some(text!(
        "{mib:.1} MiB, and {hundred:.1} KiB for each of 100 clients, {thousand:.1} KiB for each of 1,000",
        "{mib:.1} MiB、100 クライアントのとき 1 つあたり {hundred:.1} KiB、1,000 クライアントのとき {thousand:.1} KiB"
    )))
}

fn kib_each(before: u64, after: u64, clients: usize) -> f64 {
    after.saturating_sub(before) as f64 / 1024.0 / clients as f64
}

/// Connects clients, and each asks once. They stay.
fn ask_once_each<'a>(context: &Context<'a>, n: usize) -> Result<Vec<Client<'a>>, Problem> {
    let clients = context.connect_many(n)?;
    for client in &clients {
        client.ask(b"hello", context.answer())?;
    }
    Ok(clients)
}

fn leak(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    let at_first = settled_descriptors(context, process)?;
    let mut counts = Vec::new();
    for _ in 0..2 {
        all_endings(context)?;
        counts.push(settled_descriptors(context, process)?);
    }
    let second = counts.last().copied().unwrap_or(at_first);
    all_endings(context)?;
    let most = second + MOST_LEAKED;
    let is_back = || Ok(process.descriptors()? <= most);
    if context.eventually(context.timeout, is_back)? {
        return Ok(None);
    }
    counts.push(process.descriptors()?);
    let counts: Vec<String> = counts.iter().map(usize::to_string).collect();
    let counts = counts.join(", ");
    Err(Problem::Failed(text!(
        "{at_first} descriptors were open at first, and after each round of 60 clients: {counts}",
        "最初に開いていたディスクリプタは {at_first}、60 クライアントの各回の後は {counts} だった"
    )))
}

/// 60 clients: 10 for each way to end.
fn all_endings(context: &Context<'_>) -> Result<(), Problem> {
    let bytes = payload(7, 2000);
    for _ in 0..10 {
        // A close, after an echo.
        context.hello()?;
        // A close with nothing said.
        drop(context.connect()?);
        // A half-close, and the client reads its echo.
        let client = context.connect()?;
        client.send(&bytes, context.answer())?;
        client.end()?;
        client.receive(bytes.len(), context.answer())?;
        // A half-close, and the client reads nothing.
        let client = context.connect()?;
        client.send(&bytes, context.answer())?;
        client.end()?;
        drop(client);
        // A reset while idle.
        let client = context.connect()?;
        client.ask(b"hello", context.answer())?;
        client.reset()?;
        // A reset with an echo under way.
        let client = context.connect()?;
        client.send(&bytes, context.answer())?;
        client.reset()?;
    }
    Ok(())
}

/// Waits until the number of open descriptors stays the same for a moment, and returns it.
pub(super) fn settled_descriptors(
    context: &Context<'_>,
    process: Process,
) -> Result<usize, Problem> {
    let mut count = process.descriptors()?;
    let mut since = Instant::now();
    context.eventually(context.timeout, || {
        let now = process.descriptors()?;
        if now != count {
            (count, since) = (now, Instant::now());
        }
        Ok(since.elapsed() > Duration::from_millis(100))
    })?;
    Ok(count)
}

fn threads(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    let before = process.threads()?;
    let _clients = ask_once_each(context, 100)?;
    let with = process.threads()?;
    Ok(Some(text!(
        "{before} without clients, {with} with 100",
        "クライアントなしで {before}、100 クライアントで {with}"
    )))
}

fn children(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    let count = || process.tree().len().saturating_sub(1);
    let before = count();
    let clients = ask_once_each(context, 100)?;
    let with = count();
    drop(clients);
    let is_back = || Ok(count() <= before);
    context.eventually(context.timeout, is_back)?;
    let after = count();
    Ok(Some(text!(
        "{before} without clients, {with} with 100, {after} after they have left",
        "クライアントなしで {before}、100 クライアントで {with}、去った後に {after}"
    )))
}

/// The largest share of a processor that an idle server may use.
const QUIET: f64 = 0.05;

/// How long the processor time is measured.
const PERIOD: Duration = Duration::from_secs(1);

/// How much a client that does not read sends at most. The kernel alone takes a few megabytes.
const MOST_SENT: usize = 64 << 20;

/// How much a client reads at once, so that its end of stream arrives.
const READ_BACK: usize = 16 * 1024;

/// How many silent clients there are in `idle-crowd`.
const CROWD: usize = 3000;

/// With fewer silent clients than this nothing is shown.
const FEWEST: usize = 900;

/// How many messages are measured.
const MESSAGES: u32 = 150;

/// How many times more a message may cost in a crowd.
const MOST_GROWTH: u32 = 4;

/// A list of 900 sockets costs poll(2) more than this, and of 3,000 about 500 µs.
const NO_LIST: Duration = Duration::from_micros(40);

/// How often the cost of a message is measured.
const TRIES: usize = 5;

/// A leak of one way to end leaves 10 descriptors in a round.
const MOST_LEAKED: usize = 4;
