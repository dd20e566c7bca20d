//! Address translation and the packet filter at the gateway, in an nftables table of our own. Other tables
//! are never touched.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::bridge::SOCKET_PORT;
use crate::engine::{self, Action, Context};
use crate::fault::{Fault, Kind};
use crate::hex::hex;
use crate::run::{Invocation, RunError};
use crate::spec::{HostSpec, Ovs};

/// Our table.
const TABLE: &str = "opdbus";
/// The switch that lets the kernel pass packets on.
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// How address translation fails.
#[derive(Debug, thiserror::Error)]
pub enum NatError {
    /// nft.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What it printed is not understood.
    #[error("what nft printed is not understood")]
    Json(#[source] serde_json::Error),
    /// Forwarding could not be turned on.
    #[error("cannot write {FORWARDING}")]
    Forwarding(#[source] std::io::Error),
}

impl Fault for NatError {
    fn kind(&self) -> Kind {
        match self {
            Self::Run(e) => e.kind(),
            Self::Json(_) | Self::Forwarding(_) => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Run(e) => e.next(),
            Self::Forwarding(_) => Some(
                "set net.ipv4.ip_forward=1 in /etc/sysctl.d, or ovs.nat to false in the host spec".into(),
            ),
            Self::Json(_) => None,
        }
    }
}

/// The chains of our table: name, hook, and rules in order.
fn chains(ovs: &Ovs) -> Vec<(&'static str, &'static str, Vec<String>)> {
    let subnet = ovs.subnet;
    let mut input = vec![
        format!("iifname \"{SOCKET_PORT}\" ct state established,related accept"),
        format!("iifname \"{SOCKET_PORT}\" icmp type echo-request accept"),
    ];
    if !ovs.host_access {
        input.push(format!("iifname \"{SOCKET_PORT}\" drop"));
    }
    let forward = vec![
        // The bridge decides who reaches whom; not by a detour over the host.
        format!("iifname \"{SOCKET_PORT}\" oifname \"{SOCKET_PORT}\" drop"),
        format!("oifname \"{SOCKET_PORT}\" ct state established,related accept"),
        format!("oifname \"{SOCKET_PORT}\" drop"),
    ];
    let mut chains = vec![
        ("input", "type filter hook input priority filter; policy accept;", input),
        ("forward", "type filter hook forward priority filter; policy accept;", forward),
    ];
    if ovs.nat {
        let masquerade = format!("ip saddr {subnet} oifname != \"{SOCKET_PORT}\" masquerade");
        chains.push((
            "postrouting",
            "type nat hook postrouting priority srcnat; policy accept;",
            vec![masquerade],
        ));
    }
    chains
}

/// A rule's comment: its chain, its place and a digest of all the rules, so that a missing, moved or foreign
/// rule, or one of another host spec, is seen without comparing what nft makes of the text.
fn comments(ovs: &Ovs) -> Vec<(String, String)> {
    let chains = chains(ovs);
    let digest = hex(&Sha256::digest(format!("{chains:?}").as_bytes()));
    chains
        .iter()
        .flat_map(|(name, _, rules)| (0..rules.len()).map(move |i| ((*name).to_owned(), i)))
        .map(|(chain, i)| (chain, format!("opdbus {} {i}", &digest[..16])))
        .collect()
}

/// The table as nft reads it: one file is one transaction.
#[must_use]
pub fn ruleset(ovs: &Ovs) -> String {
    // The first line makes sure that there is one to delete.
    let mut text = format!("table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
    let mut comments = comments(ovs).into_iter();
    for (name, hook, rules) in chains(ovs) {
        text.push_str(&format!("\tchain {name} {{\n\t\t{hook}\n"));
        for rule in rules {
            let comment = comments.next().map(|(_, comment)| comment).unwrap_or_default();
            text.push_str(&format!("\t\t{rule} comment \"{comment}\"\n"));
        }
        text.push_str("\t}\n");
    }
    text.push_str("}\n");
    text
}

/// Address translation and the packet filter.
#[derive(Debug, Clone, Copy, Default)]
pub struct NatComponent;

/// What there is of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The rules of our table, by chain and comment; `None` where there is no table.
    pub rules: Option<Vec<(String, String)>>,
    /// Whether the kernel passes packets on.
    pub forwarding: bool,
}

/// A change to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    /// Replace the table as a whole.
    Table {
        /// Whether there is one.
        there: bool,
    },
    /// Let the kernel pass packets on.
    Forwarding,
}

impl engine::Change for Change {
    fn action(&self) -> Action {
        match self {
            Self::Table { there: false } => Action::Create,
            Self::Table { there: true } | Self::Forwarding => Action::Update,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Table { .. } => format!("nftables table inet {TABLE}"),
            Self::Forwarding => "net.ipv4.ip_forward".into(),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Table { there: true } => "its rules differ".into(),
            Self::Table { there: false } => String::new(),
            Self::Forwarding => "1, so that containers reach the outside".into(),
        }
    }
}

fn rules(listing: &Value) -> Vec<(String, String)> {
    let entries = listing["nftables"].as_array().into_iter().flatten();
    entries
        .filter_map(|entry| entry.get("rule"))
        .map(|rule| {
            let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
            (text("chain"), text("comment"))
        })
        .collect()
}

impl engine::Component for NatComponent {
    const NAME: &'static str = "nat";
    type Seen = Seen;
    type Change = Change;
    type Error = NatError;

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, NatError> {
        let forwarding = std::fs::read_to_string(FORWARDING).is_ok_and(|text| text.trim() == "1");
        let call = Invocation::new("nft").args(["--json", "list", "table", "inet", TABLE]);
        let output = match cx.host.run.output(&call) {
            Ok(output) => output,
            // On a bare host the package is yet to come; apply says what is missing.
            Err(RunError::Missing { .. }) => return Ok(Seen { rules: None, forwarding }),
            Err(error) => return Err(error.into()),
        };
        if output.status != 0 {
            return Ok(Seen { rules: None, forwarding });
        }
        let listing: Value = serde_json::from_slice(&output.stdout).map_err(NatError::Json)?;
        Ok(Seen { rules: Some(rules(&listing)), forwarding })
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<Change>, NatError> {
        let mut changes = Vec::new();
        let mut wanted = comments(&spec.ovs);
        let mut there = seen.rules.clone().unwrap_or_default();
        wanted.sort();
        there.sort();
        if seen.rules.is_none() || there != wanted {
            changes.push(Change::Table { there: seen.rules.is_some() });
        }
        if spec.ovs.nat && !seen.forwarding {
            changes.push(Change::Forwarding);
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &Change) -> Result<(), NatError> {
        match change {
            Change::Table { .. } => {
                let call = Invocation::new("nft").args(["--file", "-"]).stdin(ruleset(&cx.spec.ovs));
                cx.host.run.run(&call)?;
                Ok(())
            }
            Change::Forwarding => std::fs::write(FORWARDING, "1\n").map_err(NatError::Forwarding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Component;

    #[test]
    fn the_table_of_the_defaults() {
        insta::assert_snapshot!(ruleset(&Ovs::default()));
    }

    #[test]
    fn equal_rules_are_left_alone_and_a_missing_or_added_one_is_seen() {
        let spec = HostSpec::default();
        let whole = comments(&spec.ovs);
        let plan = |rules: Vec<(String, String)>| {
            NatComponent.plan(&spec, &Seen { rules: Some(rules), forwarding: true }).unwrap()
        };
        assert_eq!(plan(whole.clone()), []);
        assert_eq!(plan(whole[1..].to_vec()), [Change::Table { there: true }]);
        let mut more = whole;
        more.push(("input".into(), String::new()));
        assert_eq!(plan(more), [Change::Table { there: true }]);
    }

    #[test]
    fn another_host_spec_makes_other_rules() {
        let open = Ovs { host_access: true, ..Ovs::default() };
        assert_ne!(comments(&open), comments(&Ovs::default()));
        assert!(!ruleset(&open).contains(&format!("iifname \"{SOCKET_PORT}\" drop")));
        assert!(!ruleset(&Ovs { nat: false, ..Ovs::default() }).contains("masquerade"));
    }
}
