//! How operations on containers fail.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

use crate::bridge::BridgeError;
use crate::deployment::Deployment;
use crate::fault::{Fault, Kind};
use crate::flows::FlowsError;
use crate::name::ContainerName;
use crate::run::RunError;
use crate::storage::SubvolumeError;
use crate::systemd::SystemdError;
use crate::templates::TemplateError;

/// How operations on containers fail.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// A file or directory could not be read, written or removed.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A record is damaged.
    #[error("the record {} is damaged", .path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is no such container.
    #[error("there is no container {0}")]
    NotFound(ContainerName),
    /// There is one already.
    #[error("there is a container {0} already")]
    Exists(ContainerName),
    /// Something that is no container of ours is at its place.
    #[error("{} is in the way, and it is no container of ours", .0.display())]
    InTheWay(PathBuf),
    /// The name of its interface, which is cut to 15 characters, is another container's.
    #[error("the interface of {name} on the host would be {}, and that is {owner}'s", super::record::interface_name(.name))]
    Interface {
        /// The container.
        name: ContainerName,
        /// Whose it is.
        owner: ContainerName,
    },
    /// The container is declared, so that deleting it would not last.
    #[error("the container {0} is declared in the host spec")]
    Declared(ContainerName),
    /// It runs, and may not.
    #[error("the container {0} is running")]
    Running(ContainerName),
    /// It does not run, and must.
    #[error("the container {0} is not running")]
    Stopped(ContainerName),
    /// The mesh was asked for on a host that has none.
    #[error("the container {0} cannot use the mesh: this host is not a member of one")]
    NoMesh(ContainerName),
    /// A container was granted itself.
    #[error("the container {0} needs no grant to reach itself")]
    Itself(ContainerName),
    /// The socket's path would not fit a Unix socket address.
    #[error("the socket of {name} would be {length} bytes long, and a Unix socket address holds 107")]
    SocketPath {
        /// The container.
        name: ContainerName,
        /// The length.
        length: usize,
    },
    /// The address is not one of the subnet's.
    #[error("{address} is not an address for a container in {subnet}")]
    AddressOutside {
        /// The address.
        address: Ipv4Addr,
        /// The subnet.
        subnet: Ipv4Net,
    },
    /// The address is another container's.
    #[error("the address {address} is {owner}'s")]
    AddressTaken {
        /// The address.
        address: Ipv4Addr,
        /// Whose it is.
        owner: ContainerName,
    },
    /// No address is free.
    #[error("no address of {subnet} is free")]
    SubnetFull {
        /// The subnet.
        subnet: Ipv4Net,
    },
    /// No id range is free.
    #[error("this host has {most} containers, as many as there are id ranges for")]
    NoSlot {
        /// How many there can be.
        most: u32,
    },
    /// The operating system gave no random numbers.
    #[error("cannot get random numbers: {0}")]
    Random(String),
    /// A service in the container did not come up.
    #[error("the container {name} did not start: {why}")]
    Start {
        /// The container.
        name: ContainerName,
        /// The end of its unit's log.
        why: String,
    },
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A subvolume.
    #[error(transparent)]
    Subvolume(#[from] SubvolumeError),
    /// The bridge.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// The flows.
    #[error(transparent)]
    Flows(#[from] FlowsError),
    /// systemd.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// A foreign tool.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Fault for ContainerError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } | Self::Record { .. } | Self::Random(_) | Self::Start { .. } => Kind::Failed,
            Self::NotFound(_) => Kind::NotFound,
            Self::Exists(_)
            | Self::InTheWay(_)
            | Self::Interface { .. }
            | Self::Declared(_)
            | Self::Running(_)
            | Self::Stopped(_)
            | Self::AddressTaken { .. }
            | Self::SubnetFull { .. }
            | Self::NoSlot { .. } => Kind::Conflict,
            Self::NoMesh(_) => Kind::Unavailable,
            Self::Itself(_) | Self::SocketPath { .. } | Self::AddressOutside { .. } => Kind::Invalid,
            Self::Template(e) => e.kind(),
            Self::Subvolume(e) => e.kind(),
            Self::Bridge(e) => e.kind(),
            Self::Flows(e) => e.kind(),
            Self::Systemd(e) => e.kind(),
            Self::Run(e) => e.kind(),
        }
    }

    fn next(&self) -> Option<String> {
        let here = Deployment::here();
        match self {
            Self::Record { path, .. } => Some(format!(
                "put it back from a copy, or, if the container may go, `btrfs subvolume delete` its rootfs and \
                 remove {}",
                path.parent().unwrap_or(path).display()
            )),
            Self::NotFound(_) => Some("`op-dbus container list` shows those there are".into()),
            Self::Exists(name) => Some(format!("choose another name, or `op-dbus container delete {name}`")),
            Self::Interface { .. } => Some("give the new one another name".into()),
            Self::InTheWay(path) => Some(format!("look at {} and move it away", path.display())),
            Self::Declared(name) => Some(format!(
                "take {} out, `{}`, and delete it then",
                here.field(&format!("containers.{name}")),
                here.apply(),
            )),
            Self::Running(name) => Some(format!("`op-dbus container stop {name}` first")),
            Self::Stopped(name) => Some(format!("`op-dbus container start {name}` first")),
            Self::NoMesh(_) => Some("use --network socket".into()),
            Self::SocketPath { .. } => Some("use a shorter name".into()),
            Self::SubnetFull { .. } => Some(format!(
                "delete containers that are not needed, or set a larger {}",
                here.field("ovs.subnet")
            )),
            Self::AddressTaken { .. } => Some("leave the address away to get the first free one".into()),
            Self::Start { name, .. } => Some(format!("`journalctl -u opdbus-container@{name}` shows more")),
            Self::Template(e) => e.next(),
            Self::Subvolume(e) => e.next(),
            Self::Bridge(e) => e.next(),
            Self::Flows(e) => e.next(),
            Self::Systemd(e) => e.next(),
            Self::Run(e) => e.next(),
            _ => None,
        }
    }
}
