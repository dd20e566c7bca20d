//! The declared containers as a component: made, changed and started as the host spec says. One that is
//! no longer declared is kept and is the admin's from then on; one made by hand is never touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::backend::{Backend, Lxc};
use super::error::ContainerError;
use super::manage::{self, Containers, DELETING, MAKING};
use super::record::{self, Origin};
use crate::bridge;
use crate::engine::{self, Action, Context};
use crate::name::ContainerName;
use crate::spec::{Container, HostSpec};

/// The declared containers.
#[derive(Debug, Clone, Copy, Default)]
pub struct ContainersComponent;

/// What there is of containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Those that exist.
    pub containers: BTreeMap<ContainerName, SeenContainer>,
    /// Directories of containers that were being made or deleted when a run was killed.
    pub half_made: Vec<PathBuf>,
    /// Ports on the bridge whose container is gone.
    pub stray_ports: BTreeSet<String>,
    /// Ports without a device, of containers that do not run.
    pub lost_ports: BTreeSet<String>,
}

/// What there is of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenContainer {
    /// Who wants it.
    pub origin: Origin,
    /// What was asked for.
    pub spec: Container,
    /// Its address.
    pub address: std::net::Ipv4Addr,
    /// Whether it runs.
    pub running: bool,
    /// Whether its port is on the bridge as it should be: it is while the container runs.
    pub port: bool,
}

/// A change to a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum Change {
    /// Remove what a killed run left.
    Clean {
        /// The directory.
        path: PathBuf,
    },
    /// Remove a port whose container is gone.
    StrayPort {
        /// The port's interface.
        interface: String,
    },
    /// Remove the port of a container that ended without that: by a power cut, or while Open vSwitch was down.
    LostPort {
        /// The port's interface.
        interface: String,
    },
    /// Put the port of a container that runs back.
    Port {
        /// The container.
        name: ContainerName,
    },
    /// Make and, with autostart, start it.
    Create {
        /// The container.
        name: ContainerName,
        /// Its declaration.
        spec: Box<Container>,
    },
    /// Change it to its declaration.
    Update {
        /// The container.
        name: ContainerName,
        /// Its declaration.
        spec: Box<Container>,
        /// The fields that differ.
        fields: Vec<&'static str>,
    },
    /// Start it.
    Start {
        /// The container.
        name: ContainerName,
    },
    /// Leave it to the admin.
    Release {
        /// The container.
        name: ContainerName,
    },
}

impl engine::Change for Change {
    fn action(&self) -> Action {
        match self {
            Self::Clean { .. } | Self::StrayPort { .. } | Self::LostPort { .. } => Action::Remove,
            Self::Create { .. } => Action::Create,
            Self::Port { .. } | Self::Update { .. } | Self::Start { .. } | Self::Release { .. } => {
                Action::Update
            }
        }
    }

    fn object(&self) -> String {
        match self {
            Self::Clean { path } => format!("half-made container {}", path.display()),
            Self::StrayPort { interface } => format!("port {interface} of a container that is gone"),
            Self::LostPort { interface } => format!("port {interface} of a container that does not run"),
            Self::Port { name }
            | Self::Create { name, .. }
            | Self::Update { name, .. }
            | Self::Start { name }
            | Self::Release { name } => format!("container {name}"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Clean { .. } | Self::StrayPort { .. } | Self::LostPort { .. } => String::new(),
            Self::Port { .. } => "put its port back on the bridge".into(),
            Self::Create { spec, .. } => {
                let start = if spec.autostart { ", started" } else { "" };
                format!("from template {}, network {}{start}", spec.template, spec.network)
            }
            Self::Update { fields, .. } => format!("{} as declared", fields.join(", ")),
            Self::Start { .. } => "start it".into(),
            Self::Release { name } => format!(
                "no longer declared: kept as it is, and yours from now on (`op-dbus container delete {name}` removes it)"
            ),
        }
    }
}

/// The fields that `apply` changes on a container that exists. The template is not among them: a
/// container stays what it was cloned from.
fn differing(seen: &SeenContainer, declared: &Container) -> Vec<&'static str> {
    let old = &seen.spec;
    let mut fields = Vec::new();
    if declared.address.is_some_and(|address| address != seen.address) {
        fields.push("address");
    }
    if old.connect != declared.connect {
        fields.push("connect");
    }
    if old.service != declared.service {
        fields.push("service");
    }
    if old.limits != declared.limits {
        fields.push("limits");
    }
    if old.nesting != declared.nesting {
        fields.push("nesting");
    }
    if old.autostart != declared.autostart {
        fields.push("autostart");
    }
    if seen.origin == Origin::Manual {
        fields.push("origin");
    }
    fields
}

impl engine::Component for ContainersComponent {
    const NAME: &'static str = "containers";
    type Seen = Seen;
    type Change = Change;
    type Error = ContainerError;

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, ContainerError> {
        let tree = cx.tree();
        let records = record::all(&tree)?;
        let running = if records.is_empty() { BTreeSet::new() } else { Lxc.running(cx)? };
        let mut ports = bridge::container_ports(cx)?;
        let mut lost_ports = BTreeSet::new();
        let containers = records
            .into_iter()
            .map(|(name, record)| {
                let running = running.contains(&name);
                let port = ports.remove(&record.interface());
                // One with a device may belong to a container that is starting or stopping.
                if !running && port.as_ref().is_some_and(|port| port.ofport == Some(bridge::NO_DEVICE)) {
                    lost_ports.insert(record.interface());
                }
                let seen = SeenContainer {
                    origin: record.origin,
                    running,
                    port: !running || port.is_some_and(|port| port.requested == Some(record.ofport().into())),
                    address: record.address,
                    spec: record.spec.clone(),
                };
                (name, seen)
            })
            .collect();
        Ok(Seen {
            containers,
            half_made: half_made(&tree.containers())?,
            stray_ports: ports.into_keys().collect(),
            lost_ports,
        })
    }

    /// The declared containers. One made by hand is its maker's affair, and whether one runs changes by itself.
    fn lasting(&self, seen: &Seen) -> serde_json::Result<Value> {
        let declared = seen.containers.iter().filter(|(_, container)| container.origin == Origin::Declared);
        let mut containers = Map::new();
        for (name, container) in declared {
            let mut lasting = serde_json::to_value(container)?;
            if let Some(lasting) = lasting.as_object_mut() {
                lasting.remove("running");
            }
            containers.insert(name.to_string(), lasting);
        }
        Ok(json!({ "containers": containers, "halfMade": seen.half_made, "strayPorts": seen.stray_ports }))
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<Change>, ContainerError> {
        let mut changes: Vec<Change> =
            seen.half_made.iter().map(|path| Change::Clean { path: path.clone() }).collect();
        changes.extend(seen.stray_ports.iter().map(|port| Change::StrayPort { interface: port.clone() }));
        changes.extend(seen.lost_ports.iter().map(|port| Change::LostPort { interface: port.clone() }));
        for (name, there) in &seen.containers {
            if !there.port {
                changes.push(Change::Port { name: name.clone() });
            }
            if there.origin == Origin::Declared && !spec.containers.contains_key(name) {
                changes.push(Change::Release { name: name.clone() });
            }
        }
        for (name, declared) in &spec.containers {
            let Some(there) = seen.containers.get(name) else {
                changes.push(Change::Create { name: name.clone(), spec: Box::new(declared.clone()) });
                continue;
            };
            let fields = differing(there, declared);
            if !fields.is_empty() {
                changes.push(Change::Update { name: name.clone(), spec: Box::new(declared.clone()), fields });
            }
            if declared.autostart && !there.running {
                changes.push(Change::Start { name: name.clone() });
            }
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &Change) -> Result<(), ContainerError> {
        let containers = Containers::new(cx, &Lxc);
        match change {
            Change::Clean { path } => containers.clean(path),
            Change::StrayPort { interface } => Ok(bridge::remove_port(cx, interface)?),
            Change::LostPort { interface } => Ok(bridge::remove_lost_port(cx, interface)?),
            Change::Port { name } => containers.restore_port(name),
            Change::Create { name, spec } => {
                let autostart = spec.autostart;
                containers.create(name, (**spec).clone(), Origin::Declared)?;
                if autostart { containers.start(name) } else { Ok(()) }
            }
            Change::Update { name, spec, .. } => containers.update(name, spec, Origin::Declared).map(drop),
            Change::Start { name } => containers.start(name),
            Change::Release { name } => containers.release(name),
        }
    }
}

fn half_made(directory: &std::path::Path) -> Result<Vec<PathBuf>, ContainerError> {
    let read = |source| ContainerError::Io { verb: "read", path: directory.to_owned(), source };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(read(source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(read)?;
        let temporary =
            entry.file_name().to_str().is_some_and(|n| n.starts_with(MAKING) || n.starts_with(DELETING));
        let without_rootfs = || entry.path().join("rootfs").symlink_metadata().is_err();
        if temporary || (without_rootfs() && manage::is_marked(&entry.path())?) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Component, Host, Silent};
    use crate::run::recorded::Recorded;
    use crate::run::{Output, Runner};

    fn seen(name: &str, origin: Origin, spec: Container) -> Seen {
        let container =
            SeenContainer { origin, spec, address: [10, 0, 0, 2].into(), running: true, port: true };
        Seen { containers: [(name.parse().unwrap(), container)].into(), ..Seen::default() }
    }

    fn declaring(name: &str, container: Container) -> HostSpec {
        let mut spec = HostSpec::default();
        spec.containers.insert(name.parse().unwrap(), container);
        spec
    }

    #[test]
    fn an_unchanged_container_and_one_made_by_hand_are_not_touched() {
        let declared = declaring("web-01", Container::default());
        let mut there = seen("web-01", Origin::Declared, Container::default());
        let mut by_hand =
            seen("mine", Origin::Manual, Container { autostart: false, ..Container::default() });
        by_hand.containers.values_mut().for_each(|c| c.running = false);
        there.containers.append(&mut by_hand.containers);
        assert_eq!(ContainersComponent.plan(&declared, &there).unwrap(), []);
    }

    #[test]
    fn what_lasts_are_the_declared_containers_whether_they_run_or_not() {
        let mut there = seen("web-01", Origin::Declared, Container::default());
        let before = ContainersComponent.lasting(&there).unwrap();
        assert_eq!(before["containers"]["web-01"]["address"], "10.0.0.2");
        there.containers.values_mut().for_each(|c| c.running = false);
        there.containers.append(&mut seen("mine", Origin::Manual, Container::default()).containers);
        assert_eq!(ContainersComponent.lasting(&there).unwrap(), before);
        there.containers.values_mut().for_each(|c| c.port = false);
        assert_ne!(ContainersComponent.lasting(&there).unwrap(), before);
    }

    #[test]
    fn a_changed_declaration_touches_its_container_alone_and_names_what_differs() {
        let mut declared = declaring("web-01", Container { nesting: true, ..Container::default() });
        declared.containers.insert("web-02".parse().unwrap(), Container::default());
        let mut there = seen("web-01", Origin::Declared, Container::default());
        there.containers.append(&mut seen("web-02", Origin::Declared, Container::default()).containers);
        let plan = ContainersComponent.plan(&declared, &there).unwrap();
        assert!(
            matches!(&plan[..], [Change::Update { name, fields, .. }] if name.as_str() == "web-01" && fields == &["nesting"]),
            "{plan:?}"
        );
    }

    #[test]
    fn a_container_that_is_no_longer_declared_is_kept_and_said_so() {
        let mut there = seen("web-01", Origin::Declared, Container::default());
        for running in [true, false] {
            // With autostart, too, it is not started any more.
            there.containers.values_mut().for_each(|c| c.running = running);
            let plan = ContainersComponent.plan(&HostSpec::default(), &there).unwrap();
            assert!(matches!(&plan[..], [Change::Release { .. }]), "{plan:?}");
            let said = engine::Change::detail(&plan[0]);
            assert!(said.contains("no longer declared: kept as it is, and yours"), "{said}");
            assert_ne!(engine::Change::action(&plan[0]), Action::Remove);
        }
        there.containers.values_mut().for_each(|c| c.origin = Origin::Manual);
        assert_eq!(ContainersComponent.plan(&HostSpec::default(), &there).unwrap(), []);
    }

    #[test]
    fn leaving_a_container_to_the_admin_writes_its_record_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let recorded = Recorded::new(|_| Ok(Output::default()));
        let host = Host { run: Runner::new(recorded.clone()), ..Host::default() };
        let mut spec = HostSpec::default();
        base.path().clone_into(&mut spec.btrfs.base_path);
        let cx = Context { host: &host, spec: &spec, progress: &Silent };
        let name: ContainerName = "web-01".parse().unwrap();
        let record = record::Record {
            version: record::RECORD_VERSION,
            name: name.clone(),
            origin: Origin::Declared,
            spec: Container { nesting: true, ..Container::default() },
            generation: "g".into(),
            slot: 3,
            address: [10, 0, 0, 2].into(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            dns: Vec::new(),
            created: 1,
        };
        // Also of a container whose root file system is damaged.
        let place = cx.tree().container(&name);
        std::fs::create_dir_all(place.join("rootfs")).unwrap();
        std::fs::write(place.join("container.json"), serde_json::to_vec(&record).unwrap()).unwrap();
        ContainersComponent.apply(&cx, &Change::Release { name: name.clone() }).unwrap();
        let after = record::find(&cx.tree(), &name).unwrap().unwrap();
        assert_eq!(after, record::Record { origin: Origin::Manual, ..record });
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 2);
        assert_eq!(recorded.calls(), Vec::<String>::new());
        assert!(!cx.tree().sockets().exists());
    }

    #[test]
    fn a_declared_template_does_not_touch_a_container_that_exists() {
        let declared =
            declaring("web-01", Container { template: "other".parse().unwrap(), ..Container::default() });
        let there = seen("web-01", Origin::Declared, Container::default());
        assert_eq!(ContainersComponent.plan(&declared, &there).unwrap(), []);
    }

    #[test]
    fn what_a_killed_run_left_is_removed_first() {
        let there = Seen {
            half_made: vec!["/b/containers/.opdbus-create-x".into()],
            stray_ports: ["oc-x".into()].into(),
            lost_ports: ["oc-y".into()].into(),
            ..Seen::default()
        };
        let plan = ContainersComponent.plan(&HostSpec::default(), &there).unwrap();
        assert!(
            matches!(&plan[..], [Change::Clean { .. }, Change::StrayPort { .. }, Change::LostPort { .. }]),
            "{plan:?}"
        );
    }
}
