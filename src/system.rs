//! The components of a host, in the order in which they are applied.

use crate::bridge::BridgeComponent;
use crate::containers::ContainersComponent;
use crate::engine::Stage;
use crate::fault::{Kind, Report};
use crate::firewall::FirewallComponent;
use crate::flows::FlowsComponent;
use crate::ledger::LedgerComponent;
use crate::nat::NatComponent;
use crate::plugins::PluginsComponent;
use crate::snapshots::SnapshotsComponent;
use crate::sockets::SocketsComponent;
use crate::storage::{LeftoversComponent, StorageComponent};
use crate::templates::TemplatesComponent;
use crate::units::UnitsComponent;
use crate::uplink::UplinkComponent;

/// All components.
#[must_use]
pub fn components() -> Vec<Box<dyn Stage>> {
    vec![
        Box::new(LeftoversComponent),
        Box::new(StorageComponent),
        Box::new(PluginsComponent),
        Box::new(SnapshotsComponent),
        Box::new(SocketsComponent::default()),
        Box::new(LedgerComponent::default()),
        Box::new(UnitsComponent::default()),
        Box::new(bridge()),
        Box::new(NatComponent::default()),
        Box::new(flows()),
        Box::new(UplinkComponent),
        Box::new(FirewallComponent::default()),
        Box::new(TemplatesComponent),
        Box::new(ContainersComponent),
    ]
}

/// The names of all components.
#[must_use]
pub fn names() -> Vec<&'static str> {
    components().iter().map(|stage| stage.name()).collect()
}

/// The bridge, which asks the room of flows whose flows are on it.
#[must_use]
pub fn bridge() -> BridgeComponent {
    BridgeComponent {
        foreign_flows: |cx| crate::flows::count_foreign(cx).map_err(Report::from),
        ..BridgeComponent::default()
    }
}

/// The flows, of the containers there are.
#[must_use]
pub fn flows() -> FlowsComponent {
    FlowsComponent::new(|cx| crate::containers::endpoints(cx).map_err(Report::from))
}

/// The components of the given names, in the order in which they are applied; all where none is named.
pub fn select(names: &[String]) -> Result<Vec<Box<dyn Stage>>, Report> {
    let all = components();
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|stage| stage.name() == name.as_str())) {
        let known: Vec<&str> = all.iter().map(|stage| stage.name()).collect();
        return Err(Report::new(
            Kind::Invalid,
            format!("there is no component \"{}\"", unknown.escape_debug()),
        )
        .with_next(format!("the components are {}", known.join(", "))));
    }
    Ok(all.into_iter().filter(|stage| names.is_empty() || names.iter().any(|n| n == stage.name())).collect())
}
