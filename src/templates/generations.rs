//! Generations: what a refresh replaces is kept, to go back to.
//!
//! Each lies in a place of its own, `.generations/NAME/GENERATION`, and is like a template. The one that is to be used
//! is brought to such a place whole, exchanged with the one in use in one step, and then what was in use gets the
//! place's name right, the time and the read-only mark. Which generation is in a place is told by its record and never
//! by the name of the place: a run that was killed before the exchange or after it leaves nothing but whole
//! generations, and [`settle`] does what it had left to do.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::build::{put_away, rename};
use super::error::{TemplateError, io_error};
use super::record::{self, Origin, TemplateRecord, declaration_digest};
use super::store::{self, MARK, building, is_ours, may_be_removed, occupied, rootfs};
use crate::engine::Context;
use crate::name::TemplateName;
use crate::paths::Tree;
use crate::snapshots;
use crate::storage::{mounts_subvolume, subvolume};

/// A generation of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    /// Its name; of a damaged one, where it lies.
    pub generation: String,
    /// Whether containers are cloned from it.
    pub in_use: bool,
    /// What is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<TemplateRecord>,
    /// Why it cannot be used, where it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

/// A generation that is not in use.
pub(super) struct Kept {
    /// Where it lies.
    place: PathBuf,
    /// Its record.
    record: Result<TemplateRecord, TemplateError>,
}

impl Kept {
    fn is(&self, generation: &str) -> bool {
        self.record.as_ref().is_ok_and(|r| r.generation == generation)
    }

    fn replaced(&self) -> Option<jiff::Timestamp> {
        self.record.as_ref().ok().and_then(|r| r.replaced)
    }

    /// Whether a run was stopped before it had done everything with it.
    fn unsettled(&self) -> Result<bool, TemplateError> {
        Ok(match &self.record {
            Ok(record) => {
                record.replaced.is_none()
                    || self.place.file_name() != Some(record.generation.as_ref())
                    || !temporary(&self.place)?.is_empty()
            }
            Err(TemplateError::Damaged { .. }) => true,
            Err(_) => false,
        })
    }
}

fn places(tree: &Tree, name: &TemplateName) -> PathBuf {
    tree.generations().join(name)
}

/// What is in a directory; nothing where it is not there.
fn inside(directory: &Path) -> Result<Vec<PathBuf>, TemplateError> {
    match std::fs::read_dir(directory) {
        Ok(entries) => {
            let paths: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
            let mut paths = paths.map_err(io_error("list", directory))?;
            paths.sort();
            Ok(paths)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(io_error("list", directory)(error)),
    }
}

/// Files of ours that were being written.
fn temporary(place: &Path) -> Result<Vec<PathBuf>, TemplateError> {
    let mut all = inside(place)?;
    all.retain(|path| path.file_name().is_some_and(crate::files::is_temporary));
    Ok(all)
}

/// The generations that are not in use, those first that were in use last. What is not ours is left out.
pub(super) fn kept(tree: &Tree, name: &TemplateName) -> Result<Vec<Kept>, TemplateError> {
    let mut all = Vec::new();
    for place in inside(&places(tree, name))? {
        if is_ours(&place)? {
            all.push(Kept { record: store::read(&place), place });
        }
    }
    // One without a time is of a run that was stopped just now.
    let newest_first = |kept: &Kept| {
        let at = kept.replaced().unwrap_or(jiff::Timestamp::MAX);
        std::cmp::Reverse((at, kept.place.clone()))
    };
    all.sort_by_key(newest_first);
    Ok(all)
}

/// The templates that have generations that are not in use.
pub(super) fn names(tree: &Tree) -> Result<Vec<TemplateName>, TemplateError> {
    let all = inside(&tree.generations())?;
    Ok(all.iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect())
}

/// All generations of a template: the one in use, then those that were in use last.
pub fn generations(tree: &Tree, name: &TemplateName) -> Result<Vec<Generation>, TemplateError> {
    let mut all = Vec::new();
    let one = |place: &Path, in_use, read: Result<TemplateRecord, TemplateError>| match read {
        Ok(record) => {
            Generation { generation: record.generation.clone(), in_use, record: Some(record), damage: None }
        }
        Err(error) => Generation {
            generation: place.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            in_use,
            record: None,
            damage: Some(error.to_string()),
        },
    };
    let path = tree.template(name);
    if occupied(&path)? {
        if !is_ours(&path)? {
            return Err(TemplateError::Foreign { path });
        }
        all.push(one(&path, true, store::read(&path)));
    }
    all.extend(kept(tree, name)?.into_iter().map(|kept| one(&kept.place, false, kept.record)));
    if all.is_empty() {
        return Err(TemplateError::NotFound { name: name.clone() });
    }
    Ok(all)
}

/// Goes back to an earlier generation: to the one named, else to the one built before that in use. What was in use is
/// kept. Clones are not touched. The one that is in use already is an answer and no error. The caller holds the
/// engine's lock.
pub fn rollback(
    cx: &Context<'_>,
    name: &TemplateName,
    to: Option<&str>,
) -> Result<TemplateRecord, TemplateError> {
    let tree = cx.tree();
    settle(&tree, name)?;
    let Kept { place, record } = match choose(cx, name, to)? {
        Choice::InUse(record) => return Ok(record),
        Choice::Earlier(kept) => kept,
    };
    let mut record = record?;
    record.replaced = None;
    let declared = cx.spec.templates.get(name).map(declaration_digest);
    record.held_against = declared.filter(|digest| *digest != record.declaration_digest);
    record::write(&place, &record)?;
    swap(&tree, name, &place)?;
    Ok(record)
}

/// Which generation a rollback puts in use.
enum Choice {
    /// The one that is.
    InUse(TemplateRecord),
    /// An earlier one.
    Earlier(Kept),
}

fn choose(cx: &Context<'_>, name: &TemplateName, to: Option<&str>) -> Result<Choice, TemplateError> {
    let tree = cx.tree();
    let path = tree.template(name);
    let there = occupied(&path)?;
    if there && !is_ours(&path)? {
        return Err(TemplateError::Foreign { path });
    }
    let mut all = kept(&tree, name)?;
    if !there && all.is_empty() {
        return Err(TemplateError::NotFound { name: name.clone() });
    }
    let current = if there { store::read(&path).ok() } else { None };
    if let Some(record) = &current {
        if record.origin == Origin::User {
            return Err(TemplateError::UserTemplate { name: name.clone() });
        }
        if to == Some(record.generation.as_str()) {
            return Ok(Choice::InUse(record.clone()));
        }
    }
    let chosen = match to {
        Some(generation) => all.iter().position(|kept| kept.is(generation)),
        None => previous(&all, current.as_ref()),
    };
    let Some(chosen) = chosen else {
        let what = match to {
            Some(generation) => {
                format!(
                    "generation \"{}\"",
                    generation.chars().take(60).flat_map(char::escape_default).collect::<String>()
                )
            }
            None => "generation before the one in use".into(),
        };
        return Err(TemplateError::NoGeneration { name: name.clone(), what });
    };
    Ok(Choice::Earlier(all.swap_remove(chosen)))
}

/// The generation that [`rollback`] would put in use; `None` where it is in use. Refuses what it would refuse.
pub fn would_roll_back(
    cx: &Context<'_>,
    name: &TemplateName,
    to: Option<&str>,
) -> Result<Option<TemplateRecord>, TemplateError> {
    match choose(cx, name, to)? {
        Choice::InUse(_) => Ok(None),
        Choice::Earlier(kept) => kept.record.map(Some),
    }
}

/// The newest of those that were built before the one in use; where it cannot be told which that is, the newest.
fn previous(all: &[Kept], current: Option<&TemplateRecord>) -> Option<usize> {
    let built = |kept: &Kept| kept.record.as_ref().ok().map(|r| (r.built, r.generation.clone()));
    let before = |at: &(jiff::Timestamp, String)| {
        current.is_none_or(|current| (at.0, &at.1) < (current.built, &current.generation))
    };
    let known = all.iter().enumerate().filter_map(|(i, kept)| Some((built(kept)?, i)));
    known.filter(|(at, _)| before(at)).max().map(|(_, i)| i)
}

/// Puts what was built, whole and under its passing name, in the place of the generation in use, which is kept.
pub(super) fn take_over(tree: &Tree, record: &TemplateRecord) -> Result<(), TemplateError> {
    let name = &record.name;
    own(&tree.generations())?;
    own(&places(tree, name))?;
    let place = places(tree, name).join(&record.generation);
    rename(&building(tree, name), &place, RenameFlags::NOREPLACE)?;
    sync(&places(tree, name))?;
    swap(tree, name, &place)
}

/// Makes a directory of ours, or takes one that was made and not marked yet.
fn own(path: &Path) -> Result<(), TemplateError> {
    if is_ours(path)? {
        return Ok(());
    }
    if !occupied(path)? {
        std::fs::DirBuilder::new().mode(0o700).create(path).map_err(io_error("make", path))?;
    } else if !may_be_removed(path)? {
        return Err(TemplateError::Foreign { path: path.to_owned() });
    }
    Ok(subvolume::mark(path, MARK)?)
}

/// Exchanges a whole generation for the one in use, and settles that one.
fn swap(tree: &Tree, name: &TemplateName, place: &Path) -> Result<(), TemplateError> {
    let path = tree.template(name);
    let how = if occupied(&path)? { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    rename(place, &path, how)?;
    sync(&places(tree, name))?;
    sync(&tree.templates())?;
    settle(tree, name)
}

fn sync(directory: &Path) -> Result<(), TemplateError> {
    crate::files::sync_directory(directory).map_err(io_error("sync", directory))
}

/// Does what a run that was stopped had left to do with generations that are not in use: what is whole gets its time,
/// the read-only mark and the name of its place, what is damaged is removed.
pub(super) fn settle(tree: &Tree, name: &TemplateName) -> Result<(), TemplateError> {
    for kept in kept(tree, name)? {
        if !kept.unsettled()? {
            continue;
        }
        let Ok(mut record) = kept.record else {
            put_away(tree, name, &kept.place)?;
            continue;
        };
        for file in temporary(&kept.place)? {
            std::fs::remove_file(&file).map_err(io_error("remove", &file))?;
        }
        subvolume::set_read_only(&rootfs(&kept.place), true)?;
        let place = places(tree, name).join(&record.generation);
        if kept.place != place && !occupied(&place)? {
            rename(&kept.place, &place, RenameFlags::NOREPLACE)?;
        }
        if record.replaced.is_none() {
            record.replaced = Some(jiff::Timestamp::now());
            record.held_against = None;
            record::write(&place, &record)?;
        }
        sync(&places(tree, name))?;
    }
    Ok(())
}

/// Whether [`settle`] has something to do.
pub(super) fn unsettled(tree: &Tree, name: &TemplateName) -> Result<bool, TemplateError> {
    for kept in kept(tree, name)? {
        if kept.unsettled()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Those beyond the `keep` that were in use last, without those that something uses at this moment.
fn surplus(tree: &Tree, name: &TemplateName, keep: u32) -> Result<Vec<PathBuf>, TemplateError> {
    let mut surplus = Vec::new();
    for kept in kept(tree, name)?.into_iter().skip(usize::try_from(keep).unwrap_or(usize::MAX)) {
        // One that a newer program made is not for this one to remove.
        let removable = matches!(kept.record, Ok(_) | Err(TemplateError::Damaged { .. }));
        if removable && !busy(&kept.place)? {
            surplus.push(kept.place);
        }
    }
    Ok(surplus)
}

/// How many [`prune`] would remove.
pub(super) fn beyond(tree: &Tree, name: &TemplateName, keep: u32) -> Result<usize, TemplateError> {
    surplus(tree, name, keep).map(|all| all.len())
}

/// Removes the generations beyond the `keep` that were in use last. The one in use is never among them, nor one that a
/// program works in or that is mounted somewhere.
pub(super) fn prune(tree: &Tree, name: &TemplateName, keep: u32) -> Result<(), TemplateError> {
    for place in surplus(tree, name, keep)? {
        put_away(tree, name, &place)?;
    }
    tidy(tree, name)
}

/// Removes all that are not in use, of a template that goes.
pub(super) fn remove_all(tree: &Tree, name: &TemplateName) -> Result<(), TemplateError> {
    for kept in kept(tree, name)? {
        put_away(tree, name, &kept.place)?;
    }
    tidy(tree, name)
}

/// Removes the directory of a template's generations where nothing is in it any more.
fn tidy(tree: &Tree, name: &TemplateName) -> Result<(), TemplateError> {
    let directory = places(tree, name);
    match std::fs::remove_dir(&directory) {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Ok(())
        }
        Err(error) => Err(io_error("remove", &directory)(error)),
    }
}

/// Whether a program has something of it open or works in it, or something is mounted in it or from it.
fn busy(place: &Path) -> Result<bool, TemplateError> {
    let rootfs = rootfs(place);
    if !subvolume::is_subvolume(&rootfs).map_err(io_error("look at", &rootfs))? {
        return Ok(false);
    }
    if snapshots::in_use(&rootfs)? {
        return Ok(true);
    }
    // By its last four names, which no other subvolume of ours has: `.generations/NAME/GENERATION/rootfs`.
    let names: Vec<_> = rootfs.components().rev().take(4).collect();
    let tail: PathBuf = names.into_iter().rev().collect();
    mounts_subvolume(&tail).map_err(io_error("read", Path::new("/proc/self/mountinfo")))
}
