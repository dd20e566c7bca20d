use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use super::FirewallError;
use super::firewalld::{self, Firewalld, Opening, Scope};
use super::ufw::{self, Ufw};

use crate::deployment::Deployment;
use crate::engine::{Action, Change, Component, Context, Kept, Retirement};
use crate::spec::HostSpec;

/// The chat's port in the host's firewall.
#[derive(Debug, Clone)]
pub struct FirewallComponent {
    /// Where UFW keeps its files.
    pub ufw: PathBuf,
    /// Where firewalld keeps its files.
    pub firewalld: PathBuf,
}

impl Default for FirewallComponent {
    fn default() -> Self {
        Self { ufw: "/etc/ufw".into(), firewalld: "/etc/firewalld".into() }
    }
}

/// What is there. Where the port is not to be open, a firewall is looked at only if it keeps something of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// UFW.
    pub ufw: Option<Ufw>,
    /// firewalld.
    pub firewalld: Option<Firewalld>,
}

impl Seen {
    /// Whether there is a firewall that filters, and that we know.
    #[must_use]
    pub fn filters(&self) -> bool {
        self.ufw.as_ref().is_some_and(|ufw| ufw.active)
            || self.firewalld.as_ref().is_some_and(|firewalld| firewalld.default_zone.is_some())
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirewallChange {
    /// Have UFW let a port through.
    OpenUfw {
        /// The port.
        port: u16,
        /// Whether there is a rule of ours already, for another port.
        again: bool,
    },
    /// Take our rule out of UFW.
    CloseUfw,
    /// Have firewalld let a port through.
    OpenFirewalld {
        /// The zone and the port.
        opening: Opening,
        /// In which of its configurations.
        scopes: Vec<Scope>,
    },
    /// Take our rule out of firewalld.
    CloseFirewalld {
        /// The zone and the port.
        opening: Opening,
        /// Out of which of its configurations.
        scopes: Vec<Scope>,
    },
}

impl Change for FirewallChange {
    fn action(&self) -> Action {
        match self {
            Self::OpenUfw { again: false, .. } | Self::OpenFirewalld { .. } => Action::Create,
            Self::OpenUfw { again: true, .. } => Action::Update,
            Self::CloseUfw | Self::CloseFirewalld { .. } => Action::Remove,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::OpenUfw { .. } | Self::CloseUfw => format!("rule {} of UFW", ufw::PROFILE),
            Self::OpenFirewalld { opening, .. } | Self::CloseFirewalld { opening, .. } => {
                format!("rule of firewalld for port {}/tcp in the zone {}", opening.port, opening.zone)
            }
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::OpenUfw { port, .. } => format!("the network reaches the chat at port {port}/tcp"),
            Self::OpenFirewalld { .. } => "the network reaches the chat".into(),
            Self::CloseUfw | Self::CloseFirewalld { .. } => String::new(),
        }
    }
}

/// The port that is to be open.
fn wanted(spec: &HostSpec) -> Option<u16> {
    (spec.mcp.enable && spec.mcp.open_firewall).then_some(spec.mcp.port)
}

/// Why the port is not open though that is asked for: there is no firewall here that we know. Nothing may be in the way, then.
pub fn nothing_to_open(cx: &Context<'_>) -> Result<Option<String>, FirewallError> {
    let nixos = Deployment::read(&cx.host.paths.etc) == Deployment::NixOs;
    let Some(port) = wanted(cx.spec).filter(|_| !nixos) else { return Ok(None) };
    let seen = FirewallComponent::default().observe(cx)?;
    Ok((!seen.filters()).then(|| {
        format!("mcp.openFirewall opens nothing: neither UFW nor firewalld runs here, to let port {port}/tcp through")
    }))
}

/// What makes it so that the port is open, and no other by us; with `None`, that nothing is.
fn changes(wanted: Option<u16>, seen: &Seen) -> Vec<FirewallChange> {
    let mut all = Vec::new();
    match (wanted, &seen.ufw) {
        (Some(port), Some(ufw)) if ufw.active && !ufw.decided && !ufw.opens(port) => {
            all.push(FirewallChange::OpenUfw { port, again: ufw.rule });
        }
        (None, Some(ufw)) if ufw.is_there() => all.push(FirewallChange::CloseUfw),
        _ => {}
    }
    // One that is switched off for a while keeps what it had, as UFW does.
    let runs = |firewalld: &&Firewalld| wanted.is_none() || firewalld.default_zone.is_some();
    if let Some(seen) = seen.firewalld.as_ref().filter(runs) {
        let wanted = wanted.zip(seen.default_zone.clone()).map(|(port, zone)| Opening { zone, port });
        let there: BTreeSet<&Opening> = seen.permanent.union(&seen.runtime).collect();
        let kept = if seen.default_zone.is_some() { Scope::Permanent } else { Scope::Offline };
        for opening in there.into_iter().filter(|opening| Some(*opening) != wanted.as_ref()) {
            // What is kept goes last: by it we are found again.
            let scopes = [(Scope::Runtime, &seen.runtime), (kept, &seen.permanent)]
                .into_iter()
                .filter_map(|(scope, openings)| openings.contains(opening).then_some(scope))
                .collect();
            all.push(FirewallChange::CloseFirewalld { opening: opening.clone(), scopes });
        }
        if let Some(opening) = wanted {
            let scopes: Vec<Scope> = [(kept, &seen.permanent), (Scope::Runtime, &seen.runtime)]
                .into_iter()
                .filter_map(|(scope, openings)| (!openings.contains(&opening)).then_some(scope))
                .collect();
            if !scopes.is_empty() {
                all.push(FirewallChange::OpenFirewalld { opening, scopes });
            }
        }
    }
    all
}

impl Component for FirewallComponent {
    const NAME: &'static str = "firewall";
    type Seen = Seen;
    type Change = FirewallChange;
    type Error = FirewallError;

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, FirewallError> {
        if Deployment::read(&cx.host.paths.etc) == Deployment::NixOs {
            return Ok(Seen::default());
        }
        let wanted = wanted(cx.spec).is_some();
        Ok(Seen {
            ufw: ufw::observe(&self.ufw, &cx.host.run, wanted)?,
            firewalld: firewalld::observe(&self.firewalld, &cx.host.run, wanted)?,
        })
    }

    fn lasting(&self, seen: &Seen) -> serde_json::Result<Value> {
        // A state that was kept before there was this component has nothing of it: neither has a host without a rule.
        if *seen == Seen::default() { Ok(Value::Null) } else { serde_json::to_value(seen) }
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<FirewallChange>, FirewallError> {
        Ok(changes(wanted(spec), seen))
    }

    fn apply(&self, cx: &Context<'_>, change: &FirewallChange) -> Result<(), FirewallError> {
        let run = &cx.host.run;
        match change {
            FirewallChange::OpenUfw { port, .. } => ufw::open(&self.ufw, run, *port),
            FirewallChange::CloseUfw => ufw::close(&self.ufw, run),
            FirewallChange::OpenFirewalld { opening, scopes } => firewalld::open(run, opening, scopes),
            FirewallChange::CloseFirewalld { opening, scopes } => firewalld::close(run, opening, scopes),
        }
    }

    fn retire(
        &self,
        _: &Context<'_>,
        seen: &Seen,
        _: bool,
    ) -> Result<Retirement<FirewallChange>, FirewallError> {
        let mut kept = Vec::new();
        if seen.ufw.as_ref().is_some_and(|ufw| ufw.others && ufw.profile.is_some()) {
            let path = ufw::profile_path(&self.ufw);
            kept.push(Kept::new(
                format!("file {}", path.display()),
                "rules of yours name this profile of UFW",
            ));
        }
        Ok(Retirement { changes: changes(None, seen), kept })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(enable: bool, open: bool) -> HostSpec {
        let mut spec = HostSpec::default();
        (spec.mcp.enable, spec.mcp.open_firewall) = (enable, open);
        spec
    }
    fn words(spec: &HostSpec, seen: &Seen) -> Vec<String> {
        let changes = FirewallComponent::default().plan(spec, seen).unwrap();
        changes.iter().map(|change| format!("{:?} {}", change.action(), change.object())).collect()
    }
    fn ufw(active: bool, port: Option<u16>) -> Seen {
        let profile = port.map(|port| ufw::profile(port).into_bytes());
        let ufw =
            Ufw { active, rule: port.is_some(), port: port.filter(|_| active), profile, ..Ufw::default() };
        Seen { ufw: Some(ufw), firewalld: None }
    }
    fn firewalld(zone: Option<&str>, permanent: &[(&str, u16)], runtime: &[(&str, u16)]) -> Seen {
        let set = |all: &[(&str, u16)]| {
            all.iter().map(|(zone, port)| Opening { zone: (*zone).to_owned(), port: *port }).collect()
        };
        let (permanent, runtime) = (set(permanent), set(runtime));
        Seen {
            ufw: None,
            firewalld: Some(Firewalld { default_zone: zone.map(str::to_owned), permanent, runtime }),
        }
    }

    #[test]
    fn the_port_is_opened_where_that_is_asked_for_and_closed_where_it_no_longer_is() {
        let (asked, not) = (spec(true, true), spec(true, false));
        assert_eq!(words(&asked, &ufw(true, None)), ["Create rule opdbus-chat of UFW"]);
        assert_eq!(words(&asked, &ufw(true, Some(9090))), ["Update rule opdbus-chat of UFW"]);
        assert_eq!(words(&asked, &ufw(true, Some(8080))), [""; 0], "a second time there is nothing to do");
        for not in [&not, &spec(false, true)] {
            assert_eq!(words(not, &ufw(true, None)), [""; 0]);
            assert_eq!(words(not, &ufw(true, Some(8080))), ["Remove rule opdbus-chat of UFW"]);
            assert_eq!(words(not, &ufw(false, Some(8080))), ["Remove rule opdbus-chat of UFW"]);
        }
        assert_eq!(words(&asked, &ufw(false, None)), [""; 0], "a firewall that is off has nothing to open");
        assert_eq!(words(&asked, &Seen::default()), [""; 0]);
        let mut denied = ufw(true, None);
        denied.ufw.as_mut().unwrap().decided = true;
        assert_eq!(words(&asked, &denied), [""; 0], "what the admin said of our profile holds");
    }

    #[test]
    fn a_rule_of_firewalld_is_of_the_default_zone_and_of_both_configurations() {
        let asked = spec(true, true);
        let plan = |spec: &HostSpec, seen: &Seen| FirewallComponent::default().plan(spec, seen).unwrap();
        let public = || Opening { zone: "public".into(), port: 8080 };
        assert_eq!(
            plan(&asked, &firewalld(Some("public"), &[], &[])),
            [FirewallChange::OpenFirewalld {
                opening: public(),
                scopes: vec![Scope::Permanent, Scope::Runtime]
            }]
        );
        let there = firewalld(Some("public"), &[("public", 8080)], &[("public", 8080)]);
        assert_eq!(plan(&asked, &there), []);
        assert_eq!(
            plan(&asked, &firewalld(Some("public"), &[("public", 8080)], &[])),
            [FirewallChange::OpenFirewalld { opening: public(), scopes: vec![Scope::Runtime] }]
        );
        // The admin made another zone the default, and the port is another: the old rule goes first.
        let mut other = spec(true, true);
        other.mcp.port = 9090;
        let moved = firewalld(Some("home"), &[("public", 8080)], &[("public", 8080)]);
        assert_eq!(
            words(&other, &moved),
            [
                "Remove rule of firewalld for port 8080/tcp in the zone public",
                "Create rule of firewalld for port 9090/tcp in the zone home",
            ]
        );
        assert_eq!(
            plan(&spec(true, false), &there),
            [FirewallChange::CloseFirewalld {
                opening: public(),
                scopes: vec![Scope::Runtime, Scope::Permanent]
            }]
        );
        // It was stopped: the rule is kept while it is asked for, and goes when it no longer is.
        let stopped = firewalld(None, &[("public", 8080)], &[]);
        assert_eq!(
            plan(&spec(true, false), &stopped),
            [FirewallChange::CloseFirewalld { opening: public(), scopes: vec![Scope::Offline] }]
        );
        assert_eq!(plan(&other, &stopped), []);
    }

    #[test]
    fn a_host_that_retires_loses_our_rules_whatever_the_host_spec_says() {
        let (host, spec) = (crate::engine::Host::default(), spec(true, true));
        let cx = Context { host: &host, spec: &spec, progress: &crate::engine::Silent };
        let retire = |seen: &Seen| FirewallComponent::default().retire(&cx, seen, false).unwrap();
        assert_eq!(retire(&ufw(true, Some(8080))).changes, [FirewallChange::CloseUfw]);
        assert_eq!(retire(&Seen::default()), Retirement::default());
        let mut used = ufw(true, Some(8080));
        used.ufw.as_mut().unwrap().others = true;
        let retirement = retire(&used);
        assert_eq!(retirement.changes, [FirewallChange::CloseUfw]);
        assert_eq!(retirement.kept[0].object, "file /etc/ufw/applications.d/opdbus-chat");
    }

    #[test]
    fn on_nixos_the_module_opens_it() {
        let etc = tempfile::tempdir().unwrap();
        std::fs::write(etc.path().join("deployment-type"), "nixos\n").unwrap();
        let calls = crate::run::recorded::Recorded::new(|_| Ok(crate::run::Output::default()));
        let mut host =
            crate::engine::Host { run: crate::run::Runner::new(calls.clone()), ..Default::default() };
        host.paths.etc = etc.path().into();
        let spec = spec(true, true);
        let cx = Context { host: &host, spec: &spec, progress: &crate::engine::Silent };
        assert_eq!(FirewallComponent::default().observe(&cx).unwrap(), Seen::default());
        assert!(calls.calls().is_empty());
        assert_eq!(FirewallComponent::default().lasting(&Seen::default()).unwrap(), Value::Null);
    }
}
