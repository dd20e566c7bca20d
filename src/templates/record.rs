//! What is remembered of a template: `template.json` beside its root file system.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::TemplateError;
use crate::files;
use crate::hex::hex;
use crate::name::TemplateName;
use crate::paths::Tree;
use crate::spec::Template;
use crate::storage::subvolume;

/// The version of `template.json`.
pub(super) const RECORD_VERSION: u32 = 1;

/// Who wants a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The host spec: `refresh` builds it anew.
    System,
    /// Somebody by hand: never refreshed, never removed but by name.
    User,
}

/// A template as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The version of this record.
    pub version: u32,
    /// Its name.
    pub name: TemplateName,
    /// Who wants it.
    pub origin: Origin,
    /// What it was built from.
    pub spec: Template,
    /// Which build this is: different for each.
    pub generation: String,
    /// The release, as its os-release names it.
    pub release: String,
    /// How it was made: mmdebstrap, debootstrap or tarball.
    pub source: String,
    /// When it was built, in seconds since 1970.
    pub built: i64,
}

impl Record {
    /// A digest of what a template is built from: another one means that the declaration has changed.
    #[must_use]
    pub fn digest(spec: &Template) -> String {
        let text = serde_json::to_vec(spec).unwrap_or_default();
        hex(&Sha256::digest(text))[..16].to_owned()
    }
}

/// A template that is there.
#[derive(Debug, Clone)]
pub struct Found {
    /// What is remembered of it.
    pub record: Record,
    /// Its root file system, the subvolume that is cloned.
    pub rootfs: PathBuf,
}

/// Finds a template; an error where there is none.
pub fn find(tree: &Tree, name: &TemplateName) -> Result<Found, TemplateError> {
    look(tree, name)?.ok_or_else(|| TemplateError::NotFound(name.clone()))
}

/// Finds a template; `None` where there is none, an error where something else has its place.
pub(super) fn look(tree: &Tree, name: &TemplateName) -> Result<Option<Found>, TemplateError> {
    let directory = tree.template(name);
    let path = directory.join("template.json");
    let io = |source| TemplateError::Io { verb: "read", path: path.clone(), source };
    let Some(bytes) = files::read_optional(&path).map_err(io)? else {
        return if directory.symlink_metadata().is_ok() {
            Err(TemplateError::InTheWay(directory))
        } else {
            Ok(None)
        };
    };
    let record = serde_json::from_slice(&bytes)
        .map_err(|source| TemplateError::Record { path: path.clone(), source })?;
    let rootfs = directory.join("rootfs");
    if !subvolume::is_subvolume(&rootfs).map_err(|source| TemplateError::Io {
        verb: "look at",
        path: rootfs.clone(),
        source,
    })? {
        return Err(TemplateError::InTheWay(directory));
    }
    Ok(Some(Found { record, rootfs }))
}
