use std::io;
use std::path::{Path, PathBuf};

use super::Shape;
use crate::fault::{Fault, Kind};
use crate::storage::SubvolumeError;

/// Why a place could not be made what it shall be.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Something of another kind is where a subvolume or directory shall be.
    #[error("cannot create the {shape} {}: a {found} is in the way", .path.display())]
    InTheWay {
        /// What shall be there.
        shape: Shape,
        /// Where.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// There is one already, but it is not marked as ours.
    #[error("the {shape} {} is there already and was not made by operation-dbus", .path.display())]
    Foreign {
        /// What it is.
        shape: Shape,
        /// Where.
        path: PathBuf,
        /// The marker that would make it ours.
        tag: &'static str,
    },
    /// Something bears a name that only half-made things of ours bear, and is not one.
    #[error("{} has a name of ours and content that is not ours", .path.display())]
    NotALeftover {
        /// Where.
        path: PathBuf,
    },
    /// A group that shall own it does not exist.
    #[error("the group {group}, which shall own {}, does not exist", .path.display())]
    NoGroup {
        /// The group.
        group: String,
        /// What it shall own.
        path: PathBuf,
    },
    /// A subvolume's own trouble.
    #[error(transparent)]
    Subvolume(#[from] SubvolumeError),
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

impl Fault for PlaceError {
    fn kind(&self) -> Kind {
        match self {
            Self::InTheWay { .. } | Self::Foreign { .. } | Self::NotALeftover { .. } => Kind::Conflict,
            Self::NoGroup { .. } => Kind::NotFound,
            Self::Subvolume(error) => error.kind(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Io { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::InTheWay { path, found, .. } => {
                let (at, old) = (path.display(), aside(path));
                let first = format!("move it away: `mv {at} {old}`, and apply again");
                Some(if *found == "plain directory" {
                    format!("{first}; then bring its content back: `cp -a --reflink=auto {old}/. {at}/`")
                } else {
                    first
                })
            }
            Self::Foreign { path, tag, .. } => Some(format!(
                "hand it over: `setfattr -n user.opdbus -v {tag} {0}`; or move it away: `mv {0} {1}`",
                path.display(),
                aside(path)
            )),
            Self::NotALeftover { path } => Some(format!(
                "look at it and rename it: `mv {} {}`",
                path.display(),
                path.with_file_name("kept").display()
            )),
            Self::NoGroup { group, .. } => Some(format!("`groupadd --system {group}`")),
            Self::Subvolume(error) => error.next(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run it as root".into())
            }
            Self::Io { .. } => None,
        }
    }
}

fn aside(path: &Path) -> String {
    format!("{}.old", path.display())
}

pub(super) fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PlaceError {
    move |source| PlaceError::Io { verb, path: path.to_owned(), source }
}
