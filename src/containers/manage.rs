//! The operations on one container. Each holds the engine's lock (its caller takes it) and, killed at
//! any instant, leaves either a whole container or something under a temporary name that the next
//! `apply` removes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::backend::Backend;
use super::error::ContainerError;
use super::record::{self, Allocation, Origin, RECORD, RECORD_VERSION, Record, Records};
use super::{identity, lxc};
use crate::bridge;
use crate::engine::Context;
use crate::files::{self, RootDir};
use crate::flows::{self, Endpoint};
use crate::name::ContainerName;
use crate::spec::{Container, Network};
use crate::storage::subvolume;
use crate::templates;

/// The prefix of a container's directory that is being made.
pub(super) const MAKING: &str = ".opdbus-create-";
/// The prefix of one that is being deleted, as version 0.1.0 had it.
pub(super) const DELETING: &str = ".opdbus-delete-";

/// What containers' directories are marked with.
const MARK: &str = "containers";

/// The longest path of a Unix socket: 108 bytes with the NUL (unix(7)).
const SUN_PATH: usize = 107;

/// The operations on containers of a host.
pub struct Containers<'a> {
    cx: &'a Context<'a>,
    backend: &'a dyn Backend,
}

fn io_error<'p>(verb: &'static str, path: &'p Path) -> impl FnOnce(std::io::Error) -> ContainerError + 'p {
    move |source| ContainerError::Io { verb, path: path.to_owned(), source }
}

impl<'a> Containers<'a> {
    /// The containers of the host in `cx`.
    #[must_use]
    pub fn new(cx: &'a Context<'a>, backend: &'a dyn Backend) -> Self {
        Self { cx, backend }
    }

    /// A container that must be there.
    pub fn get(&self, name: &ContainerName) -> Result<Record, ContainerError> {
        record::find(&self.cx.tree(), name)?.ok_or_else(|| ContainerError::NotFound(name.clone()))
    }

    /// Makes a container, stopped. On failure nothing of it is left.
    pub fn create(
        &self,
        name: &ContainerName,
        spec: Container,
        origin: Origin,
    ) -> Result<Record, ContainerError> {
        let (record, rootfs, others) = self.prepare(name, spec, origin)?;
        let place = self.cx.tree().container(name);
        if is_marked(&place)? {
            // A creation or a deletion that was killed.
            remove_directory(&place)?;
        }
        let made = self.assemble(&record, &rootfs, &others);
        if made.is_err() {
            self.discard(&record, &others);
        }
        made.map(|()| record)
    }

    /// The container that [`Containers::create`] would make now, or why it would not.
    pub fn would_create(
        &self,
        name: &ContainerName,
        spec: Container,
        origin: Origin,
    ) -> Result<Record, ContainerError> {
        Ok(self.prepare(name, spec, origin)?.0)
    }

    /// Everything that can be refused is refused here, before anything is made. Gives the record, the template's
    /// root file system to clone, and the containers that are there.
    fn prepare(
        &self,
        name: &ContainerName,
        spec: Container,
        origin: Origin,
    ) -> Result<(Record, PathBuf, Records), ContainerError> {
        let (cx, tree) = (self.cx, self.cx.tree());
        if spec.network == Network::Mesh {
            return Err(ContainerError::NoMesh(name.clone()));
        }
        if spec.connect.contains(name) {
            return Err(ContainerError::Itself(name.clone()));
        }
        let socket = tree.container_socket_dir(name).join(format!("{name}.sock"));
        if socket.as_os_str().len() > SUN_PATH {
            return Err(ContainerError::SocketPath { name: name.clone(), length: socket.as_os_str().len() });
        }
        let records = record::all(&tree)?;
        if records.contains_key(name) {
            return Err(ContainerError::Exists(name.clone()));
        }
        if let Some(owner) = record::interface_owner(&records, name) {
            return Err(ContainerError::Interface { name: name.clone(), owner: owner.clone() });
        }
        let place = tree.container(name);
        if place.symlink_metadata().is_ok() && !is_marked(&place)? {
            return Err(ContainerError::InTheWay(place));
        }
        let template = templates::find(&tree, &spec.template)?;
        let reserved: BTreeSet<Ipv4Addr> = cx
            .spec
            .containers
            .iter()
            .filter(|(other, _)| *other != name)
            .filter_map(|(_, c)| c.address)
            .collect();
        let Allocation { slot, address } =
            record::allocate(cx.spec.ovs.subnet, cx.spec.ovs.gateway(), &reserved, spec.address, &records)?;
        let random = |e: std::io::Error| ContainerError::Random(e.to_string());
        let mut mac = identity::random_mac().map_err(random)?;
        while records.values().any(|other| other.mac == mac) {
            mac = identity::random_mac().map_err(random)?;
        }
        let dns =
            if cx.spec.ovs.dns.is_empty() { identity::host_name_servers() } else { cx.spec.ovs.dns.clone() };
        let record = Record {
            version: RECORD_VERSION,
            name: name.clone(),
            origin,
            spec,
            generation: template.record.generation,
            slot,
            address,
            mac,
            dns,
            created: jiff::Timestamp::now().as_second(),
        };
        Ok((record, template.rootfs, records))
    }

    /// The container's directory is made under a temporary name and renamed when its record is in it. The clone of the
    /// root file system is what makes the container exist: one atomic step, in which the kernel commits the file
    /// system and with it all that came before. Who a clone is, it is told when it starts.
    fn assemble(&self, record: &Record, template: &Path, others: &Records) -> Result<(), ContainerError> {
        let place = self.cx.tree().container(&record.name);
        self.cx.progress.report(&format!("cloning template {}", record.spec.template), None);
        self.make_sockets(record)?;
        // The disk and Open vSwitch are waited for at once; flows without a container are for the next run to remove.
        let (cloned, connected) = std::thread::scope(|scope| {
            let disk = scope.spawn(|| self.clone_template(record, &place, template));
            let switch = self.shift(None, Some(record), others);
            (disk.join(), switch)
        });
        cloned.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        connected
    }

    fn clone_template(&self, record: &Record, place: &Path, template: &Path) -> Result<(), ContainerError> {
        let stage = self.cx.tree().containers().join(format!("{MAKING}{}", record.name));
        remove_directory(&stage)?;
        make_directory(&stage)?;
        subvolume::mark(&stage, MARK)?;
        record::write_first(&stage, record)?;
        renameat_with(CWD, &stage, CWD, place, RenameFlags::NOREPLACE)
            .map_err(|e| io_error("put in place", place)(e.into()))?;
        Ok(subvolume::snapshot(template, &place.join("rootfs"), false)?)
    }

    /// The directories of the container's own socket and of those it was granted, and the spec's name
    /// for its own.
    fn make_sockets(&self, record: &Record) -> Result<(), ContainerError> {
        let tree = self.cx.tree();
        for name in std::iter::once(&record.name).chain(&record.spec.connect) {
            let directory = tree.container_socket_dir(name);
            make_directory(&directory)?;
        }
        let link = tree.container_socket_link(&record.name);
        let target = format!("by-name/{0}/{0}.sock", record.name);
        if std::fs::read_link(&link).ok().as_deref() != Some(Path::new(&target)) {
            remove_file(&link)?;
            std::os::unix::fs::symlink(&target, &link).map_err(io_error("make", &link))?;
        }
        Ok(())
    }

    /// Changes a container to another declaration; restarts it where what changed is read only at start.
    pub fn update(
        &self,
        name: &ContainerName,
        spec: &Container,
        origin: Origin,
    ) -> Result<Record, ContainerError> {
        let tree = self.cx.tree();
        let mut record = self.get(name)?;
        let before = record.clone();
        let others = others(record::all(&tree)?, name);
        let address = match spec.address {
            Some(address) if address != record.address => {
                record::allocate(
                    self.cx.spec.ovs.subnet,
                    self.cx.spec.ovs.gateway(),
                    &BTreeSet::new(),
                    Some(address),
                    &others,
                )?
                .address
            }
            _ => record.address,
        };
        let restart = needs_restart(&record.spec, spec) || address != record.address;
        record.address = address;
        // What a container was cloned from does not change by declaring another template.
        record.spec = Container { template: record.spec.template.clone(), ..spec.clone() };
        record.origin = origin;
        let place = tree.container(name);
        let rootfs = place.join("rootfs");
        let root = RootDir::open(&rootfs).map_err(io_error("open", &rootfs))?;
        self.make_sockets(&record)?;
        let running = restart && self.backend.is_running(self.cx, name)?;
        if running {
            self.backend.stop(self.cx, name)?;
        }
        identity::refresh(&root, &record).map_err(io_error("write into", &rootfs))?;
        write_record(&place, &record)?;
        self.shift(Some(&before), Some(&record), &others)?;
        if running {
            self.backend.start(self.cx, name)?;
        }
        Ok(record)
    }

    /// Writes what a container is now (its name, its address, what it was granted) into a root file system that it
    /// had once and is to have again.
    pub fn refit(&self, name: &ContainerName, rootfs: &Path) -> Result<(), ContainerError> {
        let record = self.get(name)?;
        let root = RootDir::open(rootfs).map_err(io_error("open", rootfs))?;
        identity::refresh(&root, &record).map_err(io_error("write into", rootfs))
    }

    /// Leaves a container to the admin. It stays as it is: nothing but its record is written, whether it runs or not.
    pub fn release(&self, name: &ContainerName) -> Result<(), ContainerError> {
        let record = Record { origin: Origin::Manual, ..self.get(name)? };
        write_record(&self.cx.tree().container(name), &record)
    }

    /// Starts a container; nothing where it runs.
    pub fn start(&self, name: &ContainerName) -> Result<(), ContainerError> {
        self.get(name)?;
        self.cx.progress.report(&format!("starting {name}"), None);
        self.backend.start(self.cx, name)
    }

    /// Stops a container; nothing where it does not run.
    pub fn stop(&self, name: &ContainerName) -> Result<(), ContainerError> {
        self.get(name)?;
        self.cx.progress.report(&format!("stopping {name}"), None);
        self.backend.stop(self.cx, name)
    }

    /// Deletes a container with all it holds. One that runs is stopped if `force`, else refused; one
    /// that the host spec declares is refused. It is gone for good, also after a power cut, once the caller has
    /// committed the file system.
    pub fn delete(&self, name: &ContainerName, force: bool) -> Result<(), ContainerError> {
        let record = self.get(name)?;
        if self.cx.spec.containers.contains_key(name) {
            return Err(ContainerError::Declared(name.clone()));
        }
        if self.backend.is_running(self.cx, name)? {
            if !force {
                return Err(ContainerError::Running(name.clone()));
            }
            self.stop(name)?;
        }
        let tree = self.cx.tree();
        let others = others(record::readable(&tree)?.0, name);
        // While Open vSwitch does not answer, nothing is lost. What runs no more has no port, unless a power cut left it.
        bridge::remove_port(self.cx, &record.interface())?;
        self.shift(Some(&record), None, &others)?;
        // From here on there is no such container; what is left is for this run or the next to remove.
        remove_directory(&tree.container(name))?;
        remove_directory(&self.cx.host.paths.lxc().join(name))?;
        self.remove_sockets(name, &others)
    }

    /// Changes the flows from those of a container as it was to those as it is; `others` are all the others.
    fn shift(
        &self,
        before: Option<&Record>,
        after: Option<&Record>,
        others: &Records,
    ) -> Result<(), ContainerError> {
        let about: Vec<&Record> = before.into_iter().chain(after).collect();
        let near = neighbours(others, &about);
        let with =
            |record: Option<&Record>| near.iter().cloned().chain(record.map(endpoint)).collect::<Vec<_>>();
        Ok(flows::shift(self.cx, &with(before), &with(after))?)
    }

    fn remove_sockets(&self, name: &ContainerName, others: &Records) -> Result<(), ContainerError> {
        let tree = self.cx.tree();
        let directory = tree.container_socket_dir(name);
        remove_file(&directory.join(format!("{name}.sock")))?;
        remove_file(&tree.container_socket_link(name))?;
        // Those who were granted it have the directory mounted; it goes with the last of them.
        let granted = others.values().any(|other| other.spec.connect.contains(name));
        if !granted && directory.exists() {
            std::fs::remove_dir(&directory).map_err(io_error("remove", &directory))?;
        }
        Ok(())
    }

    /// Undoes what a failed creation made, all of it that can be undone; the rest is logged and left to the next run.
    fn discard(&self, record: &Record, others: &Records) {
        let (tree, name) = (self.cx.tree(), &record.name);
        let place = tree.container(name);
        let undone = [
            remove_directory(&tree.containers().join(format!("{MAKING}{name}"))),
            // What stood in the way is not marked as ours.
            is_marked(&place).and_then(|ours| if ours { remove_directory(&place) } else { Ok(()) }),
            self.remove_sockets(name, others),
            self.shift(Some(record), None, others),
        ];
        for error in undone.into_iter().filter_map(Result::err) {
            tracing::warn!(container = %name, "cleaning up after a failed creation: {error}");
        }
    }

    /// Removes what an earlier run left half made.
    pub fn clean(&self, path: &Path) -> Result<(), ContainerError> {
        remove_directory(path)
    }

    /// Makes sure that the port of a container that runs is on the bridge.
    pub fn restore_port(&self, name: &ContainerName) -> Result<(), ContainerError> {
        let record = self.get(name)?;
        bridge::add_port(self.cx, &port(&record))?;
        flows::converge(self.cx, &endpoints(self.cx)?)?;
        Ok(())
    }

    /// Puts the port of a container whose device has come on the bridge: what LXC's start hook is for.
    pub fn seat(&self, name: &ContainerName) -> Result<(), ContainerError> {
        let record = self.get(name)?;
        Ok(bridge::add_port(self.cx, &port(&record))?)
    }

    /// Takes the port of a container that has ended off the bridge. Nothing where the container is gone: its port went
    /// before it.
    pub fn ended(&self, name: &ContainerName) -> Result<(), ContainerError> {
        match record::find(&self.cx.tree(), name)? {
            Some(record) => Ok(bridge::remove_port(self.cx, &record.interface())?),
            None => Ok(()),
        }
    }

    /// Makes everything ready that a container needs to start: the directories of sockets, and LXC's configuration, whose
    /// path it gives.
    pub fn prepare_start(&self, name: &ContainerName, start_hook: String) -> Result<PathBuf, ContainerError> {
        let tree = self.cx.tree();
        let record = self.get(name)?;
        self.make_sockets(&record)?;
        let rootfs = tree.container(name).join("rootfs");
        let root = RootDir::open(&rootfs).map_err(io_error("open", &rootfs))?;
        identity::ensure(&root, &record).map_err(io_error("write the identity into", &rootfs))?;
        bridge::clear_port(self.cx, &record.interface())?;
        let mut facts = lxc::HostFacts::read(&self.cx.host.paths.lxc_share, self.cx.spec, start_hook);
        facts.busybox = root.exists("sbin/openrc") && root.exists("etc/inittab");
        let directory = self.cx.host.paths.lxc().join(name);
        std::fs::create_dir_all(&directory).map_err(io_error("make", &directory))?;
        let path = directory.join("config");
        files::replace(&path, lxc::config(&record, &tree, &facts).as_bytes(), 0o644)
            .map_err(io_error("write", &path))?;
        Ok(path)
    }
}

/// Whether a change is read by LXC or by the container's own units only at start.
fn needs_restart(old: &Container, new: &Container) -> bool {
    old.connect != new.connect
        || old.service != new.service
        || old.limits != new.limits
        || old.nesting != new.nesting
}

fn port(record: &Record) -> bridge::Port {
    bridge::Port { interface: record.interface(), ofport: record.ofport(), container: record.name.clone() }
}

/// The containers as the flow tables see them.
pub fn endpoints(cx: &Context<'_>) -> Result<Vec<Endpoint>, ContainerError> {
    Ok(record::all(&cx.tree())?.values().map(|record| endpoint(record)).collect())
}

fn endpoint(record: &Record) -> Endpoint {
    Endpoint {
        interface: record.interface(),
        ofport: record.ofport(),
        name: record.name.clone(),
        mac: record.mac,
        address: record.address,
        connect: record.spec.connect.clone(),
    }
}

/// Those of the containers that were granted one of `about`, or that one of them was granted.
fn neighbours(others: &Records, about: &[&Record]) -> Vec<Endpoint> {
    let near = |other: &Record| {
        about.iter().any(|r| r.spec.connect.contains(&other.name) || other.spec.connect.contains(&r.name))
    };
    others.values().filter(|other| near(other)).map(|other| endpoint(other)).collect()
}

fn others(mut all: Records, name: &ContainerName) -> Records {
    all.remove(name);
    all
}

/// Whether a directory was made for a container.
pub(super) fn is_marked(directory: &Path) -> Result<bool, ContainerError> {
    Ok(subvolume::marker(directory)?.as_deref() == Some(MARK))
}

fn write_record(directory: &Path, record: &Record) -> Result<(), ContainerError> {
    let path = directory.join(RECORD);
    files::replace(&path, &record::encode(&path, record)?, 0o644).map_err(io_error("write", &path))
}

fn make_directory(path: &Path) -> Result<(), ContainerError> {
    match std::fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(source) => return Err(io_error("make", path)(source)),
    }
    // A socket's directory is passed through by every user of a container that was granted it. From the host
    // it is closed by the directories above.
    let mode = rustix::fs::Mode::from_raw_mode(0o755);
    rustix::fs::chmod(path, mode).map_err(|e| io_error("set the mode of", path)(e.into()))
}

fn remove_file(path: &Path) -> Result<(), ContainerError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io_error("remove", path)(source)),
    }
}

/// Removes a container's directory: its root file system as a subvolume, the rest as files.
fn remove_directory(path: &Path) -> Result<(), ContainerError> {
    let rootfs = path.join("rootfs");
    if subvolume::is_subvolume(&rootfs).map_err(io_error("look at", &rootfs))? {
        subvolume::delete(&rootfs)?;
    }
    match std::fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io_error("remove", path)(source)),
    }
}
