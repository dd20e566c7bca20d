//! Taking the bridge away: with all that is on it where nothing of others is, else only our ports and tags.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::ovsdb::{Client, OvsdbError, map, set};
use super::view::{Link, View};
use super::{BridgeError, TAG};
use crate::engine::{Action, Kept, Retirement};

/// What decides over the bridge of the host spec, where it is ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Whose {
    /// The bridge's identifier in the database.
    pub(super) id: String,
    /// Our ports on it, with their identifiers.
    pub(super) ours: BTreeMap<String, String>,
    /// The identifiers of all ports on it.
    pub(super) ports: Vec<String>,
    /// What others have on it or set on it, in words.
    pub(super) theirs: Vec<String>,
    /// Bridges that we made under another name.
    pub(super) earlier: Vec<String>,
}

/// One change of a retirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Removal {
    /// The bridge and our ports on it, which are all there are.
    Bridge {
        /// Its name.
        bridge: String,
        /// Its identifier in the database.
        id: String,
        /// The identifiers of its ports.
        ports: Vec<String>,
        /// How many of them are not its own.
        count: usize,
    },
    /// One of our ports on a bridge that stays.
    Port {
        /// Its name.
        name: String,
        /// Its identifier in the database.
        id: String,
    },
    /// Our tags on a bridge that stays.
    Tags {
        /// Its name.
        bridge: String,
    },
}

impl Removal {
    pub(super) fn action(&self) -> Action {
        match self {
            Self::Bridge { .. } | Self::Port { .. } => Action::Remove,
            Self::Tags { .. } => Action::Update,
        }
    }
    pub(super) fn object(&self) -> String {
        match self {
            Self::Bridge { bridge, .. } | Self::Tags { bridge } => format!("bridge {bridge}"),
            Self::Port { name, .. } => format!("port {name}"),
        }
    }
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Bridge { count: 1, .. } => "with our port on it".into(),
            Self::Bridge { count, .. } => format!("with our {count} ports on it"),
            Self::Port { .. } => String::new(),
            Self::Tags { .. } => "no longer marked as ours".into(),
        }
    }

    pub(super) fn apply(&self, client: &mut Client, patience: Duration) -> Result<(), OvsdbError> {
        let operations = match self {
            Self::Bridge { bridge, id, ports, .. } => {
                let ports: Vec<Value> = ports.iter().map(|id| json!(["uuid", id])).collect();
                vec![
                    // Off, should somebody have put a port on it since it was looked at.
                    json!({ "op": "wait", "table": "Bridge", "timeout": 0, "until": "==", "columns": ["ports"],
                        "where": [["name", "==", bridge], ["external_ids", "includes", map(&[(TAG, "bridge")])]],
                        "rows": [{ "ports": set(&ports) }] }),
                    // What nothing refers to any more the database removes: the bridge's ports, and their interfaces.
                    json!({ "op": "mutate", "table": "Open_vSwitch", "where": [],
                        "mutations": [["bridges", "delete", ["set", [["uuid", id]]]]] }),
                ]
            }
            Self::Port { id, .. } => {
                let port = json!(["set", [["uuid", id]]]);
                vec![json!({ "op": "mutate", "table": "Bridge", "where": [["ports", "includes", port]],
                    "mutations": [["ports", "delete", port]] })]
            }
            Self::Tags { bridge } => ["Interface", "Port", "Bridge"]
                .map(|table| {
                    json!({ "op": "mutate", "table": table, "where": [["name", "==", bridge]],
                        "mutations": [["external_ids", "delete", ["set", [TAG]]]] })
                })
                .to_vec(),
        };
        client.transact_and_settle(&operations, patience)
    }
}

/// Looks whose the things on the bridge are.
pub(super) fn whose(view: &View, bridge: &str, links: &BTreeMap<String, Link>) -> Whose {
    let ours = |tags: &BTreeMap<String, String>| tags.get(TAG).is_some_and(|tag| tag == "bridge");
    let mut whose = Whose {
        earlier: view
            .bridges
            .iter()
            .filter(|(name, row)| *name != bridge && ours(&row.tags))
            .map(|(name, _)| name.clone())
            .collect(),
        ..Whose::default()
    };
    let Some(row) = view.bridges.get(bridge).filter(|row| ours(&row.tags)) else { return whose };
    whose.id.clone_from(&row.id);
    whose.ports.clone_from(&row.ports);
    for (name, port) in view.ports.iter().filter(|(_, port)| row.ports.contains(&port.uuid)) {
        match port.tag() {
            Some("bridge") => {}
            Some(_) => {
                whose.ours.insert(name.clone(), port.uuid.clone());
            }
            None => whose.theirs.push(format!("the port {name}")),
        }
    }
    whose.theirs.extend(row.settings.iter().map(|column| format!("its {column}")));
    let foreign = row.tags.keys().filter(|key| *key != TAG).map(|key| format!("its external_ids:{key}"));
    whose.theirs.extend(foreign);
    // With an uplink they are its own, and go back to it before the bridge goes.
    let addresses = match super::uplink::uplink_of(view, bridge) {
        Some(_) => Vec::new(),
        None => links.get(bridge).map(Link::addresses).unwrap_or_default(),
    };
    whose.theirs.extend(addresses.iter().map(|address| format!("the address {address}")));
    whose
}

/// The retirement, given how many flows of others are on the bridge; `None` where nobody could say.
pub(super) fn retirement(
    bridge: &str,
    whose: &Whose,
    foreign_flows: Option<usize>,
) -> Result<Retirement<Removal>, BridgeError> {
    let kept = |name: &str| {
        let why = format!(
            "made under an earlier ovs.bridge of the host spec; `ovs-vsctl del-br {name}` removes it"
        );
        Kept::new(format!("bridge {name}"), why)
    };
    let mut all =
        Retirement { changes: Vec::new(), kept: whose.earlier.iter().map(|name| kept(name)).collect() };
    if whose.id.is_empty() {
        return Ok(all);
    }
    let mut theirs = whose.theirs.clone();
    match foreign_flows {
        Some(0) => {}
        Some(1) => theirs.push("a flow".into()),
        Some(count) => theirs.push(format!("{count} flows")),
        None => return Err(BridgeError::NotServed(bridge.to_owned())),
    }
    if theirs.is_empty() {
        let (id, ports) = (whose.id.clone(), whose.ports.clone());
        all.changes.push(Removal::Bridge { bridge: bridge.to_owned(), id, ports, count: whose.ours.len() });
        return Ok(all);
    }
    let ports = whose.ours.iter().map(|(name, id)| Removal::Port { name: name.clone(), id: id.clone() });
    all.changes.extend(ports);
    // Last: as long as it is marked, a run that was stopped is taken up again.
    all.changes.push(Removal::Tags { bridge: bridge.to_owned() });
    let why = format!(
        "there are things of others on it ({}), so it stays and is yours from now on; to install again with it: \
         ovs-vsctl set bridge {bridge} external_ids:{TAG}=bridge -- set port {bridge} external_ids:{TAG}=bridge",
        theirs.join(", ")
    );
    all.kept.push(Kept::new(format!("bridge {bridge}"), why));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Kind};

    fn ours() -> Whose {
        Whose {
            id: "b".into(),
            ours: [("oc-web-01".into(), "1".into()), ("veth-socket".into(), "2".into())].into(),
            ports: vec!["0".into(), "1".into(), "2".into()],
            ..Whose::default()
        }
    }

    fn words(all: &Retirement<Removal>) -> Vec<String> {
        all.changes.iter().map(|c| format!("{:?} {}: {}", c.action(), c.object(), c.detail())).collect()
    }

    #[test]
    fn a_bridge_with_nothing_of_others_goes_with_all_that_is_on_it() {
        let all = retirement("ovsbr0", &ours(), Some(0)).unwrap();
        assert_eq!(words(&all), ["Remove bridge ovsbr0: with our 2 ports on it"]);
        assert!(all.kept.is_empty());
        assert_eq!(retirement("ovsbr0", &Whose::default(), None).unwrap(), Retirement::default());
    }

    #[test]
    fn a_bridge_with_something_of_others_stays_without_our_ports_and_tags() {
        let with_port = Whose { theirs: vec!["the port p1".into()], ..ours() };
        for (whose, flows, says) in [(with_port, 0, "the port p1"), (ours(), 2, "2 flows")] {
            let all = retirement("ovsbr0", &whose, Some(flows)).unwrap();
            assert_eq!(
                words(&all),
                [
                    "Remove port oc-web-01: ",
                    "Remove port veth-socket: ",
                    "Update bridge ovsbr0: no longer marked as ours"
                ]
            );
            assert!(all.kept[0].why.contains(says), "{:?}", all.kept);
        }
    }

    #[test]
    fn a_bridge_whose_flows_nobody_could_list_is_not_guessed_about() {
        assert_eq!(retirement("ovsbr0", &ours(), None).unwrap_err().kind(), Kind::Unavailable);
    }
}
