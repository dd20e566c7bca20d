//! The caller's side of the bus.

use std::os::fd::OwnedFd;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::runtime::Runtime;
use zbus::address::transport::{Transport, Unixexec};
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::proxy::{CacheProperties, MethodFlags};
use zbus::{Address, Connection, Message, MessageStream, Proxy};

use super::{BUS_NAME, ERROR_PREFIX, INTERFACE, OBJECT};
use crate::deployment::Deployment;
use crate::engine::Progress;
use crate::fault::{Fault, Kind, Report};

/// What the signal `Progress` has: see `Manager::progress`.
type Progressed = (String, String, f64, u64);

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no system bus.
    #[error("the system bus does not answer")]
    NoBus(#[source] zbus::Error),
    /// The other host's bus was not reached.
    #[error("the system bus of {host} cannot be reached over SSH")]
    Host {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: zbus::Error,
    },
    /// There is a bus, and nobody has the daemon's name on it.
    #[error("the daemon opdbusd is not running")]
    NoDaemon,
    /// The bus failed on the way.
    #[error("the daemon opdbusd did not answer")]
    Bus(#[source] zbus::Error),
    /// What it answered is not understood.
    #[error("the answer of opdbusd is not JSON")]
    Answer(#[source] serde_json::Error),
    /// This program could not start its own event loop.
    #[error("cannot start")]
    Runtime(#[source] std::io::Error),
}

impl Fault for ClientError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoBus(_) | Self::Host { .. } | Self::NoDaemon => Kind::Unavailable,
            Self::Bus(_) | Self::Answer(_) | Self::Runtime(_) => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::NoBus(_) => Some("start D-Bus: systemctl start dbus".into()),
            Self::Host { host, .. } => Some(format!(
                "`ssh {host} systemd-stdio-bridge --help` has to work, without a password asked for"
            )),
            Self::NoDaemon => Some(format!(
                "systemctl start opdbus.service; where it is not installed, {}",
                Deployment::here().install()
            )),
            Self::Bus(_) => Some("journalctl -u opdbus.service says what happened to it".into()),
            Self::Answer(_) => {
                Some("op-dbus and opdbusd may be of different versions: restart opdbus.service".into())
            }
            Self::Runtime(_) => None,
        }
    }
}

/// The daemon that is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Peer {
    /// This host's.
    #[default]
    Here,
    /// That of another host, over SSH: `[USER@]HOST`.
    Host(String),
}

impl Peer {
    /// The other host, if it can be one: what SSH would take for an option is none.
    pub fn host(name: &str) -> Result<Self, String> {
        let plain = |c: char| !c.is_whitespace() && !c.is_control();
        if name.is_empty() || name.starts_with('-') || !name.chars().all(plain) {
            return Err("it is [USER@]HOST, as ssh has it".into());
        }
        Ok(Self::Host(name.to_owned()))
    }

    /// As systemd's own tools do it: the other end of SSH is systemd-stdio-bridge(1), which joins the system bus as the
    /// user that SSH let in.
    pub(super) async fn connect(&self) -> Result<Connection, ClientError> {
        let Self::Host(host) = self else { return Connection::system().await.map_err(ClientError::NoBus) };
        let arguments = ["-xT", "--", host, "systemd-stdio-bridge"].map(Into::into).to_vec();
        let bridge = Transport::Unixexec(Unixexec::new("ssh".into(), None, arguments));
        let failed = |source| ClientError::Host { host: host.clone(), source };
        let builder = Builder::address(Address::new(bridge));
        builder.build().await.map_err(failed)
    }
}

/// A connection to the daemon.
pub struct Client {
    runtime: Runtime,
    bus: Connection,
    interactive: bool,
}

impl Client {
    /// Connects to the system bus (or the one `DBUS_SYSTEM_BUS_ADDRESS` names), or to that of another host.
    /// With `interactive`, polkit may ask for a password.
    pub fn connect(peer: &Peer, interactive: bool) -> Result<Self, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ClientError::Runtime)?;
        let bus = runtime.block_on(peer.connect())?;
        Ok(Self { runtime, bus, interactive })
    }

    /// Calls an operation and hands its progress on while it runs.
    pub fn call(
        &self,
        operation: &str,
        arguments: &Value,
        streams: Option<[OwnedFd; 3]>,
        progress: &dyn Progress,
    ) -> Result<Value, Report> {
        let text = arguments.to_string();
        let reply = self.runtime.block_on(async {
            // Listening begins before the call, so that nothing of it is missed.
            let mut messages = MessageStream::from(&self.bus);
            let reply = self.ask(operation, &text, streams);
            tokio::pin!(reply);
            loop {
                tokio::select! {
                    reply = &mut reply => return reply,
                    Some(Ok(message)) = messages.next() => {
                        if let Some((_, text, fraction, _)) = progress_of(&message) {
                            progress.report(&text, (fraction >= 0.0).then_some(fraction));
                        }
                    }
                }
            }
        });
        let text = reply.map_err(report_of)?;
        Ok(serde_json::from_str(&text).map_err(ClientError::Answer)?)
    }

    async fn ask(
        &self,
        operation: &str,
        arguments: &str,
        streams: Option<[OwnedFd; 3]>,
    ) -> zbus::Result<String> {
        let flags = if self.interactive { MethodFlags::ALLOW_INTERACTIVE_AUTH } else { MethodFlags::empty() };
        let daemon = manager(&self.bus).await?;
        let answer = match streams {
            None => daemon.call_with_flags("Call", flags, &(operation, arguments)).await?,
            Some(streams) => {
                let [stdin, stdout, stderr] = streams.map(zbus::OwnedFd::from);
                let body = (operation, arguments, stdin, stdout, stderr);
                daemon.call_with_flags("CallWithStreams", flags, &body).await?
            }
        };
        answer.ok_or(zbus::Error::InvalidReply)
    }
}

/// The daemon's object on a bus.
pub(super) async fn manager(bus: &Connection) -> zbus::Result<Proxy<'_>> {
    zbus::proxy::Builder::new(bus)
        .destination(BUS_NAME)
        .path(OBJECT)
        .interface(INTERFACE)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

/// The progress of a call, where that is what a message tells.
pub(super) fn progress_of(message: &Message) -> Option<Progressed> {
    let header = message.header();
    let ours = message.message_type() == Type::Signal
        && header.interface().is_some_and(|i| i.as_str() == INTERFACE)
        && header.member().is_some_and(|m| m.as_str() == "Progress");
    ours.then(|| message.body().deserialize().ok()).flatten()
}

/// The report that came as an error, or one about the bus.
pub(super) fn report_of(error: zbus::Error) -> Report {
    if let zbus::Error::MethodError(name, text, _) = &error {
        if name.starts_with(ERROR_PREFIX)
            && let Some(report) = text.as_deref().and_then(|text| serde_json::from_str(text).ok())
        {
            return report;
        }
        let absent = ["ServiceUnknown", "NameHasNoOwner", "Spawn.ChildExited", "Spawn.Failed"];
        if absent.iter().any(|suffix| name.as_str() == format!("org.freedesktop.DBus.Error.{suffix}")) {
            return ClientError::NoDaemon.into();
        }
    }
    if let zbus::Error::FDO(fdo) = &error
        && matches!(**fdo, zbus::fdo::Error::ServiceUnknown(_) | zbus::fdo::Error::NameHasNoOwner(_))
    {
        return ClientError::NoDaemon.into();
    }
    ClientError::Bus(error).into()
}
