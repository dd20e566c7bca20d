//! `plan`, `apply`, `show`, `query`

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::call::Call;
use super::registry::{Choices, Effect, Op, Privilege};
use super::services;
use crate::engine::{self, Outcome, PlannedChange};
use crate::fault::{Kind, Report};
use crate::introspect::{self, Bus, Name};
use crate::{drift, plan_text, system};

/// The components an operation is about.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Components {
    /// The components: leftovers, storage, plugins, snapshots, sockets, ledger, units, bridge, nat, flows, uplink, templates, containers [default: all].
    #[arg(value_name = "COMPONENT")]
    #[serde(default)]
    components: Vec<String>,
}

impl Components {
    fn target(&self) -> String {
        if self.components.is_empty() { "host".into() } else { self.components.join(",") }
    }
}

/// `plan`
pub(super) struct Plan;

/// What would be changed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Planned {
    /// The changes, in the order in which they would be made; none on a host that is as its spec says.
    pub(super) changes: Vec<PlannedChange>,
}

impl Op for Plan {
    const NAME: &'static str = "plan";
    const SUMMARY: &'static str = "Show what `apply` would change, and change nothing";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "plan",
        "<show> [the] plan",
        "what would apply (do|change)",
        "<show> what apply would (do|change)",
        "what would be changed by [an] apply",
        "plan [only] [the] {components, …} [component|components]",
        "what would apply change in [the] {components, …}",
    ];
    const CHOICES: &'static [(&'static str, Choices)] = &[("components", system::names)];
    type Args = Components;
    type Answer = Planned;

    fn target(args: &Components) -> String {
        args.target()
    }
    fn run(call: &Call<'_>, args: Components) -> Result<Planned, Report> {
        let spec = call.spec()?;
        Ok(Planned { changes: engine::plan(&system::select(&args.components)?, &call.context(&spec))? })
    }
    fn text(planned: &Planned) -> String {
        plan_text::planned(&planned.changes)
    }
}

/// `apply`
pub(super) struct Apply;

impl Op for Apply {
    const NAME: &'static str = "apply";
    const SUMMARY: &'static str = "Make the host what the host spec says";
    const HELP: &'static str = "Everything is checked before the first change. Nothing that is not ours is changed or\nremoved. A second run changes nothing.";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const PHRASES: &'static [&'static str] = &[
        "apply",
        "apply [the] (host spec|spec|host specification|configuration)",
        "make <this host> what the [host] spec says",
        "apply [only] [the] {components, …} [component|components]",
    ];
    const CHOICES: &'static [(&'static str, Choices)] = &[("components", system::names)];
    type Args = Components;
    type Answer = Outcome;

    fn target(args: &Components) -> String {
        args.target()
    }
    fn run(call: &Call<'_>, args: Components) -> Result<Outcome, Report> {
        let spec = call.spec()?;
        let stages = system::select(&args.components)?;
        let _lock = call.lock()?;
        let outcome = drift::apply(&stages, &call.context(&spec))?;
        call.changed(&outcome);
        let Some(failure) = outcome.failure() else { return Ok(outcome) };
        Err(Report { partial: serde_json::to_value(&outcome).ok(), ..failure.clone() })
    }
    fn text(outcome: &Outcome) -> String {
        let applied: Vec<PlannedChange> = outcome.components.iter().flat_map(|c| c.applied.clone()).collect();
        plan_text::applied(&applied)
    }
}

/// `show`
pub(super) struct Show;

impl Op for Show {
    const NAME: &'static str = "show";
    const SUMMARY: &'static str = "Show what is there, in a form in which two hosts can be compared";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "<show> [the] state of (<this host>|the whole host)",
        "<show> [the] host state",
        "<show> [the] components {components, …}",
        "<show> [the] {components, …} [component|components]",
    ];
    const CHOICES: &'static [(&'static str, Choices)] = &[("components", system::names)];
    type Args = Components;
    type Answer = Map<String, Value>;

    fn target(args: &Components) -> String {
        args.target()
    }
    fn run(call: &Call<'_>, args: Components) -> Result<Map<String, Value>, Report> {
        let spec = call.spec()?;
        match engine::show(&system::select(&args.components)?, &call.context(&spec))? {
            Value::Object(map) => Ok(map),
            _ => Err(Report::new(Kind::Failed, "what the components show is not an object")),
        }
    }
    fn text(seen: &Map<String, Value>) -> String {
        serde_json::to_string_pretty(seen).unwrap_or_default()
    }
}

/// `query`
pub(super) struct Query;

/// What can be queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Subject {
    /// Containers, declared and made by hand.
    Containers,
    /// Our flows on the bridge.
    Flows,
    /// The bridge and its ports.
    Bridge,
    /// Subvolumes below the base path.
    Subvolumes,
    /// Plugins.
    Plugins,
    /// Templates.
    Templates,
    /// The services of systemd, over D-Bus.
    Services,
    /// The names on the system bus: who has each, and which can be started.
    Bus,
}

impl Subject {
    const ALL: [Self; 8] = [
        Self::Containers,
        Self::Flows,
        Self::Bridge,
        Self::Subvolumes,
        Self::Plugins,
        Self::Templates,
        Self::Services,
        Self::Bus,
    ];

    fn component(self) -> Option<&'static str> {
        Some(match self {
            Self::Containers => "containers",
            Self::Flows => "flows",
            Self::Bridge => "bridge",
            Self::Subvolumes => "storage",
            Self::Plugins => "plugins",
            Self::Templates => "templates",
            Self::Services | Self::Bus => return None,
        })
    }

    fn name(self) -> String {
        self.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
    }
}

/// The arguments of `query`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryArgs {
    /// What to look at [default: everything].
    #[arg(value_enum)]
    #[serde(default)]
    subject: Option<Subject>,
}

impl Op for Query {
    const NAME: &'static str = "query";
    const SUMMARY: &'static str = "Look at the live state: containers, flows, subvolumes, services, …";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "query [everything|the live state|the host]",
        "query [the] {subject}",
        "show [me] all [of] [the] <containers> {subject=containers}",
        "[<what is>] [the] status of [the] [systemd] services {subject=services}",
        "[<list>] [all] [the] systemd services {subject=services}",
        "<which> [systemd] services are (running|there) {subject=services}",
        "[<list>] [all] [the] [openflow] flows {subject=flows}",
        "<which> flows are (there|on the bridge) {subject=flows}",
        "<show> [the] bridge {subject=bridge}",
        "[<what is>] [the] status of the bridge {subject=bridge}",
        "<which> ports does the bridge have {subject=bridge}",
        "<list> [all] [the] [btrfs] subvolumes {subject=subvolumes}",
        "<which> subvolumes are there {subject=subvolumes}",
        "<what is> on the [system] bus {subject=bus}",
        "<list> [all] [the] names on the [system] bus {subject=bus}",
        "<show> everything on (the [system] bus|d-bus|dbus) {subject=bus}",
    ];
    type Args = QueryArgs;
    type Answer = Map<String, Value>;

    fn target(args: &QueryArgs) -> String {
        args.subject.map_or_else(|| "host".into(), Subject::name)
    }
    fn run(call: &Call<'_>, args: QueryArgs) -> Result<Map<String, Value>, Report> {
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let subjects = args.subject.map_or_else(|| Subject::ALL.to_vec(), |subject| vec![subject]);
        let mut answer = Map::new();
        for subject in subjects {
            let value = match subject.component() {
                Some(component) => {
                    let stages = system::select(&[component.to_owned()])?;
                    engine::show(&stages, &cx)?.get_mut(component).map(Value::take).unwrap_or_default()
                }
                None if subject == Subject::Bus => serde_json::json!(introspect::names(&Bus::System)?),
                None => services::list()?,
            };
            answer.insert(subject.name(), value);
        }
        Ok(answer)
    }
    fn text(answer: &Map<String, Value>) -> String {
        if let Some(services) = answer.get("services").filter(|_| answer.len() == 1) {
            return services::text(services);
        }
        if let Some(names) = answer.get("bus").filter(|_| answer.len() == 1)
            && let Ok(names) = Vec::<Name>::deserialize(names)
        {
            return introspect::text::names(&names);
        }
        serde_json::to_string_pretty(answer).unwrap_or_default()
    }
}
