//! A subvolume of ours, made under a temporary name and renamed when it is whole, so that a run that is
//! killed leaves either nothing or something that the next one knows to remove.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Gid, Mode, RenameFlags, Uid, chmod, chown, renameat_with, stat};
use serde::Serialize;

use super::subvolume::{self, SubvolumeError};
use crate::fault::{Fault, Kind};

/// The prefix of a subvolume that is being made.
pub const STAGING: &str = ".opdbus-new-";

/// How a subvolume of ours should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// The component it belongs to.
    pub component: &'static str,
    /// Its mode.
    pub mode: u32,
}

/// How making it fails.
#[derive(Debug, thiserror::Error)]
pub enum StagedError {
    /// The subvolume itself.
    #[error(transparent)]
    Subvolume(#[from] SubvolumeError),
    /// Its marker, mode or place.
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
    /// A plain directory or a file has its name.
    #[error("{} is in the way: it is not a subvolume", .0.display())]
    Plain(PathBuf),
    /// A subvolume that is not ours has its name.
    #[error("{} is in the way: it is a subvolume that operation-dbus did not make", .0.display())]
    Foreign(PathBuf),
}

impl Fault for StagedError {
    fn kind(&self) -> Kind {
        match self {
            Self::Subvolume(e) => e.kind(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Io { .. } => Kind::Failed,
            Self::Plain(_) | Self::Foreign(_) => Kind::Conflict,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Subvolume(e) => e.next(),
            Self::Io { .. } => None,
            Self::Plain(path) => {
                let path = path.display();
                Some(format!(
                    "move it away (mv {path} {path}.before), run this again, and copy what you need back (cp -a {path}.before/. {path}/)"
                ))
            }
            Self::Foreign(path) => {
                let path = path.display();
                Some(format!(
                    "move it away (mv {path} {path}.before), or hand it over (setfattr -n user.opdbus -v storage {path})"
                ))
            }
        }
    }
}

/// What there is at a place where a subvolume of ours belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenStaged {
    /// Its mode.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    /// Whether root owns it.
    pub owned_by_root: bool,
    /// Its compression property.
    pub compression: Option<String>,
}

/// A mode as people read it: `"0755"`.
pub(super) fn octal<S: serde::Serializer>(mode: &u32, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{mode:04o}"))
}

impl SeenStaged {
    /// What has to be changed for it to be as wanted, in words.
    #[must_use]
    pub fn differences(&self, wanted: &Wanted) -> Vec<String> {
        let mut all = Vec::new();
        if self.compression.as_deref() != Some("zstd") {
            all.push(format!(
                "compression zstd instead of {}",
                self.compression.as_deref().unwrap_or("none")
            ));
        }
        if self.mode != wanted.mode {
            all.push(format!("mode {:04o} instead of {:04o}", wanted.mode, self.mode));
        }
        if !self.owned_by_root {
            all.push("owned by root".into());
        }
        all
    }
}

/// Looks at a place: `None` where nothing is, an error where something is that is not ours.
pub fn seen(path: &Path) -> Result<Option<SeenStaged>, StagedError> {
    let io = |source: io::Error| StagedError::Io { verb: "look at", path: path.to_owned(), source };
    match path.symlink_metadata() {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(io(error)),
        Ok(_) => {}
    }
    if !subvolume::is_subvolume(path).map_err(io)? {
        return Err(StagedError::Plain(path.to_owned()));
    }
    if subvolume::marker(path)?.is_none() {
        return Err(StagedError::Foreign(path.to_owned()));
    }
    let stat = stat(path).map_err(|e| io(e.into()))?;
    Ok(Some(SeenStaged {
        mode: stat.st_mode & 0o7777,
        owned_by_root: stat.st_uid == 0,
        compression: subvolume::compression(path)?,
    }))
}

/// Makes a subvolume, or makes one of ours as wanted. `fill` puts into a new one what belongs there from the start.
pub fn make(
    path: &Path,
    wanted: &Wanted,
    fill: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), StagedError> {
    let io = |verb| move |source: io::Error| StagedError::Io { verb, path: path.to_owned(), source };
    if seen(path)?.is_some() {
        return settle(path, wanted);
    }
    let name = path.file_name().unwrap_or_default();
    let mut staging = std::ffi::OsString::from(STAGING);
    staging.push(name);
    let stage = path.with_file_name(staging);
    if subvolume::is_subvolume(&stage).map_err(io("look at"))? {
        subvolume::delete(&stage)?;
    }
    subvolume::create(&stage)?;
    subvolume::mark(&stage, wanted.component)?;
    settle(&stage, wanted)?;
    fill(&stage).map_err(io("fill"))?;
    subvolume::sync(&stage)?;
    renameat_with(CWD, &stage, CWD, path, RenameFlags::NOREPLACE).map_err(|e| io("put in place")(e.into()))
}

fn settle(path: &Path, wanted: &Wanted) -> Result<(), StagedError> {
    subvolume::set_compression(path, "zstd")?;
    chown(path, Some(Uid::ROOT), Some(Gid::ROOT))
        .and_then(|()| chmod(path, Mode::from_raw_mode(wanted.mode)))
        .map_err(|e| StagedError::Io {
            verb: "set owner and mode of",
            path: path.to_owned(),
            source: e.into(),
        })
}
