use std::io;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};
use serde::{Serialize, Serializer};

use super::error::{PlaceError, failed};
use crate::storage::subvolume;

/// What is known of a directory or subvolume that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attributes {
    /// The owner's name, or number where it has none.
    pub owner: String,
    /// The group's name, or number where it has none.
    pub group: String,
    /// The permission bits.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    /// The component that made it; `None` where it is not ours.
    pub marker: Option<String>,
    /// The compression property.
    pub compression: Option<String>,
    /// Whether there is nothing in it. Not shown: what is in it is other components' business.
    #[serde(skip)]
    pub empty: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(super) fn octal<S: Serializer>(mode: &u32, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{mode:04o}"))
}

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Found {
    /// Nothing.
    Missing,
    /// A subvolume.
    Subvolume(Attributes),
    /// A plain directory.
    Directory(Attributes),
    /// A file, a link or another thing that is no directory.
    Other,
}

impl Found {
    /// Looks at a path; a link is not followed.
    pub fn read(path: &Path) -> Result<Self, PlaceError> {
        use std::os::unix::fs::MetadataExt;
        let look = || failed("look at", path);
        let metadata = match std::fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Self::Missing);
            }
            Err(error) => return Err(look()(error)),
        };
        if !metadata.is_dir() {
            return Ok(Self::Other);
        }
        let attributes = Attributes {
            owner: owner_name(metadata.uid()),
            group: group_name(metadata.gid()),
            mode: metadata.mode() & 0o7777,
            marker: subvolume::marker(path)?,
            compression: subvolume::compression(path)?,
            empty: std::fs::read_dir(path).map_err(look())?.next().is_none(),
        };
        Ok(if subvolume::is_subvolume(path).map_err(look())? {
            Self::Subvolume(attributes)
        } else {
            Self::Directory(attributes)
        })
    }

    /// What is known of it, where it is a directory or subvolume.
    #[must_use]
    pub fn attributes(&self) -> Option<&Attributes> {
        match self {
            Self::Subvolume(attributes) | Self::Directory(attributes) => Some(attributes),
            Self::Missing | Self::Other => None,
        }
    }
}

fn owner_name(uid: u32) -> String {
    let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    known.map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: u32) -> String {
    let known = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    known.map_or_else(|| gid.to_string(), |group| group.name)
}
