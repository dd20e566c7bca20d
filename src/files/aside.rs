//! Moving a file of the admin's out of the way without ever overwriting another.

use std::io;
use std::path::{Path, PathBuf};

use super::{replace, sync_directory};

/// The directory below `/etc/opdbus` for files that the admin edited and that cannot stay where they are.
pub const KEPT: &str = "kept";

/// Moves a file to a directory, which is made where it is missing, under its own name or the next that is free there
/// (`NAME.1`). One that is gone is no error.
pub fn put_aside(path: &Path, into: &Path) -> io::Result<()> {
    std::fs::create_dir_all(into)?;
    let target = free_name(into, path);
    match std::fs::rename(path, &target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            replace(&target, &std::fs::read(path)?, 0o644)?;
            std::fs::remove_file(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_directory(into),
    }
}

fn free_name(into: &Path, file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default();
    let numbered = |number: u32| {
        let mut name = name.to_owned();
        name.push(format!(".{number}"));
        into.join(name)
    };
    let free = |path: &PathBuf| path.symlink_metadata().is_err();
    std::iter::once(into.join(name))
        .chain((1..=u32::MAX).map(numbered))
        .find(free)
        .unwrap_or_else(|| into.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_aside_before_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (file, into) = (dir.path().join("a.service"), dir.path().join("etc/kept"));
        for text in ["first", "second"] {
            std::fs::write(&file, text).unwrap();
            put_aside(&file, &into).unwrap();
        }
        assert!(!file.exists());
        assert_eq!(std::fs::read(into.join("a.service")).unwrap(), b"first");
        assert_eq!(std::fs::read(into.join("a.service.1")).unwrap(), b"second");
        put_aside(&file, &into).unwrap();
    }
}
