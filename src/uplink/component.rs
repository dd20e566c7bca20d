//! The uplink beside the other components: `apply` moves nothing, but puts one that was moved and confirmed back on the
//! bridge where somebody took it off; an uninstall moves it back.

use serde::Serialize;

use super::UplinkError;
use super::act::revert;
use super::journal::{Journal, Phase};
use super::rollback::{settle, store};
use crate::bridge;
use crate::engine::{self, Action, Component, Context, Retirement};
use crate::spec::HostSpec;

/// The uplink.
#[derive(Debug, Clone, Copy, Default)]
pub struct UplinkComponent;

/// What there is of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The network card that was moved.
    pub nic: Option<String>,
    /// Whether that is confirmed.
    pub confirmed: bool,
    /// Whether it is a port of the bridge.
    pub on_bridge: bool,
    #[serde(skip)]
    bridge: Option<String>,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Put the card back on the bridge.
    Rejoin {
        /// The card.
        nic: String,
        /// The bridge.
        bridge: String,
    },
    /// Move everything back.
    Revert {
        /// The card.
        nic: String,
    },
}

impl engine::Change for Change {
    fn action(&self) -> Action {
        match self {
            Self::Rejoin { .. } => Action::Create,
            Self::Revert { .. } => Action::Remove,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Rejoin { nic, .. } | Self::Revert { nic } => format!("uplink {nic}"),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Rejoin { bridge, .. } => format!("back on {bridge}"),
            Self::Revert { .. } => "its addresses, routes and configuration are put back as they were".into(),
        }
    }
}

impl Component for UplinkComponent {
    const NAME: &'static str = "uplink";
    type Seen = Seen;
    type Change = Change;
    type Error = UplinkError;

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, UplinkError> {
        let Some(Journal { nic, phase, bridge, .. }) = store(cx.host).load()? else {
            return Ok(Seen::default());
        };
        let on_bridge = bridge::uplink(cx)?.as_ref() == Some(&nic);
        Ok(Seen { nic: Some(nic), confirmed: phase == Phase::Confirmed, on_bridge, bridge: Some(bridge) })
    }

    fn plan(&self, _: &HostSpec, seen: &Seen) -> Result<Vec<Change>, UplinkError> {
        Ok(match seen {
            Seen { nic: Some(nic), confirmed: true, on_bridge: false, bridge: Some(bridge) } => {
                vec![Change::Rejoin { nic: nic.clone(), bridge: bridge.clone() }]
            }
            _ => Vec::new(),
        })
    }

    fn retire(&self, _: &Context<'_>, seen: &Seen, _: bool) -> Result<Retirement<Change>, UplinkError> {
        let changes = seen.nic.iter().map(|nic| Change::Revert { nic: nic.clone() }).collect();
        Ok(Retirement { changes, kept: Vec::new() })
    }

    fn apply(&self, cx: &Context<'_>, change: &Change) -> Result<(), UplinkError> {
        match change {
            Change::Rejoin { .. } => settle(cx.host).map(drop),
            Change::Revert { .. } => revert(cx.host).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apply_moves_nothing_by_itself_and_puts_back_what_was_confirmed() {
        let mut spec = HostSpec::default();
        spec.ovs.uplink = Some("eth0".into());
        let plan = |seen: &Seen| UplinkComponent.plan(&spec, seen).unwrap();
        assert!(plan(&Seen::default()).is_empty(), "declared alone, it is not moved");
        let gone = Seen {
            nic: Some("eth0".into()),
            confirmed: true,
            on_bridge: false,
            bridge: Some("ovsbr0".into()),
        };
        assert_eq!(plan(&gone).len(), 1);
        assert!(plan(&Seen { on_bridge: true, ..gone.clone() }).is_empty());
        assert!(
            plan(&Seen { confirmed: false, ..gone }).is_empty(),
            "what is not confirmed is the other unit's"
        );
    }
}
