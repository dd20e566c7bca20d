//! What the bridge does with packets: flows made from the host spec and the containers' grants, kept by
//! difference, changed in one atomic bundle. Flows of others on the bridge are left as they are.

mod component;
mod diff;
mod foreign;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod model;
mod ofctl;
mod openflow;
mod printed;
mod rule;
mod uplink;

use std::path::PathBuf;

use crate::bridge::BridgeError;
use crate::fault::{Fault, Kind, Report};
use crate::run::RunError;

pub use component::{EndpointSource, FlowsChange, FlowsComponent, Seen, converge, shift};
pub use foreign::{Restored, Saved, count_foreign, restore, save};
pub use model::{COOKIE, COOKIE_MASK, Endpoint, ROUTER_MAC, desired, uplink_flows};
pub use openflow::OpenFlowError;
pub use rule::{Action, CtState, Flow, Key, Match, Place, Protocol};
pub use uplink::{close_uplink, open_uplink};

const SERVE: &str = "see whether ovs-vswitchd runs (systemctl status ovs-vswitchd; journalctl -u ovs-vswitchd), then try again";

/// Why the flows could not be seen or changed.
#[derive(Debug, thiserror::Error)]
pub enum FlowsError {
    /// The bridge.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// `ovs-ofctl`.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The bridge itself, over OpenFlow.
    #[error("cannot change or list the flows of the bridge {bridge}")]
    OpenFlow {
        /// The bridge.
        bridge: String,
        /// Why.
        #[source]
        source: OpenFlowError,
    },
    /// The containers could not be read.
    #[error("{}", .0.message)]
    Endpoints(Report),
    /// `ovs-vswitchd` does not serve the bridge.
    #[error("the bridge {bridge} is not served by ovs-vswitchd: nothing listens at {}", .socket.display())]
    NotServed {
        /// The bridge.
        bridge: String,
        /// Its management socket.
        socket: PathBuf,
    },
    /// There is no bridge.
    #[error("there is no bridge {0} to put flows on")]
    NoBridge(String),
    /// A flow that is not ours is where one of ours belongs.
    #[error(
        "a flow on the bridge {bridge} that is not operation-dbus' is in the way: cookie={cookie:#x},{place}"
    )]
    Collision {
        /// The bridge.
        bridge: String,
        /// The flow's cookie.
        cookie: u64,
        /// Its table, priority and match.
        place: Key,
    },
    /// The file of saved flows could not be read or written.
    #[error("cannot {verb} {}", .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Fault for FlowsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Bridge(error) => error.kind(),
            Self::Run(error) => error.kind(),
            Self::Endpoints(report) => report.kind,
            Self::NotServed { .. } | Self::OpenFlow { source: OpenFlowError::Io(_), .. } => Kind::Unavailable,
            Self::NoBridge(_) => Kind::NotFound,
            Self::Collision { .. } => Kind::Conflict,
            Self::OpenFlow { .. } | Self::File { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Bridge(error) => error.next(),
            Self::Run(error) => error.next(),
            Self::OpenFlow { source: OpenFlowError::Refused { .. }, .. } => {
                Some("journalctl -u ovs-vswitchd says why it refused".into())
            }
            Self::OpenFlow { .. } | Self::NotServed { .. } => Some(SERVE.into()),
            Self::Endpoints(report) => report.next.clone(),
            Self::NoBridge(_) => Some("`opdbus-bridge apply` makes it".into()),
            Self::Collision { bridge, place, .. } => Some(format!(
                "give it another priority or table, or remove it: ovs-ofctl --strict del-flows {bridge} '{place}'"
            )),
            Self::File { .. } => None,
        }
    }
}
