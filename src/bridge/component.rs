use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::ovsdb::{Client, map, rows, select, set, strings};
use super::retire::{self, Removal, Whose};
use super::view::{Link, PortRow, View, connect, links};
use super::{
    BridgeError, Kernel, MESH_MAC, MESH_OFPORT, MESH_PORT, OUR_VLAN, SOCKET_MAC, SOCKET_OFPORT, SOCKET_PORT,
    TAG, TAG_GATEWAY, foreign_bridge,
};
use crate::deployment::Deployment;
use crate::engine::{Action, Change, Component, Context, Retirement};
use crate::fault::Report;
use crate::mac::MacAddr;
use crate::run::Invocation;
use crate::spec::{Datapath, HostSpec};

/// What the bundles of flows need (1.4), and what tools speak by default (1.0, 1.3, 1.5).
const PROTOCOLS: [&str; 4] = ["OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15"];

/// Without a controller or flows, nothing passes. The default (standalone) would be a learning switch.
const FAIL_MODE: &str = "secure";

/// The datapath that needs no kernel module, as the database calls it.
const USERSPACE: &str = "netdev";

/// How many flows on the bridge are not ours; `None` where it cannot be said. The room of flows is above this one, so it
/// is handed in.
pub type ForeignFlows = fn(&Context<'_>) -> Result<Option<usize>, Report>;

/// The bridge, the host's ports on it, and the gateway address.
#[derive(Debug, Clone)]
pub struct BridgeComponent {
    /// Where the kernel is asked about modules and routes.
    pub kernel: Kernel,
    /// How long `ovs-vswitchd` may take to make what the database asks for.
    pub patience: Duration,
    /// How many flows of others there are, which keep the bridge from being removed.
    pub foreign_flows: ForeignFlows,
}

impl Default for BridgeComponent {
    fn default() -> Self {
        // It takes milliseconds; after a boot it may still be starting.
        Self { kernel: Kernel::default(), patience: Duration::from_secs(10), foreign_flows: |_| Ok(None) }
    }
}

/// What is there.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Seen {
    /// The bridge, where it is there and ours.
    pub bridge: Option<SeenBridge>,
    /// The host's ports on it.
    pub ports: BTreeMap<String, SeenPort>,
    /// What is not ours and has a name that we need, with what was seen of it.
    #[serde(skip)]
    obstacles: Vec<Obstacle>,
    /// The networks that this host reaches, with the interface.
    #[serde(skip)]
    networks: Vec<(Ipv4Net, String)>,
    #[serde(skip)]
    has_kernel_datapath: bool,
    /// What an uninstall has to know.
    #[serde(skip)]
    whose: Whose,
}

/// The bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenBridge {
    /// Its name.
    pub name: String,
    /// `kernel`, or `userspace`.
    pub datapath: &'static str,
    /// What it does without flows: `secure` is to drop everything.
    pub fail_mode: String,
    /// The versions of OpenFlow that it speaks.
    pub protocols: Vec<String>,
}

/// One of the host's ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenPort {
    /// Its OpenFlow number, as asked for.
    pub ofport: Option<i64>,
    /// Its Ethernet address, as asked for.
    pub mac: String,
    /// Its VLAN, which keeps what others flood out of it.
    pub vlan: Option<u64>,
    /// Whether it is an internal port.
    pub internal: bool,
    /// Whether it is up.
    pub up: bool,
    /// Its IPv4 addresses.
    pub addresses: Vec<String>,
    /// The gateway address that we gave it.
    pub gateway: Option<String>,
}

/// Something with a name that we need.
#[derive(Debug, Clone)]
enum Obstacle {
    Bridge(String),
    Port { name: String, on: Option<String> },
    Device(String),
}

/// A port of the host's, as it shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostPort {
    name: &'static str,
    role: &'static str,
    ofport: u32,
    mac: MacAddr,
}

const HOST_PORTS: [HostPort; 2] = [
    HostPort { name: SOCKET_PORT, role: "socket", ofport: SOCKET_OFPORT, mac: SOCKET_MAC },
    HostPort { name: MESH_PORT, role: "mesh", ofport: MESH_OFPORT, mac: MESH_MAC },
];

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BridgeChange {
    /// Make the bridge.
    Create {
        /// Its name.
        bridge: String,
        /// Whether in userspace.
        userspace: bool,
        /// Whether that is only because the kernel has no module.
        for_want_of_module: bool,
    },
    /// Set what differs on the bridge.
    Set {
        /// Its name.
        bridge: String,
        /// The columns that differ, as they shall be.
        row: Map<String, Value>,
        /// The same in words.
        words: String,
    },
    /// Make one of the host's ports.
    CreatePort {
        /// The bridge.
        bridge: String,
        /// The port.
        port: HostPort,
    },
    /// Set what differs on one of the host's ports.
    SetPort {
        /// The port.
        port: HostPort,
        /// In words.
        words: String,
    },
    /// Give the host's port the gateway address.
    Gateway {
        /// The address, with the subnet's prefix.
        address: String,
        /// The one that it had from us before.
        former: Option<String>,
    },
    /// Bring the host's port up.
    Up,
    /// Take something of it away.
    Remove(Removal),
}

impl Change for BridgeChange {
    fn action(&self) -> Action {
        match self {
            Self::Create { .. } | Self::CreatePort { .. } | Self::Gateway { former: None, .. } => {
                Action::Create
            }
            Self::Set { .. } | Self::SetPort { .. } | Self::Gateway { .. } | Self::Up => Action::Update,
            Self::Remove(removal) => removal.action(),
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Create { bridge, .. } | Self::Set { bridge, .. } => format!("bridge {bridge}"),
            Self::CreatePort { port, .. } | Self::SetPort { port, .. } => format!("port {}", port.name),
            Self::Gateway { address, .. } => format!("address {address} on {SOCKET_PORT}"),
            Self::Up => format!("interface {SOCKET_PORT}"),
            Self::Remove(removal) => removal.object(),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Create { userspace: false, .. } => "kernel datapath".into(),
            Self::Create { for_want_of_module: false, .. } => "userspace datapath".into(),
            Self::Create { .. } => {
                "userspace datapath, because this kernel has no openvswitch module; it is slower".into()
            }
            Self::CreatePort { port, .. } => format!("the host's port to the {} network", port.role),
            Self::Set { words, .. } | Self::SetPort { words, .. } => words.clone(),
            Self::Gateway { former: None, .. } => String::new(),
            Self::Gateway { former: Some(former), .. } => format!("instead of {former}"),
            Self::Up => "up".into(),
            Self::Remove(removal) => removal.detail(),
        }
    }
}

impl Component for BridgeComponent {
    const NAME: &'static str = "bridge";
    type Seen = Seen;
    type Change = BridgeChange;
    type Error = BridgeError;

    fn validate(&self, cx: &Context<'_>) -> Result<(), BridgeError> {
        let seen = self.observe(cx)?;
        check(cx.spec, &seen)
    }

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, BridgeError> {
        let bridge = &cx.spec.ovs.bridge;
        let view = match connect(&cx.host.paths)? {
            Some(mut client) => View::read(&mut client)?,
            None => View::default(),
        };
        let links = match links(cx) {
            // A bare host before its packages are installed.
            Err(BridgeError::Run(crate::run::RunError::Missing { .. })) => BTreeMap::new(),
            other => other?,
        };
        let mut seen = Seen {
            networks: self.kernel.networks()?,
            has_kernel_datapath: self.kernel.has_datapath(),
            whose: retire::whose(&view, bridge, &links),
            ..Seen::default()
        };
        match view.bridges.get(bridge) {
            Some(row) if row.tags.get(TAG).map(String::as_str) == Some("bridge") => {
                seen.bridge = Some(SeenBridge {
                    name: bridge.clone(),
                    datapath: if row.datapath_type == USERSPACE { "userspace" } else { "kernel" },
                    fail_mode: row.fail_mode.clone(),
                    protocols: row.protocols.clone(),
                });
            }
            Some(_) => seen.obstacles.push(Obstacle::Bridge(bridge.clone())),
            None if links.contains_key(bridge) => seen.obstacles.push(Obstacle::Device(bridge.clone())),
            None => {}
        }
        for HostPort { name, role, .. } in HOST_PORTS {
            match view.ports.get(name) {
                Some(row) if row.tag() == Some(role) && view.bridge_of(row) == Some(bridge) => {
                    seen.ports.insert(name.to_owned(), seen_port(row, links.get(name)));
                }
                Some(row) => {
                    let on = view.bridge_of(row).map(str::to_owned);
                    seen.obstacles.push(Obstacle::Port { name: name.to_owned(), on });
                }
                None if links.contains_key(name) => seen.obstacles.push(Obstacle::Device(name.to_owned())),
                None => {}
            }
        }
        Ok(seen)
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<BridgeChange>, BridgeError> {
        check(spec, seen)?;
        let bridge = spec.ovs.bridge.clone();
        let mut changes = Vec::new();
        match &seen.bridge {
            None => {
                let userspace = match spec.ovs.datapath {
                    Datapath::Kernel => false,
                    Datapath::Userspace => true,
                    Datapath::Auto => !seen.has_kernel_datapath,
                };
                let for_want_of_module = userspace && spec.ovs.datapath == Datapath::Auto;
                changes.push(BridgeChange::Create { bridge: bridge.clone(), userspace, for_want_of_module });
            }
            Some(there) => changes.extend(set_bridge(spec, there)),
        }
        for port in HOST_PORTS {
            match seen.ports.get(port.name) {
                None => changes.push(BridgeChange::CreatePort { bridge: bridge.clone(), port }),
                Some(there) => changes.extend(set_port(port, there)),
            }
        }
        let address = gateway(spec);
        let socket = seen.ports.get(SOCKET_PORT);
        let given = socket.and_then(|s| s.gateway.clone());
        if !socket.is_some_and(|s| s.addresses.contains(&address)) || given.as_ref() != Some(&address) {
            let former = given.filter(|former| *former != address);
            changes.push(BridgeChange::Gateway { address, former });
        }
        if !socket.is_some_and(|s| s.up) {
            changes.push(BridgeChange::Up);
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &BridgeChange) -> Result<(), BridgeError> {
        let mut client = Client::connect(&cx.host.paths.ovsdb)?;
        match change {
            BridgeChange::Create { bridge, userspace, .. } => {
                client.transact_and_settle(&create_bridge(bridge, *userspace), self.patience)?;
                made(&mut client, bridge)
            }
            BridgeChange::Set { bridge, row, .. } => {
                let update = json!({ "op": "update", "table": "Bridge", "where": [["name", "==", bridge]], "row": row });
                Ok(client.transact_and_settle(&[update], self.patience)?)
            }
            BridgeChange::CreatePort { bridge, port } => {
                client.transact_and_settle(&create_port(bridge, port), self.patience)?;
                made(&mut client, port.name)
            }
            BridgeChange::SetPort { port, .. } => {
                let by_name = json!([["name", "==", port.name]]);
                client.transact_and_settle(
                    &[
                        json!({ "op": "update", "table": "Interface", "where": by_name, "row": interface(port) }),
                        json!({ "op": "update", "table": "Port", "where": by_name, "row": { "tag": OUR_VLAN } }),
                    ],
                    self.patience,
                )?;
                made(&mut client, port.name)
            }
            BridgeChange::Gateway { address, former } => {
                // The device is made by ovs-vswitchd, which may be starting just now.
                client.transact_and_settle(&[], self.patience)?;
                let ip = |verb| Invocation::new("ip").args(["addr", verb]);
                cx.host.run.run(&ip("replace").arg(address).args(["dev", SOCKET_PORT]))?;
                if let Some(former) = former {
                    let there = links(cx)?.get(SOCKET_PORT).is_some_and(|l| l.addresses().contains(former));
                    if there {
                        cx.host.run.run(&ip("del").arg(former).args(["dev", SOCKET_PORT]))?;
                    }
                }
                // Written down last: killed before, the next run still knows which address to take away.
                client
                    .transact(&[remember_gateway(address, "delete"), remember_gateway(address, "insert")])?;
                Ok(())
            }
            BridgeChange::Up => {
                client.transact_and_settle(&[], self.patience)?;
                cx.host.run.run(&Invocation::new("ip").args(["link", "set", SOCKET_PORT, "up"]))?;
                Ok(())
            }
            BridgeChange::Remove(removal) => Ok(removal.apply(&mut client, self.patience)?),
        }
    }

    fn retire(
        &self,
        cx: &Context<'_>,
        seen: &Seen,
        _: bool,
    ) -> Result<Retirement<BridgeChange>, BridgeError> {
        // Without a bridge there is nobody to ask.
        let flows =
            if seen.bridge.is_some() { (self.foreign_flows)(cx).map_err(BridgeError::Flows)? } else { None };
        let Retirement { changes, kept } = retire::retirement(&cx.spec.ovs.bridge, &seen.whose, flows)?;
        Ok(Retirement { changes: changes.into_iter().map(BridgeChange::Remove).collect(), kept })
    }
}

/// Whether `ovs-vswitchd` made the device behind a row that it took over.
pub(super) fn made(client: &mut Client, name: &str) -> Result<(), BridgeError> {
    let results =
        client.transact(&[select("Interface", &json!([["name", "==", name]]), &["ofport", "error"])])?;
    let row = rows(results.first()).next().unwrap_or(&Value::Null);
    if row["ofport"].as_i64().is_some_and(|n| n >= 0) {
        return Ok(());
    }
    let mut why = strings(&row["error"]).join("; ");
    if why.is_empty() {
        why = "it has no number, and no reason is given".into();
    }
    Err(BridgeError::Port { port: name.to_owned(), why })
}

fn gateway(spec: &HostSpec) -> String {
    format!("{}/{}", spec.ovs.gateway(), spec.ovs.subnet.prefix_len())
}

fn seen_port(row: &PortRow, link: Option<&Link>) -> SeenPort {
    SeenPort {
        ofport: row.ofport_request,
        mac: row.mac.clone(),
        vlan: row.vlan,
        internal: row.kind == "internal",
        up: link.is_some_and(Link::up),
        addresses: link.map(Link::addresses).unwrap_or_default(),
        gateway: row.tags.get(TAG_GATEWAY).cloned(),
    }
}

/// What stands in the way of the host spec.
fn check(spec: &HostSpec, seen: &Seen) -> Result<(), BridgeError> {
    if let Some(obstacle) = seen.obstacles.first() {
        return Err(match obstacle {
            Obstacle::Bridge(name) => foreign_bridge(name),
            Obstacle::Port { name, on } => BridgeError::InTheWay {
                what: format!("a port named {name}"),
                why: match on {
                    Some(bridge) if *bridge != spec.ovs.bridge => format!("it is on the bridge {bridge}"),
                    _ => "it was not made by operation-dbus, and is left as it is".into(),
                },
                next: format!(
                    "see what it is for (ovs-vsctl list port {name}), and rename or remove it yourself"
                ),
            },
            Obstacle::Device(name) => BridgeError::InTheWay {
                what: format!("an interface named {name}"),
                why: "it is not Open vSwitch's, and is left as it is".into(),
                next: if *name == spec.ovs.bridge {
                    format!(
                        "see what it is (ip -d link show {name}); set another {}, or rename it",
                        Deployment::here().field("ovs.bridge")
                    )
                } else {
                    format!("see what it is (ip -d link show {name}), and rename it")
                },
            },
        });
    }
    if spec.ovs.datapath == Datapath::Kernel && !seen.has_kernel_datapath {
        return Err(BridgeError::NoKernelDatapath);
    }
    // Once the gateway is up, a network that came later (a VPN) does not stop the rest from converging.
    let up = seen.ports.get(SOCKET_PORT).is_some_and(|s| s.addresses.contains(&gateway(spec)));
    let subnet = spec.ovs.subnet;
    let overlap = seen.networks.iter().find(|(network, interface)| {
        interface != SOCKET_PORT && (network.contains(&subnet) || subnet.contains(network))
    });
    match overlap {
        Some((network, interface)) if !up => Err(BridgeError::Overlap {
            subnet: subnet.to_string(),
            route: network.to_string(),
            interface: interface.clone(),
        }),
        _ => Ok(()),
    }
}

fn set_bridge(spec: &HostSpec, there: &SeenBridge) -> Option<BridgeChange> {
    let mut row = Map::new();
    let mut words = Vec::new();
    let datapath = match spec.ovs.datapath {
        // It was chosen when the bridge was made; to change it later would cut every container off.
        Datapath::Auto => there.datapath,
        Datapath::Kernel => "kernel",
        Datapath::Userspace => "userspace",
    };
    if datapath != there.datapath {
        row.insert(
            "datapath_type".into(),
            if datapath == "userspace" { json!(USERSPACE) } else { json!("") },
        );
        words.push(format!("{datapath} datapath instead of {}", there.datapath));
    }
    if there.fail_mode != FAIL_MODE {
        row.insert("fail_mode".into(), json!(FAIL_MODE));
        let was = if there.fail_mode.is_empty() { "none" } else { &there.fail_mode };
        words.push(format!("fail mode {FAIL_MODE} instead of {was}"));
    }
    let lacking: Vec<&str> =
        PROTOCOLS.into_iter().filter(|p| !there.protocols.iter().any(|t| t == p)).collect();
    if !lacking.is_empty() {
        // Those that the admin added stay.
        let mut all: Vec<&str> = there.protocols.iter().map(String::as_str).chain(lacking.clone()).collect();
        all.sort_unstable();
        row.insert("protocols".into(), set(&all));
        words.push(format!("with {}", lacking.join(", ")));
    }
    (!row.is_empty()).then(|| BridgeChange::Set { bridge: there.name.clone(), row, words: words.join("; ") })
}

fn set_port(port: HostPort, there: &SeenPort) -> Option<BridgeChange> {
    let mut words = Vec::new();
    if there.ofport != Some(port.ofport.into()) {
        words.push(format!("number {}", port.ofport));
    }
    if there.mac != port.mac.to_string() {
        words.push(format!("address {}", port.mac));
    }
    if there.vlan != Some(OUR_VLAN.into()) {
        words.push(format!("VLAN {OUR_VLAN}, which keeps floods out"));
    }
    if !there.internal {
        words.push("internal".into());
    }
    (!words.is_empty()).then(|| BridgeChange::SetPort { port, words: words.join("; ") })
}

fn interface(port: &HostPort) -> Value {
    json!({ "type": "internal", "mac": port.mac.to_string(), "ofport_request": port.ofport })
}

fn create_bridge(name: &str, userspace: bool) -> Vec<Value> {
    let tags = map(&[(TAG, "bridge")]);
    let row = json!({
        "name": name, "ports": ["named-uuid", "port"], "external_ids": tags,
        "datapath_type": if userspace { USERSPACE } else { "" },
        "fail_mode": FAIL_MODE, "protocols": set(&PROTOCOLS),
    });
    vec![
        json!({ "op": "insert", "table": "Interface", "uuid-name": "interface",
            "row": { "name": name, "type": "internal", "external_ids": tags } }),
        json!({ "op": "insert", "table": "Port", "uuid-name": "port",
            "row": { "name": name, "interfaces": ["named-uuid", "interface"], "external_ids": tags } }),
        json!({ "op": "insert", "table": "Bridge", "uuid-name": "bridge", "row": row }),
        json!({ "op": "mutate", "table": "Open_vSwitch", "where": [],
            "mutations": [["bridges", "insert", ["set", [["named-uuid", "bridge"]]]]] }),
    ]
}

fn create_port(bridge: &str, port: &HostPort) -> Vec<Value> {
    let tags = map(&[(TAG, port.role)]);
    let mut row = interface(port);
    row["name"] = json!(port.name);
    row["external_ids"] = tags.clone();
    vec![
        json!({ "op": "insert", "table": "Interface", "uuid-name": "interface", "row": row }),
        json!({ "op": "insert", "table": "Port", "uuid-name": "port",
            "row": { "name": port.name, "interfaces": ["named-uuid", "interface"],
                "tag": OUR_VLAN, "external_ids": tags } }),
        json!({ "op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]],
            "mutations": [["ports", "insert", ["set", [["named-uuid", "port"]]]]] }),
    ]
}

/// An insert into a map keeps a key that is there, so the key is deleted first.
fn remember_gateway(address: &str, verb: &str) -> Value {
    let what = if verb == "delete" { json!(["set", [TAG_GATEWAY]]) } else { map(&[(TAG_GATEWAY, address)]) };
    json!({ "op": "mutate", "table": "Port", "where": [["name", "==", SOCKET_PORT]],
        "mutations": [["external_ids", verb, what]] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Kind};

    fn plan(spec: &HostSpec, seen: &Seen) -> Vec<String> {
        let changes = BridgeComponent::default().plan(spec, seen).unwrap();
        changes.iter().map(|c| format!("{:?} {}: {}", c.action(), c.object(), c.detail())).collect()
    }

    fn port(port: &HostPort) -> SeenPort {
        SeenPort {
            ofport: Some(port.ofport.into()),
            mac: port.mac.to_string(),
            vlan: Some(OUR_VLAN.into()),
            internal: true,
            up: true,
            addresses: Vec::new(),
            gateway: None,
        }
    }

    /// A host on which there is nothing to do.
    fn done() -> Seen {
        let mut ports: BTreeMap<String, SeenPort> =
            HOST_PORTS.iter().map(|p| (p.name.to_owned(), port(p))).collect();
        let socket = ports.get_mut(SOCKET_PORT).unwrap();
        socket.addresses = vec!["10.0.0.1/24".into()];
        socket.gateway = Some("10.0.0.1/24".into());
        Seen {
            bridge: Some(SeenBridge {
                name: "ovsbr0".into(),
                datapath: "userspace",
                fail_mode: "secure".into(),
                protocols: PROTOCOLS.map(str::to_owned).to_vec(),
            }),
            ports,
            ..Seen::default()
        }
    }

    #[test]
    fn on_a_bare_host_everything_is_made_and_the_userspace_datapath_is_said_aloud() {
        assert_eq!(
            plan(&HostSpec::default(), &Seen::default()),
            [
                "Create bridge ovsbr0: userspace datapath, because this kernel has no openvswitch module; it is slower",
                "Create port veth-socket: the host's port to the socket network",
                "Create port veth-mesh: the host's port to the mesh network",
                "Create address 10.0.0.1/24 on veth-socket: ",
                "Update interface veth-socket: up",
            ]
        );
    }

    #[test]
    fn where_all_is_there_nothing_is_planned() {
        assert!(plan(&HostSpec::default(), &done()).is_empty());
    }

    #[test]
    fn what_differs_is_set_and_named() {
        let mut seen = done();
        let bridge = seen.bridge.as_mut().unwrap();
        bridge.fail_mode = String::new();
        bridge.protocols = vec!["OpenFlow10".into(), "OpenFlow12".into()];
        seen.ports.get_mut(MESH_PORT).unwrap().vlan = None;
        let socket = seen.ports.get_mut(SOCKET_PORT).unwrap();
        socket.addresses.clear();
        socket.up = false;
        assert_eq!(
            plan(&HostSpec::default(), &seen),
            [
                "Update bridge ovsbr0: fail mode secure instead of none; with OpenFlow13, OpenFlow14, OpenFlow15",
                "Update port veth-mesh: VLAN 4094, which keeps floods out",
                "Create address 10.0.0.1/24 on veth-socket: ",
                "Update interface veth-socket: up",
            ]
        );
    }

    #[test]
    fn another_subnet_takes_the_former_gateway_away() {
        let mut spec = HostSpec::default();
        spec.ovs.subnet = "10.7.0.0/16".parse().unwrap();
        assert_eq!(
            plan(&spec, &done()),
            ["Update address 10.7.0.1/16 on veth-socket: instead of 10.0.0.1/24"]
        );
    }

    #[test]
    fn a_subnet_that_the_host_reaches_elsewhere_is_refused_with_the_way_out() {
        for network in ["10.0.0.0/8", "10.0.0.0/24", "10.0.0.128/25"] {
            let seen = Seen { networks: vec![(network.parse().unwrap(), "eth0".into())], ..Seen::default() };
            let error = BridgeComponent::default().plan(&HostSpec::default(), &seen).unwrap_err();
            assert_eq!(error.kind(), Kind::Conflict);
            assert!(
                error.to_string().contains("eth0") && error.next().unwrap().contains("ovs.subnet"),
                "{error}"
            );
        }
        let seen =
            Seen { networks: vec![("10.0.1.0/24".parse().unwrap(), "eth0".into())], ..Seen::default() };
        assert_eq!(plan(&HostSpec::default(), &seen).len(), 5);
    }

    #[test]
    fn a_kernel_datapath_that_is_not_there_is_refused() {
        let mut spec = HostSpec::default();
        spec.ovs.datapath = Datapath::Kernel;
        let error = BridgeComponent::default().plan(&spec, &Seen::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
    }

    #[test]
    fn the_datapath_changes_only_when_asked_for() {
        let mut seen = done();
        seen.has_kernel_datapath = true;
        assert!(plan(&HostSpec::default(), &seen).is_empty(), "auto keeps what is there");
        let mut spec = HostSpec::default();
        spec.ovs.datapath = Datapath::Kernel;
        assert_eq!(plan(&spec, &seen), ["Update bridge ovsbr0: kernel datapath instead of userspace"]);
    }
}
