//! The bus itself: who is on it, and the processes behind the names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use zbus::names::OwnedBusName;
use zbus::wire::OwnedVariant;
use zbus::{Connection, DynamicType, Message};

use super::error::IntrospectError;
use super::model::{Identity, Name};
use super::xml::shown;

/// The bus's own name, and its interface.
pub(super) const DBUS: &str = "org.freedesktop.DBus";

/// How long the bus itself may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which bus is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Bus {
    /// The system bus, or the one that `DBUS_SYSTEM_BUS_ADDRESS` names.
    #[default]
    System,
    /// The one at this address.
    At(String),
}

impl Bus {
    /// A connection of its own: what a service leaves unanswered counts against the connection that asked.
    pub(super) async fn connect(&self) -> Result<Connection, IntrospectError> {
        let connecting = async {
            match self {
                Self::System => Connection::system().await,
                Self::At(address) => zbus::connection::Builder::address(address.as_str()).build().await,
            }
        };
        match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(connected) => connected.map_err(IntrospectError::Bus),
            Err(_) => Err(IntrospectError::Slow(PATIENCE)),
        }
    }
}

/// Runs what asks the bus on a loop of its own.
pub(super) fn block_on<T>(
    asked: impl Future<Output = Result<T, IntrospectError>>,
) -> Result<T, IntrospectError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(IntrospectError::Runtime)?;
    let answer = runtime.block_on(asked);
    runtime.shutdown_background();
    answer
}

/// Calls the bus itself.
pub(super) async fn ask<B>(bus: &Connection, method: &str, body: &B) -> zbus::Result<Message>
where
    B: Serialize + DynamicType,
{
    let call = bus.call_method(Some(DBUS), "/org/freedesktop/DBus", Some(DBUS), method, body);
    tokio::time::timeout(PATIENCE, call)
        .await
        .unwrap_or_else(|_| Err(zbus::Error::Failure("the bus did not answer in time".into())))
}

/// The words of an error of the bus.
pub(super) fn why(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(name, text, _) => {
            let name = name.as_str();
            let name = name.strip_prefix("org.freedesktop.DBus.Error.").unwrap_or(name);
            shown(&text.as_ref().map_or_else(|| name.to_owned(), |text| format!("{name}: {text}")))
        }
        other => shown(&other.to_string()),
    }
}

/// A connection, as the bus knows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Owner {
    /// Its unique name.
    pub(super) unique: String,
    pub(super) pid: Option<u32>,
    pub(super) uid: Option<u32>,
}

/// Who has a name; `None` where nobody does.
pub(super) async fn owner(bus: &Connection, name: &str) -> Option<Owner> {
    let unique = ask(bus, "GetNameOwner", &name).await.ok()?.body().deserialize::<String>().ok()?;
    let mut owner = Owner { unique, ..Owner::default() };
    if let Ok(message) = ask(bus, "GetConnectionCredentials", &owner.unique).await
        && let Ok(known) = message.body().deserialize::<HashMap<String, OwnedVariant>>()
    {
        let number = |key: &str| known.get(key).and_then(|value| u32::try_from(&**value).ok());
        owner.pid = number("ProcessID");
        owner.uid = number("UnixUserID");
    }
    Some(owner)
}

/// The well-known names: whether each is running, and whether it can be activated.
pub(super) async fn listed(bus: &Connection) -> Result<BTreeMap<String, (bool, bool)>, IntrospectError> {
    let list = async |method| -> zbus::Result<BTreeSet<String>> {
        let names: Vec<OwnedBusName> = ask(bus, method, &()).await?.body().deserialize()?;
        Ok(names
            .iter()
            .map(|name| name.as_str())
            .filter(|n| !n.starts_with(':'))
            .map(str::to_owned)
            .collect())
    };
    let (running, activatable) = tokio::join!(list("ListNames"), list("ListActivatableNames"));
    let (running, activatable) =
        (running.map_err(IntrospectError::Bus)?, activatable.map_err(IntrospectError::Bus)?);
    let all = running.union(&activatable);
    Ok(all.map(|name| (name.clone(), (running.contains(name), activatable.contains(name)))).collect())
}

/// Who has each of the names.
pub(super) async fn owners(
    bus: &Connection,
    names: impl IntoIterator<Item = &String>,
) -> BTreeMap<String, Owner> {
    let mut asked = JoinSet::new();
    for name in names {
        let (bus, name) = (bus.clone(), name.clone());
        asked.spawn(async move { owner(&bus, &name).await.map(|owner| (name, owner)) });
    }
    let mut owners = BTreeMap::new();
    while let Some(found) = asked.join_next().await {
        owners.extend(found.ok().flatten());
    }
    owners
}

/// All well-known names on the bus, those that run and those that could be started.
pub fn names(bus: &Bus) -> Result<Vec<Name>, IntrospectError> {
    block_on(async {
        let bus = bus.connect().await?;
        let listed = listed(&bus).await?;
        let mut owners =
            owners(&bus, listed.iter().filter(|(_, (running, _))| *running).map(|(n, _)| n)).await;
        let name = |(name, (_, activatable)): (String, (bool, bool))| {
            // It may have gone since it was listed.
            let owner = owners.remove(&name);
            let pid = owner.as_ref().and_then(|owner| owner.pid);
            Name {
                running: owner.is_some(),
                activatable,
                process: pid.and_then(process),
                unit: pid.and_then(unit),
                pid,
                uid: owner.as_ref().and_then(|owner| owner.uid),
                owner: owner.map(|owner| owner.unique),
                name,
            }
        };
        Ok(listed.into_iter().map(name).collect())
    })
}

/// What a process is called.
fn process(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(shown(name.trim_end()))
}

/// The unit that a process is in.
fn unit(pid: u32) -> Option<String> {
    unit_of(&std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// The unit in the text of `/proc/PID/cgroup` (cgroups(7)): the innermost in systemd's hierarchy, which is the unified one
/// or, on older hosts, one of its own name.
pub(super) fn unit_of(text: &str) -> Option<String> {
    let path = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        (controllers.is_empty() || controllers == "name=systemd").then(|| path.to_owned())
    };
    let is_unit =
        |part: &&str| part.rsplit_once('.').is_some_and(|(_, kind)| kind == "service" || kind == "scope");
    text.lines().filter_map(path).find_map(|path| path.split('/').rev().find(is_unit).map(str::to_owned))
}

/// What a process is known again by; `None` where it is gone, or not to be looked into by who asks.
pub(super) fn identity(pid: u32) -> Option<Identity> {
    let started = started(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
    // Through the link, so that it is the file that runs, also where another lies in its place.
    let program = std::fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    let changed = i128::from(program.mtime()) * 1_000_000_000 + i128::from(program.mtime_nsec());
    Some(Identity { boot, pid, started, program: (program.dev(), program.ino(), program.size(), changed) })
}

/// Field 22 of `/proc/PID/stat` (proc(5)). The second is the process' name in brackets, which may have anything in it.
pub(super) fn started(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_found_in_either_kind_of_hierarchy() {
        let unified = "0::/system.slice/dbus.service\n";
        let legacy =
            "12:pids:/x.service\n1:name=systemd:/system.slice/system-getty.slice/getty@tty1.service\n0::/\n";
        assert_eq!(unit_of(unified).unwrap(), "dbus.service");
        assert_eq!(unit_of(legacy).unwrap(), "getty@tty1.service");
        assert_eq!(unit_of("0::/init.scope\n").unwrap(), "init.scope");
        assert_eq!(
            unit_of("0::/user.slice/user-0.slice/user@0.service/app.slice/a.scope/x\n").unwrap(),
            "a.scope"
        );
        assert_eq!(unit_of("0::/\n"), None);
    }

    #[test]
    fn a_process_is_known_again_whatever_it_is_called() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        assert_eq!(started(stat), Some(98_765));
        let own = identity(std::process::id()).unwrap();
        assert_eq!(identity(std::process::id()), Some(own.clone()));
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let sleeping = identity(other.id());
        other.kill().unwrap();
        other.wait().unwrap();
        assert_ne!(sleeping.unwrap(), own);
        assert_eq!(identity(other.id()), None, "it is gone");
    }
}
