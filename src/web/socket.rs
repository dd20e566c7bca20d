//! The WebSocket: plain text in, JSON out.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::message::Message;
use super::serve::Shared;
use super::talk::{LONGEST, Talk, wrong};
use crate::dbus::{Changed, Voice};
use crate::fault::{Kind, Report};
use crate::tokens::Token;

/// The protocol that the server speaks, by its name in `Sec-WebSocket-Protocol`.
pub const PROTOCOL: &str = "opdbus.v1";

/// The largest frame that is read, in bytes: more than a sentence may have, so that one that is too long is answered.
pub const LARGEST: usize = 4 * LONGEST;

/// How many of the server's messages wait for a reader.
const OUTGOING: usize = 64;

/// How many of a client's messages wait for their answer.
const INCOMING: usize = 8;

/// How long a reader may take nothing.
const READER: Duration = Duration::from_secs(15);

/// How often it is asked whether anybody is there.
const PING: Duration = Duration::from_secs(30);

/// How long is waited after a change for more of them, before the overview is looked up.
const SETTLE: Duration = Duration::from_millis(700);

/// The close code of a connection whose token is not good any longer.
const SIGNED_OUT: u16 = 4401;

/// Serves one connection until it ends.
pub async fn converse(socket: WebSocket, shared: Arc<Shared>, secret: String, token: Token) {
    let (sink, stream) = socket.split();
    let (out, outgoing) = mpsc::channel(OUTGOING);
    let (heard, sentences) = mpsc::channel(INCOMING);
    let voice = Voice::Token { secret, door: "chat" };
    let talk = Talk::new(&shared, voice.clone(), out.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(write(sink, outgoing));
    tasks.spawn(answer(talk, sentences, token, shared.host.clone()));
    tasks.spawn(push(shared, voice, out.clone()));
    tasks.spawn(read(stream, heard, out));
    // Where one ends, so does the connection. An operation that was begun goes on in the daemon.
    tasks.join_next().await;
    tasks.shutdown().await;
}

/// Sends what there is to send. A reader that takes nothing for a while is left.
async fn write(mut sink: SplitSink<WebSocket, Frame>, mut outgoing: Receiver<Message>) {
    let mut pings = interval(PING);
    loop {
        let frame = tokio::select! {
            message = outgoing.recv() => match message {
                Some(message) => message.frame(),
                None => return,
            },
            _ = pings.tick() => Frame::Ping(Vec::new().into()),
        };
        let last = matches!(frame, Frame::Close(_));
        if !matches!(timeout(READER, sink.send(frame)).await, Ok(Ok(()))) || last {
            return;
        }
    }
}

/// Answers one sentence after the other.
async fn answer(mut talk: Talk, mut sentences: Receiver<String>, token: Token, host: String) {
    if talk.greet(&token, &host).await.is_err() {
        return;
    }
    let mut request = 0;
    while let Some(sentence) = sentences.recv().await {
        request += 1;
        if talk.hear(&sentence, request).await.is_err() {
            return;
        }
    }
}

/// Reads what is said, until nobody is there.
async fn read(mut stream: SplitStream<WebSocket>, heard: Sender<String>, out: Sender<Message>) {
    // Three pings without an answer.
    while let Ok(Some(Ok(frame))) = timeout(3 * PING, stream.next()).await {
        let refused = match frame {
            Frame::Text(text) => match heard.try_send(text.to_string()) {
                Ok(()) => continue,
                Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    Report::new(Kind::Busy, format!("{INCOMING} messages wait for their answer already"))
                        .with_next("wait for it; this one was not taken")
                }
            },
            Frame::Binary(_) => Report::new(Kind::Invalid, "this is no text"),
            Frame::Close(_) => return,
            Frame::Ping(_) | Frame::Pong(_) => continue,
        };
        if out.send(wrong(&refused)).await.is_err() {
            return;
        }
    }
}

/// Says what is changed, by whomever, and shows the host anew after it.
async fn push(shared: Arc<Shared>, voice: Voice, out: Sender<Message>) {
    let mut changes = shared.daemon.changes();
    let mut due = Some(Instant::now());
    loop {
        let look = async {
            match due {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            news = changes.recv() => match news {
                Ok(Changed { operation, target }) => {
                    let said = format!("{operation} on {target}");
                    let status = Message::new("status", said)
                        .with("operation", operation)
                        .with("target", target);
                    if out.send(status).await.is_err() {
                        return;
                    }
                    due.get_or_insert(Instant::now() + SETTLE);
                }
                Err(RecvError::Lagged(_)) => due = due.or(Some(Instant::now())),
                Err(RecvError::Closed) => return,
            },
            () = look => {
                due = None;
                let turn = shared.calls.acquire().await;
                let answer = voice.call(&shared.daemon, "overview", &json!({}), None).await;
                drop(turn);
                let overview = match answer {
                    Ok(data) => Message::new("overview", "").with("data", data),
                    Err(report) if report.kind == Kind::Denied => {
                        let _ = out.send(Message::end(SIGNED_OUT, &report.message)).await;
                        return;
                    }
                    Err(report) => wrong(&report),
                };
                if out.send(overview).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Message {
    /// What ends a connection: the code, and why.
    fn end(code: u16, why: &str) -> Self {
        // A reason has at most 123 bytes.
        Self::new("end", why.chars().take(60).filter(char::is_ascii).collect::<String>()).with("code", code)
    }

    fn frame(&self) -> Frame {
        match self.ended() {
            Some((code, why)) => Frame::Close(Some(CloseFrame { code, reason: why.into() })),
            None => Frame::Text(self.text().into()),
        }
    }
}
