//! The caller's side of the bus.

use std::os::fd::OwnedFd;

use serde_json::Value;
use zbus::blocking::Connection;
use zbus::zvariant;

use super::{BUS_NAME, ERROR_PREFIX, INTERFACE, OBJECT};
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
}

impl Fault for ClientError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoBus(_) | Self::NoDaemon => Kind::Unavailable,
            Self::Bus(_) | Self::Answer(_) => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        Some(match self {
            Self::NoBus(_) => "start D-Bus: systemctl start dbus".into(),
            Self::NoDaemon => "systemctl start opdbus.service; where it is not installed, run install-opdbus.sh".into(),
            Self::Bus(_) => "journalctl -u opdbus.service says what happened to it".into(),
            Self::Answer(_) => "op-dbus and opdbusd may be of different versions: restart opdbus.service".into(),
        })
    }
}

/// A connection to the daemon.
pub struct Client {
    bus: Connection,
}

impl Client {
    /// Connects to the system bus (or the one `DBUS_SYSTEM_BUS_ADDRESS` names).
    pub fn connect() -> Result<Self, ClientError> {
        Ok(Self { bus: Connection::system().map_err(ClientError::NoBus)? })
    }

    /// Calls an operation and hands its progress on while it runs.
    pub fn call(
        &self,
        operation: &str,
        arguments: &Value,
        streams: Option<[OwnedFd; 3]>,
        progress: &(dyn Progress + 'static),
    ) -> Result<Value, Report> {
        let text = arguments.to_string();
        std::thread::scope(|scope| {
            let watch = self.watch(operation);
            if let Some(signals) = watch {
                scope.spawn(move || {
                    for message in signals {
                        let Ok(message) = message else { break };
                        if message.message_type() != zbus::message::Type::Signal {
                            continue;
                        }
                        let header = message.header();
                        match (header.interface().map(AsRef::as_ref), header.member().map(AsRef::as_ref)) {
                            (Some(INTERFACE), Some("Progress")) => {
                                if let Ok((name, text, fraction)) = message.body().deserialize::<(String, String, f64)>()
                                    && name == operation
                                {
                                    progress.report(&text, (fraction >= 0.0).then_some(fraction));
                                }
                            }
                            (Some(DONE), _) => break,
                            _ => {}
                        }
                    }
                });
            }
            let reply = match streams {
                None => self.bus.call_method(Some(BUS_NAME), OBJECT, Some(INTERFACE), "Call", &(operation, &text)),
                Some([stdin, stdout, stderr]) => {
                    let fds = [stdin, stdout, stderr].map(zvariant::OwnedFd::from);
                    let [stdin, stdout, stderr] = &fds;
                    let body = (operation, &text, stdin, stdout, stderr);
                    self.bus.call_method(Some(BUS_NAME), OBJECT, Some(INTERFACE), "CallWithStreams", &body)
                }
            };
            self.end_watch();
            let reply = reply.map_err(report_of)?;
            let text: String = reply.body().deserialize().map_err(ClientError::Bus)?;
            Ok(serde_json::from_str(&text).map_err(ClientError::Answer)?)
        })
    }

    /// The messages that come while a call runs.
    fn watch(&self, _operation: &str) -> Option<zbus::blocking::MessageIterator> {
        Some(zbus::blocking::MessageIterator::from(&self.bus))
    }

    /// A signal to ourselves, which ends the watching thread.
    fn end_watch(&self) {
        let me = self.bus.unique_name().cloned();
        let _ = self.bus.emit_signal(me, OBJECT, DONE, "Done", &());
    }
}

/// The interface of the signal that a client sends itself when its call has been answered.
const DONE: &str = "org.opdbus1.Client";

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
