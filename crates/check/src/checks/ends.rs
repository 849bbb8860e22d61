//! Ends of streams: half-close, and the bytes that are still under way.

use std::time::Duration;

use super::pressure;
use crate::check::{Check, Group, Needs};
use crate::client::{Client, End, Received};
use crate::context::Context;
use crate::outcome::{Level, Outcome, Problem};
use crate::payload::payload;
use crate::words::{text, words};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "half-close",
        group: Group::Ends,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "20 clients, one after another, send 10 bytes and end their stream at once (SHUT_WR): some right after \
             connect(2), some after an echo; some with the end in the same segment.",
            "20 のクライアントが順に、10 バイトを送って直ちにストリームを終える (SHUT_WR): \
             connect(2) の直後の場合も、一度エコーを受けた後の場合もあり、終わりが同じセグメントに入る場合もある。",
        ),
        passes: words(
            "Each client gets its 10 bytes and then the end of the stream, with no pause of 2 s.",
            "どのクライアントも 10 バイトと、それに続くストリームの終わりを、途中で 2 秒以上途切れることなく受け取る。",
        ),
        why: words(
            "The client has ended its sending, not its receiving. A server that closes at the end of the stream before \
             it writes loses the echo. A server that reads once for each event never sees the end.",
            "クライアントは送信を終えただけで、受信は続けている。ストリームの終わりを見て書く前に閉じるサーバーはエコーを失う。\
             イベントごとに 1 回しか読まないサーバーは終わりに気づかない。",
        ),
        read: "src/server/connection.rs; shutdown(2); RFC 9293, section 3.6",
        run: half_close,
    },
    Check {
        name: "half-close-bulk",
        group: Group::Ends,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: true,
        does: words(
            "A first client finds out how much is taken from a client that does not read. A second client sends four \
             fifths of that, ends its stream (SHUT_WR), waits until nothing moves, and then reads slowly.",
            "最初のクライアントが、読まないクライアントからどれだけ受け取られるかを調べる。2 番目のクライアントはその 5 分の 4 を送り、\
             ストリームを終え (SHUT_WR)、何も動かなくなるまで待ってから、ゆっくり読む。",
        ),
        passes: words(
            "All bytes come back, with no pause of 3 s, and then the end of the stream.",
            "すべてのバイトが 途中で 3 秒以上途切れることなく戻り、その後ストリームの終わりが来る。",
        ),
        why: words(
            "The end arrives while the server still has bytes to write. A server that closes at the end of the stream \
             drops them.",
            "サーバーにまだ書くバイトがあるうちに終わりが届く。ストリームの終わりを見て閉じるサーバーはそれらを捨ててしまう。",
        ),
        read: "examples/06_back_pressure.rs; docs/FAULTS.md; shutdown(2)",
        run: half_close_bulk,
    },
    Check {
        name: "eof-is-answered",
        group: Group::Ends,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "A client ends its stream (SHUT_WR) and has sent nothing.",
            "クライアントが何も送らずにストリームを終える (SHUT_WR)。",
        ),
        passes: words(
            "The end of the server's stream comes within 2 s.",
            "サーバーのストリームの終わりが 2 秒以内に来る。",
        ),
        why: words(
            "A server that does not close its end keeps the connection in CLOSE_WAIT, with its descriptor, for ever.",
            "自分の側を閉じないサーバーは、接続を CLOSE_WAIT のまま、ディスクリプタとともに永遠に保持する。",
        ),
        read: "src/server/connection.rs; RFC 9293, section 3.6",
        run: eof_is_answered,
    },
];

fn half_close(context: &mut Context<'_>) -> Outcome {
    for n in 0..20 {
        let client = context.connect()?;
        if n % 4 < 2 {
            client.ask(b"first", context.answer())?;
        }
        if n % 2 == 0 {
            hold_back(context, &client)?;
        }
        let bytes = payload(200 + n, 10);
        client.send(&bytes, context.answer())?;
        client.end()?;
        client
            .receive_to_the_end(bytes.len(), context.timeout)?
            .must_be_all(&bytes)?;
    }
    Ok(None)
}

/// Lets the kernel hold small writes back (TCP_CORK: tcp(7)), so that the end of the stream goes in the same segment.
fn hold_back(context: &Context<'_>, client: &Client<'_>) -> Result<(), Problem> {
    #[cfg(target_os = "linux")]
    if context.endpoint.is_tcp() {
        client.socket().set_tcp_cork(true)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (context, client);
    Ok(())
}

fn half_close_bulk(context: &mut Context<'_>) -> Outcome {
    let bytes = payload(21, pressure::MOST);
    let first = context.connect_narrow(pressure::WINDOW)?;
    let intake = pressure::fill_one(context, &first, &bytes)?;
    intake.leave(context.silence())?;
    let taken = intake.sent;
    drop(first);
    let client = context.connect_narrow(pressure::WINDOW)?;
    let intake = pressure::fill_one(context, &client, &bytes[..taken / 5 * 4])?;
    if let Some(problem) = intake.broke {
        return Err(problem);
    }
    client.end()?;
    wait_until_nothing_moves(context, &client, intake.sent)?;
    let sent = &bytes[..intake.sent];
    receive_slowly(context, &client, sent.len())?.must_be_all(sent)?;
    let kib = sent.len() / 1024;
    Ok(Some(text!(
        "{kib} KiB were under way at the end",
        "終わりの時点で {kib} KiB が途中にあった"
    )))
}

/// Waits until the server has handled what it can: the bytes that it holds do not change any more. Where the system
/// does not tell them, it waits for 0.4 s. A wait that is too short makes the check easier to pass, and fails nothing.
fn wait_until_nothing_moves(
    context: &Context<'_>,
    client: &Client<'_>,
    sent: usize,
) -> Result<(), Problem> {
    let mut before = None;
    for _ in 0..8 {
        let held = match context.held(&[(client, sent)]) {
            Ok(held) => Some(held),
            Err(Problem::Interrupted) => return Err(Problem::Interrupted),
            // No TCP, no proc(5), or the server has closed its end.
            Err(_) => None,
        };
        if held.is_some() && held == before {
            break;
        }
        before = held;
        context.sleep(Duration::from_millis(50))?;
    }
    Ok(())
}

/// Reads `n` bytes and the end of the stream, with a pause of 1 ms after each of 200 parts. So a server that reads
/// ahead still has bytes to write when it reads the end.
fn receive_slowly(
    context: &Context<'_>,
    client: &Client<'_>,
    n: usize,
) -> Result<Received, Problem> {
    let mut bytes = Vec::new();
    while bytes.len() < n {
        let part = (n / 200 + 1).min(n - bytes.len());
        let received = client.receive(part, context.silence())?;
        bytes.extend(received.bytes);
        if received.end != End::Complete {
            let end = received.end;
            return Ok(Received { bytes, end });
        }
        context.sleep(Duration::from_millis(1))?;
    }
    let rest = client.receive_to_the_end(0, context.silence())?;
    bytes.extend(rest.bytes);
    let end = rest.end;
    Ok(Received { bytes, end })
}

fn eof_is_answered(context: &mut Context<'_>) -> Outcome {
    let client = context.connect()?;
    client.end()?;
    let limit = context.timeout;
    let received = client.receive_to_the_end(0, limit)?;
    received.must_be(&[])?;
    match received.end {
        End::OfStream => Ok(None),
        End::TimedOut => {
            let seconds = limit.as_secs_f64();
            Err(Problem::Failed(text!(
                "the server did not end its stream within {seconds:.1} s",
                "サーバーは {seconds:.1} 秒以内にストリームを終えなかった"
            )))
        }
        // A reset instead of the end, which must_be_all describes.
        _ => received.must_be_all(&[]).map(|()| None),
    }
}
