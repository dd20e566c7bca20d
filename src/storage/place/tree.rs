//! Removing a whole place of ours, with all that is in it.

use std::io;
use std::path::Path;

use super::error::{PlaceError, failed};
use crate::storage::subvolume;

/// Removes a directory or subvolume that is marked as made by `tag`, with everything in it, subvolumes too. What is
/// not marked is refused; what is not there any more is no error. Killed half way, the same call removes the rest: the
/// mark is on the directory that goes last.
pub fn remove_tree(path: &Path, tag: &str) -> Result<(), PlaceError> {
    if path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    if subvolume::marker(path)?.as_deref() != Some(tag) {
        return Err(PlaceError::NotALeftover { path: path.to_owned() });
    }
    if subvolume::is_subvolume(path).map_err(failed("look at", path))? {
        return Ok(subvolume::delete(path)?);
    }
    remove_subvolumes(path)?;
    std::fs::remove_dir_all(path).map_err(failed("remove", path))
}

/// Removes the subvolumes in a directory, at any depth: to remove the files in them one by one would take long, and
/// those that are read-only could not be removed so.
fn remove_subvolumes(directory: &Path) -> Result<(), PlaceError> {
    for entry in std::fs::read_dir(directory).map_err(failed("list", directory))? {
        let entry = entry.map_err(failed("list", directory))?;
        let path = entry.path();
        if !entry.file_type().map_err(failed("look at", &path))?.is_dir() {
            continue;
        }
        if subvolume::is_subvolume(&path).map_err(failed("look at", &path))? {
            subvolume::delete(&path)?;
        } else {
            remove_subvolumes(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_marked_is_removed_and_a_second_time_there_is_nothing_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("containers");
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        std::fs::write(path.join("a/b/f"), "x").unwrap();
        assert!(remove_tree(&path, "storage").is_err());
        assert!(path.join("a/b/f").exists());
        if subvolume::mark(&path, "storage").is_err() {
            return;
        }
        assert!(remove_tree(&path, "sockets").is_err(), "another component's");
        remove_tree(&path, "storage").unwrap();
        assert!(!path.exists());
        remove_tree(&path, "storage").unwrap();
    }
}
