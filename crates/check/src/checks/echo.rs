//! Every byte comes back, in order, whatever its value and however the bytes are divided into calls.

use std::time::Duration;

use crate::check::{Check, Group, Needs};
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::outcome::{Level, Outcome, Problem};
use crate::payload::payload;
use crate::words::{text, words};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "hello",
        group: Group::Echo,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "A client connects and sends the 5 bytes `hello`.",
            "クライアントが接続し、5 バイト `hello` を送る。",
        ),
        passes: words(
            "The same 5 bytes come back within 1.5 s.",
            "同じ 5 バイトが 1.5 秒以内に戻る。",
        ),
        why: words(
            "This is the whole service: an echo server sends back what it receives.",
            "これがサービスのすべて: エコーサーバーは受け取ったものを送り返す。",
        ),
        read: "RFC 862",
        run: hello,
    },
    Check {
        name: "again",
        group: Group::Echo,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "A client is served and leaves. Then a second client connects.",
            "クライアントが応答を受けて去る。その後、2 番目のクライアントが接続する。",
        ),
        passes: words(
            "The second client gets its echo within 1.5 s.",
            "2 番目のクライアントも 1.5 秒以内にエコーを受け取る。",
        ),
        why: words(
            "A server that calls accept(2) once serves one client in its life.",
            "accept(2) を一度しか呼ばないサーバーは、一生に 1 つのクライアントしか相手にしない。",
        ),
        read: "examples/01_one_at_a_time.rs; accept(2)",
        run: again,
    },
    Check {
        name: "two-at-once",
        group: Group::Echo,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "A first client connects and says nothing. A second client asks.",
            "最初のクライアントは接続して何も送らない。2 番目のクライアントが送る。",
        ),
        passes: words(
            "The second client gets its echo within 1.5 s.",
            "2 番目のクライアントが 1.5 秒以内にエコーを受け取る。",
        ),
        why: words(
            "The kernel completes the second connection, but the server is still waiting for the first client. One \
             silent client must not stop the service.",
            "カーネルは 2 番目の接続を完了するが、サーバーは最初のクライアントを待ち続けている。黙っている 1 つのクライアントがサービスを止めてはならない。",
        ),
        read: "examples/02_thread_each.rs; listen(2)",
        run: two_at_once,
    },
    Check {
        name: "bytes",
        group: Group::Echo,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "A client sends all 256 byte values, without a newline at the end.",
            "クライアントが 256 種類すべてのバイト値を、末尾の改行なしで送る。",
        ),
        passes: words(
            "The same bytes come back within 1.5 s.",
            "同じバイト列が 1.5 秒以内に戻る。",
        ),
        why: words(
            "A server that treats bytes as text changes line ends, stops at a NUL byte, or fails on bytes that are \
             not UTF-8.",
            "バイト列をテキストとして扱うサーバーは、改行を変えたり、NUL で止まったり、UTF-8 でないバイトで失敗したりする。",
        ),
        read: "RFC 862; docs/FAULTS.md",
        run: bytes,
    },
    Check {
        name: "no-newline",
        group: Group::Echo,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "A client sends 3 bytes, no newline and no end of stream, and waits.",
            "クライアントが 3 バイトを改行もストリームの終わりもなしで送り、待つ。",
        ),
        passes: words(
            "The 3 bytes come back within 1.5 s.",
            "3 バイトが 1.5 秒以内に戻る。",
        ),
        why: words(
            "A server that reads lines waits for a newline, and the client waits for the echo: for ever.",
            "行単位で読むサーバーは改行を待ち、クライアントはエコーを待つ: 永遠に。",
        ),
        read: "RFC 862",
        run: no_newline,
    },
    Check {
        name: "byte-by-byte",
        group: Group::Echo,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "A client sends 300 single bytes, each in a call and a segment of its own (TCP_NODELAY).",
            "クライアントが 300 バイトを 1 バイトずつ、別々の呼び出しとセグメントで送る (TCP_NODELAY)。",
        ),
        passes: words(
            "All 300 bytes come back in order.",
            "300 バイトすべてが順番どおりに戻る。",
        ),
        why: words(
            "TCP is a stream of bytes. One write of the sender is not one read of the receiver.",
            "TCP はバイトのストリームである。送信側の 1 回の write は受信側の 1 回の read ではない。",
        ),
        read: "tcp(7)",
        run: byte_by_byte,
    },
    Check {
        name: "boundaries",
        group: Group::Echo,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "Messages of 1,023 to 200,000 bytes, around the usual sizes of a buffer: each on a connection of \
             its own, \
             and then one after another on one connection.",
            "1,023 から 200,000 バイトまでの、よくあるバッファサイズの前後の長さのメッセージ: まず 1 つずつ別の接続で、次に 1 つの接続で順に送る。",
        ),
        passes: words(
            "Each message comes back whole within 2 s.",
            "どのメッセージも 2 秒以内にすべて戻る。",
        ),
        why: words(
            "A message that fills the read buffer exactly is not the end of anything: a server must go on reading.",
            "読み取りバッファをちょうど満たすメッセージは何の終わりでもない: サーバーは読み続けなければならない。",
        ),
        read: "src/server/connection.rs; read(2)",
        run: boundaries,
    },
    Check {
        name: "pipeline",
        group: Group::Echo,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "A client sends 1,000 small messages without waiting for an echo.",
            "クライアントがエコーを待たずに 1,000 個の短いメッセージを送る。",
        ),
        passes: words(
            "All bytes come back in order.",
            "すべてのバイトが順番どおりに戻る。",
        ),
        why: words(
            "The messages arrive together. A server that answers once for each read loses what was behind the first.",
            "メッセージはまとまって届く。read のたびに 1 回だけ答えるサーバーは、最初のものの後ろを失う。",
        ),
        read: "tcp(7)",
        run: pipeline,
    },
    Check {
        name: "bulk",
        group: Group::Echo,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "A client sends 8 MiB, and reads the echo at the same time.",
            "クライアントが 8 MiB を送りながら、同時にエコーを読む。",
        ),
        passes: words(
            "All 8,388,608 bytes come back, with no pause of 3 s.",
            "8,388,608 バイトすべてが、途中で 3 秒以上途切れることなく戻る。",
        ),
        why: words(
            "write(2) on a nonblocking socket may take a part of the bytes. A server that does not keep the \
             rest loses \
             it.",
            "ノンブロッキングソケットの write(2) は一部のバイトしか受け取らないことがある。残りを保持しないサーバーはそれを失う。",
        ),
        read: "examples/05_keep_the_rest.rs; write(2)",
        run: bulk,
    },
    Check {
        name: "not-mixed-up",
        group: Group::Echo,
        level: Level::Must,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "50 clients send bytes of their own in turn, 20 messages each.",
            "50 のクライアントが順番に、それぞれ固有のバイト列を 20 メッセージずつ送る。",
        ),
        passes: words(
            "Each client gets its own bytes.",
            "どのクライアントも自分のバイト列を受け取る。",
        ),
        why: words(
            "A server that shares one buffer between its clients gives one client the bytes of another.",
            "1 つのバッファを全クライアントで共有するサーバーは、あるクライアントに別のクライアントのバイトを渡してしまう。",
        ),
        read: "src/server/buffers.rs",
        run: not_mixed_up,
    },
    Check {
        name: "unix",
        group: Group::Echo,
        level: Level::Note,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "A client connects to each Unix-domain socket that was named, and sends `hello`.",
            "指定された Unix ドメインソケットそれぞれにクライアントが接続し、`hello` を送る。",
        ),
        passes: words("It is a note.", "参考情報である。"),
        why: words(
            "A server may listen on several addresses.",
            "サーバーは複数のアドレスで待ち受けることができる。",
        ),
        read: "unix(7)",
        run: unix,
    },
    Check {
        name: "ipv6",
        group: Group::Echo,
        level: Level::Note,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "A client connects to each IPv6 address that was named, and sends `hello`.",
            "指定された IPv6 アドレスそれぞれにクライアントが接続し、`hello` を送る。",
        ),
        passes: words("It is a note.", "参考情報である。"),
        why: words(
            "A server may listen on several addresses.",
            "サーバーは複数のアドレスで待ち受けることができる。",
        ),
        read: "ipv6(7)",
        run: ipv6,
    },
];

fn hello(context: &mut Context<'_>) -> Outcome {
    context.hello()?;
    Ok(None)
}

fn again(context: &mut Context<'_>) -> Outcome {
    let first = context.connect()?;
    first.ask(b"first", context.answer())?;
    drop(first);
    let second = context.connect()?;
    second.ask(b"second", context.answer())?;
    Ok(None)
}

fn two_at_once(context: &mut Context<'_>) -> Outcome {
    let _silent = context.connect()?;
    context.connect()?.ask(b"second client", context.answer())?;
    Ok(None)
}

fn bytes(context: &mut Context<'_>) -> Outcome {
    let all: Vec<u8> = (0..=255).collect();
    context.connect()?.ask(&all, context.answer())?;
    Ok(None)
}

fn no_newline(context: &mut Context<'_>) -> Outcome {
    context.connect()?.ask(b"abc", context.answer())?;
    Ok(None)
}

fn byte_by_byte(context: &mut Context<'_>) -> Outcome {
    let client = context.connect()?;
    let bytes = payload(1, 300);
    for byte in &bytes {
        client.send(std::slice::from_ref(byte), context.answer())?;
    }
    client
        .receive(bytes.len(), context.timeout)?
        .must_be(&bytes)?;
    Ok(None)
}

fn boundaries(context: &mut Context<'_>) -> Outcome {
    const SIZES: [usize; 10] = [
        1_023, 1_024, 1_025, 4_096, 4_097, 65_535, 65_536, 65_537, 131_072, 200_000,
    ];
    let ask = |client: &crate::client::Client<'_>, size: usize, on: [&str; 2]| {
        let bytes = payload(size as u64, size);
        let received = client.exchange(&bytes, context.timeout)?;
        received.must_be(&bytes).map_err(|problem| match problem {
            Problem::Failed(what) => {
                let ([on_en, on_ja], en, ja) = (on, what.en, what.ja);
                Problem::Failed(text!(
                    "a message of {size} bytes on {on_en}: {en}",
                    "{on_ja}での {size} バイトのメッセージ: {ja}"
                ))
            }
            other => other,
        })
    };
    for size in SIZES {
        ask(
            &context.connect()?,
            size,
            ["a connection of its own", "専用の接続"],
        )?;
    }
    let client = context.connect()?;
    for size in SIZES {
        ask(&client, size, ["one connection for all", "共通の接続"])?;
    }
    Ok(None)
}

fn pipeline(context: &mut Context<'_>) -> Outcome {
    let client = context.connect()?;
    let bytes = payload(3, 1000 * 32);
    client.exchange(&bytes, context.timeout)?.must_be(&bytes)?;
    Ok(None)
}

fn bulk(context: &mut Context<'_>) -> Outcome {
    let bytes = payload(4, 8 << 20);
    let client = context.connect()?;
    client
        .exchange(&bytes, context.silence())?
        .must_be(&bytes)?;
    Ok(None)
}

fn not_mixed_up(context: &mut Context<'_>) -> Outcome {
    const MESSAGE: usize = 64;
    let clients = context.connect_many(50)?;
    let bytes: Vec<Vec<u8>> = (0..clients.len() as u64)
        .map(|n| payload(100 + n, 20 * MESSAGE))
        .collect();
    for round in 0..20 {
        for (client, bytes) in clients.iter().zip(&bytes) {
            let message = &bytes[round * MESSAGE..(round + 1) * MESSAGE];
            client.send(message, context.answer())?;
        }
    }
    for (client, bytes) in clients.iter().zip(&bytes) {
        client
            .receive(bytes.len(), context.timeout)?
            .must_be(bytes)?;
    }
    Ok(None)
}

fn unix(context: &mut Context<'_>) -> Outcome {
    hello_over(context, |endpoint| matches!(endpoint, Endpoint::Unix(_)))
}

fn ipv6(context: &mut Context<'_>) -> Outcome {
    hello_over(
        context,
        |endpoint| matches!(endpoint, Endpoint::Tcp(address) if address.is_ipv6()),
    )
}

fn hello_over(context: &Context<'_>, is_wanted: impl Fn(&Endpoint) -> bool) -> Outcome {
    let all = std::iter::once(&context.endpoint).chain(context.others);
    let wanted: Vec<&Endpoint> = all.filter(|endpoint| is_wanted(endpoint)).collect();
    if wanted.is_empty() {
        return Err(Problem::Skipped(text!(
            "no such address was named",
            "そのようなアドレスは指定されていない"
        )));
    }
    for endpoint in wanted {
        let limit: Duration = context.timeout;
        let client = crate::client::Client::connect(endpoint, limit, context.interrupted)?;
        client.ask(b"hello", context.answer())?;
    }
    Ok(None)
}
