//! Files that we ship and the admin may edit, kept as Debian keeps configuration files: one that was
//! not edited is updated, one that was is kept, and a newer shipped version is laid beside it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{read_optional, replace};
use crate::fault::{Fault, Kind};

/// Why a managed file could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum ManagedError {
    /// A file could not be read or written.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The record of what was written is damaged.
    #[error("the record of managed files {} is damaged", .path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Fault for ManagedError {
    fn kind(&self) -> Kind {
        Kind::Failed
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Record { path, .. } => Some(format!(
                "move {} away; files that differ from what is shipped are then taken as edited, and kept",
                path.display()
            )),
            Self::Io { .. } => None,
        }
    }
}

/// How a managed file stands to what is shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// It is not there.
    Missing,
    /// It is what is shipped.
    Current,
    /// It is what was shipped before; it will be updated.
    Outdated,
    /// The admin edited it, and what is shipped has not changed since (or lies beside already).
    Edited,
    /// The admin edited it, and what is shipped has changed: the new one will be laid beside.
    EditedAndOutdated,
}

/// Where a shipped file went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// To its place.
    InPlace,
    /// Beside the edited one.
    Beside(PathBuf),
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    /// SHA-256, in hexadecimal, of what was last shipped to each path.
    shipped: BTreeMap<PathBuf, String>,
}

/// The managed files of a host, and the record of what was shipped.
#[derive(Debug, Clone)]
pub struct Managed {
    record: PathBuf,
}

impl Managed {
    /// Managed files whose record lies at `record`.
    pub fn new(record: impl Into<PathBuf>) -> Self {
        Self { record: record.into() }
    }

    fn read(&self) -> Result<Record, ManagedError> {
        let bytes = read_optional(&self.record).map_err(|source| ManagedError::Io {
            verb: "read",
            path: self.record.clone(),
            source,
        })?;
        match bytes {
            None => Ok(Record { version: 1, ..Record::default() }),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| ManagedError::Record { path: self.record.clone(), source }),
        }
    }

    /// How the file at `path` stands to `content`, which is what is shipped now.
    pub fn state(&self, path: &Path, content: &[u8]) -> Result<FileState, ManagedError> {
        let io = |source| ManagedError::Io { verb: "read", path: path.to_owned(), source };
        let Some(there) = read_optional(path).map_err(io)? else { return Ok(FileState::Missing) };
        if there == content {
            return Ok(FileState::Current);
        }
        let shipped_before = self.read()?.shipped.get(path).cloned();
        if shipped_before.as_deref() == Some(&digest(&there)) {
            return Ok(FileState::Outdated);
        }
        let seen = shipped_before.as_deref() == Some(&digest(content))
            || read_optional(&beside(path)).map_err(io)?.as_deref() == Some(content);
        Ok(if seen { FileState::Edited } else { FileState::EditedAndOutdated })
    }

    /// Ships `content` to `path`, or beside it where the admin edited the file there.
    pub fn ship(&self, path: &Path, content: &[u8], mode: u32) -> Result<Written, ManagedError> {
        let state = self.state(path, content)?;
        let (target, written) = match state {
            FileState::EditedAndOutdated | FileState::Edited => (beside(path), Written::Beside(beside(path))),
            _ => (path.to_owned(), Written::InPlace),
        };
        // The file goes first. Killed before the record is written, the file is what is shipped, and the
        // next run says so; should what is shipped have changed by then, it is kept as if edited.
        if written == Written::InPlace {
            replace(&target, content, mode).map_err(|source| ManagedError::Io {
                verb: "write",
                path: target.clone(),
                source,
            })?;
            self.remember(path, digest(content))?;
        } else if state == FileState::EditedAndOutdated {
            replace(&target, content, mode).map_err(|source| ManagedError::Io {
                verb: "write",
                path: target.clone(),
                source,
            })?;
        }
        Ok(written)
    }

    fn remember(&self, path: &Path, hash: String) -> Result<(), ManagedError> {
        let mut record = self.read()?;
        record.shipped.insert(path.to_owned(), hash);
        let text = serde_json::to_vec_pretty(&record)
            .map_err(|source| ManagedError::Record { path: self.record.clone(), source })?;
        replace(&self.record, &text, 0o644).map_err(|source| ManagedError::Io {
            verb: "write",
            path: self.record.clone(),
            source,
        })
    }
}

/// Where the version that is shipped now is laid, beside a file that the admin edited.
#[must_use]
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".opdbus-new");
    name.into()
}

fn digest(bytes: &[u8]) -> String {
    crate::hex::hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> (tempfile::TempDir, Managed, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let managed = Managed::new(dir.path().join("record.json"));
        let file = dir.path().join("plugin.toml");
        (dir, managed, file)
    }

    #[test]
    fn an_unedited_file_is_updated() {
        let (_dir, managed, file) = fixture();
        assert_eq!(managed.state(&file, b"1").unwrap(), FileState::Missing);
        managed.ship(&file, b"1", 0o644).unwrap();
        assert_eq!(managed.state(&file, b"1").unwrap(), FileState::Current);
        assert_eq!(managed.state(&file, b"2").unwrap(), FileState::Outdated);
        assert_eq!(managed.ship(&file, b"2", 0o644).unwrap(), Written::InPlace);
        assert_eq!(std::fs::read(&file).unwrap(), b"2");
    }

    #[test]
    fn an_edited_file_is_kept_and_a_newer_one_is_laid_beside_once() {
        let (_dir, managed, file) = fixture();
        managed.ship(&file, b"1", 0o644).unwrap();
        std::fs::write(&file, b"mine").unwrap();
        assert_eq!(managed.state(&file, b"1").unwrap(), FileState::Edited);
        assert_eq!(managed.state(&file, b"2").unwrap(), FileState::EditedAndOutdated);
        let Written::Beside(new) = managed.ship(&file, b"2", 0o644).unwrap() else { panic!("overwritten") };
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");
        assert_eq!(std::fs::read(new).unwrap(), b"2");
        assert_eq!(managed.state(&file, b"2").unwrap(), FileState::Edited);
    }

    #[test]
    fn a_file_that_was_there_before_us_is_kept() {
        let (_dir, managed, file) = fixture();
        std::fs::write(&file, b"theirs").unwrap();
        assert_eq!(managed.state(&file, b"ours").unwrap(), FileState::EditedAndOutdated);
        managed.ship(&file, b"ours", 0o644).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"theirs");
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_it() {
        let (_dir, managed, file) = fixture();
        std::fs::write(&file, b"x").unwrap();
        std::fs::write(&managed.record, b"{").unwrap();
        assert!(managed.state(&file, b"y").unwrap_err().to_string().contains("record.json"));
    }
}
