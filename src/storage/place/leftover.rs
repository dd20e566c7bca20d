use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::{PlaceError, failed};
use super::{Found, PlaceChange};
use crate::storage::subvolume;

/// What the name of a thing begins with that is being made and has not got its final name yet.
const STAGED: &str = ".opdbus-new-";

/// The name under which the thing at `path` is made.
#[must_use]
pub fn staged(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(STAGED);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// A half-made thing that a run left which was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it can be told to be ours: it is marked, or there is nothing in it.
    pub ours: bool,
}

impl Leftover {
    /// What is left of the thing at `path`, if anything.
    pub fn at(path: PathBuf) -> Result<Option<Self>, PlaceError> {
        Ok(match Found::read(&path)? {
            Found::Missing => None,
            // Files are written under such names too (`files::replace`), and nobody else does.
            Found::Other => Some(Self { path, ours: true }),
            Found::Subvolume(a) | Found::Directory(a) => {
                Some(Self { path, ours: a.marker.is_some() || a.empty })
            }
        })
    }

    /// What is left in a directory, by name.
    pub fn list(directory: &Path) -> Result<Vec<Self>, PlaceError> {
        Self::list_prefix(directory, STAGED.as_ref())
    }

    /// What is left beside a file by `files::replace`. For directories that others write to without the
    /// engine's lock: what they are writing at this moment is no leftover.
    pub fn of_file(path: &Path) -> Result<Vec<Self>, PlaceError> {
        let mut prefix = staged(path).file_name().unwrap_or_default().to_owned();
        prefix.push("-");
        Self::list_prefix(path.parent().unwrap_or(Path::new("/")), &prefix)
    }

    fn list_prefix(directory: &Path, prefix: &std::ffi::OsStr) -> Result<Vec<Self>, PlaceError> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(failed("list", directory)(error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed("list", directory))?.file_name();
            if name.as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
                paths.push(directory.join(name));
            }
        }
        paths.sort();
        Ok(paths.into_iter().map(Self::at).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// The change that removes it; an error where it is not ours.
    pub fn removal(&self) -> Result<PlaceChange, PlaceError> {
        if self.ours {
            Ok(PlaceChange::Remove { path: self.path.clone() })
        } else {
            Err(PlaceError::NotALeftover { path: self.path.clone() })
        }
    }
}

pub(super) fn remove_leftover(path: &Path) -> Result<(), PlaceError> {
    let Some(leftover) = Leftover::at(path.to_owned())? else { return Ok(()) };
    leftover.removal()?;
    let result = match Found::read(path)? {
        Found::Missing => Ok(()),
        Found::Other => std::fs::remove_file(path),
        Found::Directory(_) => std::fs::remove_dir_all(path),
        Found::Subvolume(_) => return Ok(subvolume::delete(path)?),
    };
    result.map_err(failed("remove", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Kind};

    #[test]
    fn content_that_is_not_ours_is_not_taken_for_a_leftover() {
        let foreign = Leftover { path: "/b/.opdbus-new-@cache".into(), ours: false };
        assert_eq!(foreign.removal().unwrap_err().kind(), Kind::Conflict);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".opdbus-new-@cache");
        std::fs::create_dir(&path).unwrap();
        assert!(Leftover::list(dir.path()).unwrap()[0].ours);
        std::fs::write(path.join("f"), "").unwrap();
        assert!(!Leftover::list(dir.path()).unwrap()[0].ours);
        assert!(PlaceChange::Remove { path: path.clone() }.apply().is_err());
        assert!(path.join("f").exists());
    }
}
