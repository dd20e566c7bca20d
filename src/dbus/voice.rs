//! The daemon, as a program asks it that has many calls under way at once: as somebody else, whose token it passes on, or
//! as the user it runs as.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc};
use zbus::message::Type;
use zbus::zvariant::DynamicType;
use zbus::{Connection, MatchRule, MessageStream};

use super::client::{manager, progress_of, report_of};
use super::{ClientError, INTERFACE, Peer};
use crate::fault::{Kind, Report};
use crate::tokens::Token;

/// How many changes may be waiting for somebody who does not look.
const CHANGES: usize = 64;

/// How far an operation is.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What it is doing.
    pub message: String,
    /// How far it is, from 0 to 1, where that is known.
    pub fraction: Option<f64>,
}

/// Something on the host was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// By which operation.
    pub operation: String,
    /// What.
    pub target: String,
}

/// Somebody who waits for the progress of a call.
#[derive(Debug)]
struct Listener {
    /// Of a call that has no number on the bus, by what its progress is told.
    operation: Option<String>,
    to: mpsc::UnboundedSender<Step>,
}

/// Who waits for the progress of which call, by our numbers.
type Waiting = Arc<Mutex<HashMap<u64, Listener>>>;

/// A connection to the daemon, which many ask over.
#[derive(Debug)]
pub struct Daemon {
    bus: Connection,
    tags: AtomicU64,
    waiting: Waiting,
    changes: broadcast::Sender<Changed>,
}

/// Whether a text can be sent as it is; else what it is refused as. A bus has no texts with a NUL in them, and ends the connection of who sends one: that
/// would be everybody's here.
fn sendable(text: &str, otherwise: Kind) -> Result<(), Report> {
    if text.contains('\0') {
        return Err(Report::new(otherwise, "it has a NUL in it"));
    }
    Ok(())
}

/// The end of a wait for progress: it is no longer listened for.
struct Heard<'d> {
    waiting: &'d Waiting,
    tag: u64,
}

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.tag);
    }
}

/// Hands a step on to who waits for it. A user's own calls have no number on the bus: where two of one operation are under
/// way, each hears of both.
fn tell(waiting: &Waiting, operation: &str, tag: u64, step: &Step) {
    let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let theirs = |listener: &&Listener| listener.operation.as_deref() == Some(operation);
    let listeners: Vec<&Listener> = match tag {
        0 => waiting.values().filter(theirs).collect(),
        tag => waiting.get(&tag).into_iter().collect(),
    };
    for listener in listeners {
        // Who listened may have gone away.
        let _ = listener.to.send(step.clone());
    }
}

impl Daemon {
    /// Connects to the system bus of this host, or of another.
    pub async fn connect(peer: &Peer) -> Result<Arc<Self>, ClientError> {
        let bus = peer.connect().await?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .interface(INTERFACE)
            .member("Changed")
            .build()
            .map_err(ClientError::Bus)?;
        // A signal to this connection alone comes without a rule.
        let mut signals = MessageStream::for_match_rule(rule, &bus, None).await.map_err(ClientError::Bus)?;
        let mut all = MessageStream::from(&bus);
        let daemon = Arc::new(Self {
            bus,
            tags: AtomicU64::new(1),
            waiting: Waiting::default(),
            changes: broadcast::Sender::new(CHANGES),
        });
        let changes = daemon.changes.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = signals.next().await {
                if let Ok((operation, target)) = message.body().deserialize::<(String, String)>() {
                    // Nobody may be looking.
                    let _ = changes.send(Changed { operation, target });
                }
            }
        });
        let waiting = Arc::clone(&daemon.waiting);
        tokio::spawn(async move {
            while let Some(Ok(message)) = all.next().await {
                if let Some((operation, message, fraction, tag)) = progress_of(&message) {
                    let step = Step { message, fraction: (fraction >= 0.0).then_some(fraction) };
                    tell(&waiting, &operation, tag, &step);
                }
            }
        });
        Ok(daemon)
    }

    /// Waits until the bus is gone: whoever is connected is better served by a process that has one.
    pub async fn ended(&self) {
        let mut all = MessageStream::from(&self.bus);
        while all.next().await.is_some() {}
    }

    /// What is changed from now on, by whomever.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }

    /// Signs in by a link's secret or a token: the session's secret and its token.
    pub async fn sign_in(&self, secret: &str) -> Result<(String, Token), Report> {
        #[derive(serde::Deserialize)]
        struct SignedIn {
            secret: String,
            token: Token,
        }
        sendable(secret, Kind::Denied)?;
        let answer = self.ask("SignIn", &(secret,)).await?;
        let SignedIn { secret, token } = serde_json::from_value(answer).map_err(ClientError::Answer)?;
        Ok((secret, token))
    }

    /// Ends a session.
    pub async fn sign_out(&self, secret: &str) -> Result<(), Report> {
        sendable(secret, Kind::Denied)?;
        self.ask("SignOut", &(secret,)).await.map(drop)
    }

    /// The token of a secret, while it is good.
    pub async fn session(&self, secret: &str) -> Result<Token, Report> {
        sendable(secret, Kind::Denied)?;
        let answer = self.ask("Session", &(secret,)).await?;
        Ok(serde_json::from_value(answer).map_err(ClientError::Answer)?)
    }

    /// The operations that a sentence may be about, by what it means: their names.
    pub async fn suggest(&self, secret: &str, sentence: &str) -> Result<Vec<String>, Report> {
        sendable(secret, Kind::Denied)?;
        sendable(sentence, Kind::Invalid)?;
        let answer = self.ask("Suggest", &(secret, sentence)).await?;
        Ok(serde_json::from_value(answer).map_err(ClientError::Answer)?)
    }

    async fn ask<B: serde::Serialize + DynamicType>(&self, method: &str, body: &B) -> Result<Value, Report> {
        let call = async {
            let daemon = manager(&self.bus).await?;
            daemon.call::<_, _, String>(method, body).await
        };
        let text = call.await.map_err(report_of)?;
        Ok(serde_json::from_str(&text).map_err(ClientError::Answer)?)
    }
}

/// Who asks the daemon, and through which door.
#[derive(Debug, Clone)]
pub enum Voice {
    /// The user of a token.
    Token {
        /// Its secret.
        secret: String,
        /// `chat` or `mcp`.
        door: &'static str,
    },
    /// The user of this process, as the bus knows them.
    User,
}

impl Voice {
    /// Calls an operation. Its progress goes to `progress` while it runs.
    pub async fn call(
        &self,
        daemon: &Daemon,
        operation: &str,
        arguments: &Value,
        progress: Option<mpsc::UnboundedSender<Step>>,
    ) -> Result<Value, Report> {
        let arguments = arguments.to_string();
        let tag = daemon.tags.fetch_add(1, Ordering::Relaxed);
        let _heard = Heard { waiting: &daemon.waiting, tag };
        if let Some(to) = progress {
            let operation = matches!(self, Self::User).then(|| operation.to_owned());
            let listener = Listener { operation, to };
            daemon.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(tag, listener);
        }
        match self {
            Self::Token { secret, door } => {
                sendable(secret, Kind::Denied)?;
                daemon.ask("CallWithToken", &(secret, door, tag, operation, arguments)).await
            }
            Self::User => daemon.ask("Call", &(operation, arguments)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_the_connection_is_not_sent() {
        assert_eq!(sendable("a\0b", Kind::Invalid).unwrap_err().kind, Kind::Invalid);
        for text in ["", "opdbus_abc", "\u{1}\u{202e}\u{ffff}\u{10ffff}\n"] {
            sendable(text, Kind::Invalid).unwrap();
        }
    }

    #[test]
    fn a_step_is_told_to_the_call_that_it_is_of() {
        let waiting = Waiting::default();
        let heard: Vec<_> = [(1, None), (2, Some("apply")), (3, Some("container.create"))]
            .into_iter()
            .map(|(tag, operation): (u64, Option<&str>)| {
                let (to, from) = mpsc::unbounded_channel();
                waiting.lock().unwrap().insert(tag, Listener { operation: operation.map(str::to_owned), to });
                from
            })
            .collect();
        let step = Step { message: "x".into(), fraction: Some(0.5) };
        tell(&waiting, "apply", 1, &step);
        tell(&waiting, "apply", 0, &step);
        tell(&waiting, "plan", 0, &step);
        tell(&waiting, "apply", 9, &step);
        let counts: Vec<usize> = heard.iter().map(mpsc::UnboundedReceiver::len).collect();
        assert_eq!(counts, [1, 1, 0]);
        drop(Heard { waiting: &waiting, tag: 1 });
        tell(&waiting, "apply", 1, &step);
        assert_eq!(heard[0].len(), 1, "nobody listens any longer");
    }
}
