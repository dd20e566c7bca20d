//! The caller's side of the bus.

use std::os::fd::OwnedFd;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::runtime::Runtime;
use zbus::message::Type;
use zbus::{Connection, MessageStream};

use super::{BUS_NAME, ERROR_PREFIX, INTERFACE, OBJECT};
use crate::deployment::Deployment;
use crate::engine::Progress;
use crate::fault::{Fault, Kind, Report};

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no system bus.
    #[error("the system bus does not answer")]
    NoBus(#[source] zbus::Error),
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
            Self::NoBus(_) | Self::NoDaemon => Kind::Unavailable,
            Self::Bus(_) | Self::Answer(_) | Self::Runtime(_) => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::NoBus(_) => Some("start D-Bus: systemctl start dbus".into()),
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

/// A connection to the daemon.
pub struct Client {
    runtime: Runtime,
    bus: Connection,
}

impl Client {
    /// Connects to the system bus (or the one `DBUS_SYSTEM_BUS_ADDRESS` names).
    pub fn connect() -> Result<Self, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ClientError::Runtime)?;
        let bus = runtime.block_on(Connection::system()).map_err(ClientError::NoBus)?;
        Ok(Self { runtime, bus })
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
                        let header = message.header();
                        let ours = message.message_type() == Type::Signal
                            && header.interface().is_some_and(|i| i.as_str() == INTERFACE)
                            && header.member().is_some_and(|m| m.as_str() == "Progress");
                        if ours && let Ok((_, text, fraction)) = message.body().deserialize::<(String, String, f64)>() {
                            progress.report(&text, (fraction >= 0.0).then_some(fraction));
                        }
                    }
                }
            }
        });
        let reply = reply.map_err(report_of)?;
        let text: String = reply.body().deserialize().map_err(ClientError::Bus)?;
        Ok(serde_json::from_str(&text).map_err(ClientError::Answer)?)
    }

    async fn ask(
        &self,
        operation: &str,
        arguments: &str,
        streams: Option<[OwnedFd; 3]>,
    ) -> zbus::Result<zbus::Message> {
        match streams {
            None => {
                let body = (operation, arguments);
                self.bus.call_method(Some(BUS_NAME), OBJECT, Some(INTERFACE), "Call", &body).await
            }
            Some(streams) => {
                let [stdin, stdout, stderr] = streams.map(zbus::OwnedFd::from);
                let body = (operation, arguments, stdin, stdout, stderr);
                self.bus.call_method(Some(BUS_NAME), OBJECT, Some(INTERFACE), "CallWithStreams", &body).await
            }
        }
    }
}

/// The report that came as an error, or one about the bus.
fn report_of(error: zbus::Error) -> Report {
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
    ClientError::Bus(error).into()
}
