//! Reading the bridge: everything of the database in one transaction, everything of the kernel's
//! interfaces in one call of `ip`.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use serde::Deserialize;
use serde_json::{Value, json};

use super::ovsdb::{Client, OvsdbError, rows, select, string, strings, texts, uuid};
use super::{BridgeError, TAG};
use crate::engine::Context;
use crate::paths::Paths;
use crate::run::Invocation;

/// A connection to the database; `None` on a host where Open vSwitch is not there (yet).
pub(super) fn connect(paths: &Paths) -> Result<Option<Client>, OvsdbError> {
    match Client::connect(&paths.ovsdb) {
        Ok(client) => Ok(Some(client)),
        Err(OvsdbError::Connect { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The columns of a bridge that we never set.
const SETTINGS: [&str; 12] = [
    "controller",
    "mirrors",
    "netflow",
    "sflow",
    "ipfix",
    "auto_attach",
    "flow_tables",
    "flood_vlans",
    "other_config",
    "stp_enable",
    "rstp_enable",
    "mcast_snooping_enable",
];

/// A bridge in the database.
#[derive(Debug, Clone)]
pub(super) struct BridgeRow {
    pub(super) id: String,
    pub(super) ports: Vec<String>,
    pub(super) datapath_type: String,
    pub(super) fail_mode: String,
    pub(super) protocols: Vec<String>,
    /// The columns that are set, of those that we leave alone.
    pub(super) settings: Vec<&'static str>,
    pub(super) tags: BTreeMap<String, String>,
}

/// A port in the database, with its interface of the same name.
#[derive(Debug, Clone)]
pub(super) struct PortRow {
    pub(super) uuid: String,
    pub(super) vlan: Option<u64>,
    pub(super) kind: String,
    pub(super) mac: String,
    pub(super) ofport: Option<i64>,
    pub(super) ofport_request: Option<i64>,
    pub(super) tags: BTreeMap<String, String>,
}

/// The database's bridges and ports by name.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) bridges: BTreeMap<String, BridgeRow>,
    pub(super) ports: BTreeMap<String, PortRow>,
}

impl View {
    /// Reads it all.
    pub(super) fn read(client: &mut Client) -> Result<Self, OvsdbError> {
        let columns = ["_uuid", "name", "type", "mac", "ofport", "ofport_request", "external_ids"];
        let own = ["_uuid", "name", "ports", "datapath_type", "fail_mode", "protocols", "external_ids"];
        let of_bridge: Vec<&str> = own.into_iter().chain(SETTINGS).collect();
        let results = client.transact(&[
            select("Bridge", &json!([]), &of_bridge),
            select("Port", &json!([]), &["_uuid", "name", "tag", "external_ids"]),
            select("Interface", &json!([]), &columns),
        ])?;
        let bridges = rows(results.first()).map(|row| (string(&row["name"]), bridge(row))).collect();
        let interfaces: BTreeMap<String, &Value> =
            rows(results.get(2)).map(|row| (string(&row["name"]), row)).collect();
        let ports = rows(results.get(1))
            .map(|row| {
                let name = string(&row["name"]);
                let port = port(row, interfaces.get(&name).copied().unwrap_or(&Value::Null));
                (name, port)
            })
            .collect();
        Ok(Self { bridges, ports })
    }

    /// The bridge that a port is on.
    pub(super) fn bridge_of(&self, port: &PortRow) -> Option<&str> {
        self.bridges
            .iter()
            .find(|(_, bridge)| bridge.ports.contains(&port.uuid))
            .map(|(name, _)| name.as_str())
    }
}

fn bridge(row: &Value) -> BridgeRow {
    let mut protocols = strings(&row["protocols"]);
    protocols.sort();
    BridgeRow {
        id: uuid(&row["_uuid"]).unwrap_or_default().to_owned(),
        ports: super::ovsdb::members(&row["ports"]).into_iter().filter_map(uuid).map(str::to_owned).collect(),
        datapath_type: string(&row["datapath_type"]),
        fail_mode: string(&row["fail_mode"]),
        protocols,
        settings: SETTINGS
            .into_iter()
            .filter(|column| is_set(&row[*column]))
            // The address that it has with an uplink is not a setting of others.
            .filter(|column| *column != "other_config" || !texts(&row["other_config"]).keys().eq(["hwaddr"]))
            .collect(),
        tags: texts(&row["external_ids"]),
    }
}

/// Whether a column has another value than its default: an empty set or map, or false.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Array(parts) => !matches!(parts.as_slice(), [_, Value::Array(members)] if members.is_empty()),
        _ => true,
    }
}

fn port(row: &Value, interface: &Value) -> PortRow {
    PortRow {
        uuid: uuid(&row["_uuid"]).unwrap_or_default().to_owned(),
        vlan: row["tag"].as_u64(),
        kind: string(&interface["type"]),
        mac: string(&interface["mac"]),
        ofport: interface["ofport"].as_i64(),
        ofport_request: interface["ofport_request"].as_i64(),
        tags: texts(&row["external_ids"]),
    }
}

impl PortRow {
    /// What of ours it is: `socket`, `mesh`, `container`; `None` where it is not ours.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tags.get(TAG).map(String::as_str)
    }
}

/// An interface of the kernel's, as `ip -j addr show` prints it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    pub(super) ifname: String,
    #[serde(default)]
    pub(super) flags: Vec<String>,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Clone, Deserialize)]
struct Address {
    #[serde(default)]
    family: String,
    #[serde(default)]
    local: String,
    #[serde(default)]
    prefixlen: u8,
}

impl Link {
    /// Whether it is up.
    pub(super) fn up(&self) -> bool {
        self.flags.iter().any(|f| f == "UP")
    }

    /// Its IPv4 addresses with their prefixes.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.addr_info
            .iter()
            .filter(|a| a.family == "inet")
            .map(|a| format!("{}/{}", a.local, a.prefixlen))
            .collect()
    }
}

/// The kernel's interfaces by name.
pub(super) fn links(cx: &Context<'_>) -> Result<BTreeMap<String, Link>, BridgeError> {
    let call = Invocation::new("ip").args(["-j", "addr", "show"]);
    let output = cx.host.run.run(&call)?;
    let links: Vec<Link> = serde_json::from_slice(&output.stdout)
        .map_err(|error| BridgeError::Answer { call: call.to_string(), why: error.to_string() })?;
    Ok(links.into_iter().map(|link| (link.ifname.clone(), link)).collect())
}
