use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use super::NatError;
use super::ruleset::{TABLES, deletion, listing, replacement, seal, sealing};
use crate::engine::{Action, Change, Component, Context, Kept, Retirement};
use crate::run::{Invocation, RunError};
use crate::spec::HostSpec;

/// The table of rules, and forwarding between interfaces.
#[derive(Debug, Clone)]
pub struct NatComponent {
    /// The kernel's switch for forwarding.
    pub ip_forward: PathBuf,
}

impl Default for NatComponent {
    fn default() -> Self {
        Self { ip_forward: "/proc/sys/net/ipv4/ip_forward".into() }
    }
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The table.
    pub table: TableState,
    /// Whether the host forwards packets between its interfaces.
    pub forwarding: bool,
    /// Whether there is any of our tables, were it only one.
    #[serde(skip)]
    any: bool,
}

/// Our table in nftables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableState {
    /// It is not there.
    Missing,
    /// It is there.
    There {
        /// Its chains and rules, as nftables has them.
        rules: Vec<Value>,
        /// Its seal, where it has one.
        #[serde(skip)]
        seal: Option<String>,
    },
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatChange {
    /// Replace the table.
    Table {
        /// Why, where it is there already.
        why: Option<&'static str>,
    },
    /// Let the host forward packets.
    Forward,
    /// Remove the tables.
    Remove,
}

impl Change for NatChange {
    fn action(&self) -> Action {
        match self {
            Self::Table { why: None } => Action::Create,
            Self::Table { why: Some(_) } | Self::Forward => Action::Update,
            Self::Remove => Action::Remove,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Table { .. } | Self::Remove => {
                format!("nftables {}", TABLES.map(|t| format!("table {}", t.join(" "))).join(", "))
            }
            Self::Forward => "net.ipv4.ip_forward".into(),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Table { why } => why.unwrap_or_default().to_owned(),
            Self::Forward => "1 instead of 0, for the containers' way out".into(),
            Self::Remove => String::new(),
        }
    }
}

impl Component for NatComponent {
    const NAME: &'static str = "nat";
    type Seen = Seen;
    type Change = NatChange;
    type Error = NatError;

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, NatError> {
        let (table, any) = match list(cx) {
            Ok(found) => found,
            // A bare host before its packages are installed.
            Err(NatError::Run(RunError::Missing { .. })) => (TableState::Missing, false),
            Err(error) => return Err(error),
        };
        let forward = std::fs::read_to_string(&self.ip_forward).map_err(|source| NatError::Sysctl {
            verb: "read",
            path: self.ip_forward.clone(),
            source,
        })?;
        Ok(Seen { table, forwarding: forward.trim() == "1", any })
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<NatChange>, NatError> {
        let mut changes = Vec::new();
        match &seen.table {
            TableState::Missing => changes.push(NatChange::Table { why: None }),
            TableState::There { rules, seal: there } => {
                if there.as_deref() != Some(&seal(spec, rules)) {
                    let why = "its rules are not those that the host spec asks for";
                    changes.push(NatChange::Table { why: Some(why) });
                }
            }
        }
        if spec.ovs.nat && !seen.forwarding {
            changes.push(NatChange::Forward);
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &NatChange) -> Result<(), NatError> {
        match change {
            NatChange::Table { .. } => {
                let load = |text: String| Invocation::new("nft").args(["-f", "-"]).stdin(text);
                cx.host.run.run(&load(replacement(cx.spec)))?;
                // Killed here, the table is complete and without a seal: the next run replaces it once more.
                if let (TableState::There { rules, .. }, _) = list(cx)? {
                    cx.host.run.run(&load(sealing(&seal(cx.spec, &rules))))?;
                }
                Ok(())
            }
            NatChange::Forward => std::fs::write(&self.ip_forward, "1\n")
                .map_err(|source| NatError::Sysctl { verb: "write", path: self.ip_forward.clone(), source }),
            NatChange::Remove => {
                cx.host.run.run(&Invocation::new("nft").args(["-f", "-"]).stdin(deletion()))?;
                Ok(())
            }
        }
    }

    fn retire(&self, cx: &Context<'_>, seen: &Seen, _: bool) -> Result<Retirement<NatChange>, NatError> {
        if !seen.any {
            return Ok(Retirement::default());
        }
        let mut kept = Vec::new();
        if cx.spec.ovs.nat && seen.forwarding {
            let why = "still 1: what else runs on this host may rely on it by now; it is 0 again after the next boot \
                       unless something sets it, or at once: sysctl net.ipv4.ip_forward=0";
            kept.push(Kept::new("net.ipv4.ip_forward", why));
        }
        Ok(Retirement { changes: vec![NatChange::Remove], kept })
    }
}

/// Our tables as one, which is missing where any of them is; and whether there is any.
fn list(cx: &Context<'_>) -> Result<(TableState, bool), NatError> {
    let mut found = 0;
    let mut rules = Vec::new();
    let mut seal = None;
    for table in TABLES {
        let call = Invocation::new("nft").args(["-j", "list", "table"]).args(table);
        let output = match cx.host.run.run(&call) {
            Ok(output) => output,
            Err(RunError::Status { stderr, .. }) if stderr.contains("No such file or directory") => {
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let (more, sealed) = listing(&output.stdout).map_err(NatError::Answer)?;
        found += 1;
        rules.extend(more);
        seal = seal.or(sealed);
    }
    let table = if found == TABLES.len() { TableState::There { rules, seal } } else { TableState::Missing };
    Ok((table, found > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(spec: &HostSpec, seen: &Seen) -> Vec<String> {
        let changes = NatComponent::default().plan(spec, seen).unwrap();
        changes.iter().map(|c| format!("{:?} {}", c.action(), c.object())).collect()
    }

    #[test]
    fn a_table_is_kept_while_it_is_what_was_loaded_and_what_is_asked_for() {
        let spec = HostSpec::default();
        let rules = vec![serde_json::json!({"table": {"name": "opdbus"}})];
        let mut seen = Seen {
            table: TableState::There { rules: rules.clone(), seal: Some(seal(&spec, &rules)) },
            forwarding: true,
            any: true,
        };
        assert!(words(&spec, &seen).is_empty());

        let mut other = spec.clone();
        other.ovs.host_access = true;
        assert_eq!(words(&other, &seen), ["Update nftables table inet opdbus, table arp opdbus"]);

        let TableState::There { rules, .. } = &mut seen.table else { unreachable!() };
        rules.clear();
        assert_eq!(words(&spec, &seen), ["Update nftables table inet opdbus, table arp opdbus"]);
    }

    #[test]
    fn forwarding_is_turned_on_only_for_the_way_out_and_never_off() {
        let mut spec = HostSpec::default();
        let bare = Seen { table: TableState::Missing, forwarding: false, any: false };
        assert_eq!(
            words(&spec, &bare),
            ["Create nftables table inet opdbus, table arp opdbus", "Update net.ipv4.ip_forward"]
        );
        spec.ovs.nat = false;
        assert_eq!(words(&spec, &bare), ["Create nftables table inet opdbus, table arp opdbus"]);
    }
    #[test]
    fn a_host_that_retires_loses_our_tables_alone_and_is_told_that_it_forwards_still() {
        let (host, spec) = (crate::engine::Host::default(), HostSpec::default());
        let cx = Context { host: &host, spec: &spec, progress: &crate::engine::Silent };
        let retire = |any, forwarding| {
            // One table of the two is enough to be removed.
            let seen = Seen { table: TableState::Missing, forwarding, any };
            NatComponent::default().retire(&cx, &seen, false).unwrap()
        };
        let retirement = retire(true, true);
        assert_eq!(retirement.changes, [NatChange::Remove]);
        assert_eq!(retirement.kept[0].object, "net.ipv4.ip_forward");
        assert!(retire(true, false).kept.is_empty(), "what was not turned on is not spoken of");
        assert_eq!(retire(false, true), Retirement::default(), "a second time there is nothing to do");
    }
}
