//! Asking one object: bounded in time and size, and in how many are asked at once over one connection.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use zbus::Connection;
use zbus::wire::OwnedVariant;

use super::bus::why;
use super::model::{Access, Interface};
use super::values;
use super::xml::{self, Described};

/// How long a service may take for one call.
const CALL: Duration = Duration::from_secs(2);

/// How many calls are under way on one connection: the system bus lets one have 128 unanswered (dbus-daemon(1),
/// `max_replies_per_connection`).
const UNDER_WAY: usize = 64;

/// How much of one object's description is read, in bytes.
const LARGEST: usize = 4 << 20;

/// What all walks over one connection share.
#[derive(Debug)]
pub(super) struct Shared {
    bus: Connection,
    permits: Semaphore,
    pub(super) deadline: Instant,
}

impl Shared {
    pub(super) fn new(bus: Connection, limit: Duration) -> Arc<Self> {
        Arc::new(Self { bus, permits: Semaphore::new(UNDER_WAY), deadline: Instant::now() + limit })
    }
}

/// Why an object was not looked at.
pub(super) enum Refused {
    /// It did not answer in time.
    Silent,
    /// It, or the bus, said why; or it said nothing that can be understood.
    Because(String),
}

/// Calls a method without arguments, or with one text, of an object.
async fn call(
    shared: &Shared,
    owner: &str,
    path: &str,
    (interface, method): (&str, &str),
    argument: Option<&str>,
) -> Result<zbus::Message, Refused> {
    let until = |limit| shared.deadline.min(Instant::now() + limit);
    let Ok(Ok(_permit)) = tokio::time::timeout_at(shared.deadline, shared.permits.acquire()).await else {
        return Err(Refused::Silent);
    };
    // To the connection itself, not to the name: the bus would start a service for that.
    let bus = &shared.bus;
    let answered = async {
        match argument {
            None => bus.call_method(Some(owner), path, Some(interface), method, &()).await,
            Some(argument) => bus.call_method(Some(owner), path, Some(interface), method, &argument).await,
        }
    };
    match tokio::time::timeout_at(until(CALL), answered).await {
        Err(_) => Err(Refused::Silent),
        Ok(Err(error)) => Err(Refused::Because(why(&error))),
        Ok(Ok(message)) => Ok(message),
    }
}

/// Descriptions read already, by their length in bytes. Objects of one kind describe themselves in the same words, and
/// those of systemd's units have 70 kB.
#[derive(Default)]
pub(super) struct Memory(HashMap<usize, Vec<(String, Arc<Described>)>>, usize);

/// How much of descriptions is remembered during one walk, in bytes.
const REMEMBERED: usize = 16 << 20;

impl Memory {
    fn read(&mut self, text: &str) -> Result<Arc<Described>, String> {
        let alike = self.0.entry(text.len()).or_default();
        if let Some((_, known)) = alike.iter().find(|(known, _)| known == text) {
            return Ok(Arc::clone(known));
        }
        let described = Arc::new(xml::read(text)?);
        // What has children is one of its kind.
        if described.children.is_empty() && self.1 + text.len() <= REMEMBERED {
            self.1 += text.len();
            alike.push((text.to_owned(), Arc::clone(&described)));
        }
        Ok(described)
    }
}

pub(super) async fn describe(
    shared: &Shared,
    memory: &Mutex<Memory>,
    owner: &str,
    path: &str,
) -> (usize, Result<Arc<Described>, Refused>) {
    let introspect = ("org.freedesktop.DBus.Introspectable", "Introspect");
    let message = match call(shared, owner, path, introspect, None).await {
        Ok(message) => message,
        Err(refused) => return (0, Err(refused)),
    };
    let bytes = message.data().len();
    if bytes > LARGEST {
        let said = format!("it answered {bytes} bytes, and {LARGEST} are read");
        return (bytes, Err(Refused::Because(said)));
    }
    let body = message.body();
    let described = match body.deserialize::<&str>() {
        Ok(text) => {
            memory.lock().unwrap_or_else(PoisonError::into_inner).read(text).map_err(Refused::Because)
        }
        Err(_) => Err(Refused::Because("it did not answer with a text".into())),
    };
    (bytes, described)
}

/// The values of an object's properties. Nothing is written.
pub(super) async fn read_values(
    shared: &Shared,
    owner: &str,
    path: &str,
    interfaces: &BTreeMap<String, Interface>,
) -> (usize, BTreeMap<String, Value>) {
    let (mut all, mut bytes) = (BTreeMap::new(), 0);
    let readable = |i: &Interface| i.properties.values().any(|p| p.access != Access::Write);
    for name in interfaces.iter().filter(|(_, interface)| readable(interface)).map(|(name, _)| name) {
        let get_all = ("org.freedesktop.DBus.Properties", "GetAll");
        let value = match call(shared, owner, path, get_all, Some(name)).await {
            Ok(message) if message.data().len() > LARGEST => {
                bytes += message.data().len();
                serde_json::json!({ "error": format!("more than {LARGEST} bytes") })
            }
            Ok(message) => {
                bytes += message.data().len();
                match message.body().deserialize::<BTreeMap<String, OwnedVariant>>() {
                    Ok(read) => Value::Object(
                        read.iter().map(|(name, value)| (xml::shown(name), values::json(value))).collect(),
                    ),
                    Err(_) => serde_json::json!({ "error": "what it answered is not understood" }),
                }
            }
            Err(Refused::Silent) => serde_json::json!({ "error": "it did not answer in time" }),
            Err(Refused::Because(why)) => serde_json::json!({ "error": why }),
        };
        all.insert(name.clone(), value);
    }
    (bytes, all)
}
