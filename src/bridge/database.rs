//! What the database knows of our bridge, and the ports of containers in it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::component::BridgeError;
use super::ovsdb::{Ovsdb, OvsdbError, map_of, map_value, set_values};
use crate::engine::Context;
use crate::name::ContainerName;

/// The key in `external_ids` that marks a row as ours; its value says what it is.
pub(super) const TAG: &str = "opdbus";

/// A row of the table Bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BridgeRow {
    pub(super) uuid: String,
    pub(super) ours: bool,
    pub(super) datapath_type: String,
    pub(super) fail_mode: Option<String>,
    ports: BTreeSet<String>,
}

/// A row of the table Port, with that of its interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PortRow {
    pub(super) uuid: String,
    pub(super) name: String,
    pub(super) tag: Option<String>,
    pub(super) interface: String,
    pub(super) mac: Option<String>,
    pub(super) ofport_request: Option<u64>,
}

/// The part of the database that concerns us, read in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) bridge: Option<BridgeRow>,
    pub(super) ports: Vec<PortRow>,
}

impl Snapshot {
    /// The port of that name on our bridge.
    pub(super) fn port(&self, name: &str) -> Option<&PortRow> {
        let bridge = self.bridge.as_ref()?;
        self.ports.iter().find(|port| port.name == name && bridge.ports.contains(&port.uuid))
    }
    /// The port of that name, on whichever bridge.
    pub(super) fn any_port(&self, name: &str) -> Option<&PortRow> {
        self.ports.iter().find(|port| port.name == name)
    }
}

/// A container's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The name of the interface on the host.
    pub interface: String,
    /// Its OpenFlow port number.
    pub ofport: u32,
    /// The container.
    pub container: ContainerName,
}

fn uuid(value: &Value) -> String {
    value[1].as_str().unwrap_or_default().to_owned()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

pub(super) fn read(ovsdb: &mut Ovsdb, bridge: &str) -> Result<Snapshot, OvsdbError> {
    let select = |table: &str, condition: Value, columns: &[&str]| json!({ "op": "select", "table": table, "where": condition, "columns": columns });
    let answers = ovsdb.transact(&[
        select(
            "Bridge",
            json!([["name", "==", bridge]]),
            &["_uuid", "ports", "external_ids", "datapath_type", "fail_mode"],
        ),
        select("Port", json!([]), &["_uuid", "name", "interfaces", "external_ids"]),
        select("Interface", json!([]), &["_uuid", "mac", "ofport_request"]),
    ])?;
    let rows =
        |index: usize| answers.get(index).and_then(|a| a["rows"].as_array()).cloned().unwrap_or_default();
    let interfaces: std::collections::HashMap<String, Value> =
        rows(2).into_iter().map(|row| (uuid(&row["_uuid"]), row)).collect();
    let ports = rows(1)
        .iter()
        .map(|row| {
            let interface = set_values(&row["interfaces"]).first().map(|v| uuid(v)).unwrap_or_default();
            let of = interfaces.get(&interface);
            PortRow {
                uuid: uuid(&row["_uuid"]),
                name: text(&row["name"]).unwrap_or_default(),
                tag: map_value(&row["external_ids"], TAG).map(str::to_owned),
                mac: of.and_then(|row| text(&row["mac"])),
                ofport_request: of.and_then(|row| row["ofport_request"].as_u64()),
                interface,
            }
        })
        .collect();
    let bridge = rows(0).first().map(|row| BridgeRow {
        uuid: uuid(&row["_uuid"]),
        ours: map_value(&row["external_ids"], TAG).is_some(),
        datapath_type: text(&row["datapath_type"]).unwrap_or_default(),
        fail_mode: text(&row["fail_mode"]),
        ports: set_values(&row["ports"]).into_iter().map(uuid).collect(),
    });
    Ok(Snapshot { bridge, ports })
}

/// The operations that put a port with one interface on a bridge.
pub(super) fn insert_port(
    bridge: &str,
    name: &str,
    kind: &str,
    ofport: u32,
    mac: Option<String>,
    tags: &[(&str, &str)],
) -> Vec<Value> {
    let mut interface =
        json!({ "name": name, "type": kind, "ofport_request": ofport, "external_ids": map_of(tags) });
    if let Some(mac) = mac {
        interface["mac"] = json!(mac);
    }
    vec![
        json!({ "op": "insert", "table": "Interface", "row": interface, "uuid-name": "new_interface" }),
        json!({ "op": "insert", "table": "Port", "uuid-name": "new_port",
                "row": { "name": name, "interfaces": ["named-uuid", "new_interface"], "external_ids": map_of(tags) } }),
        json!({ "op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]],
                "mutations": [["ports", "insert", ["set", [["named-uuid", "new_port"]]]]] }),
    ]
}

fn open(cx: &Context<'_>) -> Result<(Ovsdb, Snapshot), BridgeError> {
    let mut ovsdb = Ovsdb::connect(&cx.host.paths.ovsdb)?;
    let snapshot = read(&mut ovsdb, &cx.spec.ovs.bridge)?;
    Ok((ovsdb, snapshot))
}

/// Puts a container's port on the bridge, where it waits for its device; nothing where it is there.
pub fn add_port(cx: &Context<'_>, port: &Port) -> Result<(), BridgeError> {
    let (mut ovsdb, snapshot) = open(cx)?;
    let bridge = &cx.spec.ovs.bridge;
    if !snapshot.bridge.as_ref().is_some_and(|b| b.ours) {
        return Err(BridgeError::NoBridge(bridge.clone()));
    }
    if let Some(there) = snapshot.any_port(&port.interface) {
        if there.tag.as_deref() != Some("container") || snapshot.port(&port.interface).is_none() {
            return Err(BridgeError::ForeignPort(port.interface.clone()));
        }
        if there.ofport_request == Some(port.ofport.into()) {
            return Ok(());
        }
        remove(&mut ovsdb, bridge, &there.uuid)?;
    }
    let tags = [(TAG, "container"), ("opdbus-container", port.container.as_str())];
    ovsdb.transact(&insert_port(bridge, &port.interface, "", port.ofport, None, &tags))?;
    Ok(())
}

fn remove(ovsdb: &mut Ovsdb, bridge: &str, port: &str) -> Result<(), OvsdbError> {
    // The rows of the port and its interface go by themselves when nothing refers to them.
    ovsdb.transact(&[json!({
        "op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]],
        "mutations": [["ports", "delete", ["set", [["uuid", port]]]]],
    })])?;
    Ok(())
}

/// Takes a container's port off the bridge; nothing where it is not there.
pub fn remove_port(cx: &Context<'_>, interface: &str) -> Result<(), BridgeError> {
    let (mut ovsdb, snapshot) = open(cx)?;
    match snapshot.port(interface) {
        None => Ok(()),
        Some(port) if port.tag.as_deref() != Some("container") => {
            Err(BridgeError::ForeignPort(interface.to_owned()))
        }
        Some(port) => Ok(remove(&mut ovsdb, &cx.spec.ovs.bridge, &port.uuid)?),
    }
}

/// The containers' ports on the bridge, by interface; none where Open vSwitch is not there.
pub fn container_ports(cx: &Context<'_>) -> Result<BTreeSet<String>, BridgeError> {
    if !cx.host.paths.ovsdb.exists() {
        return Ok(BTreeSet::new());
    }
    let (_, snapshot) = open(cx)?;
    let ports = snapshot.ports.iter().filter(|p| p.tag.as_deref() == Some("container"));
    Ok(ports.filter(|p| snapshot.port(&p.name).is_some()).map(|p| p.name.clone()).collect())
}

/// Whether the bridge's datapath is the userspace one.
pub fn userspace(cx: &Context<'_>) -> Result<bool, BridgeError> {
    let (_, snapshot) = open(cx)?;
    Ok(snapshot.bridge.is_some_and(|b| b.datapath_type == "netdev"))
}
