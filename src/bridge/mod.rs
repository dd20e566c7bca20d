//! The Open vSwitch bridge: the bridge itself, the host's ports on it, the gateway address, and the
//! ports of containers. What the bridge does with a packet is the room `flows`.

mod component;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod kernel;
pub mod ovsdb;
mod port;
mod retire;
mod uplink;
mod view;

use crate::deployment::Deployment;
use crate::engine::Context;
use crate::fault::{Fault, Kind, Report};
use crate::mac::MacAddr;
use crate::run::RunError;

pub use component::{BridgeChange, BridgeComponent, ForeignFlows, Seen, SeenBridge, SeenPort};
pub use kernel::Kernel;
pub use port::{
    ContainerPort, NO_DEVICE, Port, add_port, clear_port, container_ports, remove_lost_port, remove_port,
};
pub use retire::Removal;
pub use uplink::{UPLINK_OFPORT, add_uplink, bridge_with_port, remove_uplink, uplink};

use ovsdb::OvsdbError;

/// The host's port on the socket network; it holds the gateway address.
pub const SOCKET_PORT: &str = "veth-socket";
/// Its OpenFlow number.
pub const SOCKET_OFPORT: u32 = 10;
/// Its Ethernet address: fixed, so that containers' neighbour tables outlive the host.
pub const SOCKET_MAC: MacAddr = MacAddr([0x02, 0x6f, 0x70, 0x64, 0x62, 0x01]);

/// The host's port on the mesh.
pub const MESH_PORT: &str = "veth-mesh";
/// Its OpenFlow number.
pub const MESH_OFPORT: u32 = 20;
/// Its Ethernet address.
pub const MESH_MAC: MacAddr = MacAddr([0x02, 0x6f, 0x70, 0x64, 0x62, 0x02]);

/// How the host's end of a container's interface begins. The packet filter knows containers by it.
pub const CONTAINER_PREFIX: &str = "oc-";

/// The VLAN of all our ports. Our flows send to a port by its number, which no VLAN hinders; but what a
/// port of the admin's floods through the normal switch stays out of ports with another VLAN.
const OUR_VLAN: u16 = 4094;

/// The key in `external_ids` by which a row is known as ours.
const TAG: &str = "opdbus";
/// The key under which a container's port names it.
const TAG_CONTAINER: &str = "opdbus-container";
/// The key under which the host's port keeps the gateway address that we gave it.
const TAG_GATEWAY: &str = "opdbus-gateway";

/// Why the bridge could not be seen or changed.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The database.
    #[error(transparent)]
    Ovsdb(#[from] OvsdbError),
    /// A tool.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file of the kernel's could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A tool's answer could not be read.
    #[error("{call} gave an answer that cannot be read: {why}")]
    Answer {
        /// The call.
        call: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something that is not ours has the name.
    #[error("{what} is in the way: {why}")]
    InTheWay {
        /// What it is.
        what: String,
        /// Why it is not ours.
        why: String,
        /// What to do.
        next: String,
    },
    /// The containers' subnet is routed elsewhere.
    #[error("the containers' subnet {subnet} overlaps {route}, which this host reaches through {interface}")]
    Overlap {
        /// The subnet of the host spec.
        subnet: String,
        /// The network that was there before.
        route: String,
        /// Its interface.
        interface: String,
    },
    /// The kernel's datapath was asked for.
    #[error("the host spec asks for the kernel's datapath, and this kernel has no openvswitch module")]
    NoKernelDatapath,
    /// The flows on the bridge could not be counted.
    #[error("{}", .0.message)]
    Flows(Report),
    /// `ovs-vswitchd` does not serve the bridge, so that nobody can say whose flows are on it.
    #[error(
        "the bridge {0} cannot be removed: ovs-vswitchd does not serve it, so it cannot be seen whether others have flows on it"
    )]
    NotServed(String),
    /// There is no bridge to put a port on.
    #[error("there is no bridge {0}")]
    NoBridge(String),
    /// `ovs-vswitchd` could not make a port.
    #[error("Open vSwitch could not make the port {port}: {why}")]
    Port {
        /// The port.
        port: String,
        /// What Open vSwitch says.
        why: String,
    },
}

impl Fault for BridgeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ovsdb(error) => error.kind(),
            Self::Run(error) => error.kind(),
            Self::InTheWay { .. } | Self::Overlap { .. } => Kind::Conflict,
            Self::NoKernelDatapath | Self::NotServed(_) => Kind::Unavailable,
            Self::Flows(report) => report.kind,
            Self::NoBridge(_) => Kind::NotFound,
            Self::Read { .. } | Self::Answer { .. } | Self::Port { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Ovsdb(error) => error.next(),
            Self::Run(error) => error.next(),
            Self::InTheWay { next, .. } => Some(next.clone()),
            Self::Overlap { .. } => Some(format!(
                "set another {}, for example 10.77.0.0/24",
                Deployment::here().field("ovs.subnet")
            )),
            Self::NoKernelDatapath => {
                let field = Deployment::here().field("ovs.datapath");
                Some(format!("install a kernel that has it, or set {field} to auto or userspace"))
            }
            Self::NoBridge(_) => Some("`opdbus-bridge apply` makes it".into()),
            Self::Port { .. } => Some("see /var/log/openvswitch/ovs-vswitchd.log".into()),
            Self::NotServed(_) => Some("start Open vSwitch and try again".into()),
            Self::Flows(report) => report.next.clone(),
            Self::Read { .. } | Self::Answer { .. } => None,
        }
    }
}

/// Whose the bridge named in the host spec is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// There is none, or no Open vSwitch at all.
    Absent,
    /// We made it.
    Ours,
    /// Someone else made it.
    Foreign,
}

/// Whose the bridge is, in one round trip to the database. For the rooms that work on the bridge, so
/// that none of them touches one that is not ours.
pub fn ownership(cx: &Context<'_>) -> Result<Ownership, BridgeError> {
    let Some(mut client) = view::connect(&cx.host.paths)? else { return Ok(Ownership::Absent) };
    let condition = serde_json::json!([["name", "==", cx.spec.ovs.bridge]]);
    let results = client.transact(&[ovsdb::select("Bridge", &condition, &["external_ids"])])?;
    Ok(match ovsdb::rows(results.first()).next() {
        None => Ownership::Absent,
        Some(row) if ovsdb::texts(&row["external_ids"]).get(TAG).is_some_and(|t| t == "bridge") => {
            Ownership::Ours
        }
        Some(_) => Ownership::Foreign,
    })
}

/// Whether the bridge's datapath is the userspace one. An error where there is no bridge to ask about: what is done
/// for the userspace datapath must not be left out for want of an answer.
pub fn userspace(cx: &Context<'_>) -> Result<bool, BridgeError> {
    let mut client = ovsdb::Client::connect(&cx.host.paths.ovsdb)?;
    let condition = serde_json::json!([["name", "==", cx.spec.ovs.bridge]]);
    let results = client.transact(&[ovsdb::select("Bridge", &condition, &["datapath_type"])])?;
    match ovsdb::rows(results.first()).next() {
        Some(row) => Ok(row["datapath_type"] == "netdev"),
        None => Err(BridgeError::NoBridge(cx.spec.ovs.bridge.clone())),
    }
}

/// The error for a bridge of our name that someone else made.
#[must_use]
pub fn foreign_bridge(name: &str) -> BridgeError {
    BridgeError::InTheWay {
        what: format!("a bridge named {name}"),
        why: "it was not made by operation-dbus, and is left as it is".into(),
        next: format!(
            "set another {}, or remove the bridge yourself",
            Deployment::here().field("ovs.bridge")
        ),
    }
}
