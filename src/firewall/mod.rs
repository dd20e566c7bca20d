//! The host's firewall, where the chat is to be reached from the network (`mcp.openFirewall`): a rule in UFW, and one in
//! firewalld, where those run. Each is marked as ours by its name or priority, so that it is found again, and no rule of
//! anybody else's is changed. On NixOS the module opens the port.

mod component;
mod firewalld;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod ufw;

use std::path::PathBuf;

use crate::fault::{Fault, Kind};
use crate::run::RunError;
use crate::systemd::SystemdError;

pub use component::{FirewallChange, FirewallComponent, Seen, nothing_to_open};
pub use firewalld::{Firewalld, Opening};
pub use ufw::Ufw;

/// Why a firewall could not be seen or changed.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// Its tool.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It is not known whether firewalld runs.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// A file of it.
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

impl Fault for FirewallError {
    fn kind(&self) -> Kind {
        match self {
            Self::Run(error) => error.kind(),
            Self::Systemd(error) => error.kind(),
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Kind::Denied
            }
            Self::File { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        // The daemon may write to directories that were there when it was started.
        let restart =
            || Some("if the firewall was installed just now: systemctl restart opdbus.service".to_owned());
        match self {
            Self::Run(RunError::Status { stderr, .. }) if stderr.contains("need to be root") => {
                Some("run it as root".into())
            }
            Self::Run(RunError::Status { stderr, .. })
                if stderr.contains("not writable") || stderr.contains("Read-only file system") =>
            {
                restart()
            }
            Self::Run(error) => error.next(),
            Self::Systemd(error) => error.next(),
            Self::File { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => Some("run it as root".into()),
                std::io::ErrorKind::ReadOnlyFilesystem => restart(),
                _ => None,
            },
        }
    }
}
