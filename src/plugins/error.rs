use std::io;
use std::path::{Path, PathBuf};

use super::manifest::ManifestError;
use super::package::PackageError;
use super::stream::StreamError;
use crate::fault::{Fault, Kind};
use crate::files::ManagedError;
use crate::name::PluginName;
use crate::run::RunError;
use crate::snapshots::{SnapshotError, SnapshotName};
use crate::storage::SubvolumeError;
use crate::storage::place::PlaceError;

/// Why something could not be done with a plugin.
#[derive(Debug, thiserror::Error)]
pub enum PluginsError {
    /// There is no such plugin.
    #[error("there is no plugin {0} on this host")]
    NotFound(PluginName),
    /// Its files are wrong.
    #[error("the plugin {name} is not valid")]
    Invalid {
        /// The plugin.
        name: PluginName,
        /// Why.
        #[source]
        why: ManifestError,
    },
    /// The list of those that are disabled cannot be understood.
    #[error("{} is damaged: {why}", .path.display())]
    Switches {
        /// The list.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It holds keys, and it was not said that they may go.
    #[error("the plugin {0} holds keys (enrollment-keys), and whoever gets them can join the mesh")]
    Secrets(PluginName),
    /// A snapshot is of something else.
    #[error("the snapshot {snapshot} is not of the plugin {name}")]
    OfAnother {
        /// The snapshot.
        snapshot: SnapshotName,
        /// The plugin.
        name: PluginName,
    },
    /// What was handed over is not a plugin that was sent.
    #[error("what was handed over is not taken")]
    Package(#[from] PackageError),
    /// Its stream is refused.
    #[error("the stream of the plugin {name} is refused")]
    Stream {
        /// The plugin.
        name: PluginName,
        /// Why.
        #[source]
        why: StreamError,
    },
    /// What it builds on is not here.
    #[error(
        "what was sent of the plugin {name} builds on a snapshot that this host does not have ({parent})"
    )]
    NoParent {
        /// The plugin.
        name: PluginName,
        /// The id of the snapshot.
        parent: String,
    },
    /// It was received before.
    #[error("this snapshot of the plugin {name} was received before: {snapshot}")]
    Received {
        /// The plugin.
        name: PluginName,
        /// What it is here.
        snapshot: SnapshotName,
    },
    /// What was received is another plugin, version or snapshot than was said.
    #[error("what was received is not what it said it is: {0}")]
    Differs(String),
    /// A subvolume or directory.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A subvolume.
    #[error(transparent)]
    Subvolume(#[from] SubvolumeError),
    /// A snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A file of a plugin.
    #[error(transparent)]
    Managed(#[from] ManagedError),
    /// A foreign tool.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The kernel refused.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

pub(super) fn io_error(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> PluginsError + use<> {
    let path = path.to_owned();
    move |source| PluginsError::Io { verb, path: path.clone(), source }
}

impl Fault for PluginsError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) => Kind::NotFound,
            Self::Invalid { .. }
            | Self::Switches { .. }
            | Self::OfAnother { .. }
            | Self::Package(_)
            | Self::Stream { .. }
            | Self::Differs(_) => Kind::Invalid,
            Self::Secrets(_) | Self::NoParent { .. } | Self::Received { .. } => Kind::Conflict,
            Self::Place(error) => error.kind(),
            Self::Subvolume(error) => error.kind(),
            Self::Snapshot(error) => error.kind(),
            Self::Managed(error) => error.kind(),
            Self::Run(error) => error.kind(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Io { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        Some(match self {
            Self::NotFound(_) => "`op-dbus plugin list` shows those there are".into(),
            Self::Invalid { .. } => "mend the file named, and try again".into(),
            Self::Switches { path, .. } => {
                format!("move {} away: every plugin is enabled then", path.display())
            }
            Self::Secrets(_) => {
                "with --with-secrets they go along; send it only where nobody else reads it".into()
            }
            Self::OfAnother { name, .. } => {
                format!("`op-dbus snapshot list --of @plugins/{name}` shows its snapshots")
            }
            Self::Package(PackageError::TooLarge { .. }) => "allow more with --max-size".into(),
            Self::Package(_) => "send it again: `op-dbus plugin send NAME FILE`".into(),
            Self::NoParent { .. } => {
                "have it sent whole (without --parent), or from a snapshot that was received here".into()
            }
            Self::Received { snapshot, .. } => {
                format!("`op-dbus snapshot restore {snapshot}` puts it in place again")
            }
            Self::Stream { .. } | Self::Differs(_) => {
                "nothing was changed; find out where it comes from before you try again".into()
            }
            Self::Place(error) => return error.next(),
            Self::Subvolume(error) => return error.next(),
            Self::Snapshot(error) => return error.next(),
            Self::Managed(error) => return error.next(),
            Self::Run(error) => return error.next(),
            Self::Io { .. } => return None,
        })
    }
}
