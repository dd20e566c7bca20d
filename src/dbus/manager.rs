//! The daemon's side of the bus.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::json;
use zbus::message::Header;
use zbus::names::UniqueName;
use zbus::object_server::SignalEmitter;

use zbus::{Connection, DBusError, MatchRule, MessageStream, fdo, interface};

use super::polkit::Polkit;
use super::{BUS_NAME, INTERFACE, OBJECT};
use crate::engine::Progress;
use crate::fault::{Kind, Report};
use crate::ledger::Via;
use crate::ops::{Caller, DRY_RUN, Effect, Nobody, Service, Streams};
use crate::paths::Paths;
use crate::tokens::{self, Minted, TokenError};

/// An error as it goes over the bus: its name says the kind, its message is the report as JSON, so that
/// nothing of it is lost on the way.
#[derive(Debug, DBusError)]
#[zbus(prefix = "org.opdbus1.Error")]
pub enum BusError {
    /// The bus itself failed.
    #[zbus(error)]
    Bus(zbus::Error),
    /// See [`Kind::Failed`].
    Failed(String),
    /// See [`Kind::Invalid`].
    Invalid(String),
    /// See [`Kind::NotFound`].
    NotFound(String),
    /// See [`Kind::Conflict`].
    Conflict(String),
    /// See [`Kind::Denied`].
    Denied(String),
    /// See [`Kind::Unavailable`].
    Unavailable(String),
    /// See [`Kind::Busy`].
    Busy(String),
}

impl From<Report> for BusError {
    fn from(report: Report) -> Self {
        let text = serde_json::to_string(&report).unwrap_or_else(|_| report.message.clone());
        match report.kind {
            Kind::Failed => Self::Failed(text),
            Kind::Invalid => Self::Invalid(text),
            Kind::NotFound => Self::NotFound(text),
            Kind::Conflict => Self::Conflict(text),
            Kind::Denied => Self::Denied(text),
            Kind::Unavailable => Self::Unavailable(text),
            Kind::Busy => Self::Busy(text),
        }
    }
}

/// The object `/org/opdbus1`.
pub struct Manager {
    service: Arc<Service>,
}

/// Progress as a signal to the caller alone.
struct Signalled {
    connection: Connection,
    runtime: tokio::runtime::Handle,
    caller: UniqueName<'static>,
    operation: String,
    /// Which of the caller's calls it is, where that has several at once.
    tag: u64,
}

impl Progress for Signalled {
    fn report(&self, message: &str, fraction: Option<f64>) {
        let body = (self.operation.as_str(), message, fraction.unwrap_or(-1.0), self.tag);
        let sent = self.connection.emit_signal(Some(&self.caller), OBJECT, INTERFACE, "Progress", &body);
        // A caller that went away gets no progress; the operation goes on.
        if let Err(error) = self.runtime.block_on(sent) {
            tracing::debug!("progress was not sent: {error}");
        }
    }
}

/// By what it is known who calls.
enum Known {
    /// By the bus.
    User,
    /// By a token, at this door.
    Token(String, Via),
}

/// A call as it came over the bus.
struct Asked<'m> {
    header: &'m Header<'m>,
    connection: &'m Connection,
    emitter: &'m SignalEmitter<'m>,
    tag: u64,
    operation: String,
    arguments: String,
}

impl Manager {
    async fn run(
        &self,
        asked: Asked<'_>,
        known: Known,
        streams: Option<Streams>,
    ) -> Result<String, BusError> {
        let Asked { header, connection, emitter, tag, operation, arguments } = asked;
        let sender =
            header.sender().ok_or_else(|| Report::new(Kind::Denied, "the call has no sender"))?.to_owned();
        let bus = fdo::DBusProxy::new(connection).await?;
        let uid = bus
            .get_connection_unix_user(sender.clone().into())
            .await
            .map_err(|e| Report::new(Kind::Denied, format!("the bus does not say who calls: {e}")))?;
        // Arguments that are no JSON are refused by the operation itself, so that the refusal is recorded.
        let arguments = if arguments.trim().is_empty() {
            serde_json::Value::Null
        } else {
            serde_json::from_str(&arguments).unwrap_or(serde_json::Value::String(arguments))
        };
        let service = Arc::clone(&self.service);
        let progress = Signalled {
            connection: connection.clone(),
            runtime: tokio::runtime::Handle::current(),
            caller: sender,
            operation: operation.clone(),
            tag,
        };
        let authority = Polkit::about(header, connection);
        let name = operation.clone();
        let target = arguments["name"].as_str().unwrap_or_default().to_owned();
        let rehearsed = arguments[DRY_RUN] == true;
        let answer = tokio::task::spawn_blocking(move || match known {
            Known::User => {
                let caller = Caller::from_uid(uid, Via::Dbus);
                service.call(&caller, &authority, &name, arguments, &progress, streams)
            }
            // polkit is not asked: it would be about the program that has the token.
            Known::Token(secret, via) => {
                let caller = Caller::from_token(tokens::check(service.paths(), &secret)?, via);
                service.call(&caller, &Nobody, &name, arguments, &progress, streams)
            }
        })
        .await
        .map_err(|e| Report::new(Kind::Failed, format!("{operation} ended unexpectedly: {e}")))??;
        if !rehearsed && self.service.registry().find(&operation).is_ok_and(|op| op.effect != Effect::Read) {
            Self::changed(emitter, &operation, &target).await?;
        }
        serde_json::to_string(&answer).map_err(|e| {
            Report::new(Kind::Failed, format!("cannot encode the answer of {operation}: {e}")).into()
        })
    }
}

impl Manager {
    async fn with_tokens(
        &self,
        f: impl FnOnce(&Paths) -> Result<serde_json::Value, TokenError> + Send + 'static,
    ) -> Result<String, BusError> {
        let service = Arc::clone(&self.service);
        let done = tokio::task::spawn_blocking(move || f(service.paths()).map_err(Report::from)).await;
        let answer =
            done.map_err(|e| Report::new(Kind::Failed, format!("the tokens were not looked at: {e}")))??;
        Ok(answer.to_string())
    }
}

#[interface(name = "org.opdbus1.Manager")]
impl Manager {
    /// Calls an operation: its name, its arguments as a JSON object. The answer is JSON.
    async fn call(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        operation: String,
        arguments: String,
    ) -> Result<String, BusError> {
        let asked = Asked { header: &header, connection, emitter: &emitter, tag: 0, operation, arguments };
        self.run(asked, Known::User, None).await
    }

    /// Calls an operation as the user of a token: at the door `chat` or `mcp`, with a number of the caller's own by which
    /// it tells the progress of this call from that of others.
    #[allow(clippy::too_many_arguments, reason = "three of them are zbus's own")]
    async fn call_with_token(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        token: String,
        door: String,
        tag: u64,
        operation: String,
        arguments: String,
    ) -> Result<String, BusError> {
        let via = match door.as_str() {
            "chat" => Via::Chat,
            "mcp" => Via::Mcp,
            _ => return Err(Report::new(Kind::Invalid, "the door is \"chat\" or \"mcp\"").into()),
        };
        let asked = Asked { header: &header, connection, emitter: &emitter, tag, operation, arguments };
        self.run(asked, Known::Token(token, via), None).await
    }

    /// Signs in by a link's secret or a token: `{"secret", "token"}`, the secret that of the session.
    async fn sign_in(&self, secret: String) -> Result<String, BusError> {
        self.with_tokens(move |paths| {
            let Minted { secret, token } = tokens::redeem(paths, &secret)?;
            Ok(json!({ "secret": secret, "token": token }))
        })
        .await
    }

    /// Ends a session.
    async fn sign_out(&self, secret: String) -> Result<String, BusError> {
        self.with_tokens(move |paths| tokens::end(paths, &secret).map(|()| json!({}))).await
    }

    /// The token of a secret that operations can be called by.
    async fn session(&self, secret: String) -> Result<String, BusError> {
        self.with_tokens(move |paths| tokens::check(paths, &secret).map(|token| json!(token))).await
    }

    /// The operations that a sentence which was not understood may be about, by what it means: their names as a JSON array,
    /// empty where the host has no model. For who has a token that operations can be called by; nothing is called.
    async fn suggest(&self, secret: String, sentence: String) -> Result<String, BusError> {
        let service = Arc::clone(&self.service);
        let near = tokio::task::spawn_blocking(move || {
            tokens::check(service.paths(), &secret)?;
            service.suggest(&sentence)
        });
        let names =
            near.await.map_err(|e| Report::new(Kind::Failed, format!("nothing was suggested: {e}")))??;
        Ok(json!(names).to_string())
    }

    /// Calls an operation that works on the caller's own standard input, output and error.
    #[allow(clippy::too_many_arguments, reason = "three of them are zbus's own")]
    async fn call_with_streams(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        operation: String,
        arguments: String,
        stdin: zbus::OwnedFd,
        stdout: zbus::OwnedFd,
        stderr: zbus::OwnedFd,
    ) -> Result<String, BusError> {
        let streams: Streams = [stdin, stdout, stderr].map(OwnedFd::from);
        let asked = Asked { header: &header, connection, emitter: &emitter, tag: 0, operation, arguments };
        self.run(asked, Known::User, Some(streams)).await
    }

    /// All operations, with the JSON Schemas of their arguments and answers, as a JSON array.
    fn operations(&self) -> Result<String, BusError> {
        let all: Vec<_> = self.service.registry().iter().map(crate::ops::Operation::describe).collect();
        serde_json::to_string(&all).map_err(|e| Report::new(Kind::Failed, e.to_string()).into())
    }

    /// The daemon's version.
    #[allow(clippy::unused_self, reason = "zbus wants properties to have it")]
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// An operation is on its way: its name, what it is doing, how far it is from 0 to 1 (-1 where that
    /// is not known), and the number that the caller gave the call. Sent to the caller alone.
    #[zbus(signal)]
    async fn progress(
        emitter: &SignalEmitter<'_>,
        operation: &str,
        message: &str,
        fraction: f64,
        tag: u64,
    ) -> zbus::Result<()>;

    /// An operation that changes something has ended well: its name and what it was done to.
    #[zbus(signal)]
    async fn changed(emitter: &SignalEmitter<'_>, operation: &str, target: &str) -> zbus::Result<()>;
}

/// Waits until the name on the bus is lost: to another, or with the bus.
pub async fn ended(bus: &Connection) {
    let rule = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member("NameLost")
        .arg(0, BUS_NAME)
        .build();
    let listening = match rule {
        Ok(rule) => MessageStream::for_match_rule(rule, bus, None).await,
        Err(error) => Err(error),
    };
    match listening {
        // A signal, or the end of the connection.
        Ok(mut lost) => drop(lost.next().await),
        Err(error) => tracing::warn!("it will not be noticed when the bus ends: {error}"),
    }
}

/// Puts the object on a connection and takes the name.
pub async fn serve(
    builder: zbus::connection::Builder<'_>,
    service: Arc<Service>,
) -> zbus::Result<Connection> {
    builder.serve_at(OBJECT, Manager { service }).name(BUS_NAME).build().await
}
