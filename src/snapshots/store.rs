//! The directory of snapshots: what is in it, making one, removing one.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{SnapshotError, io_error};
use super::record::{self, Label, Reason, Record, SnapshotName};
use crate::paths::Tree;
use crate::spec::Subject;
use crate::storage::subvolume;

/// What is being made.
pub(super) const MAKING: &str = ".opdbus-make-";
/// What is being removed.
pub(super) const DELETING: &str = ".opdbus-delete-";

/// Where snapshots are.
#[must_use]
pub fn directory(tree: &Tree) -> PathBuf {
    tree.join("@snapshots")
}

/// What a snapshot is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Who wants it.
    pub by: String,
    /// What for.
    pub reason: Reason,
    /// A word to find it by.
    pub label: Option<Label>,
    /// What for, in their own words.
    pub why: Option<String>,
    /// Whether it must not be removed.
    pub kept: bool,
}

impl Order {
    /// One without a label.
    #[must_use]
    pub fn new(by: &str, reason: Reason) -> Self {
        Self { by: by.to_owned(), reason, label: None, why: None, kept: false }
    }
}

/// What there is of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is as it was made.
    Whole,
    /// It is there, and can be written to.
    Writable,
    /// Its subvolume is gone.
    Gone,
    /// Another thing is there under its name.
    Foreign,
}

/// A snapshot in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// What is remembered of it.
    #[serde(flatten)]
    pub record: Record,
    /// What there is of it.
    pub state: State,
}

fn state(directory: &Path, record: &Record) -> Result<State, SnapshotError> {
    let path = directory.join(&record.name);
    if !subvolume::is_subvolume(&path).map_err(io_error("look at", &path))? {
        let there = path.symlink_metadata().is_ok();
        return Ok(if there { State::Foreign } else { State::Gone });
    }
    if subvolume::info(&path)?.uuid != record.uuid {
        return Ok(State::Foreign);
    }
    Ok(if subvolume::is_read_only(&path)? { State::Whole } else { State::Writable })
}

/// The names in a directory that begin so; none where there is no directory.
pub(super) fn names(directory: &Path, prefix: &str) -> Result<Vec<String>, SnapshotError> {
    let mut names = Vec::new();
    match std::fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                let name = entry.map_err(io_error("list", directory))?.file_name();
                names.extend(name.to_str().filter(|n| n.starts_with(prefix)).map(str::to_owned));
            }
        }
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
        Err(error) => return Err(io_error("list", directory)(error)),
    }
    names.sort();
    Ok(names)
}

/// The snapshots there are, by name; a record that is damaged is an error that names it. `of`: of one thing alone.
pub fn list(tree: &Tree, of: Option<&Subject>) -> Result<Vec<Listed>, SnapshotError> {
    let directory = directory(tree);
    let mut all = Vec::new();
    for name in names(&directory, "")? {
        let Some(name) = name.strip_suffix(".json").and_then(|name| name.parse().ok()) else { continue };
        let Some(record) = record::read(&directory, &name)? else { continue };
        if of.is_none_or(|subject| *subject == record.subject) {
            all.push(Listed { state: state(&directory, &record)?, record });
        }
    }
    all.sort_by(|a, b| a.record.name.cmp(&b.record.name));
    Ok(all)
}

/// The snapshot of a name, which must be there.
pub fn named(tree: &Tree, name: &SnapshotName) -> Result<Record, SnapshotError> {
    let directory = directory(tree);
    let record = record::read(&directory, name)?.ok_or_else(|| SnapshotError::NotFound(name.to_string()))?;
    match state(&directory, &record)? {
        State::Whole | State::Writable => Ok(record),
        State::Gone => Err(SnapshotError::Gone(record.name)),
        State::Foreign => Err(SnapshotError::NotOurs { path: directory.join(&record.name) }),
    }
}

/// The snapshot of a name, or the only one with a label, perhaps of one thing alone.
pub fn find(tree: &Tree, text: &str, of: Option<&Subject>) -> Result<Record, SnapshotError> {
    let not_found =
        || SnapshotError::NotFound(text.chars().take(80).flat_map(char::escape_default).collect());
    if let Ok(name) = text.parse::<SnapshotName>() {
        let record = named(tree, &name)?;
        return if of.is_none_or(|s| *s == record.subject) { Ok(record) } else { Err(not_found()) };
    }
    let mut with_label: Vec<Record> = list(tree, of)?
        .into_iter()
        .map(|listed| listed.record)
        .filter(|record| record.label.as_ref().is_some_and(|label| label.as_str() == text))
        .collect();
    match with_label.len() {
        0 => Err(not_found()),
        1 => named(tree, &with_label.remove(0).name),
        _ => Err(SnapshotError::Ambiguous {
            label: text.to_owned(),
            names: with_label.into_iter().map(|r| r.name.to_string()).collect(),
        }),
    }
}

/// A name that nothing has yet.
pub(super) fn free_name(
    directory: &Path,
    subject: &Subject,
    taken: Timestamp,
) -> Result<SnapshotName, SnapshotError> {
    let free = |name: &SnapshotName| {
        [directory.join(name), record::path(directory, name)].iter().all(|p| p.symlink_metadata().is_err())
    };
    (1..=99)
        .map(|number| SnapshotName::new(subject, taken, number))
        .find(free)
        .ok_or_else(|| SnapshotError::NoName(subject.clone()))
}

/// Takes a snapshot. The caller holds the engine's lock. Killed at any instant, it leaves a whole snapshot, or what
/// the next `apply` removes.
pub fn take(tree: &Tree, subject: &Subject, order: &Order) -> Result<Record, SnapshotError> {
    takeable(tree, subject, order)?;
    copy(tree, &subject.path(tree), subject, order)
}

/// Refuses what [`take`] refuses. Changes nothing.
pub fn takeable(tree: &Tree, subject: &Subject, order: &Order) -> Result<(), SnapshotError> {
    let source = subject.path(tree);
    if !subvolume::is_subvolume(&source).map_err(io_error("look at", &source))? {
        return Err(SnapshotError::NoSubject { subject: subject.clone(), path: source });
    }
    if let Some(label) = &order.label {
        let others = list(tree, Some(subject))?;
        if let Some(other) = others.into_iter().find(|other| other.record.label.as_ref() == Some(label)) {
            return Err(SnapshotError::LabelTaken {
                label: label.clone(),
                subject: subject.clone(),
                name: other.record.name,
            });
        }
    }
    Ok(())
}

/// Makes a read-only copy of a subvolume and records it as a snapshot of `subject`.
pub fn copy(tree: &Tree, source: &Path, subject: &Subject, order: &Order) -> Result<Record, SnapshotError> {
    let directory = directory(tree);
    let taken = Timestamp::now();
    let name = free_name(&directory, subject, taken)?;
    let stage = directory.join(format!("{MAKING}{name}"));
    discard(&stage)?;
    subvolume::snapshot(source, &stage, true)?;
    let record = recorded(&stage, name, subject, taken, order)?;
    record::write(&directory, &record)?;
    subvolume::rename(&stage, &directory.join(&record.name))?;
    subvolume::sync(&directory)?;
    Ok(record)
}

/// The record of the subvolume at `path`, which becomes the snapshot `name`.
pub(super) fn recorded(
    path: &Path,
    name: SnapshotName,
    subject: &Subject,
    taken: Timestamp,
    order: &Order,
) -> Result<Record, SnapshotError> {
    let info = subvolume::info(path)?;
    Ok(Record {
        version: Record::VERSION,
        name,
        subject: subject.clone(),
        uuid: info.uuid,
        origin: info.parent,
        received: info.received,
        sequence: info.id,
        // Seconds are what the name has.
        taken: Timestamp::from_second(taken.as_second()).unwrap_or(taken),
        by: order.by.clone(),
        reason: order.reason,
        label: order.label.clone(),
        why: order.why.clone(),
        kept: order.kept,
    })
}

/// Removes a passing subvolume of ours, where there is one.
pub(super) fn discard(path: &Path) -> Result<(), SnapshotError> {
    if subvolume::is_subvolume(path).map_err(io_error("look at", path))? {
        subvolume::delete(path)?;
    }
    Ok(())
}

/// Removes a snapshot. One that is marked as kept is refused.
pub fn delete(tree: &Tree, name: &SnapshotName) -> Result<(), SnapshotError> {
    let directory = directory(tree);
    deletable(tree, name)?;
    let doomed = directory.join(format!("{DELETING}{name}"));
    discard(&doomed)?;
    subvolume::rename(&directory.join(name), &doomed)?;
    record::remove(&directory, name)?;
    Ok(subvolume::delete(&doomed)?)
}

/// Refuses what [`delete`] refuses. Changes nothing.
pub fn deletable(tree: &Tree, name: &SnapshotName) -> Result<(), SnapshotError> {
    let record = named(tree, name)?;
    if record.kept { Err(SnapshotError::Kept(record.name)) } else { Ok(()) }
}

/// Marks a snapshot as kept, or takes the mark away.
pub fn mark_kept(tree: &Tree, name: &SnapshotName, kept: bool) -> Result<Record, SnapshotError> {
    let mut record = named(tree, name)?;
    if record.kept != kept {
        record.kept = kept;
        record::write(&directory(tree), &record)?;
    }
    Ok(record)
}
