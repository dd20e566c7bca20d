//! How moving an uplink fails.

use std::path::PathBuf;

use crate::bridge::BridgeError;
use crate::engine::LockError;
use crate::fault::{Fault, Kind};
use crate::flows::FlowsError;
use crate::run::RunError;
use crate::systemd::SystemdError;

/// Why an uplink was not moved, or not moved back.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// The bridge.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// The flows.
    #[error(transparent)]
    Flows(#[from] FlowsError),
    /// A tool.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Another move is at work.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The unit that rolls back.
    #[error("what would roll the move back could not be started, so nothing was moved")]
    Arm(#[source] SystemdError),
    /// A file.
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
    /// The journal of the move is not one that this version wrote.
    #[error("the journal {} cannot be read: {why}", .path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A tool's answer could not be read.
    #[error("{call} gave an answer that cannot be read: {why}")]
    Answer {
        /// The call.
        call: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such interface.
    #[error("there is no network interface {0}")]
    NoInterface(String),
    /// It cannot be an uplink.
    #[error("{nic} cannot be moved: {why}")]
    Unfit {
        /// The interface.
        nic: String,
        /// Why.
        why: String,
        /// What to do.
        next: String,
    },
    /// Nobody is known to configure it, or somebody whom this version cannot speak with.
    #[error("{nic} cannot be moved: {why}")]
    Manager {
        /// The interface.
        nic: String,
        /// Why.
        why: String,
        /// What to do.
        next: String,
    },
    /// Another move is open, or another interface is the uplink.
    #[error("{0}")]
    InTheWay(String, &'static str),
    /// Nothing has been moved.
    #[error("no interface has been moved onto the bridge")]
    Nothing,
    /// The time to confirm is over.
    #[error("it is too late to confirm: {0} is moved back")]
    Late(String),
    /// The kernel's datapath is needed.
    #[error(
        "{nic} cannot be moved: the bridge {bridge} switches in userspace, where the kernel would answer at {nic} beside it"
    )]
    Userspace {
        /// The interface.
        nic: String,
        /// The bridge.
        bridge: String,
    },
    /// What was moved is not as it should be.
    #[error("after the move {0}")]
    NotVerified(String),
    /// It did not work, and all is as it was.
    #[error("{nic} was moved back: {why}")]
    RolledBack {
        /// The interface.
        nic: String,
        /// Why.
        why: String,
    },
    /// It was moved back, and is not as it was.
    #[error("{nic} was moved back, and {what}")]
    NotRestored {
        /// The interface.
        nic: String,
        /// What is not as it was.
        what: String,
    },
}

impl Fault for UplinkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Bridge(error) => error.kind(),
            Self::Flows(error) => error.kind(),
            Self::Run(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Arm(_) | Self::Manager { .. } | Self::Userspace { .. } => Kind::Unavailable,
            Self::NoInterface(_) | Self::Nothing => Kind::NotFound,
            Self::Unfit { .. } | Self::InTheWay(..) | Self::Late(_) => Kind::Conflict,
            Self::File { .. }
            | Self::Journal { .. }
            | Self::Answer { .. }
            | Self::NotVerified(_)
            | Self::RolledBack { .. }
            | Self::NotRestored { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Bridge(error) => error.next(),
            Self::Flows(error) => error.next(),
            Self::Run(error) => error.next(),
            Self::Lock(error) => error.next(),
            Self::Arm(_) => Some(
                "systemctl status opdbus-uplink-rollback.service; `op-dbus apply units` puts it in place"
                    .into(),
            ),
            Self::NoInterface(_) => Some("`ip link` lists them".into()),
            Self::Unfit { next, .. } | Self::Manager { next, .. } => Some(next.clone()),
            Self::InTheWay(_, next) => Some((*next).into()),
            Self::Nothing => Some("op-dbus bridge uplink set NIC".into()),
            Self::Userspace { .. } => Some("use a kernel with the openvswitch module (ovs.datapath)".into()),
            Self::Late(_) => Some("set it again, and confirm in time: --within gives more of it".into()),
            Self::RolledBack { .. } => Some("all is as it was before; journalctl has the rest".into()),
            Self::NotRestored { nic, .. } => {
                Some(format!("look at `ip addr show {nic}` and bring it up by hand (ifup, networkctl)"))
            }
            Self::Journal { path, .. } => Some(format!(
                "look at it, and at the copies beside it; move {} away when all is well",
                path.display()
            )),
            Self::File { .. } | Self::Answer { .. } | Self::NotVerified(_) => None,
        }
    }
}
