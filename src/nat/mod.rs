//! The host's packet filter for containers: what they may reach of the host, that nobody reaches them
//! from outside, and their way out by address translation. All of it is in nftables tables of our
//! own (`inet opdbus`, `arp opdbus`), replaced as a whole; tables of others are not looked at.

mod component;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod ruleset;

use std::path::PathBuf;

use crate::fault::{Fault, Kind};
use crate::run::RunError;

pub use component::{NatChange, NatComponent, Seen, TableState};
pub use ruleset::render;

/// Why the table could not be seen or changed.
#[derive(Debug, thiserror::Error)]
pub enum NatError {
    /// `nft` could not be called.
    #[error(transparent)]
    Run(#[from] RunError),
    /// `nft` gave what is not JSON of nftables.
    #[error("`nft -j list table` gave an answer that cannot be read")]
    Answer(#[source] serde_json::Error),
    /// The kernel's switch could not be read or set.
    #[error("cannot {verb} {}", .path.display())]
    Sysctl {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Fault for NatError {
    fn kind(&self) -> Kind {
        match self {
            Self::Run(error) => error.kind(),
            Self::Sysctl { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Kind::Denied
            }
            Self::Answer(_) | Self::Sysctl { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Run(RunError::Status { stderr, .. }) if stderr.contains("Operation not permitted") => {
                Some("run it as root".into())
            }
            Self::Run(error) => error.next(),
            Self::Sysctl { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("run it as root".into())
            }
            Self::Answer(_) | Self::Sysctl { .. } => None,
        }
    }
}
