//! The flows of the uplink alone, for when nothing else of the host can be asked: early at boot, and in the middle of a
//! move. Without them a bridge drops what comes in and what the host sends.

use std::time::Duration;

use super::FlowsError;
use super::component::{failed, our_bridge, wait_until_served};
use super::model::uplink_flows;
use super::openflow::Modification;
use crate::engine::Context;

/// Lets the uplink and the host speak through the bridge, as soon as `ovs-vswitchd` serves it. They are of our own flows:
/// the next [`super::converge`] keeps them where the bridge has an uplink.
pub fn open_uplink(cx: &Context<'_>, patience: Duration) -> Result<(), FlowsError> {
    let bundle: Vec<_> = uplink_flows().into_iter().map(Modification::Add).collect();
    wait_until_served(cx, patience)?.bundle(&bundle).map_err(failed(cx))
}

/// Takes these flows away. Where nobody serves the bridge there are none.
pub fn close_uplink(cx: &Context<'_>) -> Result<(), FlowsError> {
    let Some(mut switch) = our_bridge(cx)? else { return Ok(()) };
    let bundle: Vec<_> = uplink_flows().into_iter().map(|flow| Modification::Remove(flow.key)).collect();
    switch.bundle(&bundle).map_err(failed(cx))
}
