use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Open vSwitch bridge, the containers' subnet, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ovs {
    /// The bridge. Default: ovsbr0. An existing bridge of that name that is not ours is refused.
    pub bridge: String,
    /// Which datapath carries the packets. Default: auto.
    pub datapath: Datapath,
    /// The containers' subnet. Its first address is the gateway, on the host's port `veth-socket`.
    /// Default: 10.0.0.0/24. It must not overlap a network the host has already.
    #[schemars(with = "String")]
    pub subnet: Ipv4Net,
    /// Whether containers reach the outside through network address translation (nftables, in a
    /// table of our own). Default: true. It turns `net.ipv4.ip_forward` on.
    pub nat: bool,
    /// Whether containers may open connections to the host itself. Default: false.
    pub host_access: bool,
    /// The network card that is a port of the bridge, so that the host's own addresses are on the bridge. Default: none.
    /// `apply` moves nothing by itself, as that could lock its admin out: `op-dbus bridge uplink set` does, and waits to
    /// be confirmed. Containers reach the outside by address translation with an uplink, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<String>,
    /// Name servers written into new containers. Default: none, which means those of the host.
    #[schemars(with = "Vec<String>")]
    pub dns: Vec<IpAddr>,
}

impl Default for Ovs {
    fn default() -> Self {
        Self {
            bridge: "ovsbr0".into(),
            datapath: Datapath::Auto,
            subnet: Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 24),
            nat: true,
            host_access: false,
            uplink: None,
            dns: Vec::new(),
        }
    }
}

impl Ovs {
    /// The gateway: the first address of the subnet.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        let network = u32::from(self.subnet.network());
        Ipv4Addr::from(network.saturating_add(1))
    }
}

/// Which datapath carries the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Datapath {
    /// The kernel's where the openvswitch module is there, else the userspace one, said aloud.
    Auto,
    /// The kernel's; refused where the module is missing.
    Kernel,
    /// The userspace one (`datapath_type=netdev`): slower, and works on every kernel with TUN.
    Userspace,
}
