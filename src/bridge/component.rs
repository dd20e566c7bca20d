//! The bridge component.

use std::collections::BTreeMap;
use std::path::Path;

use ipnet::Ipv4Net;
use serde::Serialize;
use serde_json::{Value, json};

use super::database::{self, Snapshot, TAG, insert_port};
use super::ovsdb::{Ovsdb, OvsdbError, map_of};
use super::{MESH_MAC, MESH_OFPORT, MESH_PORT, SOCKET_MAC, SOCKET_OFPORT, SOCKET_PORT};
use crate::engine::{self, Action, Context};
use crate::fault::{Fault, Kind};
use crate::mac::MacAddr;
use crate::run::{Invocation, RunError};
use crate::spec::{Datapath, HostSpec};

/// How the bridge fails.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The database.
    #[error(transparent)]
    Ovsdb(#[from] OvsdbError),
    /// A foreign tool.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What `ip` printed is not understood.
    #[error("what ip printed is not understood")]
    Ip(#[source] serde_json::Error),
    /// The bridge is not there yet.
    #[error("there is no bridge {0} of ours")]
    NoBridge(String),
    /// A bridge of that name is not ours.
    #[error("there is a bridge {0} already, and operation-dbus did not make it")]
    ForeignBridge(String),
    /// A port of that name is not ours.
    #[error("there is a port {0} already, and operation-dbus did not make it")]
    ForeignPort(String),
    /// A network interface of that name is not ours.
    #[error("there is a network interface {0} already, and operation-dbus did not make it")]
    ForeignInterface(String),
    /// The subnet is in use.
    #[error("the subnet {subnet} overlaps {route}, which this host reaches by {device}")]
    Overlap {
        /// The declared subnet.
        subnet: Ipv4Net,
        /// The route.
        route: String,
        /// Its device.
        device: String,
    },
    /// The kernel's datapath was asked for and is not there.
    #[error("this kernel has no openvswitch module, and ovs.datapath is kernel")]
    NoKernelDatapath,
}

impl Fault for BridgeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ovsdb(OvsdbError::Connect { .. }) | Self::NoBridge(_) | Self::NoKernelDatapath => {
                Kind::Unavailable
            }
            Self::Ovsdb(_) | Self::Ip(_) => Kind::Failed,
            Self::Run(e) => e.kind(),
            Self::ForeignBridge(_)
            | Self::ForeignPort(_)
            | Self::ForeignInterface(_)
            | Self::Overlap { .. } => Kind::Conflict,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Ovsdb(OvsdbError::Connect { .. }) => Some(
                "start Open vSwitch: systemctl start openvswitch-switch (on NixOS: ovsdb and ovs-vswitchd)"
                    .into(),
            ),
            Self::Ovsdb(OvsdbError::NotSettled(_)) => {
                Some("is ovs-vswitchd running? systemctl status ovs-vswitchd".into())
            }
            Self::Run(e) => e.next(),
            Self::NoBridge(_) => Some("op-dbus apply bridge".into()),
            Self::ForeignBridge(_) => {
                Some("set ovs.bridge in the host spec to another name, or remove that bridge yourself".into())
            }
            Self::ForeignPort(name) | Self::ForeignInterface(name) => {
                Some(format!("rename or remove {name} yourself"))
            }
            Self::Overlap { .. } => {
                Some("set ovs.subnet in the host spec to a network that is free here".into())
            }
            Self::NoKernelDatapath => {
                Some("set ovs.datapath to auto, or load the module: modprobe openvswitch".into())
            }
            Self::Ovsdb(_) | Self::Ip(_) => None,
        }
    }
}

/// The bridge, its internal ports and the gateway's address.
#[derive(Debug, Clone, Copy, Default)]
pub struct BridgeComponent;

/// What there is of the bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Whether Open vSwitch answers.
    pub running: bool,
    /// The datapath of our bridge, `kernel` or `userspace`; `None` where there is no bridge.
    pub datapath: Option<&'static str>,
    /// Whether the bridge passes nothing before our flows are in.
    pub secure: bool,
    /// Our internal ports that are there and as they should be.
    pub ports: BTreeMap<&'static str, bool>,
    /// The addresses of the gateway's port.
    pub addresses: Vec<String>,
    /// Whether the gateway's port is up.
    pub up: bool,
    /// Whether the kernel has the datapath.
    pub kernel: bool,
}

/// A change to the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    /// Make the bridge.
    Bridge {
        /// Its name.
        name: String,
        /// Whether its datapath is the userspace one.
        userspace: bool,
        /// Whether that is for want of the kernel's.
        fallback: bool,
    },
    /// Pass nothing before our flows are in.
    Secure {
        /// The bridge.
        name: String,
    },
    /// Make an internal port, or make it as it should be.
    Port {
        /// Its name.
        name: &'static str,
    },
    /// Give the gateway's port its address and bring it up.
    Gateway {
        /// The address with the prefix length.
        address: String,
    },
}

impl engine::Change for Change {
    fn action(&self) -> Action {
        match self {
            Self::Bridge { .. } | Self::Port { .. } => Action::Create,
            Self::Secure { .. } | Self::Gateway { .. } => Action::Update,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Bridge { name, .. } | Self::Secure { name } => format!("bridge {name}"),
            Self::Port { name } => format!("port {name}"),
            Self::Gateway { .. } => format!("gateway {SOCKET_PORT}"),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Bridge { userspace: false, .. } => "kernel datapath".into(),
            Self::Bridge { fallback: true, .. } => {
                "userspace datapath, as this kernel has no openvswitch module: slower".into()
            }
            Self::Bridge { .. } => "userspace datapath".into(),
            Self::Secure { .. } => "pass nothing before the flows are in".into(),
            Self::Port { .. } => String::new(),
            Self::Gateway { address } => format!("address {address}, up"),
        }
    }
}

struct Internal {
    name: &'static str,
    ofport: u32,
    mac: MacAddr,
}

const INTERNAL: [Internal; 2] = [
    Internal { name: SOCKET_PORT, ofport: SOCKET_OFPORT, mac: SOCKET_MAC },
    Internal { name: MESH_PORT, ofport: MESH_OFPORT, mac: MESH_MAC },
];

fn internal_is_right(snapshot: &Snapshot, internal: &Internal) -> bool {
    snapshot.port(internal.name).is_some_and(|port| {
        port.tag.as_deref() == Some("internal")
            && port.ofport_request == Some(internal.ofport.into())
            && port.mac.as_deref() == Some(&internal.mac.to_string())
    })
}

/// Whether the running kernel has the openvswitch module, loaded, built in or to be loaded.
#[must_use]
pub fn kernel_datapath() -> bool {
    if Path::new("/sys/module/openvswitch").exists() {
        return true;
    }
    let release = rustix::system::uname();
    let Ok(release) = release.release().to_str() else { return false };
    // NixOS has its modules elsewhere.
    ["/lib/modules", "/run/current-system/kernel-modules/lib/modules"].iter().any(|modules| {
        ["modules.dep", "modules.builtin"].iter().any(|list| {
            std::fs::read_to_string(Path::new(modules).join(release).join(list))
                .is_ok_and(|text| text.contains("/openvswitch.ko"))
        })
    })
}

fn ip_json(cx: &Context<'_>, args: &[&str]) -> Result<Vec<Value>, BridgeError> {
    let output = cx.host.run.run(&Invocation::new("ip").arg("-json").args(args))?.stdout;
    if output.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&output).map_err(BridgeError::Ip)
}

fn gateway_address(spec: &HostSpec) -> String {
    format!("{}/{}", spec.ovs.gateway(), spec.ovs.subnet.prefix_len())
}

fn wants_userspace(spec: &HostSpec, kernel: bool) -> bool {
    match spec.ovs.datapath {
        Datapath::Kernel => false,
        Datapath::Userspace => true,
        Datapath::Auto => !kernel,
    }
}

/// The first route that shares addresses with the subnet and is not our own.
fn overlap(subnet: Ipv4Net, routes: &[Value]) -> Option<BridgeError> {
    routes.iter().find_map(|route| {
        let destination = route["dst"].as_str()?;
        let device = route["dev"].as_str().unwrap_or("another way");
        if destination == "default" || device == SOCKET_PORT {
            return None;
        }
        let network: Ipv4Net = destination.parse().or_else(|_| format!("{destination}/32").parse()).ok()?;
        let overlaps = network.prefix_len() > 0 && (subnet.contains(&network) || network.contains(&subnet));
        overlaps.then(|| BridgeError::Overlap {
            subnet,
            route: destination.to_owned(),
            device: device.to_owned(),
        })
    })
}

impl engine::Component for BridgeComponent {
    const NAME: &'static str = "bridge";
    type Seen = Seen;
    type Change = Change;
    type Error = BridgeError;

    fn validate(&self, cx: &Context<'_>) -> Result<(), BridgeError> {
        let ovs = &cx.spec.ovs;
        if ovs.datapath == Datapath::Kernel && !kernel_datapath() {
            return Err(BridgeError::NoKernelDatapath);
        }
        if let Some(error) = overlap(ovs.subnet, &ip_json(cx, &["-4", "route", "show"])?) {
            return Err(error);
        }
        let snapshot = if cx.host.paths.ovsdb.exists() {
            database::read(&mut Ovsdb::connect(&cx.host.paths.ovsdb)?, &ovs.bridge)?
        } else {
            Snapshot::default()
        };
        if snapshot.bridge.as_ref().is_some_and(|bridge| !bridge.ours) {
            return Err(BridgeError::ForeignBridge(ovs.bridge.clone()));
        }
        let links = ip_json(cx, &["link", "show"])?;
        let link = |name: &str| links.iter().any(|link| link["ifname"] == name);
        for internal in &INTERNAL {
            match snapshot.any_port(internal.name) {
                Some(port) if port.tag.as_deref() != Some("internal") => {
                    return Err(BridgeError::ForeignPort(internal.name.to_owned()));
                }
                None if link(internal.name) => {
                    return Err(BridgeError::ForeignInterface(internal.name.to_owned()));
                }
                _ => {}
            }
        }
        if snapshot.bridge.is_none() && link(&ovs.bridge) {
            return Err(BridgeError::ForeignInterface(ovs.bridge.clone()));
        }
        Ok(())
    }

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, BridgeError> {
        let kernel = kernel_datapath();
        if !cx.host.paths.ovsdb.exists() {
            return Ok(Seen { kernel, ..Seen::default() });
        }
        let snapshot = database::read(&mut Ovsdb::connect(&cx.host.paths.ovsdb)?, &cx.spec.ovs.bridge)?;
        let Some(bridge) = &snapshot.bridge else {
            return Ok(Seen { running: true, kernel, ..Seen::default() });
        };
        let links = ip_json(cx, &["address", "show"])?;
        let link = links.iter().find(|link| link["ifname"] == SOCKET_PORT);
        let addresses = link.and_then(|l| l["addr_info"].as_array()).into_iter().flatten();
        let addresses = addresses
            .filter(|a| a["family"] == "inet")
            .filter_map(|a| Some(format!("{}/{}", a["local"].as_str()?, a["prefixlen"].as_u64()?)))
            .collect();
        let up =
            link.and_then(|l| l["flags"].as_array()).is_some_and(|flags| flags.iter().any(|f| f == "UP"));
        Ok(Seen {
            running: true,
            datapath: Some(if bridge.datapath_type == "netdev" { "userspace" } else { "kernel" }),
            secure: bridge.fail_mode.as_deref() == Some("secure"),
            ports: INTERNAL.iter().map(|i| (i.name, internal_is_right(&snapshot, i))).collect(),
            addresses,
            up,
            kernel,
        })
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<Change>, BridgeError> {
        let mut changes = Vec::new();
        let name = spec.ovs.bridge.clone();
        if seen.datapath.is_none() {
            let userspace = wants_userspace(spec, seen.kernel);
            let fallback = userspace && spec.ovs.datapath == Datapath::Auto;
            changes.push(Change::Bridge { name, userspace, fallback });
        } else if !seen.secure {
            changes.push(Change::Secure { name });
        }
        for internal in &INTERNAL {
            if !seen.ports.get(internal.name).copied().unwrap_or(false) {
                changes.push(Change::Port { name: internal.name });
            }
        }
        let address = gateway_address(spec);
        if !seen.up || !seen.addresses.contains(&address) {
            changes.push(Change::Gateway { address });
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &Change) -> Result<(), BridgeError> {
        let bridge = &cx.spec.ovs.bridge;
        match change {
            Change::Bridge { userspace, .. } => {
                let mut ovsdb = Ovsdb::connect(&cx.host.paths.ovsdb)?;
                Ok(ovsdb.transact_and_settle(&insert_bridge(bridge, *userspace))?)
            }
            Change::Secure { .. } => {
                let mut ovsdb = Ovsdb::connect(&cx.host.paths.ovsdb)?;
                let update = json!({ "op": "update", "table": "Bridge", "where": [["name", "==", bridge]], "row": { "fail_mode": "secure" } });
                Ok(ovsdb.transact_and_settle(&[update])?)
            }
            Change::Port { name } => {
                let mut ovsdb = Ovsdb::connect(&cx.host.paths.ovsdb)?;
                let snapshot = database::read(&mut ovsdb, bridge)?;
                let Some(internal) = INTERNAL.iter().find(|i| i.name == *name) else { return Ok(()) };
                let mut operations = Vec::new();
                if let (Some(port), Some(row)) = (snapshot.port(name), &snapshot.bridge) {
                    operations.push(json!({ "op": "mutate", "table": "Bridge", "where": [["_uuid", "==", ["uuid", row.uuid]]],
                        "mutations": [["ports", "delete", ["set", [["uuid", port.uuid]]]]] }));
                }
                let mac = Some(internal.mac.to_string());
                operations.extend(insert_port(
                    bridge,
                    internal.name,
                    "internal",
                    internal.ofport,
                    mac,
                    &[(TAG, "internal")],
                ));
                Ok(ovsdb.transact_and_settle(&operations)?)
            }
            Change::Gateway { address } => {
                let ip = |args: &[&str]| cx.host.run.run(&Invocation::new("ip").args(args)).map(drop);
                // An address of an earlier subnet goes: the port is ours alone.
                ip(&["-4", "address", "flush", "dev", SOCKET_PORT])?;
                ip(&["address", "replace", address, "dev", SOCKET_PORT])?;
                Ok(ip(&["link", "set", SOCKET_PORT, "up"])?)
            }
        }
    }
}

fn insert_bridge(name: &str, userspace: bool) -> Vec<Value> {
    let kind = if userspace { "netdev" } else { "system" };
    vec![
        json!({ "op": "insert", "table": "Interface", "uuid-name": "local_interface", "row": { "name": name, "type": "internal" } }),
        json!({ "op": "insert", "table": "Port", "uuid-name": "local_port",
                "row": { "name": name, "interfaces": ["named-uuid", "local_interface"] } }),
        json!({ "op": "insert", "table": "Bridge", "uuid-name": "new_bridge", "row": {
            "name": name, "datapath_type": kind, "fail_mode": "secure",
            "ports": ["named-uuid", "local_port"], "external_ids": map_of(&[(TAG, "bridge")]),
        } }),
        json!({ "op": "mutate", "table": "Open_vSwitch", "where": [],
                "mutations": [["bridges", "insert", ["set", [["named-uuid", "new_bridge"]]]]] }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Component;

    fn whole() -> Seen {
        Seen {
            running: true,
            datapath: Some("kernel"),
            secure: true,
            ports: INTERNAL.iter().map(|i| (i.name, true)).collect(),
            addresses: vec!["10.0.0.1/24".into()],
            up: true,
            kernel: true,
        }
    }

    #[test]
    fn nothing_is_planned_where_all_is_there_and_a_missing_module_is_said_aloud() {
        let spec = HostSpec::default();
        assert_eq!(BridgeComponent.plan(&spec, &whole()).unwrap(), []);
        let plan = BridgeComponent.plan(&spec, &Seen::default()).unwrap();
        assert!(engine::Change::detail(&plan[0]).contains("no openvswitch module"), "{plan:?}");
        assert_eq!(plan.len(), 4);
    }

    #[test]
    fn a_lost_address_is_put_back() {
        let seen = Seen { addresses: Vec::new(), ..whole() };
        let plan = BridgeComponent.plan(&HostSpec::default(), &seen).unwrap();
        assert_eq!(plan, [Change::Gateway { address: "10.0.0.1/24".into() }]);
    }

    #[test]
    fn a_subnet_that_the_host_reaches_elsewhere_is_refused() {
        let subnet: Ipv4Net = "10.0.0.0/24".parse().unwrap();
        let route = |dst: &str, dev: &str| json!({ "dst": dst, "dev": dev });
        for (dst, refused) in [
            ("10.0.0.0/8", true),
            ("10.0.0.128/25", true),
            ("10.0.0.7", true),
            ("10.0.1.0/24", false),
            ("default", false),
        ] {
            assert_eq!(overlap(subnet, &[route(dst, "eth0")]).is_some(), refused, "{dst}");
        }
        assert!(
            overlap(subnet, &[route("10.0.0.0/24", SOCKET_PORT)]).is_none(),
            "our own route is no obstacle"
        );
    }
}
