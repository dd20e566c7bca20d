//! The chat's server: how much memory it takes while nobody is there, and whether it serves a thousand web sockets, each of which
//! says something once a second. A private bus, the real daemon on it, the real server on a socket that was handed over.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a bench: what fails ends it, and it prints what it measured"
)]

#[path = "../tests/support/daemon.rs"]
mod daemon;
#[allow(dead_code, unreachable_pub, reason = "what other benches need of it")]
#[path = "../tests/support/bus.rs"]
mod private;
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use daemon::{Host, Running};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{Limit, not_measured, ratio, told};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// How many are connected, how often each says something, and how long.
const CONNECTIONS: usize = 1000;
const EACH: Duration = Duration::from_secs(1);
const TIMES: u64 = 30;

/// How long after the last question an answer is waited for.
const LATE: Duration = Duration::from_secs(20);

/// What the chat answers by itself, and what the daemon has to be asked for.
const ITSELF: &str = "list tools";
const DAEMON: &str = "show me all containers";

/// The memory of a process, in MiB: its own share (PSS) and all it sees (RSS).
fn memory(process: &Running) -> (f64, f64) {
    let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.id())).unwrap();
    let field = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    };
    (field("Pss:"), field("Rss:"))
}

/// What of an answer is looked at.
#[derive(Deserialize)]
struct Heard<'t> {
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'t, str>,
    request: Option<u64>,
}

type Socket = WebSocketStream<TcpStream>;

/// A connection, once the greeting and the first overview are there.
async fn connect(address: SocketAddr, token: &str) -> Socket {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    let protocols = format!("opdbus.v1, bearer.{token}");
    request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let (mut hello, mut overview) = (false, false);
    while !(hello && overview) {
        let Some(Ok(message)) = socket.next().await else { panic!("a connection was ended") };
        if let Message::Text(text) = message {
            let heard: Heard<'_> = serde_json::from_str(&text).unwrap();
            hello |= heard.kind == "hello";
            // An error where the daemon was asked too much at once.
            overview |= heard.kind == "overview" || heard.kind == "error";
        }
    }
    socket
}

/// What one connection saw: how long each answer took, and what was wrong.
#[derive(Default)]
struct Seen {
    times: Vec<Duration>,
    wrong: u64,
}

/// Says something once a second, from `first` on, and listens.
async fn talk(mut socket: Socket, sentence: &'static str, first: Instant, times: u64) -> (Seen, Socket) {
    let mut said: Vec<Instant> = Vec::new();
    let mut answered = vec![0_u32; times as usize];
    let mut seen = Seen::default();
    let end = first + EACH * times as u32 + LATE;
    loop {
        let next = first + EACH * said.len() as u32;
        let all_said = said.len() as u64 == times;
        if all_said && answered.iter().all(|count| *count > 0) {
            break;
        }
        tokio::select! {
            () = sleep_until(if all_said { end } else { next }) => {
                if all_said {
                    break;
                }
                said.push(Instant::now());
                if socket.send(Message::text(sentence)).await.is_err() {
                    break;
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let now = Instant::now();
                    let heard: Heard<'_> = serde_json::from_str(&text).unwrap();
                    match (&*heard.kind, heard.request) {
                        ("assistant", Some(request)) if request > 0 && request <= said.len() as u64 => {
                            let at = request as usize - 1;
                            answered[at] += 1;
                            seen.times.push(now - said[at]);
                        }
                        ("running" | "progress", Some(_)) | ("overview" | "status", None) => {}
                        _ => seen.wrong += 1,
                    }
                }
                Some(Ok(_)) => {}
                _ => break,
            }
        }
    }
    seen.wrong += times - answered.iter().filter(|count| **count == 1).count() as u64;
    (seen, socket)
}

/// What so many connections saw, together.
struct Load {
    half: Duration,
    slowest: Duration,
    wrong: u64,
    answers: usize,
    early: f64,
    late: f64,
}

fn load(
    runtime: &Runtime,
    host: &Host,
    token: &str,
    server: &Running,
    sentence: &'static str,
    connections: usize,
    times: u64,
) -> Load {
    let address = host.listener.local_addr().unwrap();
    runtime.block_on(async {
        let mut sockets = Vec::with_capacity(connections);
        for _ in 0..connections {
            sockets.push(connect(address, token).await);
        }
        let start = Instant::now() + Duration::from_secs(1);
        let talks: Vec<_> = sockets
            .into_iter()
            .enumerate()
            .map(|(number, socket)| {
                // Evenly over the second.
                let first = start + EACH * number as u32 / connections as u32;
                tokio::spawn(talk(socket, sentence, first, times))
            })
            .collect();
        sleep_until(start + Duration::from_secs(5)).await;
        let early = memory(server).1;
        sleep_until(start + EACH * times as u32).await;
        let late = memory(server).1;
        let (mut all, mut wrong, mut open) = (Vec::new(), 0, Vec::new());
        for talk in talks {
            let (seen, socket) = talk.await.unwrap();
            all.extend(seen.times);
            wrong += seen.wrong;
            open.push(socket);
        }
        drop(open);
        all.sort();
        let at = |share: usize| all.get((all.len() * share / 100).min(all.len().saturating_sub(1))).copied();
        Load {
            half: at(50).unwrap_or_default(),
            slowest: at(99).unwrap_or_default(),
            wrong,
            answers: all.len(),
            early,
            late,
        }
    })
}

impl Load {
    fn spread(&self) -> f64 {
        self.slowest.as_secs_f64() / self.half.as_secs_f64()
    }

    /// Whether it keeps up: each is answered once, and before the next is said.
    fn keeps_up(&self) -> bool {
        self.wrong == 0 && self.slowest < EACH
    }

    fn rows(&self, what: &str) {
        ratio(
            &format!("messages that were not answered, or not once: {what}"),
            self.wrong as f64,
            Limit::AtMost(0.0),
            &format!("{} answers", self.answers),
        );
        ratio(
            &format!("p99 to p50 of the answers: {what}"),
            self.spread(),
            Limit::AtMost(5.0),
            &format!("{:.1?} : {:.1?}", self.slowest, self.half),
        );
        ratio(
            &format!("resident memory at the end to that after five seconds: {what}"),
            self.late / self.early,
            Limit::AtMost(1.1),
            &format!("{:.1} : {:.1} MiB", self.late, self.early),
        );
    }
}

/// The memory of the server while nobody is there.
fn idle(what: &str, ml: &Value) {
    let host = Host::with(ml);
    let server = host.serve();
    let runtime = runtime();
    // It is there when it answers; a page was looked at, and is closed again.
    let token = host.token(&["bench", "--role", "read"]);
    drop(runtime.block_on(connect(host.listener.local_addr().unwrap(), &token)));
    std::thread::sleep(Duration::from_secs(3));
    let (own, all) = memory(&server);
    ratio(
        &format!("resident memory of mcp-chat while nobody is there, {what}, to 25 MiB"),
        all / 25.0,
        Limit::AtMost(1.0),
        &format!("{all:.1} MiB, its own share (PSS) {own:.1} MiB"),
    );
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A container is changed with so many pages open: until all of them show it.
fn change(runtime: &Runtime, host: &Host, token: &str, connections: usize) {
    let address = host.listener.local_addr().unwrap();
    let (mut slowest, mut refused) = (Duration::ZERO, 0);
    runtime.block_on(async {
        let mut sockets = Vec::with_capacity(connections);
        for _ in 0..connections {
            sockets.push(connect(address, token).await);
        }
        let began = Instant::now();
        let waits: Vec<_> = sockets
            .into_iter()
            .map(|mut socket| {
                tokio::spawn(async move {
                    let shown = async {
                        while let Some(Ok(message)) = socket.next().await {
                            let Message::Text(text) = message else { continue };
                            let heard: Heard<'_> = serde_json::from_str(&text).unwrap();
                            if heard.kind == "overview" || heard.kind == "error" {
                                return heard.kind == "overview";
                            }
                        }
                        false
                    };
                    let shown = timeout(LATE * 3, shown).await.unwrap_or(false);
                    (shown, began.elapsed(), socket)
                })
            })
            .collect();
        let removed = tokio::task::block_in_place(|| host.op_dbus(&["template", "remove", "alpha", "--yes"]));
        assert!(removed.is_some(), "nothing was changed");
        for wait in waits {
            let (shown, took, _socket) = wait.await.unwrap();
            slowest = slowest.max(took);
            refused += usize::from(!shown);
        }
    });
    ratio(
        &format!("pages that do not show a change, of {connections}"),
        refused as f64,
        Limit::AtMost(0.0),
        &format!("the last shows it after {slowest:.1?}"),
    );
}

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    // A thousand connections are more descriptors than a shell gives.
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: limits.maximum, maximum: limits.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();
    if wanted("idle") {
        idle("without `ml.enable`", &json!({ "enable": false }));
        // It is in another process, which the daemon tells of each entry.
        idle("with `ml.enable`", &json!({ "enable": true }));
    }
    let runtime = runtime();
    let fresh = || {
        let host = Host::start();
        let token = host.token(&["bench", "--role", "read"]);
        let server = host.serve();
        (host, token, server)
    };
    if wanted("itself") {
        let (host, token, server) = fresh();
        load(&runtime, &host, &token, &server, ITSELF, CONNECTIONS, TIMES)
            .rows("1,000 WebSockets, each \"list tools\" once a second for 30 s");
    }
    if wanted("daemon") {
        let (host, token, server) = fresh();
        let found = [1000, 500, 250, 100, 50].into_iter().find_map(|connections| {
            let tried = load(&runtime, &host, &token, &server, DAEMON, connections, 10);
            eprintln!("# {connections}: {:?}, {:?}, {} wrong", tried.half, tried.slowest, tried.wrong);
            tried.keeps_up().then_some((connections, tried))
        });
        match found {
            Some((connections, tried)) => told(
                &format!(
                    "p99 to p50 of {connections} WebSockets, each \"{DAEMON}\" once a second, which the daemon answers"
                ),
                tried.spread(),
                &format!("{:.1?} : {:.1?}, {} answers", tried.slowest, tried.half, tried.answers),
            ),
            None => not_measured(DAEMON, "not even 50 connections were answered within a second"),
        }
    }
    if wanted("change") {
        let (host, token, _server) = fresh();
        change(&runtime, &host, &token, CONNECTIONS);
    }
}
