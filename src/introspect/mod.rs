//! What is on the system bus: names and the processes behind them; the objects of a service, their interfaces, and, where
//! asked for, the values of their properties. Services are strangers: one that hangs, refuses, or answers nonsense has
//! an entry that says so, and the others have theirs.

mod ask;
mod bus;
mod cache;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod given;
mod invoke;
mod model;
pub mod text;
mod values;
mod walk;
mod xml;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::task::JoinSet;
use zbus::names::BusName;
use zbus::{Connection, ObjectPath};

pub use bus::{Bus, names};
pub use cache::Cache;
pub use error::IntrospectError;
pub use invoke::{Invocation, invoke};
pub use model::{Access, Argument, Identity, Interface, Interfaces, Method, Name, Object, Property, Service};
pub use xml::{Described, read};

use crate::engine::Progress;
use ask::Shared;
use bus::Owner;

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many levels below the first object.
    pub depth: usize,
    /// How many objects of one service.
    pub objects: usize,
    /// How long all of it may take.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 16, objects: 10_000, time: Duration::from_secs(10) }
    }
}

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Request {
    /// The service; every running one where none is named.
    pub service: Option<String>,
    /// The object it begins with.
    pub path: String,
    /// How much.
    pub limits: Limits,
    /// Whether the values of properties are read.
    pub values: bool,
    /// Whether a service that does not run is started.
    pub activate: bool,
    /// Whether only the definitions of interfaces are wanted, which may be remembered.
    pub interfaces: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            service: None,
            path: "/".into(),
            limits: Limits::default(),
            values: false,
            activate: false,
            interfaces: false,
        }
    }
}

/// Looks at a service, or at all that run: by name, each connection once.
pub fn introspect(
    bus: &Bus,
    request: &Request,
    cache: Option<&Cache>,
    progress: &dyn Progress,
) -> Result<Vec<Service>, IntrospectError> {
    if ObjectPath::try_from(request.path.as_str()).is_err() {
        return Err(IntrospectError::BadPath(request.path.clone()));
    }
    let (say, said) = std::sync::mpsc::channel();
    // Who hears of the progress may wait on a loop of its own, and a thread has but one.
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| bus::block_on(look(bus, request, cache, say)));
        for words in said {
            progress.report(&words, None);
        }
        looking
            .join()
            .unwrap_or_else(|_| Err(IntrospectError::Runtime(std::io::Error::other("it ended unexpectedly"))))
    })
}

async fn look(
    bus: &Bus,
    request: &Request,
    cache: Option<&Cache>,
    say: Sender<String>,
) -> Result<Vec<Service>, IntrospectError> {
    let bus = bus.connect().await?;
    let shared = Shared::new(bus.clone(), request.limits.time);
    let wanted = match &request.service {
        Some(name) => vec![(vec![name.clone()], one(&bus, name, request.activate).await?)],
        None => all(&bus).await?,
    };
    let total = wanted.len();
    let mut walks = JoinSet::new();
    let mut done = Vec::new();
    for (names, owner) in wanted {
        let identity = owner.pid.and_then(bus::identity);
        let name = names.first().cloned().unwrap_or_default();
        if request.interfaces
            && let (Some(cache), Some(identity)) = (cache, &identity)
            && let Some(interfaces) = cache.load(&name, identity)
        {
            done.push(named(Service { interfaces, cached: true, ..Service::default() }, names));
            continue;
        }
        let walk = walk::walk(
            Arc::clone(&shared),
            owner.unique,
            request.path.clone(),
            request.limits,
            request.values,
        );
        walks.spawn(async move { (named(walk.await, names), identity) });
    }
    while let Some(walked) = walks.join_next().await {
        let Ok((mut service, identity)) = walked else { continue };
        // Nobody may want to hear it.
        let _ = say.send(format!("looked at {} ({} of {total})", service.name, done.len() + 1));
        if let (Some(cache), Some(identity)) = (cache, identity)
            && !service.interfaces.is_empty()
        {
            let learnt = cache.learn(&service.name, &identity, &service.interfaces);
            if request.interfaces {
                service.interfaces = learnt;
            }
        }
        if request.interfaces {
            service.objects.clear();
        }
        done.push(service);
    }
    done.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(done)
}

fn named(service: Service, mut names: Vec<String>) -> Service {
    let name = if names.is_empty() { String::new() } else { names.remove(0) };
    Service { name, aliases: names, ..service }
}

/// Who has one name.
async fn one(bus: &Connection, name: &str, activate: bool) -> Result<Owner, IntrospectError> {
    if BusName::try_from(name).is_err() {
        return Err(IntrospectError::BadName(name.to_owned()));
    }
    if let Some(owner) = bus::owner(bus, name).await {
        return Ok(owner);
    }
    let activatable = bus::listed(bus).await?.get(name).is_some_and(|(_, activatable)| *activatable);
    let absent = || IntrospectError::Absent { name: name.to_owned() };
    match (activatable, activate) {
        (false, _) => Err(absent()),
        (true, false) => Err(IntrospectError::Asleep { name: name.to_owned() }),
        (true, true) => {
            let started = bus::ask(bus, "StartServiceByName", &(name, 0_u32)).await;
            started
                .map_err(|error| IntrospectError::Start { name: name.to_owned(), why: bus::why(&error) })?;
            bus::owner(bus, name).await.ok_or_else(absent)
        }
    }
}

/// Every connection that has a name, with its names.
async fn all(bus: &Connection) -> Result<Vec<(Vec<String>, Owner)>, IntrospectError> {
    let listed = bus::listed(bus).await?;
    let running = listed.iter().filter(|(_, (running, _))| *running).map(|(name, _)| name);
    let mut connections: BTreeMap<String, (Vec<String>, Owner)> = BTreeMap::new();
    for (name, owner) in bus::owners(bus, running).await {
        let entry = connections.entry(owner.unique.clone()).or_insert_with(|| (Vec::new(), owner));
        entry.0.push(name);
    }
    Ok(connections.into_values().collect())
}

/// The bus in outline: each name that is on it or can be started, and the interfaces of the service's own objects; `None`
/// where it does not run, or does not say. It is what stays the same from day to day: whether a service happens to run,
/// and the objects that come and go, are not in it.
pub fn outline(bus: &Bus) -> Result<BTreeMap<String, Option<Vec<String>>>, IntrospectError> {
    bus::block_on(async {
        let bus = bus.connect().await?;
        let shared = Shared::new(bus.clone(), Limits::default().time);
        let mut outline: BTreeMap<String, Option<Vec<String>>> =
            bus::listed(&bus).await?.into_keys().map(|name| (name, None)).collect();
        let mut asked = JoinSet::new();
        for (names, owner) in all(&bus).await? {
            let looked = walk::outline(Arc::clone(&shared), owner.unique);
            asked.spawn(async move { (looked.await, names) });
        }
        while let Some(looked) = asked.join_next().await {
            let Ok((interfaces, names)) = looked else { continue };
            for name in names {
                outline.insert(name, interfaces.clone());
            }
        }
        Ok(outline)
    })
}
