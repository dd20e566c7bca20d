//! Directories of the host's that had to be made for a file of ours: marked, so that they go with the last file.

use std::io;
use std::path::Path;

use crate::storage::subvolume;

/// Makes a directory and those above it that are missing, each marked as made by `tag`. On a file system that keeps
/// no such marks they are made all the same, and stay.
pub fn make_directories(path: &Path, tag: &str) -> io::Result<()> {
    let mut missing: Vec<&Path> =
        path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
    while let Some(path) = missing.pop() {
        match std::fs::create_dir(path) {
            Ok(()) => {
                let _ = subvolume::mark(path, tag);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes a directory that was made so and is empty, and those above it of which the same is true.
pub fn remove_made(path: &Path) -> io::Result<()> {
    for path in path.ancestors() {
        if path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            continue;
        }
        if !subvolume::marker(path).is_ok_and(|marker| marker.is_some()) {
            break;
        }
        match std::fs::remove_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Something is in it, or is mounted there.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) =>
            {
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_were_made_go_when_empty_and_those_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("share");
        std::fs::create_dir(&theirs).unwrap();
        let made = theirs.join("man/man1");
        make_directories(&made, "test").unwrap();
        if subvolume::marker(&made).unwrap().is_none() {
            // This file system keeps no marks.
            remove_made(&made).unwrap();
            assert!(made.exists());
            return;
        }
        let other = theirs.join("man/other.1");
        std::fs::write(&other, "").unwrap();
        remove_made(&made).unwrap();
        assert!(!made.exists() && other.exists());
        std::fs::remove_file(&other).unwrap();
        remove_made(&theirs.join("man")).unwrap();
        assert!(!theirs.join("man").exists() && theirs.exists());
    }
}
