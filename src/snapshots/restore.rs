//! Putting a snapshot in the place of what is there. The new one is made whole beside the old one, the two
//! exchange their names in one step, and the old one is moved, as it is, to the snapshots. Killed before the
//! exchange, the next run removes the new one; killed after it, the next run keeps the old one. Which of the two
//! is found there is told by an attribute that only the new one has.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::busy;
use super::error::{SnapshotError, io_error};
use super::record::{self, Reason, Record, SnapshotName};
use super::store::{self, MAKING, Order};
use crate::engine::Context;
use crate::fault::Report;
use crate::name::ContainerName;
use crate::paths::Tree;
use crate::spec::Subject;
use crate::storage::subvolume;

/// The prefix of what is about to be exchanged, or was.
pub(super) const RESTORING: &str = ".opdbus-restore-";

/// What the containers' room knows of a container, which this one, lying below it, does not.
pub trait Occupants {
    /// Whether it runs.
    fn running(&self, cx: &Context<'_>, name: &ContainerName) -> Result<bool, Report>;
    /// Stops it.
    fn stop(&self, cx: &Context<'_>, name: &ContainerName) -> Result<(), Report>;
    /// Starts it.
    fn start(&self, cx: &Context<'_>, name: &ContainerName) -> Result<(), Report>;
    /// Writes what the container is now (name, address) into a root file system that it had once.
    fn refit(&self, cx: &Context<'_>, name: &ContainerName, rootfs: &Path) -> Result<(), Report>;
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// What was put back.
    pub subject: Subject,
    /// The snapshot it is now as.
    pub from: SnapshotName,
    /// The snapshot that what was there before is now; none where nothing was there.
    pub before: Option<SnapshotName>,
    /// Whether a container was stopped for it, and started again.
    pub restarted: bool,
}

fn container(subject: &Subject) -> Option<&ContainerName> {
    if let Subject::Container(name) = subject { Some(name) } else { None }
}

/// The name under which what takes the place of `path` is made.
pub(super) fn staged(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(RESTORING);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// Puts a snapshot in the place of what it is of. The caller holds the engine's lock.
pub fn restore(
    cx: &Context<'_>,
    from: &Record,
    by: &str,
    force: bool,
    occupants: &dyn Occupants,
) -> Result<Restored, SnapshotError> {
    let (tree, subject) = (cx.tree(), &from.subject);
    let container = container(subject);
    if subject.path(&tree) != tree.join("@timing") {
        recover(&tree, subject)?;
    }
    let running = restorable(cx, from, force, occupants)?;
    let fit = |rootfs: &Path| match container {
        Some(name) => occupants.refit(cx, name, rootfs).map_err(SnapshotError::Container),
        None => Ok(()),
    };
    let stopped = container.filter(|_| running);
    if let Some(name) = stopped {
        occupants.stop(cx, name).map_err(SnapshotError::Container)?;
    }
    let why = format!("before {} was put back", from.name);
    let order = Order { why: Some(why), ..Order::new(by, Reason::Replaced) };
    let exchanged = activate(&tree, subject, &store::directory(&tree).join(&from.name), &order, fit);
    // Whatever came of it, a container that ran runs again.
    if let Some(name) = stopped {
        occupants.start(cx, name).map_err(SnapshotError::Container)?;
    }
    let before = exchanged?.map(|record| record.name);
    Ok(Restored { subject: subject.clone(), from: from.name.clone(), before, restarted: running })
}

/// Refuses what [`restore`] refuses, and says whether a container would be stopped for it. Changes nothing.
pub fn restorable(
    cx: &Context<'_>,
    from: &Record,
    force: bool,
    occupants: &dyn Occupants,
) -> Result<bool, SnapshotError> {
    let (tree, subject) = (cx.tree(), &from.subject);
    let path = subject.path(&tree);
    if path == tree.join("@timing") {
        return Err(SnapshotError::Ledger);
    }
    let container = container(subject);
    let there = subvolume::is_subvolume(&path).map_err(io_error("look at", &path))?;
    if !there && (container.is_some() || path.symlink_metadata().is_ok()) {
        return Err(SnapshotError::NoSubject { subject: subject.clone(), path });
    }
    let running = match container {
        Some(name) => occupants.running(cx, name).map_err(SnapshotError::Container)?,
        None => false,
    };
    if running && !force {
        return Err(SnapshotError::Running(subject.clone()));
    }
    if there {
        check(&path, force)?;
    }
    Ok(running)
}

/// Refuses to exchange a subvolume where something is mounted inside, and, without `force`, where programs use it or
/// subvolumes inside it would stay behind.
pub fn check(path: &Path, force: bool) -> Result<(), SnapshotError> {
    busy::mounts(path)?;
    if force {
        return Ok(());
    }
    let users = busy::users(path)?;
    if !users.is_empty() {
        return Err(SnapshotError::InUse { path: path.to_owned(), users });
    }
    let inside = busy::nested(path)?;
    if !inside.is_empty() {
        let inside = inside.iter().map(|p| p.display().to_string()).collect();
        return Err(SnapshotError::Nested { path: path.to_owned(), inside });
    }
    Ok(())
}

/// Makes a writable copy of `source`, has it fitted, and puts it in the place of the subject; gives the
/// snapshot that what was there before has become.
pub fn activate(
    tree: &Tree,
    subject: &Subject,
    source: &Path,
    order: &Order,
    fit: impl FnOnce(&Path) -> Result<(), SnapshotError>,
) -> Result<Option<Record>, SnapshotError> {
    recover(tree, subject)?;
    let path = subject.path(tree);
    let stage = staged(&path);
    // It comes to its place with the attribute on: one without would be taken for what was in use.
    let making = store::directory(tree).join(format!("{MAKING}restore"));
    store::discard(&making)?;
    subvolume::snapshot(source, &making, false)?;
    subvolume::set_staged(&making, true)?;
    subvolume::rename(&making, &stage)?;
    let made = fit(&stage).and_then(|()| Ok(subvolume::sync(&stage)?));
    if let Err(error) = made {
        store::discard(&stage)?;
        return Err(error);
    }
    let there = subvolume::is_subvolume(&path).map_err(io_error("look at", &path))?;
    if there {
        subvolume::exchange(&stage, &path)?;
    } else {
        subvolume::rename(&stage, &path)?;
    }
    subvolume::set_staged(&path, false)?;
    let before = if there { Some(keep(tree, subject, &stage, order)?) } else { None };
    subvolume::sync(&path)?;
    Ok(before)
}

/// Moves what was in use to the snapshots, with everything in it, and closes it.
fn keep(tree: &Tree, subject: &Subject, old: &Path, order: &Order) -> Result<Record, SnapshotError> {
    let directory = store::directory(tree);
    let taken = Timestamp::now();
    let name = store::free_name(&directory, subject, taken)?;
    let record = store::recorded(old, name, subject, taken, order)?;
    record::write(&directory, &record)?;
    let place = directory.join(&record.name);
    subvolume::rename(old, &place)?;
    // Only then: what is read-only stays in its directory.
    subvolume::set_read_only(&place, true)?;
    Ok(record)
}

/// Ends what a run began that was stopped: removes a copy that was not exchanged yet, keeps what was in use before.
pub(super) fn recover(tree: &Tree, subject: &Subject) -> Result<(), SnapshotError> {
    let path = subject.path(tree);
    let stage = staged(&path);
    if subvolume::is_subvolume(&stage).map_err(io_error("look at", &stage))? {
        if subvolume::is_staged(&stage)? {
            subvolume::delete(&stage)?;
        } else {
            let why = "found after a restore that was stopped".to_owned();
            let order = Order { why: Some(why), ..Order::new("recovery", Reason::Replaced) };
            keep(tree, subject, &stage, &order)?;
        }
    }
    // A mark that was not taken away in time would make the next exchange take the old one for the new one.
    if subvolume::is_subvolume(&path).map_err(io_error("look at", &path))? && subvolume::is_staged(&path)? {
        subvolume::set_staged(&path, false)?;
    }
    Ok(())
}
