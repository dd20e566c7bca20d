//! Looks the whole host over: small checks, each with a name that stays, what it found and what mends it.
//!
//! What a component would change is what is wrong with it, so that every component is a check; the rest are about what
//! no component makes: the host spec, the daemon, the ledger's chain, the clock, the kernel, room on the disk.

mod checks;
pub mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::{self, Context, Host, Progress};
use crate::fault::{Kind, Report};
use crate::spec::{self, HostSpec};
use crate::{drift, plan_text, system};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is as it should be.
    Ok,
    /// It works, and could be better.
    Warning,
    /// It does not work, or will not for long.
    Problem,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub state: State,
    /// What is wrong, on what.
    pub what: String,
    /// What mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// Whether `--fix` mends it.
    pub fixable: bool,
}

impl Finding {
    fn new(state: State, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { state, what: what.into(), mend: Some(mend.into()), fixable: false }
    }
}

impl From<Report> for Finding {
    fn from(report: Report) -> Self {
        Self { state: State::Problem, what: report.message, mend: report.next, fixable: false }
    }
}

/// A check and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Its name. It stays the same from version to version.
    pub id: String,
    /// What it looks at.
    pub title: String,
    /// The worst of its findings.
    pub state: State,
    /// What it found; nothing where all is well.
    pub findings: Vec<Finding>,
}

/// What the checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// Whether there is no problem. Warnings are none.
    pub healthy: bool,
    /// The checks, in the order in which a problem in one causes those in the next.
    pub checks: Vec<Check>,
}

/// A check that is not a component's.
pub(super) struct HostCheck {
    id: &'static str,
    title: &'static str,
    run: fn(&Context<'_>) -> Vec<Finding>,
}

/// The components as checks: their titles.
const COMPONENTS: [(&str, &str); 14] = [
    ("leftovers", "files that killed runs left"),
    ("storage", "subvolumes and mounts"),
    ("plugins", "plugins"),
    ("snapshots", "snapshots and their records"),
    ("sockets", "the sockets' directories"),
    ("ledger", "the ledger's file"),
    ("units", "units, the bus policy, actions of polkit"),
    ("bridge", "the Open vSwitch bridge"),
    ("nat", "nftables and forwarding"),
    ("flows", "the bridge's flows"),
    ("uplink", "the uplink of the bridge"),
    ("firewall", "the chat's port in UFW and firewalld"),
    ("templates", "declared templates"),
    ("containers", "declared containers"),
];

/// The host spec's own check, which all others rest on.
const HOST_SPEC: (&str, &str) = ("host-spec", "the host spec");

/// The names of all checks, in order.
#[must_use]
pub fn ids() -> Vec<&'static str> {
    let before = checks::BEFORE.iter().map(|check| check.id);
    let after = checks::AFTER.iter().map(|check| check.id);
    std::iter::once(HOST_SPEC.0).chain(before).chain(COMPONENTS.map(|(id, _)| id)).chain(after).collect()
}

/// Runs the checks of these names; all where none is named. Changes nothing.
pub fn diagnose(host: &Host, names: &[String], progress: &dyn Progress) -> Result<Diagnosis, Report> {
    let known = ids();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Report::new(Kind::Invalid, format!("there is no check \"{}\"", unknown.escape_debug()))
            .with_next(format!("the checks are {}", known.join(", "))));
    }
    let wanted = |id: &str| names.is_empty() || names.iter().any(|name| name == id);
    let mut checks = Vec::new();
    let spec = match spec::load(&host.paths.config()) {
        Ok(spec) => {
            if wanted(HOST_SPEC.0) {
                checks.push(check(HOST_SPEC, Vec::new()));
            }
            spec
        }
        Err(error) => {
            // Nothing else can be told without it.
            let found = Finding::from(Report::from(error));
            return Ok(Diagnosis::of(vec![check(HOST_SPEC, vec![found])]));
        }
    };
    let cx = Context { host, spec: &spec, progress };
    let host_checks = |list: &[HostCheck], checks: &mut Vec<Check>| {
        for one in list.iter().filter(|one| wanted(one.id)) {
            progress.report(one.title, None);
            checks.push(check((one.id, one.title), (one.run)(&cx)));
        }
    };
    host_checks(&checks::BEFORE, &mut checks);
    for (id, title) in COMPONENTS.into_iter().filter(|(id, _)| wanted(id)) {
        progress.report(title, None);
        checks.push(check((id, title), component(&cx, id)));
    }
    host_checks(&checks::AFTER, &mut checks);
    Ok(Diagnosis::of(checks))
}

impl Diagnosis {
    fn of(checks: Vec<Check>) -> Self {
        Self { healthy: checks.iter().all(|check| check.state < State::Problem), checks }
    }

    /// The components whose findings `apply` mends.
    #[must_use]
    pub fn fixable(&self) -> Vec<String> {
        let fixable = |check: &&Check| check.findings.iter().any(|finding| finding.fixable);
        self.checks.iter().filter(fixable).map(|check| check.id.clone()).collect()
    }
}

fn check((id, title): (&str, &str), findings: Vec<Finding>) -> Check {
    let state = findings.iter().map(|finding| finding.state).max().unwrap_or(State::Ok);
    Check { id: id.to_owned(), title: title.to_owned(), state, findings }
}

/// What is wrong with a component is what its plan would change.
fn component(cx: &Context<'_>, id: &str) -> Vec<Finding> {
    let planned = system::select(&[id.to_owned()]).and_then(|stages| engine::plan(&stages, cx));
    match planned {
        Err(report) => vec![report.into()],
        Ok(changes) => changes
            .iter()
            .map(|change| Finding {
                state: State::Problem,
                what: format!("not as the host spec says: {}", plan_text::sentence(change)),
                mend: Some(format!("op-dbus doctor --fix {id}")),
                fixable: true,
            })
            .collect(),
    }
}

/// Mends what `apply` mends of these checks, tells `made` what came of it, and looks again. The caller holds the
/// engine's lock.
pub fn fix(
    host: &Host,
    names: &[String],
    progress: &dyn Progress,
    made: &dyn Fn(&engine::Outcome),
) -> Result<Diagnosis, Report> {
    let diagnosis = diagnose(host, names, progress)?;
    let components = diagnosis.fixable();
    if components.is_empty() {
        return Ok(diagnosis);
    }
    let spec: HostSpec = spec::load(&host.paths.config())?;
    let cx = Context { host, spec: &spec, progress };
    let outcome = drift::apply(&system::select(&components)?, &cx)?;
    made(&outcome);
    if let Some(failure) = outcome.failure() {
        return Err(Report { partial: serde_json::to_value(&outcome).ok(), ..failure.clone() });
    }
    diagnose(host, names, progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Silent;
    use crate::paths::Paths;

    #[test]
    fn every_component_is_a_check_in_the_order_of_apply_and_names_are_unique() {
        let components: Vec<_> = system::components().iter().map(|stage| stage.name()).collect();
        assert_eq!(COMPONENTS.map(|(id, _)| id).to_vec(), components);
        let unique: std::collections::BTreeSet<_> = ids().into_iter().collect();
        assert_eq!(unique.len(), ids().len());
    }

    #[test]
    fn the_names_of_checks_stay() {
        // Scripts and monitoring name them: one is added, none is renamed.
        assert_eq!(
            ids().join(" "),
            "host-spec kernel clock disk-space leftovers storage plugins snapshots sockets ledger units bridge nat flows uplink firewall templates \
             containers moved open-port chain services daemon search chat"
        );
    }

    #[test]
    fn without_a_valid_host_spec_that_is_the_one_finding() {
        let dir = tempfile::tempdir().unwrap();
        let host =
            Host { paths: Paths { etc: dir.path().to_owned(), ..Paths::default() }, ..Host::default() };
        std::fs::write(host.paths.config(), "{ \"version\": 1, \"ovs\": { \"brigde\": 1 } }").unwrap();
        let diagnosis = diagnose(&host, &["bridge".into()], &Silent).unwrap();
        assert!(!diagnosis.healthy);
        assert_eq!(diagnosis.checks.len(), 1);
        assert!(diagnosis.checks[0].findings[0].what.contains("brigde"), "{diagnosis:?}");
        assert_eq!(diagnosis.fixable(), Vec::<String>::new());
    }

    #[test]
    fn a_check_that_is_not_there_is_refused() {
        let error = diagnose(&Host::default(), &["bones".into()], &Silent).unwrap_err();
        assert!(error.kind == Kind::Invalid && error.next.unwrap().contains("disk-space"));
    }
}
