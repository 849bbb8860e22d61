//! Many clients: each is served, soon and fairly.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, getrlimit};
use socket2::Socket;

use crate::check::{Check, Group, Needs};
use crate::client::Client;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::outcome::{Level, Outcome, Problem};
use crate::payload::payload;
use crate::process::Process;
use crate::reference::{
    Pair, Reference, best_of_three, milliseconds, of_the_reference, percentile,
};
use crate::words::{Text, text, words};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "storm",
        group: Group::Many,
        level: Level::Should,
        needs: Needs::Tcp,
        harms: true,
        does: words(
            "300 clients connect at once, and each sends one byte. At most three times.",
            "300 のクライアントが同時に接続し、それぞれ 1 バイトを送る。最大 3 回試す。",
        ),
        passes: words(
            "In at least one try, the last of them is served within 0.95 s, or within 3 times the time of the simple \
             server in this program.",
            "1 回は、最後のクライアントが 0.95 秒以内、またはこのプログラム内の小さなサーバーの 3 倍の時間以内に応答を受け取る。",
        ),
        why: words(
            "A client that finds the backlog full gets no answer from the kernel. Its kernel tries again after 1 s, \
             then after 2 s more, and so on. A backlog of 5 or 128 is easily full.",
            "バックログが満杯だと、クライアントはカーネルから応答を得られない。クライアント側のカーネルは 1 秒後、さらにその 2 秒後、というように再送する。5 や 128 のバックログは簡単に満杯になる。",
        ),
        read: "src/server/bind.rs; listen(2); RFC 6298 section 2",
        run: storm,
    },
    Check {
        name: "crowd",
        group: Group::Many,
        level: Level::Should,
        needs: Needs::Nothing,
        harms: true,
        does: words(
            "1,000 clients connect and say nothing (fewer, if the descriptor limit of this program is lower). Then 50 \
             more clients ask, 4 times each.",
            "1,000 のクライアントが接続して何も送らない (このプログラムのディスクリプタ上限が低ければ、より少ない)。さらに 50 のクライアントが 4 回ずつ送る。",
        ),
        passes: words(
            "All 50 are served. No silent client is closed. In one of three tries, the 99th percentile is below 50 ms, \
             or below 3 times that of the simple server in this program.",
            "50 すべてが応答を受け取り、黙っているクライアントは 1 つも切断されず、3 回のうち 1 回は、99 パーセンタイルが 50 ms 未満、またはこのプログラム内の小さなサーバーの 3 倍未満である。",
        ),
        why: words(
            "Most clients of a server are silent most of the time. They must not slow down or shut out the others. \
             select(2) cannot watch a descriptor above 1,023.",
            "サーバーのクライアントの多くは、ほとんどの時間黙っている。それらが他のクライアントを遅くしたり締め出したりしてはならない。select(2) は 1,023 を超えるディスクリプタを監視できない。",
        ),
        read: "examples/08_edges.rs; select(2); getrlimit(2)",
        run: crowd,
    },
    Check {
        name: "fairness",
        group: Group::Many,
        level: Level::Should,
        needs: Needs::Nothing,
        harms: true,
        does: words(
            "Two clients send and read as fast as they can. Meanwhile five other clients ask in turn.",
            "2 つのクライアントができるだけ速く送り続け、読み続ける。その間、ほかの 5 つのクライアントが順番に送る。",
        ),
        passes: words(
            "In one of three tries, the 99th percentile of the five is below 100 ms, or below 3 times that of the \
             simple server in this program.",
            "3 回のうち 1 回は、5 つのクライアントの 99 パーセンタイルが 100 ms 未満、またはこのプログラム内の小さなサーバーの 3 倍未満である。",
        ),
        why: words(
            "A loop that serves one client until it has nothing more to say serves only this client, as long as its \
             bytes come faster than they are echoed.",
            "1 つのクライアントのデータがなくなるまで処理するループは、エコーより速くバイトが届くかぎり、そのクライアントだけを処理し続ける。",
        ),
        read: "examples/10_turns.rs; src/server/run_queue.rs; epoll(7)",
        run: fairness,
    },
    Check {
        name: "no-delay",
        group: Group::Many,
        level: Level::Should,
        needs: Needs::Tcp,
        harms: false,
        does: words(
            "A client sends 200 single bytes, each in a call and a segment of its own, and waits for their echo: 20 \
             times.",
            "クライアントが 200 バイトを 1 バイトずつ、別々の呼び出しとセグメントで送り、そのエコーを待つ。これを 20 回行う。",
        ),
        passes: words(
            "In one of three tries, the median is below 20 ms, or below 3 times that of the simple server in this \
             program.",
            "3 回のうち 1 回は、中央値が 20 ms 未満、またはこのプログラム内の小さなサーバーの 3 倍未満である。",
        ),
        why: words(
            "Nagle's algorithm holds back a small write until the one before it is acknowledged, and the client's \
             kernel delays the acknowledgement for 40 ms. TCP_NODELAY turns it off.",
            "Nagle アルゴリズムは、前のデータの確認応答が届くまで小さな write を保留し、クライアントのカーネルは確認応答を 40 ms 遅らせる。TCP_NODELAY で無効にできる。",
        ),
        read: "RFC 1122 section 4.2.3.4; tcp(7)",
        run: no_delay,
    },
    Check {
        name: "quiet-after-all",
        group: Group::Many,
        level: Level::Should,
        needs: Needs::Nothing,
        harms: false,
        does: words(
            "A client asks, says nothing for 5 s, and asks again. Then a new client asks.",
            "クライアントが送り、5 秒間黙ってから、もう一度送る。その後、新しいクライアントが送る。",
        ),
        passes: words(
            "Both get their echo within 1.5 s. With `--idle`, the first client may be closed.",
            "どちらも 1.5 秒以内にエコーを受け取る。アイドルタイムアウトが指定されている場合、最初のクライアントは切断されてもよい。",
        ),
        why: words(
            "TCP itself has no timeout for a silent connection. A server that closes one after a time of its own \
             choice must say so, because the client sees only a broken connection.",
            "TCP 自体には、黙っている接続に対するタイムアウトがない。独自の時間で切断するサーバーはそれを明示しなければならない。クライアントに見えるのは切れた接続だけだからである。",
        ),
        read: "src/server/timeouts.rs; RFC 9293 section 3.8.4",
        run: quiet_after_all,
    },
];

fn storm(context: &mut Context<'_>) -> Outcome {
    // Besides the crowd this program has `ASKERS` clients of the server, and both ends of `ASKERS` clients of the
    // reference.
    crowd_size(context, STORM, STORM, STORM)?;
    let reference = Reference::start()?;
    let what = text!(
        "the last of {STORM} clients was served after",
        "{STORM} のクライアントの最後の 1 つが応答を受け取るまで"
    );
    let pair = best_of_three(STORM_LIMIT, &what, || {
        let most = STORM_LIMIT * 3;
        let reference =
            connect_at_once(context, &reference.endpoint(), most).map_err(of_the_reference)?;
        let limit = STORM_LIMIT.max(reference * 3);
        let server = connect_at_once(context, &context.endpoint, limit)?;
        Ok(Pair { server, reference })
    })?;
    let time = milliseconds(pair.server);
    Ok(Some(text!(
        "the last of {STORM} clients was served after {time}",
        "{STORM} のクライアントの最後の 1 つは {time} 後に応答を受け取った"
    )))
}

/// A client of a storm.
struct Guest {
    socket: Socket,
    has_asked: bool,
}

/// Connects many clients at once. Returns the time until the last one has its echo.
fn connect_at_once(
    context: &Context<'_>,
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<Duration, Problem> {
    let began = Instant::now();
    let mut waiting = Vec::with_capacity(STORM);
    // The clients that are served stay, as in real life.
    let mut served = Vec::with_capacity(STORM);
    for _ in 0..STORM {
        let (socket, address) = endpoint.socket()?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address) {
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => return Err(error.into()),
            // A connection is under way (EINPROGRESS), or its error shows at the first write.
            Ok(()) | Err(_) => {}
        }
        waiting.push(Guest {
            socket,
            has_asked: false,
        });
    }
    while !waiting.is_empty() {
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            let (count, seconds) = (served.len(), limit.as_secs_f64());
            return Err(Problem::Failed(text!(
                "only {count} of {STORM} clients were served within {seconds:.2} s",
                "{seconds:.2} 秒以内に応答を受け取ったのは {STORM} のクライアントのうち {count} だけだった"
            )));
        }
        // Ctrl-C is seen here.
        context.sleep(Duration::ZERO)?;
        let mut ready: Vec<PollFd<'_>> = waiting.iter().map(Guest::interest).collect();
        let step = Timespec {
            tv_sec: 0,
            tv_nsec: left.min(Duration::from_millis(50)).subsec_nanos().into(),
        };
        match poll(&mut ready, Some(&step)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        let ready: Vec<bool> = ready.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut still = Vec::with_capacity(waiting.len());
        for (mut guest, is_ready) in waiting.into_iter().zip(ready) {
            match is_ready && guest.proceed(served.len())? {
                true => served.push(guest),
                false => still.push(guest),
            }
        }
        waiting = still;
    }
    Ok(began.elapsed())
}

impl Guest {
    /// Returns what this client waits for.
    fn interest(&self) -> PollFd<'_> {
        let flags = match self.has_asked {
            true => PollFlags::IN,
            false => PollFlags::OUT,
        };
        PollFd::new(&self.socket, flags)
    }

    /// Writes the byte, or reads its echo. Returns whether the client has been served.
    fn proceed(&mut self, served: usize) -> Result<bool, Problem> {
        let moved = match self.has_asked {
            true => self.socket.read(&mut [0]),
            false => self.socket.write(b"x"),
        };
        let error = match moved {
            Ok(0) => text!("end of stream", "ストリームの終わり"),
            Ok(_) if self.has_asked => return Ok(true),
            Ok(_) => {
                self.has_asked = true;
                return Ok(false);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => text!("{error}", "{error}"),
        };
        let (en, ja) = (error.en, error.ja);
        Err(Problem::Failed(text!(
            "after {served} of {STORM} clients were served, one was turned away: {en}",
            "{STORM} のクライアントのうち {served} が応答を受け取った後、1 つが拒否された: {ja}"
        )))
    }
}

fn crowd(context: &mut Context<'_>) -> Outcome {
    // Besides the crowd this program has `ASKERS` clients of the server, and both ends of `ASKERS` clients of the
    // reference.
    let n = crowd_size(context, CROWD, FEWEST, 3 * ASKERS)?;
    let reference = Reference::start()?;
    let crowd = connect_crowd(context, n)?;
    let n = crowd.len();
    let asked = wait_until_served(context).and_then(|()| ask_in_a_crowd(context, &reference, n));
    // If the server has ended, report that instead of its consequences.
    if asked.is_err() {
        context.still_alive()?;
    }
    all_stay(context, &crowd)?;
    let pair = asked.map_err(|problem| unless_full(context, problem))?;
    drop(crowd);
    wait_until_served(context)?;
    let time = milliseconds(pair.server);
    Ok(Some(text!(
        "beside {n} silent clients, p99 was {time}",
        "黙っている {n} のクライアントがいる中で、p99 は {time} だった"
    )))
}

fn ask_in_a_crowd(context: &Context<'_>, reference: &Reference, n: usize) -> Result<Pair, Problem> {
    let what = text!(
        "beside {n} silent clients, p99 was",
        "黙っている {n} のクライアントがいる中で、p99 は"
    );
    best_of_three(CROWD_P99, &what, || {
        let ours = connect_to_reference(context, reference, ASKERS)?;
        let askers = context.connect_many(ASKERS)?;
        let mut times = Times::default();
        for _ in 0..4 {
            for (asker, ours) in askers.iter().zip(&ours) {
                times.ask(context, asker, ours)?;
            }
        }
        Ok(times.p99())
    })
}

/// Returns how many clients can connect: as many as wanted, or as many as the descriptor limits of this program and of
/// the server allow. `more` further clients will connect.
///
/// # Errors
/// [`Problem::Inconclusive`] if they are fewer than `fewest`.
pub(super) fn crowd_size(
    context: &Context<'_>,
    wanted: usize,
    fewest: usize,
    more: usize,
) -> Result<usize, Problem> {
    let limit = getrlimit(Resource::Nofile).current;
    let ours = limit.map_or(usize::MAX, |limit| limit as usize);
    let theirs = context.process.and_then(Process::free_descriptors);
    let theirs = theirs.unwrap_or(usize::MAX);
    let possible = (ours.saturating_sub(RESERVE)).min(theirs.saturating_sub(SERVERS_RESERVE));
    let possible = possible.saturating_sub(more);
    if possible >= fewest {
        return Ok(wanted.min(possible));
    }
    let Text { en, ja } = match ours < theirs {
        true => text!("this program", "このプログラム"),
        false => text!("the server", "サーバー"),
    };
    Err(Problem::Inconclusive(text!(
        "the descriptor limit of {en} allows only {possible} clients (ulimit -n)",
        "{ja}のディスクリプタ上限では {possible} クライアントしか接続できない (ulimit -n)"
    )))
}

/// Connects clients that say nothing: `n`, or fewer if the server starts a process for each client.
pub(super) fn connect_crowd<'a>(
    context: &Context<'a>,
    n: usize,
) -> Result<Vec<Client<'a>>, Problem> {
    let mut crowd = Vec::with_capacity(n);
    let until = Instant::now() + LONGEST_CROWD;
    while crowd.len() < n {
        let number = crowd.len() + 1;
        if Instant::now() > until {
            let (made, seconds) = (crowd.len(), LONGEST_CROWD.as_secs());
            return Err(Problem::Inconclusive(text!(
                "only {made} of {n} clients could connect within {seconds} s: the backlog is short, or the server \
                 accepts slowly",
                "{seconds} 秒以内に接続できたのは {n} のうち {made} クライアントだけだった: バックログが短いか、accept が遅い"
            )));
        }
        let client = context.connect().map_err(|problem| match problem {
            Problem::Failed(Text { en, ja }) => Problem::Failed(text!(
                "client {number} of {n}: {en}",
                "{n} のうち {number} 番目のクライアント: {ja}"
            )),
            other => other,
        });
        crowd.push(client.map_err(|problem| unless_full(context, problem))?);
        if number == MOST_PROCESSES && processes(context) > MOST_PROCESSES / 2 {
            break;
        }
    }
    Ok(crowd)
}

/// Waits until a new client is served, longer than a single client would wait. Then the server has accepted all clients
/// before it. After a crowd has left, it has also done most of the work for that.
pub(super) fn wait_until_served(context: &Context<'_>) -> Result<(), Problem> {
    let client = context.connect()?;
    client.ask(b"hello", context.timeout * 3)
}

/// Returns how many processes the server has; 0 if it is not known.
fn processes(context: &Context<'_>) -> usize {
    context.process.map_or(0, |process| process.tree().len())
}

/// Fails if the server has ended the connection of a silent client.
pub(super) fn all_stay(context: &Context<'_>, crowd: &[Client<'_>]) -> Result<(), Problem> {
    let mut gone = 0;
    for client in crowd {
        gone += usize::from(client.is_over()?);
    }
    if gone == 0 {
        return Ok(());
    }
    let n = crowd.len();
    if context.idle_timeout.is_some() {
        return Err(Problem::Inconclusive(text!(
            "{gone} of {n} silent clients were closed meanwhile, and the server has an idle timeout",
            "その間に、黙っている {n} のクライアントのうち {gone} が切断された。サーバーにはアイドルタイムアウトがある"
        )));
    }
    let what = text!(
        "the server closed {gone} of {n} silent clients",
        "サーバーは黙っている {n} のクライアントのうち {gone} を切断した"
    );
    Err(unless_full(context, Problem::Failed(what)))
}

/// A failure is not decided if the server has used up its own descriptors: it could serve more clients if it were
/// allowed to.
fn unless_full(context: &Context<'_>, problem: Problem) -> Problem {
    let free = context.process.and_then(Process::free_descriptors);
    match problem {
        Problem::Failed(Text { en, ja }) if free.is_some_and(|free| free < SERVERS_RESERVE) => {
            Problem::Inconclusive(text!(
                "the server's own descriptor limit is too low (ulimit -n): {en}",
                "サーバー自身のディスクリプタ上限が低すぎる (ulimit -n): {ja}"
            ))
        }
        other => other,
    }
}

fn connect_to_reference<'a>(
    context: &Context<'a>,
    reference: &Reference,
    n: usize,
) -> Result<Vec<Client<'a>>, Problem> {
    let connect = || Client::connect(&reference.endpoint(), context.timeout, context.interrupted);
    let clients: Result<_, Problem> = (0..n).map(|_| connect()).collect();
    clients.map_err(of_the_reference)
}

/// The times of the server under test and of the reference, asked in turn.
#[derive(Default)]
struct Times {
    server: Vec<Duration>,
    reference: Vec<Duration>,
}

impl Times {
    /// Asks the server, and then the reference.
    fn ask(
        &mut self,
        context: &Context<'_>,
        server: &Client<'_>,
        reference: &Client<'_>,
    ) -> Result<(), Problem> {
        let time = |client: &Client<'_>| {
            let began = Instant::now();
            client.ask(b"how late is it?", context.answer())?;
            Ok::<Duration, Problem>(began.elapsed())
        };
        self.server.push(time(server)?);
        self.reference
            .push(time(reference).map_err(of_the_reference)?);
        Ok(())
    }

    /// Corrects coordinated omission: while a request waits, no other one is sent, so a long wait would count as often
    /// as a short one. A wait of n ms therefore counts n times: as the waits of requests that were due after 0, 1, 2 …
    /// ms.
    fn at_any_moment(self) -> Times {
        let correct = |times: Vec<Duration>| {
            let all = times.iter().flat_map(|time| {
                let moments = time.as_nanos() / MOMENT.as_nanos();
                (0..=moments as u32).map(|n| time.saturating_sub(MOMENT * n))
            });
            all.collect()
        };
        Times {
            server: correct(self.server),
            reference: correct(self.reference),
        }
    }

    fn p99(mut self) -> Pair {
        Pair {
            server: percentile(&mut self.server, 99),
            reference: percentile(&mut self.reference, 99),
        }
    }
}

fn fairness(context: &mut Context<'_>) -> Outcome {
    let reference = Reference::start()?;
    let what = text!(
        "beside two clients that send without a pause, p99 was",
        "休みなく送る 2 つのクライアントがいる中で、p99 は"
    );
    let pair = best_of_three(FAIRNESS_P99, &what, || {
        let fast = context.connect_many(2)?;
        let ours = connect_to_reference(context, &reference, 5)?;
        let askers = context.connect_many(5)?;
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for client in &fast {
                scope.spawn(|| send_without_a_pause(client, &is_over));
                scope.spawn(|| read_to_the_end(client));
            }
            let asked = ask_for(context, FAIRNESS_TIME, &askers, &ours);
            is_over.store(true, Ordering::Relaxed);
            Ok(asked?.at_any_moment().p99())
        })
    })?;
    let time = milliseconds(pair.server);
    Ok(Some(text!(
        "beside two clients that send without a pause, p99 was {time}",
        "休みなく送る 2 つのクライアントがいる中で、p99 は {time} だった"
    )))
}

fn ask_for(
    context: &Context<'_>,
    time: Duration,
    askers: &[Client<'_>],
    ours: &[Client<'_>],
) -> Result<Times, Problem> {
    let mut times = Times::default();
    let until = Instant::now() + time;
    for (asker, ours) in askers.iter().zip(ours).cycle() {
        times.ask(context, asker, ours)?;
        if Instant::now() > until {
            break;
        }
        context.sleep(MOMENT)?;
    }
    Ok(times)
}

/// Sends bytes, and at last the end of the stream.
fn send_without_a_pause(client: &Client<'_>, is_over: &AtomicBool) {
    let bytes = payload(5, 1 << 20);
    while !is_over.load(Ordering::Relaxed) {
        let until = Instant::now() + Duration::from_millis(100);
        if client.send_until(&bytes, until).is_err() {
            break;
        }
    }
    // If the connection has failed, the reader ends too.
    let _ = client.end();
}

/// Reads to the end of the stream, so that the client leaves without a reset.
fn read_to_the_end(client: &Client<'_>) {
    let mut buffer = vec![0; 1 << 20];
    let silence = Some(Duration::from_secs(1));
    if client.socket().set_read_timeout(silence).is_err() {
        return;
    }
    while client.socket().read(&mut buffer).is_ok_and(|n| n > 0) {}
}

fn no_delay(context: &mut Context<'_>) -> Outcome {
    let reference = Reference::start()?;
    let what = text!("the median was", "中央値は");
    let pair = best_of_three(NO_DELAY_MEDIAN, &what, || {
        let server = context.connect()?;
        let connected =
            Client::connect(&reference.endpoint(), context.timeout, context.interrupted);
        let ours = connected.map_err(of_the_reference)?;
        let mut times = Times::default();
        for _ in 0..20 {
            times.server.push(single_bytes(context, &server)?);
            let time = single_bytes(context, &ours).map_err(of_the_reference)?;
            times.reference.push(time);
        }
        Ok(Pair {
            server: percentile(&mut times.server, 50),
            reference: percentile(&mut times.reference, 50),
        })
    })?;
    let time = milliseconds(pair.server);
    Ok(Some(text!(
        "the median was {time}",
        "中央値は {time} だった"
    )))
}

/// Sends single bytes, and returns the time until their echo is there. The server reads and writes several times in the
/// meantime, mostly without an acknowledgement between its last two writes.
fn single_bytes(context: &Context<'_>, client: &Client<'_>) -> Result<Duration, Problem> {
    let bytes = payload(11, 200);
    let began = Instant::now();
    for byte in &bytes {
        client.send(std::slice::from_ref(byte), context.answer())?;
    }
    client
        .receive(bytes.len(), context.answer())?
        .must_be(&bytes)?;
    Ok(began.elapsed())
}

fn quiet_after_all(context: &mut Context<'_>) -> Outcome {
    let first = context.connect()?;
    first.ask(b"first", context.answer())?;
    context.sleep(Duration::from_secs(5))?;
    match context.idle_timeout {
        Some(_) => {}
        None => first.ask(b"second", context.answer())?,
    }
    context.hello()?;
    Ok(None)
}

/// How many clients connect at once.
const STORM: usize = 300;

/// TCP sends its first segment again after 1 s (RFC 6298 section 2.1).
const STORM_LIMIT: Duration = Duration::from_millis(950);

/// How many clients are silent.
const CROWD: usize = 1000;

/// How many clients ask beside them. With the silent ones they are more than select(2) can watch (FD_SETSIZE is 1,024).
const ASKERS: usize = 50;

/// With fewer silent clients than this nothing is shown.
const FEWEST: usize = 200;

/// How many descriptors of this program are left for other purposes.
const RESERVE: usize = 100;

/// How many descriptors of the server are left for other purposes.
const SERVERS_RESERVE: usize = 10;

/// With this many clients, a server that starts a process for each has cost the machine enough memory.
const MOST_PROCESSES: usize = 400;

const CROWD_P99: Duration = Duration::from_millis(50);

const FAIRNESS_P99: Duration = Duration::from_millis(100);

/// How long each try of `fairness` takes.
const FAIRNESS_TIME: Duration = Duration::from_millis(700);

/// The pause between two questions of `fairness`.
const MOMENT: Duration = Duration::from_millis(1);

/// The longest time in which a crowd connects. 3,000 clients need less than a second if the server accepts them at
/// once.
const LONGEST_CROWD: Duration = Duration::from_secs(20);

const NO_DELAY_MEDIAN: Duration = Duration::from_millis(20);
