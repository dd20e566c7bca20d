//! The uplink: a network interface of the host that is a port of the bridge. What it had of addresses is the affair of the
//! room `uplink`; here it is a row of the database.

use std::time::Duration;

use serde_json::{Value, json};

use super::component::made;
use super::ovsdb::{Client, OvsdbError, map, rows, select, uuid};
use super::view::{View, connect};
use super::{BridgeError, TAG};
use crate::engine::Context;
use crate::mac::MacAddr;

/// The uplink's OpenFlow number: fixed, so that its flows can be there before it is.
pub const UPLINK_OFPORT: u32 = 30;

/// What an uplink's rows are tagged with.
pub(super) const ROLE: &str = "uplink";

/// How long `ovs-vswitchd` may take to take an interface in, or let it go.
const PATIENCE: Duration = Duration::from_secs(10);

/// The interface that is the uplink of our bridge, as the database has it; none without Open vSwitch.
pub fn uplink(cx: &Context<'_>) -> Result<Option<String>, BridgeError> {
    let Some(mut client) = connect(&cx.host.paths)? else { return Ok(None) };
    Ok(uplink_of(&View::read(&mut client)?, &cx.spec.ovs.bridge))
}

pub(super) fn uplink_of(view: &View, bridge: &str) -> Option<String> {
    let mut ports = view.ports.iter();
    ports
        .find(|(_, row)| row.tag() == Some(ROLE) && view.bridge_of(row) == Some(bridge))
        .map(|(n, _)| n.clone())
}

/// The bridge that has a port of this name, whoever made it.
pub fn bridge_with_port(cx: &Context<'_>, port: &str) -> Result<Option<String>, BridgeError> {
    let Some(mut client) = connect(&cx.host.paths)? else { return Ok(None) };
    let view = View::read(&mut client)?;
    Ok(view.ports.get(port).and_then(|row| view.bridge_of(row)).map(str::to_owned))
}

/// Makes an interface the bridge's uplink, and gives the bridge its Ethernet address, so that switches and DHCP servers
/// see no other host. It carries what has no VLAN tag: our own ports have one, which must not pass the wire.
///
/// On disk when this returns: the database does not flush by itself.
pub fn add_uplink(cx: &Context<'_>, nic: &str, mac: MacAddr) -> Result<(), BridgeError> {
    let mut client = Client::connect(&cx.host.paths.ovsdb)?;
    let bridge = &cx.spec.ovs.bridge;
    let view = View::read(&mut client)?;
    if uplink_of(&view, bridge).as_deref() != Some(nic) {
        client.transact_and_settle(&insertion(bridge, nic, mac), PATIENCE)?;
    }
    made(&mut client, nic)
}

fn insertion(bridge: &str, nic: &str, mac: MacAddr) -> Vec<Value> {
    let tags = map(&[(TAG, ROLE)]);
    let here = json!([["name", "==", bridge]]);
    vec![
        // The transaction is off unless the bridge is there and ours.
        json!({ "op": "wait", "table": "Bridge", "timeout": 0, "until": "==", "columns": ["name"],
            "where": [["name", "==", bridge], ["external_ids", "includes", map(&[(TAG, "bridge")])]],
            "rows": [{ "name": bridge }] }),
        json!({ "op": "insert", "table": "Interface", "uuid-name": "interface",
            "row": { "name": nic, "ofport_request": UPLINK_OFPORT, "external_ids": tags } }),
        json!({ "op": "insert", "table": "Port", "uuid-name": "port",
            "row": { "name": nic, "interfaces": ["named-uuid", "interface"],
                "tag": 0, "vlan_mode": "access", "external_ids": tags } }),
        json!({ "op": "mutate", "table": "Bridge", "where": here,
            "mutations": [["ports", "insert", ["set", [["named-uuid", "port"]]]]] }),
        // An insert into a map keeps a key that is there.
        json!({ "op": "mutate", "table": "Bridge", "where": here,
            "mutations": [["other_config", "delete", ["set", ["hwaddr"]]],
                ["other_config", "insert", map(&[("hwaddr", &mac.to_string())])]] }),
        json!({ "op": "commit", "durable": true }),
    ]
}

/// Takes the uplink off the bridge, and its Ethernet address from the bridge. One that is not there is no error; a port of
/// that name that is not our uplink stays. Where `ovs-vswitchd` does not run, it will not be there when it does.
pub fn remove_uplink(cx: &Context<'_>, nic: &str) -> Result<(), BridgeError> {
    let mut client = Client::connect(&cx.host.paths.ovsdb)?;
    let results =
        client.transact(&[select("Port", &json!([["name", "==", nic]]), &["_uuid", "external_ids"])])?;
    let Some(row) = rows(results.first()).next() else { return Ok(()) };
    if super::ovsdb::texts(&row["external_ids"]).get(TAG).map(String::as_str) != Some(ROLE) {
        return Ok(());
    }
    let Some(id) = uuid(&row["_uuid"]) else {
        return Err(OvsdbError::Protocol("a port has no identifier".into()).into());
    };
    let port = json!(["set", [["uuid", id]]]);
    let on = json!([["ports", "includes", port]]);
    client.transact(&[
        json!({ "op": "mutate", "table": "Bridge", "where": on,
            "mutations": [["other_config", "delete", ["set", ["hwaddr"]]]] }),
        json!({ "op": "mutate", "table": "Bridge", "where": on, "mutations": [["ports", "delete", port]] }),
        json!({ "op": "commit", "durable": true }),
    ])?;
    match client.transact_and_settle(&[], PATIENCE) {
        Err(OvsdbError::NotSettled { .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uplink_passes_no_vlan_and_is_on_disk_before_anybody_relies_on_it() {
        let operations = insertion("ovsbr0", "eth0", MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!(operations[0]["op"], "wait");
        assert_eq!(
            (&operations[2]["row"]["tag"], &operations[2]["row"]["vlan_mode"]),
            (&json!(0), &json!("access"))
        );
        assert_eq!(operations.last().unwrap(), &json!({ "op": "commit", "durable": true }));
        assert!(operations[4].to_string().contains("02:00:00:00:00:01"), "{}", operations[4]);
    }
}
