//! The Open vSwitch bridge: itself, its two internal ports, the gateway's address, and containers' ports.

mod component;
mod database;
pub mod ovsdb;

pub use component::{BridgeComponent, BridgeError, Change, Seen, kernel_datapath};
pub use database::{Port, add_port, container_ports, remove_port, userspace};

use crate::mac::MacAddr;

/// The port that holds the gateway's address: the host's own foot in the containers' network. Open vSwitch
/// makes it (an internal port); the name is the requirements'.
pub const SOCKET_PORT: &str = "veth-socket";
/// The port from which the kernel will route into the mesh.
pub const MESH_PORT: &str = "veth-mesh";
/// The OpenFlow number of [`SOCKET_PORT`]. Containers' begin at 100.
pub const SOCKET_OFPORT: u32 = 10;
/// The OpenFlow number of [`MESH_PORT`].
pub const MESH_OFPORT: u32 = 20;
/// The MAC address that the flows answer for every address of the subnet. Locally administered; "opdb".
pub const ROUTER_MAC: MacAddr = MacAddr([0x02, 0x6f, 0x70, 0x64, 0x62, 0x00]);
/// The MAC address of [`SOCKET_PORT`].
pub const SOCKET_MAC: MacAddr = MacAddr([0x02, 0x6f, 0x70, 0x64, 0x62, 0x01]);
/// The MAC address of [`MESH_PORT`].
pub const MESH_MAC: MacAddr = MacAddr([0x02, 0x6f, 0x70, 0x64, 0x62, 0x02]);
