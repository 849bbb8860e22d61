//! Signals, limits and restarts of the process.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::check::{Check, Group, Needs};
use crate::client::{Client, End};
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::launcher::{Ended, Launcher, Started, Stderr};
use crate::outcome::{Level, Outcome, Problem};
use crate::payload::payload;
use crate::process::Process;
use crate::words::{Text, text, words};

use super::cost::{client_with_small_buffers, is_idle, settled_descriptors, unacknowledged};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "big-then-silent",
        group: Group::Process,
        level: Level::Must,
        needs: Needs::Process,
        harms: false,
        does: words(
            "The server is stopped (SIGSTOP), a client sends 300,000 bytes, and the server continues (SIGCONT). The \
             client sends nothing more.",
            "サーバーを停止し (SIGSTOP)、クライアントが 300,000 バイトを送り、サーバーを再開する (SIGCONT)。クライアントはそれ以上何も送らない。",
        ),
        passes: words(
            "All bytes come back within 2 s.",
            "すべてのバイトが 2 秒以内に戻る。",
        ),
        why: words(
            "The bytes arrive together, and an edge-triggered selector reports them once. A server that reads once \
             for each event leaves the rest in the kernel.",
            "バイトはまとめて届き、エッジトリガーのセレクターはそれを一度だけ報告する。イベントごとに一度しか読まないサーバーは、残りをカーネルに置き去りにする。",
        ),
        read: "examples/09_drain.rs; epoll(7)",
        run: big_then_silent,
    },
    Check {
        name: "stopped-and-continued",
        group: Group::Process,
        level: Level::Must,
        needs: Needs::Process,
        harms: false,
        does: words(
            "The server is stopped (SIGSTOP), up to 40 clients connect and send, and the server continues (SIGCONT). \
             No client comes after them.",
            "サーバーを停止し (SIGSTOP)、最大 40 のクライアントが接続して送り、サーバーを再開する (SIGCONT)。その後に来るクライアントはない。",
        ),
        passes: words(
            "Each of them gets its echo within 2 s.",
            "どのクライアントも 2 秒以内にエコーを受け取る。",
        ),
        why: words(
            "The connections wait in the backlog, and an edge-triggered selector reports them once. A server that \
             accepts once for each event leaves the rest there. The poll may also fail with EINTR after SIGCONT, \
             which must not end the server.",
            "接続はバックログで待ち、エッジトリガーのセレクターはそれを一度だけ報告する。イベントごとに一度しか accept しないサーバーは、残りを置き去りにする。\
             また SIGCONT の後に poll が EINTR で失敗することがあり、それでサーバーが終了してはならない。",
        ),
        read: "examples/09_drain.rs; signal(7), \"Interruption of system calls\"",
        run: stopped_and_continued,
    },
    Check {
        name: "one-event",
        group: Group::Process,
        level: Level::Must,
        needs: Needs::Process,
        harms: false,
        does: words(
            "The server is stopped (SIGSTOP). Meanwhile clients send bytes, more bytes and the end of their streams, \
             and some reset their connections. The server continues (SIGCONT) and finds all of it at once.",
            "サーバーを停止する (SIGSTOP)。その間にクライアントがバイト、さらにバイト、ストリームの終わりを送り、いくつかは接続をリセットする。\
             再開した (SIGCONT) サーバーは、そのすべてを一度に見つける。",
        ),
        passes: words(
            "With no pause of 2 s, each client that ended its stream gets all its bytes and then the end. A client \
             that only sent gets its bytes and can go on. A new client is served.",
            "ストリームを終えたクライアントはすべてのバイトとその後の終わりを、送っただけのクライアントはバイトを受け取って続けられ、新しいクライアントも応答を受ける: それぞれ 2 秒以内。",
        ),
        why: words(
            "One event can report bytes, the end of the stream and an error together. A server that acts on the end \
             or on the error first loses the bytes before it.",
            "1 つのイベントが、バイト、ストリームの終わり、エラーをまとめて報告することがある。終わりやエラーを先に処理するサーバーは、その前のバイトを失う。",
        ),
        read: "src/server/connection.rs; epoll_ctl(2)",
        run: one_event,
    },
    Check {
        name: "out-of-descriptors",
        group: Group::Process,
        level: Level::Should,
        needs: Needs::Process,
        harms: true,
        does: words(
            "The server may open 5 more descriptors (prlimit, RLIMIT_NOFILE), and 12 clients connect and send. The \
             processor time of the server is measured for 1 s, at most three times. Then 8 clients leave.",
            "サーバーが開けるディスクリプタをあと 5 つに制限し (prlimit, RLIMIT_NOFILE)、12 のクライアントが接続して送る。\
             サーバーのプロセッサ時間を 1 秒間、最大 3 回測る。その後、8 つのクライアントが切断する。",
        ),
        passes: words(
            "The server keeps running, and keeps serving its clients. In one of three measurements it uses at most \
             20 % of a processor. The last 4 clients are served or closed within 2 s after the 8 have left.",
            "サーバーは終了せず、1 回はプロセッサの 20 % 以下しか使わず、受け入れたクライアントへの応答を続ける。残る 4 つは、空きができてから 2 秒以内に応答を受けるか、切断される。",
        ),
        why: words(
            "accept(2) fails with EMFILE, and the connection stays in the backlog. So a level-triggered server spins, \
             an edge-triggered one is never told again, and one without error handling ends.",
            "accept(2) は EMFILE で失敗し、接続はバックログに残る。そのため、レベルトリガーのサーバーは空回りし、エッジトリガーのサーバーは二度と通知されず、エラー処理のないサーバーは終了する。",
        ),
        read: "examples/11_listener.rs; src/server/acceptor.rs; accept(2)",
        run: out_of_descriptors,
    },
    Check {
        name: "squatters",
        group: Group::Process,
        level: Level::Should,
        needs: Needs::Process,
        harms: true,
        does: words(
            "The server may open 20 more descriptors, and 30 clients connect and say nothing. A new client tries to \
             get an echo.",
            "サーバーが開けるディスクリプタをあと 20 に制限し、30 のクライアントが接続して何も送らない。新しいクライアントがエコーを得ようとする。",
        ),
        passes: words(
            "The new client gets its echo within the idle timeout (`--idle`) plus 2 s.",
            "新しいクライアントが、アイドルタイムアウト (`--idle`) に 2 秒を加えた時間以内にエコーを受け取る。",
        ),
        why: words(
            "Clients that say nothing hold all places for ever, unless the server closes them after a time.",
            "サーバーが時間で切断しないかぎり、何も送らないクライアントがすべての場所を永遠に占める。",
        ),
        read: "examples/12_deadlines.rs; src/server/timeouts.rs",
        run: squatters,
    },
    Check {
        name: "sigterm",
        group: Group::Process,
        level: Level::Note,
        needs: Needs::Command,
        harms: false,
        does: words(
            "A client sends up to 1 MiB without reading, until no more is taken. The server gets SIGTERM, and then \
             the client reads.",
            "クライアントが読まずに、それ以上受け取られなくなるまで最大 1 MiB を送る。サーバーに SIGTERM を送り、その後クライアントが読む。",
        ),
        passes: words(
            "All bytes that the server's kernel has acknowledged come back, then the end of the stream, and the \
             server exits with 0 within 6 s.",
            "サーバー側のカーネルが確認応答したすべてのバイトと、その後のストリームの終わりが戻り、サーバーは 6 秒以内に終了コード 0 で終了する。",
        ),
        why: words(
            "The client knows that its bytes have arrived. The default action of SIGTERM discards them, and the \
             client sees a reset.",
            "クライアントにはバイトが届いたことがわかっている。SIGTERM の既定の動作はそれを捨て、クライアントにはリセットが見える。",
        ),
        read: "src/server/event_loop.rs; docs/FAULTS.md; signal(7)",
        run: sigterm,
    },
    Check {
        name: "restart",
        group: Group::Process,
        level: Level::Should,
        needs: Needs::Command,
        harms: false,
        does: words(
            "The server is ended while two clients are connected, and started again on the same port.",
            "2 つのクライアントが接続している間にサーバーを終了させ、同じポートで再び起動する。",
        ),
        passes: words(
            "It listens again, and a new client is served.",
            "再び待ち受けを始め、新しいクライアントが応答を受ける。",
        ),
        why: words(
            "The old connections stay in TIME_WAIT for a minute and occupy the port, so that bind(2) fails with \
             EADDRINUSE. SO_REUSEADDR allows it.",
            "古い接続は TIME_WAIT 状態で 1 分間ポートを占めるため、bind(2) が EADDRINUSE で失敗する。SO_REUSEADDR で許可できる。",
        ),
        read: "src/server/bind.rs; socket(7); RFC 9293 section 3.6",
        run: restart,
    },
    Check {
        name: "stderr-full",
        group: Group::Process,
        level: Level::Should,
        needs: Needs::Command,
        harms: false,
        does: words(
            "The server's standard error is a pipe, and no program reads from it. 300 clients ask and leave in \
             different ways.",
            "標準エラーを誰も読まないパイプにしてサーバーを起動する。300 のクライアントが送り、さまざまな終わり方をする。",
        ),
        passes: words(
            "Each of them gets its echo within 1.5 s.",
            "どのクライアントも 1.5 秒以内にエコーを受け取る。",
        ),
        why: words(
            "When the pipe is full, write(2) to it waits. A server that logs from its loop then waits too, and serves \
             no client. A log collector that hangs is enough to cause this.",
            "パイプが満杯になると、write(2) は待たされる。ループの中からログを書くサーバーは、ログ収集プログラムが止まっただけで、何も処理できなくなる。",
        ),
        read: "docs/FAULTS.md; pipe(7)",
        run: stderr_full,
    },
];

fn big_then_silent(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    let client = context.connect()?;
    client.ask(b"hello", context.answer())?;
    let bytes = payload(8, 300_000);
    let stopped = process.stop()?;
    let sent = client.send_until(&bytes, Instant::now() + Duration::from_millis(500))?;
    drop(stopped);
    if sent < bytes.len() / 2 {
        return Err(Problem::Inconclusive(text!(
            "the kernel took only {sent} bytes while the server was stopped",
            "サーバーの停止中、カーネルは {sent} バイトしか受け取らなかった"
        )));
    }
    client
        .receive(sent, context.timeout)?
        .must_be(&bytes[..sent])?;
    Ok(None)
}

fn stopped_and_continued(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    context.hello()?;
    let stopped = process.stop()?;
    let clients = connect_what_fits(context, 40)?;
    for (n, client) in clients.iter().enumerate() {
        client.send(&payload(200 + n as u64, 100), context.answer())?;
    }
    drop(stopped);
    let all = clients.len();
    if all < 2 {
        return Err(Problem::Inconclusive(text!(
            "only {all} clients fit into the server's backlog",
            "サーバーのバックログには {all} クライアント分しか空きがない"
        )));
    }
    for (n, client) in clients.iter().enumerate() {
        let bytes = payload(200 + n as u64, 100);
        let received = client.receive(bytes.len(), context.timeout)?;
        received.must_be(&bytes).map_err(|problem| {
            let number = n + 1;
            in_place(
                problem,
                text!(
                    "client {number} of {all} in the backlog",
                    "バックログの {all} のうち {number} 番目のクライアント"
                ),
            )
        })?;
    }
    Ok(None)
}

/// Connects clients while the server cannot accept: `n`, or as many as its backlog takes.
fn connect_what_fits<'a>(context: &Context<'a>, n: usize) -> Result<Vec<Client<'a>>, Problem> {
    let mut clients = Vec::with_capacity(n);
    while clients.len() < n {
        // Within this machine the kernel answers at once, unless the backlog is full.
        let limit = Duration::from_millis(200);
        match Client::connect(&context.endpoint, limit, context.interrupted) {
            Ok(client) => clients.push(client),
            Err(Problem::Failed(_)) => break,
            Err(other) => return Err(other),
        }
    }
    Ok(clients)
}

/// Says where a failure was seen.
fn in_place(problem: Problem, place: Text) -> Problem {
    match problem {
        Problem::Failed(what) => {
            let (place_en, place_ja, en, ja) = (place.en, place.ja, what.en, what.ja);
            Problem::Failed(text!("{place_en}: {en}", "{place_ja}: {ja}"))
        }
        other => other,
    }
}

fn one_event(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    let limit = context.answer();
    let before = context.connect_many(4)?;
    for client in &before {
        client.ask(b"hello", limit)?;
    }
    let bytes = payload(9, 3000);
    let (some, more) = bytes.split_at(1000);
    let stopped = process.stop()?;
    let mut ended = Vec::new();
    let mut goes_on = None;
    for (n, client) in before.into_iter().enumerate() {
        if n < 3 {
            client.send(some, limit)?;
        }
        match n {
            0 => {
                client.send(more, limit)?;
                client.end()?;
                ended.push((client, &bytes[..]));
            }
            1 => client.reset()?,
            2 => goes_on = Some(client),
            _ => {
                client.end()?;
                ended.push((client, &[][..]));
            }
        }
    }
    for (n, client) in connect_what_fits(context, 2)?.into_iter().enumerate() {
        client.send(some, limit)?;
        match n {
            0 => {
                client.end()?;
                ended.push((client, some));
            }
            _ => client.reset()?,
        }
    }
    drop(stopped);
    for (client, expected) in ended {
        let n = expected.len();
        let received = client.receive_to_the_end(n, context.timeout)?;
        received.must_be_all(expected).map_err(|problem| {
            in_place(
                problem,
                text!(
                    "a client that sent {n} bytes and the end",
                    "{n} バイトと終わりを送ったクライアント"
                ),
            )
        })?;
    }
    if let Some(client) = goes_on {
        let received = client.receive(some.len(), context.timeout)?;
        let goes_on = received
            .must_be(some)
            .and_then(|()| client.ask(more, limit));
        goes_on.map_err(|problem| {
            in_place(
                problem,
                text!(
                    "a client that did not end",
                    "ストリームを終えなかったクライアント"
                ),
            )
        })?;
    }
    context.hello()?;
    Ok(None)
}

fn out_of_descriptors(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    let outcome = use_up_descriptors(context, process);
    if outcome.is_err() {
        // Then the rest follows from it.
        context.still_alive()?;
    }
    outcome
}

fn use_up_descriptors(context: &Context<'_>, process: Process) -> Outcome {
    const ALL: usize = 12;
    const LEAVING: usize = 8;
    context.hello()?;
    settled_descriptors(context, process)?;
    let limited = process.leave_descriptors(5)?;
    let mut waiting = connect_what_fits(context, ALL)?;
    for client in &waiting {
        client.send(b"first", context.answer())?;
    }
    let all = waiting.len();
    if all <= LEAVING {
        return Err(Problem::Inconclusive(text!(
            "the backlog took only {all} clients",
            "バックログには {all} クライアントしか入らなかった"
        )));
    }
    let staying = waiting.split_off(LEAVING);
    let mut leaving = waiting;
    let is_full = || Ok(count(&leaving, |client| client.is_answered())? >= 5);
    context.eventually(context.timeout / 2, is_full)?;
    let served = count(&leaving, |client| client.is_answered())?
        + count(&staying, |client| client.is_answered())?;
    for client in &leaving {
        if client.is_answered()? {
            goes_on(context, client)?;
        }
    }
    is_idle(context, process, 0.20)?;
    leaving.clear();
    let waiting = staying.len();
    let mut left = waiting;
    let is_done = context.eventually(context.timeout, || {
        left = waiting
            - count(&staying, |client| {
                Ok(client.is_answered()? || client.is_over()?)
            })?;
        Ok(left == 0)
    })?;
    drop(limited);
    if is_done {
        return Ok(Some(text!(
            "{served} of {all} clients were served at first",
            "最初に応答を受けたのは {all} のクライアントのうち {served} だった"
        )));
    }
    Err(Problem::Failed(text!(
        "after {LEAVING} clients had left, {left} of {waiting} clients in the backlog were neither served nor turned \
         away",
        "{LEAVING} のクライアントが去った後も、バックログの {waiting} のうち {left} は応答も切断もされなかった"
    )))
}

/// Fails unless a client that has been served is served again.
fn goes_on(context: &Context<'_>, client: &Client<'_>) -> Result<(), Problem> {
    let received = client.receive(5, context.answer())?;
    let asked = received
        .must_be(b"first")
        .and_then(|()| client.ask(b"second", context.answer()));
    match asked {
        // The server may have an idle timeout.
        Err(Problem::Failed(_)) if context.idle_timeout.is_some() && client.is_over()? => Ok(()),
        asked => asked.map_err(|problem| {
            in_place(
                problem,
                text!(
                    "a client that had been served already",
                    "すでに応答を受けていたクライアント"
                ),
            )
        }),
    }
}

fn count(
    clients: &[Client<'_>],
    condition: impl Fn(&Client<'_>) -> Result<bool, Problem>,
) -> Result<usize, Problem> {
    let mut count = 0;
    for client in clients {
        count += usize::from(condition(client)?);
    }
    Ok(count)
}

fn squatters(context: &mut Context<'_>) -> Outcome {
    let process = context.process()?;
    let Some(idle) = context.idle_timeout else {
        return Err(Problem::Skipped(text!(
            "it needs the idle timeout of the server: --idle TIME",
            "サーバーのアイドルタイムアウトが必要: --idle を指定する"
        )));
    };
    if idle > LONGEST_IDLE {
        let seconds = LONGEST_IDLE.as_secs();
        return Err(Problem::Skipped(text!(
            "it waits for the idle timeout: start the server with one of at most {seconds} s",
            "アイドルタイムアウトを待つチェックである: {seconds} 秒以下にしてサーバーを起動する"
        )));
    }
    context.hello()?;
    settled_descriptors(context, process)?;
    let _limited = process.leave_descriptors(20)?;
    let squatters = connect_what_fits(context, 30)?;
    let count = squatters.len();
    let began = Instant::now();
    let until = began + idle + context.timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let asked = Client::connect(
            &context.endpoint,
            left.min(context.timeout / 4),
            context.interrupted,
        )
        .and_then(|client| client.ask(b"a newcomer", left));
        match asked {
            Ok(()) => break,
            Err(Problem::Failed(what)) if Instant::now() >= until => {
                context.still_alive()?;
                let (en, ja, seconds) = (what.en, what.ja, (idle + context.timeout).as_secs_f64());
                return Err(Problem::Failed(text!(
                    "beside {count} silent clients, a new one was not served within {seconds:.1} s: {en}",
                    "黙っている {count} のクライアントがいる中で、新しいクライアントは {seconds:.1} 秒以内に応答を受けられなかった: {ja}"
                )));
            }
            // The backlog is full, or the server turns clients away for now.
            Err(Problem::Failed(_)) => context.sleep(Duration::from_millis(50))?,
            Err(other) => return Err(other),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Some(text!(
        "a new client was served after {seconds:.1} s",
        "新しいクライアントは {seconds:.1} 秒後に応答を受けた"
    )))
}

/// Takes the server that was started for this check.
fn take_server<'a>(context: &mut Context<'a>) -> Result<(Started, &'a Launcher), Problem> {
    context.started.take().zip(context.launcher).ok_or_else(|| {
        Problem::Skipped(text!(
            "it needs a command that starts the server",
            "サーバーを起動するコマンドが必要"
        ))
    })
}

fn sigterm(context: &mut Context<'_>) -> Outcome {
    let (mut started, _) = take_server(context)?;
    let process = context.process()?;
    let client = client_with_small_buffers(context, 16 * 1024)?;
    client.ask(b"hello", context.answer())?;
    let bytes = payload(10, 1 << 20);
    let sent = client.send_what_is_taken(&bytes, bytes.len(), Duration::from_millis(100))?;
    let mut pending = sent;
    context.eventually(Duration::from_millis(200), || {
        pending = unacknowledged(context, &client)?;
        Ok(pending == 0)
    })?;
    let acknowledged = sent.saturating_sub(pending);
    process.signal(Signal::TERM)?;
    let began = Instant::now();
    let received = client.receive_to_the_end(sent, context.silence())?;
    // The echo of further bytes is welcome.
    let expected = received.bytes.len().clamp(acknowledged, sent);
    received.must_be_all(&bytes[..expected])?;
    drop(client);
    let mut ended = None;
    context.eventually(LONGEST_DRAIN.saturating_sub(began.elapsed()), || {
        ended = started.wait(Duration::ZERO)?;
        Ok(ended.is_some())
    })?;
    match ended {
        Some(Ended { code: Some(0) }) => Ok(None),
        Some(Ended { code: Some(code) }) => Err(Problem::Failed(text!(
            "all bytes came back, and the server exited with {code} instead of 0",
            "すべてのバイトが戻ったが、サーバーの終了コードは 0 ではなく {code} だった"
        ))),
        Some(Ended { code: None }) => Err(Problem::Failed(text!(
            "all bytes came back, and a signal ended the server instead of an exit with 0",
            "すべてのバイトが戻ったが、サーバーは終了コード 0 ではなくシグナルで終了した"
        ))),
        None => Err(Problem::Failed(text!(
            "all bytes came back, and the server still ran after 6 s",
            "すべてのバイトが戻ったが、サーバーは 6 秒後もまだ動いていた"
        ))),
    }
}

fn restart(context: &mut Context<'_>) -> Outcome {
    let (started, launcher) = take_server(context)?;
    let Endpoint::Tcp(address) = started.endpoint() else {
        return Err(Problem::Skipped(text!("it needs TCP", "TCP が必要")));
    };
    let clients = context.connect_many(2)?;
    for client in &clients {
        client.ask(b"hello", context.answer())?;
    }
    // SIGKILL, because on SIGTERM the server may wait for its clients.
    context.process()?.signal(Signal::KILL)?;
    drop(started);
    // The first client leaves, and its connection is in TIME_WAIT. The second one stays.
    let mut clients = clients.into_iter();
    if let Some(first) = clients.next() {
        let received = first.receive(1, context.answer())?;
        if received.end == End::TimedOut {
            return Err(Problem::Inconclusive(text!(
                "the connection did not end with the server",
                "サーバーが終了しても接続が終わらなかった"
            )));
        }
    }
    let again = launcher.start_on(address, Stderr::Kept, context.interrupted)?;
    use_server(context, again);
    context.hello()?;
    drop(clients);
    Ok(None)
}

fn stderr_full(context: &mut Context<'_>) -> Outcome {
    const ALL: usize = 300;
    let (started, launcher) = take_server(context)?;
    let Endpoint::Tcp(address) = started.endpoint() else {
        return Err(Problem::Skipped(text!("it needs TCP", "TCP が必要")));
    };
    drop(started);
    let again = launcher.start_on(address, Stderr::Unread, context.interrupted)?;
    if !again.has_unread_stderr() {
        return Err(Problem::Inconclusive(text!(
            "there is no pipe for the standard error",
            "標準エラー用のパイプがない"
        )));
    }
    use_server(context, again);
    for n in 0..ALL {
        let one = || {
            let client = context.connect()?;
            client.ask(b"hello", context.answer())?;
            match n % 3 {
                0 => Ok(()),
                1 => client.end(),
                _ => client.reset(),
            }
        };
        let number = n + 1;
        one().map_err(|problem| {
            in_place(
                problem,
                text!(
                    "client {number} of {ALL}",
                    "{ALL} のうち {number} 番目のクライアント"
                ),
            )
        })?;
    }
    Ok(None)
}

/// Goes on with a server that was started during the check.
fn use_server(context: &mut Context<'_>, started: Started) {
    context.endpoint = started.endpoint();
    context.process = started.process();
    context.started = Some(started);
}

/// The longest idle timeout that `squatters` waits for.
const LONGEST_IDLE: Duration = Duration::from_secs(5);

/// How long a server may take to end.
const LONGEST_DRAIN: Duration = Duration::from_secs(6);
