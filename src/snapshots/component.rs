//! The component: what a stopped run left of a snapshot or a restore, and what is not as it was made.

use serde::Serialize;

use super::error::{SnapshotError, io_error};
use super::record::{self, SnapshotName};
use super::restore::{RESTORING, recover};
use super::store::{self, DELETING, MAKING, State, names};
use crate::engine::{Action, Change, Component, Context};
use crate::paths::Tree;
use crate::spec::{HostSpec, Subject};
use crate::storage::place::{Leftover, PlaceChange};
use crate::storage::subvolume;

/// Keeps the snapshots in order. It takes and removes none of its own accord: that is the timer's.
#[derive(Debug, Clone, Copy, Default)]
pub struct SnapshotsComponent;

/// What is to be put in order; which snapshots there are is a host's own affair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotsSeen {
    /// Half made or half removed, by name.
    pub half: Vec<String>,
    /// Records half written.
    pub half_records: Vec<Leftover>,
    /// Records whose snapshot is gone.
    pub stale: Vec<SnapshotName>,
    /// Snapshots that can be written to.
    pub open: Vec<SnapshotName>,
    /// What a restore was stopped in.
    pub restoring: Vec<Subject>,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum SnapshotChange {
    /// Something half made is removed.
    Discard {
        /// Its name in the directory of snapshots.
        name: String,
    },
    /// A record half written is removed.
    Place(PlaceChange),
    /// The record of a snapshot that is gone is removed.
    Forget {
        /// The snapshot.
        name: SnapshotName,
    },
    /// A snapshot is made read-only.
    Close {
        /// The snapshot.
        name: SnapshotName,
    },
    /// A restore that was stopped is ended.
    Recover {
        /// Of what.
        subject: Subject,
    },
}

impl Change for SnapshotChange {
    fn action(&self) -> Action {
        match self {
            Self::Discard { .. } | Self::Forget { .. } => Action::Remove,
            Self::Place(change) => change.action(),
            Self::Close { .. } | Self::Recover { .. } => Action::Update,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Discard { name } => format!("@snapshots/{name}"),
            Self::Place(change) => change.object(),
            Self::Forget { name } => format!("record of the snapshot {name}"),
            Self::Close { name } => format!("snapshot {name}"),
            Self::Recover { subject } => subject.to_string(),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Discard { .. } => "left half made by a run that was stopped".into(),
            Self::Place(change) => change.detail(),
            Self::Forget { .. } => "its subvolume is gone".into(),
            Self::Close { .. } => "made read-only".into(),
            Self::Recover { .. } => {
                "what a restore that was stopped left is removed, or kept as a snapshot".into()
            }
        }
    }
}

impl Component for SnapshotsComponent {
    const NAME: &'static str = "snapshots";
    type Seen = SnapshotsSeen;
    type Change = SnapshotChange;
    type Error = SnapshotError;

    fn observe(&self, cx: &Context<'_>) -> Result<SnapshotsSeen, SnapshotError> {
        let tree = cx.tree();
        let directory = store::directory(&tree);
        let mut seen = SnapshotsSeen::default();
        for prefix in PASSING {
            seen.half.extend(names(&directory, prefix)?);
        }
        let half_written = Leftover::list(&directory)?;
        seen.half_records = half_written.into_iter().filter(|left| left.path.is_file()).collect();
        for listed in store::list(&tree, None)? {
            match listed.state {
                State::Gone => seen.stale.push(listed.record.name),
                State::Writable => seen.open.push(listed.record.name),
                State::Whole | State::Foreign => {}
            }
        }
        seen.restoring = restoring(cx.spec, &tree)?;
        Ok(seen)
    }

    fn plan(&self, _: &HostSpec, seen: &SnapshotsSeen) -> Result<Vec<SnapshotChange>, SnapshotError> {
        let mut changes: Vec<SnapshotChange> =
            seen.half.iter().map(|name| SnapshotChange::Discard { name: name.clone() }).collect();
        for left in &seen.half_records {
            changes.push(SnapshotChange::Place(left.removal()?));
        }
        // A restore may have written a record and not moved yet what it is of.
        changes.extend(seen.stale.iter().map(|name| SnapshotChange::Forget { name: name.clone() }));
        changes.extend(seen.open.iter().map(|name| SnapshotChange::Close { name: name.clone() }));
        changes.extend(
            seen.restoring.iter().map(|subject| SnapshotChange::Recover { subject: subject.clone() }),
        );
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &SnapshotChange) -> Result<(), SnapshotError> {
        let tree = cx.tree();
        let directory = store::directory(&tree);
        match change {
            SnapshotChange::Discard { name } => {
                let path = directory.join(name);
                store::discard(&path)?;
                match std::fs::remove_dir_all(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(io_error("remove", &path)(error))
                    }
                    _ => Ok(()),
                }
            }
            SnapshotChange::Place(change) => Ok(change.apply()?),
            SnapshotChange::Forget { name } => record::remove(&directory, name),
            SnapshotChange::Close { name } => Ok(subvolume::set_read_only(&directory.join(name), true)?),
            SnapshotChange::Recover { subject } => recover(&tree, subject),
        }
    }
}

/// What the names of passing things in the directory of snapshots begin with.
const PASSING: [&str; 3] = [MAKING, DELETING, super::RECEIVING];

/// The things that a restore was stopped in.
fn restoring(spec: &HostSpec, tree: &Tree) -> Result<Vec<Subject>, SnapshotError> {
    let mut all = Vec::new();
    let left = |directory: &std::path::Path| names(directory, RESTORING);
    let inner = |name: String| name[RESTORING.len()..].to_owned();
    for name in left(tree.base())?.into_iter().map(inner) {
        all.extend(
            spec.btrfs.subvolumes.iter().find(|s| s.as_str() == name).cloned().map(Subject::Subvolume),
        );
    }
    for name in left(&tree.join("@plugins"))?.into_iter().map(inner) {
        all.extend(name.parse().ok().map(Subject::Plugin));
    }
    for name in names(&tree.containers(), "")? {
        if let Ok(name) = name.parse()
            && !left(&tree.container(&name))?.is_empty()
        {
            all.push(Subject::Container(name));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_in_order_has_nothing_to_do_and_what_is_left_is_planned_to_go() {
        let spec = HostSpec::default();
        assert_eq!(SnapshotsComponent.plan(&spec, &SnapshotsSeen::default()).unwrap(), []);
        let name: SnapshotName = "state-20260131T091500Z".parse().unwrap();
        let seen = SnapshotsSeen {
            half: vec![".opdbus-make-state-20260131T091500Z".into()],
            stale: vec![name.clone()],
            open: vec![name],
            restoring: vec!["@state".parse().unwrap()],
            ..SnapshotsSeen::default()
        };
        let plan = SnapshotsComponent.plan(&spec, &seen).unwrap();
        let actions: Vec<Action> = plan.iter().map(Change::action).collect();
        assert_eq!(actions, [Action::Remove, Action::Remove, Action::Update, Action::Update]);
    }
}
