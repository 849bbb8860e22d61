//! Clients that reset the connection or leave: other clients must not notice.

use std::time::Instant;

use super::pressure;
use crate::check::{Check, Group, Needs};
use crate::context::Context;
use crate::outcome::{Level, Outcome, Problem};
use crate::payload::payload;
use crate::words::{text, words};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "nothing-said",
        group: Group::Resets,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "200 clients, one after another, connect and close. A new client asks after every 4 of them.",
            "200 のクライアントが順に、接続してすぐ閉じる。4 つごとに、新しいクライアントが送る。",
        ),
        passes: words(
            "Each new client gets its echo within 3 s.",
            "どの新しいクライアントも 3 秒以内にエコーを受け取る。",
        ),
        why: words(
            "Port scanners and health checks do this all day. The end of the stream before the first byte is no error.",
            "ポートスキャナーやヘルスチェックは一日中これを行う。最初のバイトの前にストリームが終わるのはエラーではない。",
        ),
        read: "docs/FAULTS.md; accept(2)",
        run: nothing_said,
    },
    Check {
        name: "reset-idle",
        group: Group::Resets,
        level: Level::Must,
        needs: Needs::Tcp,
        harms: false,
        does: words(
            "5 clients, one after another, are served, stay idle, and reset their connection (SO_LINGER with a time of \
             0). Another client asks after each reset.",
            "5 つのクライアントが順に、応答を受け、何もせずにいてから接続をリセットする (時間 0 の SO_LINGER)。\
             リセットのたびに別のクライアントが送る。",
        ),
        passes: words(
            "The other client, and then a new one, get their echo within 1.5 s.",
            "別のクライアントも、その後の新しいクライアントも、1.5 秒以内にエコーを受け取る。",
        ),
        why: words(
            "read(2) fails with ECONNRESET. This is the error of one connection. A server that lets it end the loop \
             ends the service for all clients.",
            "read(2) が ECONNRESET で失敗する。これは 1 つの接続のエラーである。\
             それでループを終わらせるサーバーは、すべてのクライアントへのサービスを終わらせる。",
        ),
        read: "examples/07_whose_error.rs; tcp(7)",
        run: reset_idle,
    },
    Check {
        name: "reset-in-flight",
        group: Group::Resets,
        level: Level::Must,
        needs: Needs::Tcp,
        harms: false,
        does: words(
            "Clients reset their connection while the echo is under way and unread: 5 of them right after 100,000 \
             bytes, and 2 when the server can write no more. Another client asks after each reset.",
            "エコーが途中で未読のまま、クライアントが接続をリセットする: 5 つは 100,000 バイトの直後、\
             2 つはサーバーがそれ以上書けなくなったとき。リセットのたびに別のクライアントが送る。",
        ),
        passes: words(
            "The other client, and then a new one, get their echo within 1.5 s.",
            "別のクライアントも、その後の新しいクライアントも、1.5 秒以内にエコーを受け取る。",
        ),
        why: words(
            "Here write(2) fails too: with ECONNRESET, and after that with EPIPE and the signal SIGPIPE, whose default \
             action ends the process.",
            "ここでは write(2) も失敗する: まず ECONNRESET、その後は EPIPE とシグナル SIGPIPE である。\
             SIGPIPE の既定の動作はプロセスを終了させる。",
        ),
        read: "examples/07_whose_error.rs; write(2)",
        run: reset_in_flight,
    },
    Check {
        name: "reset-in-backlog",
        group: Group::Resets,
        level: Level::Must,
        needs: Needs::Tcp,
        harms: false,
        does: words(
            "100 clients, one after another, connect and reset the connection at once, mostly before the server \
             accepts it. A new client asks after every 4 of them.",
            "100 のクライアントが順に、接続して直ちにリセットする。多くはサーバーが受け入れる前である。\
             4 つごとに、新しいクライアントが送る。",
        ),
        passes: words(
            "Each new client gets its echo within 3 s.",
            "どの新しいクライアントも 3 秒以内にエコーを受け取る。",
        ),
        why: words(
            "accept(2) fails with ECONNABORTED on some systems. On Linux it returns the socket, and getpeername(2) \
             fails with ENOTCONN. Neither may end the listener.",
            "accept(2) が ECONNABORTED で失敗するシステムもある。Linux ではソケットが返り、getpeername(2) が ENOTCONN で失敗する。\
             どちらもリスナーを終わらせてはならない。",
        ),
        read: "docs/FAULTS.md; accept(2)",
        run: reset_in_backlog,
    },
    Check {
        name: "gone-without-reading",
        group: Group::Resets,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "10 clients, one after another, send 100,000 bytes and close without reading. Another client asks after \
             each of them.",
            "10 個のクライアントが順に、100,000 バイトを送り、読まずに閉じる。そのたびに別のクライアントが送る。",
        ),
        passes: words(
            "The other client, and then a new one, get their echo within 1.5 s.",
            "別のクライアントも、その後の新しいクライアントも、1.5 秒以内にエコーを受け取る。",
        ),
        why: words(
            "The server writes to a connection that is closed at the other end. The second write fails with EPIPE and \
             raises SIGPIPE, whose default action ends the process.",
            "サーバーは相手側が閉じた接続に書く。2 回目の write は EPIPE で失敗し、SIGPIPE を発生させる。\
             その既定の動作はプロセスを終了させる。",
        ),
        read: "docs/FAULTS.md; signal(7)",
        run: gone_without_reading,
    },
];

fn nothing_said(context: &mut Context<'_>) -> Outcome {
    many_times(context, 200, || context.connect().map(drop))
}

fn reset_idle(context: &mut Context<'_>) -> Outcome {
    let bystander = context.connect()?;
    context.ask_bystander(&bystander)?;
    for _ in 0..5 {
        let client = context.connect()?;
        client.ask(b"idle", context.answer())?;
        client.reset()?;
        context.ask_bystander(&bystander)?;
    }
    context.hello()?;
    Ok(None)
}

fn reset_in_flight(context: &mut Context<'_>) -> Outcome {
    let bystander = context.connect()?;
    context.ask_bystander(&bystander)?;
    let bytes = payload(31, 2 << 20);
    for _ in 0..5 {
        let client = context.connect()?;
        client.send_until(&bytes[..100_000], Instant::now() + context.answer())?;
        client.reset()?;
        context.ask_bystander(&bystander)?;
    }
    for _ in 0..2 {
        let client = context.connect_narrow(pressure::WINDOW)?;
        pressure::fill_one(context, &client, &bytes)?;
        client.reset()?;
        context.ask_bystander(&bystander)?;
    }
    context.hello()?;
    Ok(None)
}

fn reset_in_backlog(context: &mut Context<'_>) -> Outcome {
    many_times(context, 100, || context.connect()?.reset())
}

fn gone_without_reading(context: &mut Context<'_>) -> Outcome {
    let bystander = context.connect()?;
    context.ask_bystander(&bystander)?;
    let bytes = payload(32, 100_000);
    for _ in 0..10 {
        let client = context.connect()?;
        client.send_until(&bytes, Instant::now() + context.answer())?;
        drop(client);
        context.ask_bystander(&bystander)?;
    }
    context.hello()?;
    Ok(None)
}

/// Makes `n` connections, one after another. A client that asks after every 4 of them shows that the server has
/// accepted them, so that a short backlog is not full: with a full one TCP waits for a second before it tries again.
fn many_times(
    context: &Context<'_>,
    n: usize,
    connection: impl Fn() -> Result<(), Problem>,
) -> Outcome {
    let until = Instant::now() + context.silence();
    let mut made = 0;
    while made < n && Instant::now() < until {
        for _ in 0..4 {
            connection()?;
            made += 1;
        }
        // A server may start a process for each of them before.
        context.connect()?.ask(b"hello", context.silence())?;
    }
    Ok((made < n).then(|| {
        text!(
            "only {made} of {n} connections were made in the time",
            "時間内に確立した接続は {n} のうち {made} だけである"
        )
    }))
}
