//! Walking through the objects of one service. It is a stranger: each call, the whole, the number and the depth of its
//! objects and the size of its answers have limits, and what goes wrong with an object is told in its place.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Limits;
use super::ask::{Memory, Refused, Shared, describe, read_values};
use super::model::{Interface, Interfaces, Object, Service};
use super::xml::Described;

/// How many calls one service has to answer at once.
const AT_ONCE: usize = 16;

/// After how many objects in a row that did not answer a service is given up: the next thousand will not either.
const GIVE_UP: usize = 3;

/// How much a service may answer in all, in bytes.
const IN_ALL: usize = 64 << 20;

/// How much may be under way from one service, in bytes, judged by the largest answer so far.
const AHEAD: usize = 16 << 20;

struct Looked {
    path: String,
    depth: usize,
    bytes: usize,
    described: Result<Arc<Described>, Refused>,
    values: BTreeMap<String, Value>,
}

/// The definitions met so far. Most objects of a service share theirs.
#[derive(Default)]
struct Definitions(HashMap<String, Vec<Interface>>);

impl Definitions {
    /// Takes one in, and gives its number among those of its name.
    fn number(&mut self, name: &str, interface: &Interface) -> usize {
        let of_name = self.0.entry(name.to_owned()).or_default();
        if let Some(known) = of_name.iter().position(|known| known == interface) {
            return known;
        }
        of_name.push(interface.clone());
        of_name.len() - 1
    }
}

/// An object and its interfaces, by name and number.
type Found = (Object, Vec<(String, usize)>);

/// A walk, as far as it has come.
struct Walk {
    limits: Limits,
    objects: BTreeMap<String, Found>,
    definitions: Definitions,
    known: HashSet<String>,
    waiting: VecDeque<(String, usize)>,
    truncated: BTreeSet<String>,
    silent: usize,
    largest: usize,
    bytes: usize,
}

/// Walks through the objects of a connection, from `path` downward.
pub(super) async fn walk(
    shared: Arc<Shared>,
    owner: String,
    path: String,
    limits: Limits,
    with_values: bool,
) -> Service {
    let mut walk = Walk {
        limits,
        objects: BTreeMap::new(),
        definitions: Definitions::default(),
        known: HashSet::from([path.clone()]),
        waiting: VecDeque::from([(path, 0)]),
        truncated: BTreeSet::new(),
        silent: 0,
        largest: 1,
        bytes: 0,
    };
    let memory = Arc::new(Mutex::new(Memory::default()));
    let mut asked = JoinSet::new();
    loop {
        let most = (AHEAD / walk.largest).clamp(1, AT_ONCE);
        while asked.len() < most
            && let Some((path, depth)) = walk.waiting.pop_front()
        {
            let (shared, memory, owner) = (Arc::clone(&shared), Arc::clone(&memory), owner.clone());
            asked.spawn(async move { look(&shared, &memory, &owner, path, depth, with_values).await });
        }
        let looked = match tokio::time::timeout_at(shared.deadline, asked.join_next()).await {
            Ok(Some(Ok(looked))) => looked,
            Ok(Some(Err(_))) => continue,
            Ok(None) => break,
            Err(_) => {
                walk.cut("the time was over");
                break;
            }
        };
        // Who is slow and who is late are told apart: the call was given up with the rest.
        if matches!(looked.described, Err(Refused::Silent)) && Instant::now() >= shared.deadline {
            walk.cut("the time was over");
            break;
        }
        if !walk.take(looked) {
            break;
        }
    }
    walk.finish()
}

async fn look(
    shared: &Shared,
    memory: &Mutex<Memory>,
    owner: &str,
    path: String,
    depth: usize,
    with_values: bool,
) -> Looked {
    let (mut bytes, described) = describe(shared, memory, owner, &path).await;
    let mut values = BTreeMap::new();
    if with_values && let Ok(described) = &described {
        let read = read_values(shared, owner, &path, &described.interfaces).await;
        (bytes, values) = (bytes + read.0, read.1);
    }
    Looked { path, depth, bytes, described, values }
}

impl Walk {
    fn cut(&mut self, why: impl Into<String>) {
        self.truncated.insert(why.into());
    }

    /// Takes an object in. Gives whether it goes on.
    fn take(&mut self, looked: Looked) -> bool {
        self.bytes += looked.bytes;
        self.largest = self.largest.max(looked.bytes);
        let mut object = Object { values: looked.values, ..Object::default() };
        let mut interfaces = Vec::new();
        self.silent = if matches!(looked.described, Err(Refused::Silent)) { self.silent + 1 } else { 0 };
        match looked.described {
            Err(Refused::Silent) => object.error = Some("it did not answer in time".into()),
            Err(Refused::Because(why)) => object.error = Some(why),
            Ok(described) => {
                object.error.clone_from(&described.flaw);
                for (name, interface) in &described.interfaces {
                    let number = self.definitions.number(name, interface);
                    interfaces.push((name.clone(), number));
                }
                self.queue(&looked.path, looked.depth, &described.children);
            }
        }
        self.objects.insert(looked.path, (object, interfaces));
        if self.silent >= GIVE_UP {
            self.cut(format!("given up: {GIVE_UP} objects in a row did not answer"));
            return false;
        }
        if self.bytes > IN_ALL {
            self.cut(format!("it answered more than {IN_ALL} bytes"));
            return false;
        }
        true
    }

    fn queue(&mut self, path: &str, depth: usize, children: &[String]) {
        if !children.is_empty() && depth >= self.limits.depth {
            return self.cut(format!("objects deeper than {}", self.limits.depth));
        }
        for child in children {
            let child = below(path, child);
            if self.known.contains(&child) {
                continue;
            }
            if self.known.len() >= self.limits.objects {
                return self.cut(format!("more than {} objects", self.limits.objects));
            }
            self.known.insert(child.clone());
            self.waiting.push_back((child, depth + 1));
        }
    }

    fn finish(self) -> Service {
        let mut service = Service { truncated: self.truncated.into_iter().collect(), ..Service::default() };
        if self.objects.is_empty() {
            service.error = Some("it did not answer in time".into());
        }
        // Where the first object did not answer, nothing is known of any other.
        if let [(object, interfaces)] = self.objects.values().collect::<Vec<_>>()[..]
            && interfaces.is_empty()
            && object.error.is_some()
        {
            service.error.clone_from(&object.error);
            return service;
        }
        (service.objects, service.interfaces) = settle(self.objects, &self.definitions);
        service
    }
}

/// The path of a child.
fn below(path: &str, child: &str) -> String {
    let slash = if path == "/" { "" } else { "/" };
    format!("{path}{slash}{child}")
}

/// Names the definitions in the order of the objects' paths, which is the same whoever answered first.
fn settle(
    objects: BTreeMap<String, Found>,
    definitions: &Definitions,
) -> (BTreeMap<String, Object>, Interfaces) {
    let mut interfaces = Interfaces::new();
    let mut names: HashMap<(String, usize), String> = HashMap::new();
    let mut of_name: HashMap<String, usize> = HashMap::new();
    let mut settled = BTreeMap::new();
    for (path, (mut object, found)) in objects {
        for (name, number) in found {
            let key = (name.clone(), number);
            if !names.contains_key(&key) {
                let count = of_name.entry(name.clone()).or_default();
                *count += 1;
                let shown = if *count == 1 { name.clone() } else { format!("{name} ({count})") };
                if let Some(interface) = definitions.0.get(&name).and_then(|of_name| of_name.get(number)) {
                    interfaces.insert(shown.clone(), interface.clone());
                }
                names.insert(key.clone(), shown);
            }
            object.interfaces.extend(names.get(&key).cloned());
        }
        settled.insert(path, object);
    }
    (settled, interfaces)
}

/// How many objects of one level are looked at for an outline.
const OUTLINE_WIDTH: usize = 16;
/// How deep an outline looks for a service's own objects.
const OUTLINE_DEPTH: usize = 8;

/// The interfaces of a service's own objects, which its version gives it: those of the first level from the root down on
/// which an object has interfaces that are not D-Bus's. What comes and goes (sessions, units, devices) lies below
/// them. `None` where that cannot be told.
pub(super) async fn outline(shared: Arc<Shared>, owner: String) -> Option<Vec<String>> {
    let memory = Arc::new(Mutex::new(Memory::default()));
    let mut level = vec!["/".to_owned()];
    for _ in 0..OUTLINE_DEPTH {
        let mut asked = JoinSet::new();
        for path in level {
            let (shared, memory, owner) = (Arc::clone(&shared), Arc::clone(&memory), owner.clone());
            asked.spawn(async move { (describe(&shared, &memory, &owner, &path).await.1, path) });
        }
        let mut interfaces = BTreeSet::new();
        let mut next = Vec::new();
        while let Some(looked) = asked.join_next().await {
            let (Ok(described), path) = looked.ok()? else { return None };
            let own = |name: &str| !name.starts_with("org.freedesktop.DBus.");
            interfaces.extend(described.interfaces.keys().filter(|name| own(name)).cloned());
            next.extend(described.children.iter().map(|child| below(&path, child)));
        }
        if !interfaces.is_empty() || next.is_empty() {
            return Some(interfaces.into_iter().collect());
        }
        if next.len() > OUTLINE_WIDTH {
            return None;
        }
        level = next;
    }
    None
}
