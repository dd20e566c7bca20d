use std::io;
use std::path::{Path, PathBuf};

use super::record::{Label, SnapshotName};
use crate::fault::{Fault, Kind, Report};
use crate::spec::Subject;
use crate::storage::SubvolumeError;
use crate::storage::place::PlaceError;

/// Why something could not be done with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is nothing to take a snapshot of, or to put back.
    #[error("there is no {subject} on this host: {} is not a subvolume", .path.display())]
    NoSubject {
        /// What was named.
        subject: Subject,
        /// Where it would be.
        path: PathBuf,
    },
    /// There is no such snapshot.
    #[error("there is no snapshot \"{0}\"")]
    NotFound(String),
    /// Several have the label.
    #[error("several snapshots are labelled \"{label}\": {}", .names.join(", "))]
    Ambiguous {
        /// The label.
        label: String,
        /// Their names.
        names: Vec<String>,
    },
    /// One of the same thing has the label already.
    #[error("there is a snapshot of {subject} labelled \"{label}\" already: {name}")]
    LabelTaken {
        /// The label.
        label: Label,
        /// Of what.
        subject: Subject,
        /// The one that has it.
        name: SnapshotName,
    },
    /// The label is not one.
    #[error(
        "the label \"{0}\" is refused: it is 1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-', beginning with a letter or digit"
    )]
    BadLabel(String),
    /// A hundred snapshots of one second.
    #[error("there are snapshots under all names that {0} could have in this second")]
    NoName(Subject),
    /// It is marked as kept.
    #[error("the snapshot {0} is marked as kept")]
    Kept(SnapshotName),
    /// What is there under the name is not what the record says.
    #[error("{} is not the snapshot that was recorded under this name, and is left as it is", .path.display())]
    NotOurs {
        /// Where.
        path: PathBuf,
    },
    /// The snapshot is gone, its record is not.
    #[error("the snapshot {0} has been removed by hand; only its record is left")]
    Gone(SnapshotName),
    /// The ledger is never put back.
    #[error("the ledger is not put back to an earlier state: every entry written since would be lost")]
    Ledger,
    /// Something is mounted inside.
    #[error("{} is not exchanged: something is mounted inside, at {}", .path.display(), .mounts.iter().map(|m| m.display().to_string()).collect::<Vec<_>>().join(", "))]
    Mounted {
        /// What was to be exchanged.
        path: PathBuf,
        /// Where something is mounted.
        mounts: Vec<PathBuf>,
    },
    /// Programs have files in it open.
    #[error("{} is in use by {}", .path.display(), .users.join(", "))]
    InUse {
        /// What was to be exchanged.
        path: PathBuf,
        /// Who has files in it open.
        users: Vec<String>,
    },
    /// It holds subvolumes of its own, which are not in a snapshot.
    #[error("{} holds subvolumes that are in no snapshot of it: {}", .path.display(), .inside.join(", "))]
    Nested {
        /// What was to be exchanged.
        path: PathBuf,
        /// They, relative to it.
        inside: Vec<String>,
    },
    /// The container runs.
    #[error("{0} is running")]
    Running(Subject),
    /// The container could not be looked at, stopped, started or fitted.
    #[error("{}", .0.message)]
    Container(Report),
    /// A record cannot be understood.
    #[error("the record {} is damaged: {why}", .path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A subvolume.
    #[error(transparent)]
    Subvolume(#[from] SubvolumeError),
    /// Something half made that is not ours.
    #[error(transparent)]
    Place(#[from] PlaceError),
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

/// Names what was tried, and on what.
pub(super) fn io_error(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> SnapshotError + use<> {
    let path = path.to_owned();
    move |source| SnapshotError::Io { verb, path: path.clone(), source }
}

impl Fault for SnapshotError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoSubject { .. } | Self::NotFound(_) | Self::Gone(_) => Kind::NotFound,
            Self::BadLabel(_) | Self::Ledger => Kind::Invalid,
            Self::Ambiguous { .. }
            | Self::LabelTaken { .. }
            | Self::NoName(_)
            | Self::Kept(_)
            | Self::NotOurs { .. }
            | Self::Mounted { .. }
            | Self::InUse { .. }
            | Self::Nested { .. }
            | Self::Running(_) => Kind::Conflict,
            Self::Container(report) => report.kind,
            Self::Subvolume(error) => error.kind(),
            Self::Place(error) => error.kind(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Damaged { .. } | Self::Io { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        Some(match self {
            Self::NoSubject { .. } => "`op-dbus query subvolumes`, `op-dbus plugin list` and `op-dbus container list` show what there is".into(),
            Self::NotFound(_) | Self::Gone(_) => "`op-dbus snapshot list` shows what there is".into(),
            Self::Ambiguous { .. } => "give its name, or say of what it is: --of @state".into(),
            Self::LabelTaken { name, .. } => format!("choose another label, or `op-dbus snapshot delete {name}` first"),
            Self::BadLabel(_) => "for example before-upgrade or backup-20260131".into(),
            Self::NoName(_) => "try again in a second".into(),
            Self::Kept(name) => format!("`op-dbus snapshot keep {name} --off` first"),
            Self::NotOurs { path } => format!("`btrfs subvolume show {}` tells what it is", path.display()),
            Self::Ledger => "look into the snapshot itself: opdbus-ledger verify --db and show --db take a copy of its blockchain.db".into(),
            Self::Mounted { .. } => "unmount what is mounted there; `findmnt` tells what it is".into(),
            Self::InUse { .. } => "end them first, or use --force: they then go on with the old one, which is kept as a snapshot, until they open their files anew".into(),
            Self::Nested { .. } => "with --force they stay in the old one, which is kept as a snapshot".into(),
            Self::Running(Subject::Container(name)) => {
                format!("`op-dbus container stop {name}` first, or use --force, which stops it and starts it again")
            }
            Self::Container(report) => return report.next.clone(),
            Self::Damaged { path, .. } => format!("move {} away; the snapshot beside it stays", path.display()),
            Self::Subvolume(error) => return error.next(),
            Self::Place(error) => return error.next(),
            Self::Running(_) | Self::Io { .. } => return None,
        })
    }
}
