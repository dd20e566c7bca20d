use std::time::{Duration, Instant};

use serde::Serialize;

use super::FlowsError;
use super::diff::{Difference, Printed};
use super::model::{Endpoint, desired};
use super::ofctl::{Switch, socket};
use crate::bridge::ovsdb::Client;
use crate::bridge::{BridgeError, Ownership, foreign_bridge, ownership};
use crate::engine::{Action, Change, Component, Context};
use crate::fault::Report;
use crate::spec::HostSpec;

/// Where the containers' endpoints come from. The room of containers is above this one, so it is handed in.
pub type EndpointSource = fn(&Context<'_>) -> Result<Vec<Endpoint>, Report>;

/// The flows on the bridge.
#[derive(Debug, Clone)]
pub struct FlowsComponent {
    /// Where the containers' endpoints come from.
    pub endpoints: EndpointSource,
    /// How long `ovs-vswitchd` may take to serve the bridge, after a boot or a restart of its own.
    pub patience: Duration,
}

impl FlowsComponent {
    /// The flows of the containers that `endpoints` gives.
    #[must_use]
    pub fn new(endpoints: EndpointSource) -> Self {
        Self { endpoints, patience: Duration::from_secs(10) }
    }
}

/// What is there.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Seen {
    /// Our flows, sorted; a container's Ethernet address, which is random, is replaced by its name.
    pub flows: Vec<String>,
    /// How they differ from those wanted.
    #[serde(skip)]
    difference: Difference,
    /// Whether there was no switch to ask.
    #[serde(skip)]
    blind: bool,
}

/// One change: all flows that differ at once, because the bundle that changes them is atomic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlowsChange {
    bridge: String,
    added: usize,
    repaired: usize,
    removed: usize,
    bundle: Vec<String>,
    blind: bool,
}

impl Change for FlowsChange {
    fn action(&self) -> Action {
        match self {
            Self { repaired: 0, removed: 0, .. } => Action::Create,
            Self { added: 0, repaired: 0, .. } => Action::Remove,
            _ => Action::Update,
        }
    }
    fn object(&self) -> String {
        format!("flows on {}", self.bridge)
    }
    fn detail(&self) -> String {
        [(self.added, "to add"), (self.repaired, "to repair"), (self.removed, "to remove")]
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Component for FlowsComponent {
    const NAME: &'static str = "flows";
    type Seen = Seen;
    type Change = FlowsChange;
    type Error = FlowsError;

    fn validate(&self, cx: &Context<'_>) -> Result<(), FlowsError> {
        if let Some(switch) = our_switch(cx)? {
            let endpoints = (self.endpoints)(cx).map_err(FlowsError::Endpoints)?;
            check(cx.spec, &switch.difference(&lines(cx.spec, &endpoints))?)?;
        }
        Ok(())
    }

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, FlowsError> {
        let endpoints = (self.endpoints)(cx).map_err(FlowsError::Endpoints)?;
        let Some(switch) = our_switch(cx)? else {
            let difference = all_missing(cx.spec, &endpoints);
            return Ok(Seen { flows: Vec::new(), difference, blind: true });
        };
        let difference = switch.difference(&lines(cx.spec, &endpoints))?;
        let ours = switch.dump()?.into_iter().filter(Printed::is_ours);
        let mut flows: Vec<String> = ours.map(|flow| normalised(&flow, &endpoints)).collect();
        flows.sort();
        Ok(Seen { flows, difference, blind: false })
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<FlowsChange>, FlowsError> {
        check(spec, &seen.difference)?;
        Ok(change(spec, seen).into_iter().collect())
    }

    fn apply(&self, cx: &Context<'_>, change: &FlowsChange) -> Result<(), FlowsError> {
        let switch = wait_until_served(cx, self.patience)?;
        if !change.blind {
            return switch.bundle(&change.bundle);
        }
        // The switch came up after it was looked at: look again, so that nothing of others is overwritten.
        let endpoints = (self.endpoints)(cx).map_err(FlowsError::Endpoints)?;
        converge(cx, &endpoints).map(drop)
    }
}

/// Makes the flows those of the given containers, which are all that there are: one difference, one atomic
/// bundle. For the moment when a container comes or goes. Gives the number of flows that were changed.
pub fn converge(cx: &Context<'_>, endpoints: &[Endpoint]) -> Result<usize, FlowsError> {
    let switch = served(cx)?;
    let difference = switch.difference(&lines(cx.spec, endpoints))?;
    check(cx.spec, &difference)?;
    let bundle = difference.bundle();
    switch.bundle(&bundle)?;
    Ok(bundle.len())
}

/// The switch behind the bridge, where it is there, ours, and served.
pub(super) fn our_switch<'a>(cx: &'a Context<'a>) -> Result<Option<Switch<'a>>, FlowsError> {
    match ownership(cx)? {
        Ownership::Ours => Ok(Switch::find(cx)),
        Ownership::Absent => Ok(None),
        Ownership::Foreign => Err(foreign_bridge(&cx.spec.ovs.bridge).into()),
    }
}

/// The switch behind the bridge, or the reason why there is none.
pub(super) fn served<'a>(cx: &'a Context<'a>) -> Result<Switch<'a>, FlowsError> {
    if let Some(switch) = our_switch(cx)? {
        return Ok(switch);
    }
    // Where even the database is missing, that is the reason to give.
    Client::connect(&cx.host.paths.ovsdb).map_err(BridgeError::from)?;
    let bridge = cx.spec.ovs.bridge.clone();
    Err(match ownership(cx)? {
        Ownership::Ours => FlowsError::NotServed { bridge, socket: socket(cx) },
        _ => FlowsError::NoBridge(bridge),
    })
}

/// The same, waiting for `ovs-vswitchd` where it is just starting.
fn wait_until_served<'a>(cx: &'a Context<'a>, patience: Duration) -> Result<Switch<'a>, FlowsError> {
    let deadline = Instant::now() + patience;
    loop {
        match served(cx) {
            Err(FlowsError::NotServed { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

fn lines(spec: &HostSpec, endpoints: &[Endpoint]) -> String {
    desired(spec, endpoints).iter().map(|flow| flow.line() + "\n").collect()
}

fn all_missing(spec: &HostSpec, endpoints: &[Endpoint]) -> Difference {
    let flows = desired(spec, endpoints);
    let missing = flows.iter().filter_map(|f| Printed::read(&f.line())).collect();
    Difference { missing, ..Difference::default() }
}

fn check(spec: &HostSpec, difference: &Difference) -> Result<(), FlowsError> {
    match difference.collisions.first() {
        None => Ok(()),
        Some(flow) => Err(FlowsError::Collision {
            bridge: spec.ovs.bridge.clone(),
            flow: flow.text.clone(),
            strict: flow.strict(),
        }),
    }
}

fn change(spec: &HostSpec, seen: &Seen) -> Option<FlowsChange> {
    let Seen { difference, blind, .. } = seen;
    let bundle = difference.bundle();
    (!bundle.is_empty()).then(|| FlowsChange {
        bridge: spec.ovs.bridge.clone(),
        added: difference.missing.len(),
        repaired: difference.altered.len(),
        removed: difference.surplus.len(),
        bundle,
        blind: *blind,
    })
}

fn normalised(flow: &Printed, endpoints: &[Endpoint]) -> String {
    let actions = flow.text.split_once("actions=").map(|(_, actions)| actions).unwrap_or_default();
    let mut text = format!("{} actions={actions}", flow.strict());
    for endpoint in endpoints {
        text = text.replace(&endpoint.mac.to_string(), &format!("<{}>", endpoint.name));
    }
    text
}
