//! systemd, asked over the system bus (org.freedesktop.systemd1(5)): which units there are, and to start and stop
//! one. A process of `systemctl` costs ten times as much.

use std::time::Duration;

use futures_util::StreamExt;
use serde::Serialize;
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath};

use crate::fault::{Fault, Kind};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

const UNIT: &str = "org.freedesktop.systemd1.Unit";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// How long systemd may take to answer what needs no job.
const PATIENCE: Duration = Duration::from_secs(25);

/// Why systemd did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// There is no system bus, or systemd is not on it.
    #[error("systemd does not answer on the system bus")]
    Bus(#[source] zbus::Error),
    /// It refused.
    #[error("systemd refused to {what}: {why}")]
    Refused {
        /// What was asked.
        what: String,
        /// Its reason.
        why: String,
    },
    /// It did not answer, or a job did not end, in time.
    #[error("systemd did not {what} within {} s", .limit.as_secs())]
    Slow {
        /// What was asked.
        what: String,
        /// The time it had.
        limit: Duration,
    },
    /// A job ended otherwise than done.
    #[error("systemd could not {what}: {result}")]
    Job {
        /// What was asked.
        what: String,
        /// How it ended, as systemd has it: `failed`, `timeout`, `canceled`, `dependency`, …
        result: String,
    },
    /// The event loop could not be started.
    #[error("cannot ask systemd")]
    Start(#[source] std::io::Error),
}

impl Fault for SystemdError {
    fn kind(&self) -> Kind {
        match self {
            Self::Bus(_) | Self::Slow { .. } => Kind::Unavailable,
            Self::Refused { .. } | Self::Job { .. } | Self::Start(_) => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Bus(_) => Some("is D-Bus running? systemctl status dbus.socket dbus.service".into()),
            Self::Slow { .. } => Some("`systemctl list-jobs` shows what it is waiting for".into()),
            _ => None,
        }
    }
}

/// A unit that is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Its name, with its suffix.
    pub name: String,
    /// What it calls itself.
    pub description: String,
    /// `loaded`, `not-found`, …
    pub load: String,
    /// `active`, `inactive`, `failed`, …
    pub active: String,
    /// The same in more detail: `running`, `exited`, …
    pub sub: String,
}

/// A row of `ListUnitsByPatterns`: name, description, load, active and sub state, followed unit, path,
/// job id, job type, job path.
type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// The units whose names fit a pattern (glob(7)), by name; with `states`, only those in one of them.
pub fn units(pattern: &str, states: &[&str]) -> Result<Vec<Unit>, SystemdError> {
    let rows: Vec<Row> = wait("list its units", PATIENCE, async {
        let bus = Connection::system().await?;
        call(&bus, "ListUnitsByPatterns", &(states, &[pattern][..])).await?.body().deserialize()
    })?;
    let unit = |row: Row| Unit { name: row.0, description: row.1, load: row.2, active: row.3, sub: row.4 };
    let mut units: Vec<Unit> = rows.into_iter().map(unit).collect();
    units.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(units)
}

/// Whether a unit is up. Asking for one costs systemd far less than looking through all of them.
pub fn is_active(unit: &str) -> Result<bool, SystemdError> {
    wait("say whether a unit is up", PATIENCE, async {
        let bus = Connection::system().await?;
        let path: OwnedObjectPath = match call(&bus, "GetUnit", &unit).await {
            Ok(answer) => answer.body().deserialize()?,
            // One that is not loaded is not up.
            Err(zbus::Error::MethodError(error, ..)) if error.as_str() == NO_SUCH_UNIT => return Ok(false),
            Err(error) => return Err(error),
        };
        let asked = (UNIT, "ActiveState");
        let answer = bus.call_method(Some(NAME), &path, Some(PROPERTIES), "Get", &asked).await?;
        let state: zbus::OwnedVariant = answer.body().deserialize()?;
        Ok(state.downcast_ref::<&str>().is_ok_and(|state| state == "active"))
    })
}

/// Starts a unit and waits until it is up. One that is up already is left as it is.
pub fn start(unit: &str, limit: Duration) -> Result<(), SystemdError> {
    job("StartUnit", "start", unit, limit)
}

/// Starts a unit and waits until it is up; one that is up already begins anew.
pub fn restart(unit: &str, limit: Duration) -> Result<(), SystemdError> {
    job("RestartUnit", "restart", unit, limit)
}

/// Stops a unit and waits until it is down. A unit that failed before is as one that never ran.
pub fn stop(unit: &str, limit: Duration) -> Result<(), SystemdError> {
    job("StopUnit", "stop", unit, limit)?;
    let forgotten = wait("forget a failure", PATIENCE, async {
        let bus = Connection::system().await?;
        call(&bus, "ResetFailedUnit", &unit).await
    });
    match forgotten {
        // It is not loaded: there is nothing to forget.
        Ok(_) | Err(SystemdError::Refused { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn job(method: &str, verb: &str, unit: &str, limit: Duration) -> Result<(), SystemdError> {
    let what = format!("{verb} {unit}");
    let result: String = wait(&what, limit, async {
        let bus = Connection::system().await?;
        // Listening begins before the job, which may end before the answer is read.
        let rule = MatchRule::builder().msg_type(zbus::message::Type::Signal).sender(NAME);
        let rule = rule.interface(MANAGER).member("JobRemoved").build()?;
        let mut removed = MessageStream::for_match_rule(rule, &bus, None).await?;
        call(&bus, "Subscribe", &()).await?;
        let job: OwnedObjectPath = call(&bus, method, &(unit, "replace")).await?.body().deserialize()?;
        while let Some(signal) = removed.next().await {
            let (_, path, _, result): (u32, OwnedObjectPath, String, String) =
                signal?.body().deserialize()?;
            if path == job {
                return Ok(result);
            }
        }
        Err(zbus::Error::Failure("the bus went away".into()))
    })?;
    // Skipped: a condition of the unit does not hold, which is how it was meant.
    if result == "done" || result == "skipped" { Ok(()) } else { Err(SystemdError::Job { what, result }) }
}

async fn call<B>(bus: &Connection, method: &str, body: &B) -> zbus::Result<zbus::Message>
where
    B: Serialize + zbus::zvariant::DynamicType,
{
    bus.call_method(Some(NAME), PATH, Some(MANAGER), method, body).await
}

fn wait<T>(
    what: &str,
    limit: Duration,
    asked: impl Future<Output = zbus::Result<T>>,
) -> Result<T, SystemdError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SystemdError::Start)?;
    runtime.block_on(async {
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(zbus::Error::MethodError(name, why, _))) => Err(SystemdError::Refused {
                what: what.to_owned(),
                why: why.unwrap_or_else(|| name.to_string()),
            }),
            Ok(Err(error)) => Err(SystemdError::Bus(error)),
            Err(_) => Err(SystemdError::Slow { what: what.to_owned(), limit }),
        }
    })
}
