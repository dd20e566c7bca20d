//! The ports of containers: on the bridge while the container runs. `ovs-vswitchd` tries the devices that are not there
//! again at every change of the database; with a thousand containers that do not run it would do little else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::ovsdb::{Client, OvsdbError, map, rows, select, uuid};
use super::view::{PortRow, View, connect};
use super::{BridgeError, OUR_VLAN, TAG, TAG_CONTAINER, foreign_bridge};
use crate::engine::Context;
use crate::name::ContainerName;

/// A container's port on the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The host's end of the container's interface.
    pub interface: String,
    /// The port's OpenFlow number.
    pub ofport: u32,
    /// The container.
    pub container: ContainerName,
}

/// A container's port as it is on the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPort {
    /// The container, as the port says.
    pub container: String,
    /// The OpenFlow number that was asked for.
    pub requested: Option<i64>,
    /// The one it has: none until `ovs-vswitchd` has seen the port, [`NO_DEVICE`] where there is no device for it.
    pub ofport: Option<i64>,
}

/// The number of a port that `ovs-vswitchd` finds no device for (ovs-vswitchd.conf.db(5), table Interface, `ofport`).
pub const NO_DEVICE: i64 = -1;

/// The containers' ports on the bridge, by interface. Empty where there is no bridge of ours.
pub fn container_ports(cx: &Context<'_>) -> Result<BTreeMap<String, ContainerPort>, BridgeError> {
    let Some(mut client) = connect(&cx.host.paths)? else { return Ok(BTreeMap::new()) };
    let view = View::read(&mut client)?;
    let ports = view.ports.iter().filter(|(_, row)| {
        row.tag() == Some("container") && view.bridge_of(row) == Some(&cx.spec.ovs.bridge)
    });
    Ok(ports
        .map(|(interface, row)| {
            let port = ContainerPort {
                container: row.tags.get(TAG_CONTAINER).cloned().unwrap_or_default(),
                requested: row.ofport_request,
                ofport: row.ofport,
            };
            (interface.clone(), port)
        })
        .collect())
}

/// Puts a container's port on the bridge, in one transaction. One that is there already stays.
pub fn add_port(cx: &Context<'_>, port: &Port) -> Result<(), BridgeError> {
    let mut client = Client::connect(&cx.host.paths.ovsdb)?;
    let bridge = &cx.spec.ovs.bridge;
    let tags = map(&[(TAG, "container"), (TAG_CONTAINER, port.container.as_str())]);
    let operations = [
        // The transaction is off unless the bridge is there and ours.
        json!({ "op": "wait", "table": "Bridge", "timeout": 0, "until": "==", "columns": ["name"],
            "where": [["name", "==", bridge], ["external_ids", "includes", map(&[(TAG, "bridge")])]],
            "rows": [{ "name": bridge }] }),
        json!({ "op": "insert", "table": "Interface", "uuid-name": "interface",
            "row": { "name": port.interface, "ofport_request": port.ofport, "external_ids": tags } }),
        json!({ "op": "insert", "table": "Port", "uuid-name": "port",
            "row": { "name": port.interface, "interfaces": ["named-uuid", "interface"],
                "tag": OUR_VLAN, "external_ids": tags } }),
        json!({ "op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]],
            "mutations": [["ports", "insert", ["set", [["named-uuid", "port"]]]]] }),
    ];
    let error = match client.transact(&operations) {
        Ok(_) => return Ok(()),
        Err(error @ OvsdbError::Refused { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    // Refused: look why. The database itself keeps two ports from having one name.
    let view = View::read(&mut client)?;
    match view.bridges.get(bridge) {
        None => return Err(BridgeError::NoBridge(bridge.clone())),
        Some(row) if row.tags.get(TAG).map(String::as_str) != Some("bridge") => {
            return Err(foreign_bridge(bridge));
        }
        Some(_) => {}
    }
    let Some(there) = view.ports.get(&port.interface) else { return Err(error.into()) };
    if view.bridge_of(there) != Some(bridge.as_str()) || !belongs_to(there, &port.container) {
        return Err(in_the_way(&port.interface, there));
    }
    if there.ofport_request != Some(port.ofport.into()) || there.vlan != Some(OUR_VLAN.into()) {
        client.transact(&[
            json!({ "op": "update", "table": "Interface", "where": [["name", "==", port.interface]],
                "row": { "ofport_request": port.ofport } }),
            json!({ "op": "update", "table": "Port", "where": [["name", "==", port.interface]],
                "row": { "tag": OUR_VLAN } }),
        ])?;
    }
    Ok(())
}

/// Takes a container's port off the bridge. One that is not there is no error; one that is not a
/// container's of ours is.
pub fn remove_port(cx: &Context<'_>, interface: &str) -> Result<(), BridgeError> {
    remove(cx, interface, &[]).map(drop)
}

/// Takes a container's port off the bridge unless it has a device: the container may have been started since the port
/// was seen without one.
pub fn remove_lost_port(cx: &Context<'_>, interface: &str) -> Result<(), BridgeError> {
    let lost = json!({ "op": "wait", "table": "Interface", "timeout": 0, "until": "==", "columns": ["ofport"],
        "where": [["name", "==", interface]], "rows": [{ "ofport": NO_DEVICE }] });
    match remove(cx, interface, &[lost]) {
        Err(BridgeError::Ovsdb(OvsdbError::Refused { .. })) => Ok(()),
        other => other.map(drop),
    }
}

/// Makes sure that a container whose device is about to come has no port left from its last run, and that
/// `ovs-vswitchd` has let go of it: it would keep listening on the device of that run, which is gone.
pub fn clear_port(cx: &Context<'_>, interface: &str) -> Result<(), BridgeError> {
    if remove(cx, interface, &[])? {
        // Taken off and put back in one breath would be no change to ovs-vswitchd.
        Client::connect(&cx.host.paths.ovsdb)?.transact_and_settle(&[], RENEWAL)?;
    }
    Ok(())
}

/// How long ovs-vswitchd may take to let go of a device.
const RENEWAL: Duration = Duration::from_secs(10);

/// Whether there was one. `conditions` are operations that have to hold.
fn remove(cx: &Context<'_>, interface: &str, conditions: &[Value]) -> Result<bool, BridgeError> {
    let mut client = Client::connect(&cx.host.paths.ovsdb)?;
    let condition = json!([["name", "==", interface]]);
    let results = client.transact(&[select("Port", &condition, &["_uuid", "external_ids"])])?;
    let Some(row) = rows(results.first()).next() else { return Ok(false) };
    if super::ovsdb::texts(&row["external_ids"]).get(TAG).map(String::as_str) != Some("container") {
        return Err(not_ours(interface));
    }
    let Some(id) = uuid(&row["_uuid"]) else {
        return Err(OvsdbError::Protocol("a port has no identifier".into()).into());
    };
    let port: Value = json!(["uuid", id]);
    // A port that no bridge refers to is removed by the database, and its interface with it.
    let mutation = json!({ "op": "mutate", "table": "Bridge",
        "where": [["ports", "includes", ["set", [port]]]],
        "mutations": [["ports", "delete", ["set", [port]]]] });
    client.transact(&[conditions, &[mutation]].concat())?;
    Ok(true)
}

fn belongs_to(port: &PortRow, container: &ContainerName) -> bool {
    port.tag() == Some("container")
        && port.tags.get(TAG_CONTAINER).map(String::as_str) == Some(container.as_str())
}

fn not_ours(interface: &str) -> BridgeError {
    BridgeError::InTheWay {
        what: format!("a port named {interface}"),
        why: "it was not made by operation-dbus for a container, and is left as it is".into(),
        next: format!(
            "see what it is for (ovs-vsctl list port {interface}), and rename or remove it yourself"
        ),
    }
}

fn in_the_way(interface: &str, port: &PortRow) -> BridgeError {
    match (port.tag(), port.tags.get(TAG_CONTAINER)) {
        (Some("container"), Some(other)) => BridgeError::InTheWay {
            what: format!("a port named {interface}"),
            why: format!("it is the container {other}'s"),
            next: format!("delete the container {other}, or give the new one another name"),
        },
        _ => not_ours(interface),
    }
}
