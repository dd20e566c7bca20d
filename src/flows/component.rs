use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::FlowsError;
use super::diff::{Bundle, Difference};
use super::model::{Endpoint, desired, sorted, uplink_flows};
use super::openflow::{Connection, Found, Modification, OpenFlowError};
use super::rule::{Flow, Match};
use crate::bridge::ovsdb::Client;
use crate::bridge::{BridgeError, Ownership, foreign_bridge, ownership, uplink};
use crate::engine::{Action, Change, Component, Context, Retirement};
use crate::fault::Report;
use crate::mac::MacAddr;
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
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Our flows.
    flows: Vec<Found>,
    /// The containers' Ethernet addresses, which are random, and whose they are.
    names: BTreeMap<MacAddr, String>,
    /// How the flows differ from those wanted.
    difference: Difference,
    /// Whether there was no switch to ask.
    blind: bool,
    /// Whether the bridge of our name is someone else's.
    foreign: bool,
}

impl Seen {
    /// An Ethernet address as it is shown: a container's by the container's name.
    fn named(&self, mac: MacAddr) -> String {
        self.names.get(&mac).map_or_else(|| mac.to_string(), |name| format!("<{name}>"))
    }

    fn shown(&self, found: &Found) -> String {
        match (found.key(), found.actions.clone()) {
            (Some(key), Some(actions)) => Flow { key, actions }.text(&|mac| self.named(mac)),
            _ => format!("table={},priority={} (not made by this version)", found.table, found.priority),
        }
    }

    /// The flows that are not as they should be, as they are shown, each with what is wrong with it.
    fn unlike(&self) -> BTreeMap<String, &'static str> {
        let mac = |mac| self.named(mac);
        let difference = &self.difference;
        let missing = difference.missing.iter().map(|flow| (flow.text(&mac), "missing"));
        let altered = difference.altered.iter().map(|flow| (flow.text(&mac), "altered"));
        let surplus = difference.surplus.iter().map(|found| (self.shown(found), "surplus"));
        let collisions = difference.collisions.iter().map(|flow| (flow.key.text(&mac), "not ours"));
        missing.chain(altered).chain(surplus).chain(collisions).collect()
    }
}

impl Serialize for Seen {
    /// The flows as text, sorted, with containers' names in place of their Ethernet addresses.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut flows: Vec<String> = self.flows.iter().map(|found| self.shown(found)).collect();
        flows.sort();
        let mut seen = to.serialize_struct("Seen", 1)?;
        seen.serialize_field("flows", &flows)?;
        seen.end()
    }
}

/// One change: all flows that differ at once, because the bundle that changes them is atomic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlowsChange {
    bridge: String,
    added: usize,
    repaired: usize,
    removed: usize,
    bundle: Bundle,
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
        if let Some(mut switch) = our_bridge(cx)? {
            let endpoints = (self.endpoints)(cx).map_err(FlowsError::Endpoints)?;
            check(cx.spec, &difference(cx, &mut switch, &endpoints)?)?;
        }
        Ok(())
    }

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, FlowsError> {
        let endpoints = (self.endpoints)(cx).map_err(FlowsError::Endpoints)?;
        let wanted = wanted(cx, &endpoints)?;
        let names = endpoints.into_iter().map(|endpoint| (endpoint.mac, endpoint.name.to_string())).collect();
        let foreign = ownership(cx)? == Ownership::Foreign;
        let switch = if foreign { None } else { our_bridge(cx)? };
        let Some(mut switch) = switch else {
            let difference = Difference { missing: wanted, ..Difference::default() };
            return Ok(Seen { names, difference, blind: true, foreign, ..Seen::default() });
        };
        let there = everything(cx, &mut switch)?;
        let flows = there.iter().filter(|found| found.is_ours()).cloned().collect();
        Ok(Seen { flows, names, difference: Difference::between(there, wanted), ..Seen::default() })
    }

    /// How the flows differ from those wanted. The flows themselves follow from the containers there are, which come
    /// and go by hand.
    fn lasting(&self, seen: &Seen) -> serde_json::Result<Value> {
        Ok(if seen.blind { json!({ "switch": false }) } else { json!({ "unlike": seen.unlike() }) })
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<FlowsChange>, FlowsError> {
        if seen.foreign {
            return Err(foreign_bridge(&spec.ovs.bridge).into());
        }
        check(spec, &seen.difference)?;
        Ok(change(spec, seen).into_iter().collect())
    }

    fn apply(&self, cx: &Context<'_>, change: &FlowsChange) -> Result<(), FlowsError> {
        let mut switch = wait_until_served(cx, self.patience)?;
        if !change.blind {
            return switch.bundle(&change.bundle.0).map_err(failed(cx));
        }
        // The switch came up after it was looked at: look again, so that nothing of others is overwritten.
        let endpoints = (self.endpoints)(cx).map_err(FlowsError::Endpoints)?;
        converge(cx, &endpoints).map(drop)
    }

    fn retire(&self, cx: &Context<'_>, seen: &Seen, _: bool) -> Result<Retirement<FlowsChange>, FlowsError> {
        // Without a switch to ask there are no flows: they are gone when it is.
        let change = (!seen.flows.is_empty()).then(|| FlowsChange {
            bridge: cx.spec.ovs.bridge.clone(),
            added: 0,
            repaired: 0,
            removed: seen.flows.len(),
            bundle: Bundle(seen.flows.iter().cloned().map(Modification::RemoveFound).collect()),
            blind: false,
        });
        Ok(Retirement { changes: change.into_iter().collect(), kept: Vec::new() })
    }
}

/// Makes the flows those of the given containers, which are all that there are: one difference, one atomic
/// bundle. Gives the number of flows that were changed.
pub fn converge(cx: &Context<'_>, endpoints: &[Endpoint]) -> Result<usize, FlowsError> {
    let mut switch = served(cx)?;
    let difference = difference(cx, &mut switch, endpoints)?;
    check(cx.spec, &difference)?;
    let bundle = difference.bundle().0;
    switch.bundle(&bundle).map_err(failed(cx))?;
    Ok(bundle.len())
}

/// Changes the flows from those of `before` to those of `after`, for the moment when a container comes, changes or
/// goes: only what these two make different is looked at and changed, so that it takes no longer where there are
/// many. Both have to name the container concerned, as it was and as it will be, and everyone whom it was granted
/// or who was granted it.
pub fn shift(cx: &Context<'_>, before: &[Endpoint], after: &[Endpoint]) -> Result<(), FlowsError> {
    let mut old: BTreeMap<_, _> = desired(cx.spec, before).into_iter().map(|f| (f.key.clone(), f)).collect();
    let added: Vec<Flow> = desired(cx.spec, after)
        .into_iter()
        .filter(|flow| old.remove(&flow.key).as_ref() != Some(flow))
        .collect();
    let mut bundle: Vec<Modification> = old.into_keys().map(Modification::Remove).collect();
    let mut switch = served(cx)?;
    if !added.is_empty() {
        // What is in the places of the new ones, and not ours.
        let filters: Vec<_> = added.iter().map(|f| (Some(f.key.table), f.key.matches.clone())).collect();
        let there = switch.flows(&filters).map_err(failed(cx))?;
        check(
            cx.spec,
            &Difference::between(there.into_iter().filter(|f| !f.is_ours()).collect(), added.clone()),
        )?;
    }
    bundle.extend(added.into_iter().map(Modification::Add));
    switch.bundle(&bundle).map_err(failed(cx))
}

pub(super) fn failed(cx: &Context<'_>) -> impl Fn(OpenFlowError) -> FlowsError {
    let bridge = cx.spec.ovs.bridge.clone();
    move |source| FlowsError::OpenFlow { bridge: bridge.clone(), source }
}

pub(super) fn everything(cx: &Context<'_>, switch: &mut Connection) -> Result<Vec<Found>, FlowsError> {
    switch.flows(&[(None, Match::default())]).map_err(failed(cx))
}

fn difference(
    cx: &Context<'_>,
    switch: &mut Connection,
    endpoints: &[Endpoint],
) -> Result<Difference, FlowsError> {
    Ok(Difference::between(everything(cx, switch)?, wanted(cx, endpoints)?))
}

/// The flows for these containers, and those of the uplink where the bridge has one.
fn wanted(cx: &Context<'_>, endpoints: &[Endpoint]) -> Result<Vec<Flow>, FlowsError> {
    let mut flows = desired(cx.spec, endpoints);
    if uplink(cx)?.is_some() {
        flows.extend(uplink_flows());
    }
    Ok(sorted(flows))
}

/// The management socket of our bridge.
pub(super) fn socket(cx: &Context<'_>) -> PathBuf {
    cx.host.paths.ovs_run.join(format!("{}.mgmt", cx.spec.ovs.bridge))
}

/// A connection to the bridge, where it is there, ours, and served.
pub(super) fn our_bridge(cx: &Context<'_>) -> Result<Option<Connection>, FlowsError> {
    match ownership(cx)? {
        // A killed ovs-vswitchd leaves its sockets behind.
        Ownership::Ours => Ok(Connection::open(&socket(cx)).ok()),
        Ownership::Absent => Ok(None),
        Ownership::Foreign => Err(foreign_bridge(&cx.spec.ovs.bridge).into()),
    }
}

/// A connection to the bridge, or the reason why there is none.
pub(super) fn served(cx: &Context<'_>) -> Result<Connection, FlowsError> {
    if let Some(switch) = our_bridge(cx)? {
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
pub(super) fn wait_until_served(cx: &Context<'_>, patience: Duration) -> Result<Connection, FlowsError> {
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

fn check(spec: &HostSpec, difference: &Difference) -> Result<(), FlowsError> {
    match difference.collisions.first() {
        None => Ok(()),
        Some(flow) => Err(FlowsError::Collision {
            bridge: spec.ovs.bridge.clone(),
            cookie: flow.cookie,
            place: flow.key.clone(),
        }),
    }
}

fn change(spec: &HostSpec, seen: &Seen) -> Option<FlowsChange> {
    let Seen { difference, blind, .. } = seen;
    let bundle = difference.bundle();
    (!bundle.0.is_empty()).then(|| FlowsChange {
        bridge: spec.ovs.bridge.clone(),
        added: difference.missing.len(),
        repaired: difference.altered.len(),
        removed: difference.surplus.len(),
        bundle,
        blind: *blind,
    })
}

#[cfg(test)]
mod tests {
    use super::super::model::COOKIE;
    use super::*;
    use crate::engine::{Host, Silent};

    #[test]
    fn a_retirement_removes_our_flows_in_one_bundle_and_a_second_one_nothing() {
        let (host, spec) = (Host::default(), HostSpec::default());
        let cx = Context { host: &host, spec: &spec, progress: &Silent };
        let component = FlowsComponent::new(|_| Ok(Vec::new()));
        let seen =
            Seen { flows: vec![Found::example(COOKIE), Found::example(COOKIE + 1)], ..Seen::default() };
        let all = component.retire(&cx, &seen, false).unwrap();
        let words: Vec<String> =
            all.changes.iter().map(|c| format!("{:?} {}: {}", c.action(), c.object(), c.detail())).collect();
        assert_eq!(words, ["Remove flows on ovsbr0: 2 to remove"]);
        assert!(all.changes[0].bundle.0.iter().all(|m| matches!(m, Modification::RemoveFound(_))));
        assert_eq!(component.retire(&cx, &Seen::default(), true).unwrap(), Retirement::default());
    }

    #[test]
    fn a_bridge_of_someone_elses_is_seen_and_refused_only_by_a_plan() {
        let component = FlowsComponent::new(|_| Ok(Vec::new()));
        let foreign = Seen { foreign: true, blind: true, ..Seen::default() };
        assert!(component.plan(&HostSpec::default(), &foreign).is_err());
    }
}
