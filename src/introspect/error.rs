//! How introspection fails as a whole. What goes wrong with one service or object is in its entry.

use crate::fault::{Fault, Kind};

/// Why a bus, or a service on it, could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum IntrospectError {
    /// There is no bus.
    #[error("the system bus does not answer")]
    Bus(#[source] zbus::Error),
    /// The bus did not answer in time.
    #[error("the system bus did not answer within {} s", .0.as_secs())]
    Slow(std::time::Duration),
    /// What was given is no name of the bus.
    #[error("\"{}\" is not the name of a service on a bus", .0.escape_debug())]
    BadName(String),
    /// What was given is no object path.
    #[error("\"{}\" is not the path of an object", .0.escape_debug())]
    BadPath(String),
    /// Nobody has the name.
    #[error("there is no service {name} on the system bus")]
    Absent {
        /// The name.
        name: String,
    },
    /// Nobody has the name, and the bus would start somebody.
    #[error("the service {name} is not running")]
    Asleep {
        /// The name.
        name: String,
    },
    /// The bus could not start it.
    #[error("the service {name} could not be started: {why}")]
    Start {
        /// The name.
        name: String,
        /// Why.
        why: String,
    },
    /// The object has no such method.
    #[error("{object} of {service} has no method {method}")]
    NoMethod {
        /// The object.
        object: String,
        /// The service.
        service: String,
        /// The interface and the method.
        method: String,
    },
    /// The arguments are not what the method takes.
    #[error("the arguments of {method} are wrong: {why}")]
    Arguments {
        /// The method.
        method: String,
        /// Why.
        why: String,
    },
    /// The service, or the bus, refused a call, or did not answer.
    #[error("{what} failed: {why}")]
    Called {
        /// What was called.
        what: String,
        /// Why.
        why: String,
    },
    /// The event loop could not be started.
    #[error("cannot ask the bus")]
    Runtime(#[source] std::io::Error),
}

impl Fault for IntrospectError {
    fn kind(&self) -> Kind {
        match self {
            Self::Bus(_) | Self::Slow(_) | Self::Asleep { .. } => Kind::Unavailable,
            Self::BadName(_) | Self::BadPath(_) | Self::Arguments { .. } => Kind::Invalid,
            Self::Absent { .. } | Self::NoMethod { .. } => Kind::NotFound,
            Self::Start { .. } | Self::Called { .. } | Self::Runtime(_) => Kind::Failed,
        }
    }

    fn next(&self) -> Option<String> {
        match self {
            Self::Bus(_) | Self::Slow(_) => {
                Some("is D-Bus running? systemctl status dbus.socket dbus.service".into())
            }
            Self::BadName(_) | Self::Absent { .. } => {
                Some("`op-dbus query bus` lists the names on the bus".into())
            }
            Self::BadPath(_) => Some("one begins with /: /org/freedesktop/login1".into()),
            Self::Asleep { .. } => Some("--activate starts it".into()),
            Self::Start { name, .. } => Some(format!("`journalctl --boot --grep {name}` may say more")),
            Self::NoMethod { object, service, .. } => {
                Some(format!("`op-dbus introspect {service} {object}` shows those it has"))
            }
            Self::Arguments { .. } => {
                Some("`op-dbus introspect SERVICE PATH` shows the types of its arguments".into())
            }
            Self::Called { .. } | Self::Runtime(_) => None,
        }
    }
}
