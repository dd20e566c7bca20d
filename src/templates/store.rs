//! The directory of templates: what is in it, what is ours, what was left half made.

use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{TemplateError, io_error};
use super::record::{self, TemplateRecord};
use crate::name::TemplateName;
use crate::paths::Tree;
use crate::storage::subvolume;

/// What marks a template's directory and subvolume as ours.
pub(super) const MARK: &str = "template";
/// Names of what is being built.
const BUILD: &str = ".opdbus-build-";
/// Names of what is being removed.
const DELETE: &str = ".opdbus-delete-";

/// A template that can be cloned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is known of it.
    pub record: TemplateRecord,
    /// The subvolume to take a snapshot of. The snapshot carries the template's marker: give it your own.
    pub rootfs: PathBuf,
}

/// A template in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// Its name.
    pub name: TemplateName,
    /// What is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<TemplateRecord>,
    /// Why it cannot be cloned, where it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// How many earlier generations of it there are.
    #[serde(default)]
    pub kept: usize,
}

/// What is at a name in the directory of templates.
pub(super) enum Entry {
    /// A template of ours.
    Template(TemplateName, Result<Box<TemplateRecord>, TemplateError>),
    /// Something of ours half made or half removed.
    Leftover(String),
    /// Something that is not ours.
    Foreign(String),
}

pub(super) fn building(tree: &Tree, name: &TemplateName) -> PathBuf {
    tree.templates().join(format!("{BUILD}{name}"))
}

pub(super) fn deleting(tree: &Tree, name: &TemplateName) -> PathBuf {
    tree.templates().join(format!("{DELETE}{name}"))
}

pub(super) fn rootfs(template: &Path) -> PathBuf {
    template.join("rootfs")
}

/// Whether something is at `path`, a broken link too.
pub(super) fn occupied(path: &Path) -> Result<bool, TemplateError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("look at", path)(error)),
    }
}

pub(super) fn is_ours(path: &Path) -> Result<bool, TemplateError> {
    Ok(subvolume::marker(path)?.as_deref() == Some(MARK))
}

/// Everything in the directory of templates, by name; nothing where it is not there yet.
pub(super) fn entries(tree: &Tree) -> Result<Vec<Entry>, TemplateError> {
    let directory = tree.templates();
    let failed = |error| io_error("list", &directory)(error);
    let mut names = Vec::new();
    match std::fs::read_dir(&directory) {
        Ok(entries) => {
            for entry in entries {
                names.push(entry.map_err(failed)?.file_name());
            }
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
        Err(error) => return Err(failed(error)),
    }
    names.sort();
    let generations = tree.generations();
    // Not a template itself, and what is in it is looked at by its own room.
    names.retain(|name| directory.join(name) != generations);
    names.into_iter().map(|name| entry(&directory, &name.to_string_lossy())).collect()
}

fn entry(directory: &Path, name: &str) -> Result<Entry, TemplateError> {
    let path = directory.join(name);
    if name.starts_with(BUILD) || name.starts_with(DELETE) {
        return Ok(if may_be_removed(&path)? {
            Entry::Leftover(name.to_owned())
        } else {
            Entry::Foreign(name.to_owned())
        });
    }
    match name.parse::<TemplateName>() {
        Ok(template) if is_ours(&path)? => Ok(Entry::Template(template, read(&path).map(Box::new))),
        _ => Ok(Entry::Foreign(name.to_owned())),
    }
}

/// Whether a thing under one of our passing names is ours: marked, or so young that it was not marked yet.
pub(super) fn may_be_removed(path: &Path) -> Result<bool, TemplateError> {
    if is_ours(path)? {
        return Ok(true);
    }
    match std::fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) => {
            Ok(false)
        }
        Err(error) => Err(io_error("list", path)(error)),
    }
}

/// The record of the template in the directory `path`, which can be cloned.
pub(super) fn read(path: &Path) -> Result<TemplateRecord, TemplateError> {
    let record = record::read(path)?;
    let rootfs = rootfs(path);
    if !subvolume::is_subvolume(&rootfs).map_err(io_error("look at", &rootfs))? {
        return Err(TemplateError::Damaged {
            path: path.to_owned(),
            why: "its rootfs is not a subvolume".into(),
        });
    }
    Ok(record)
}

/// Finds a template to clone.
pub fn find(tree: &Tree, name: &TemplateName) -> Result<Found, TemplateError> {
    let path = tree.template(name);
    if !occupied(&path)? {
        return Err(TemplateError::NotFound { name: name.clone() });
    }
    if !is_ours(&path)? {
        return Err(TemplateError::Foreign { path });
    }
    Ok(Found { record: read(&path)?, rootfs: rootfs(&path) })
}

/// The templates there are, by name; also those that are damaged.
pub fn list(tree: &Tree) -> Result<Vec<Listed>, TemplateError> {
    let mut all = Vec::new();
    for entry in entries(tree)? {
        if let Entry::Template(name, read) = entry {
            let (record, damage) = match read {
                Ok(record) => (Some(*record), None),
                Err(error) => (None, Some(error.to_string())),
            };
            let kept = super::generations::kept(tree, &name)?.len();
            all.push(Listed { name, record, damage, kept });
        }
    }
    Ok(all)
}

/// Removes a template's directory, whole or half made, with its subvolume. What is at `path` must be under one of our
/// passing names, so that no one takes what is left of it for a template.
pub(super) fn discard(path: &Path) -> Result<(), TemplateError> {
    if !occupied(path)? {
        return Ok(());
    }
    if !may_be_removed(path)? {
        return Err(TemplateError::Foreign { path: path.to_owned() });
    }
    let rootfs = rootfs(path);
    if subvolume::is_subvolume(&rootfs).map_err(io_error("look at", &rootfs))? {
        subvolume::delete(&rootfs)?;
    }
    std::fs::remove_dir_all(path).map_err(io_error("remove", path))
}

/// Removes a leftover by the name it has in the directory of templates.
pub(super) fn discard_leftover(tree: &Tree, name: &str) -> Result<(), TemplateError> {
    discard(&tree.templates().join(name))
}
