//! Writing files so that a crash leaves the old one or the new one, keeping what the admin edited,
//! and working inside a root file system that is not to be trusted.

mod aside;
mod managed;
mod rootdir;
mod summed;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

pub use aside::{KEPT, put_aside};
pub use managed::{FileState, Managed, ManagedError, Written, beside};
pub use rootdir::RootDir;
pub use summed::{Summed, copy_summed, sha256};

/// Replaces a file: written beside under a temporary name, synced, renamed, and the directory synced.
/// `mode` is the whole mode of the new file, whatever the process' umask is. The temporary name is
/// `.opdbus-new-FILE-` and something random: should the process be killed, it tells what it was for.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().ok_or_else(|| io::Error::other("the path has no directory"))?;
    let mut prefix = std::ffi::OsString::from(".opdbus-new-");
    prefix.push(path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?);
    prefix.push("-");
    let mut file = tempfile::Builder::new()
        .prefix(&prefix)
        .permissions(std::fs::Permissions::from_mode(mode & 0o600))
        .tempfile_in(directory)?;
    file.write_all(content)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    sweep(directory, &prefix);
    sync_directory(directory)
}

/// Removes what earlier writers of the same file left when they were killed. The caller holds the engine's
/// lock where several could write the file; what cannot be removed now is left for the next time.
fn sweep(directory: &Path, prefix: &std::ffi::OsStr) {
    use std::os::unix::ffi::OsStrExt;
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.as_bytes().strip_prefix(prefix.as_bytes());
        // tempfile's own six letters and digits: a longer rest belongs to a file with a longer name.
        if random.is_some_and(|rest| rest.len() == 6 && rest.iter().all(u8::is_ascii_alphanumeric)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether a name is one under which [`replace`] writes: its prefix, a name, and tempfile's own six letters and digits.
#[must_use]
pub fn is_temporary(name: &std::ffi::OsStr) -> bool {
    let Some(rest) = name.as_encoded_bytes().strip_prefix(b".opdbus-new-") else { return false };
    let Some((name, random)) = rest.split_last_chunk::<7>() else { return false };
    !name.is_empty() && random[0] == b'-' && random[1..].iter().all(u8::is_ascii_alphanumeric)
}

/// Makes the entries of a directory durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::options().read(true).custom_flags(libc_o_directory()).open(directory)?.sync_all()
}

fn libc_o_directory() -> i32 {
    i32::try_from(rustix::fs::OFlags::DIRECTORY.bits()).unwrap_or(0)
}

/// Reads a file that may not be there.
pub fn read_optional(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_has_the_content_and_the_mode_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, b"one", 0o644).unwrap();
        replace(&path, b"two", 0o640).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_writer_left_is_swept_and_a_neighbours_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for left in [".opdbus-new-f-AbC123", ".opdbus-new-f-g-AbC123", ".opdbus-new-f-long-name"] {
            std::fs::write(dir.path().join(left), "").unwrap();
        }
        replace(&dir.path().join("f"), b"x", 0o644).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".opdbus-new-f-g-AbC123", ".opdbus-new-f-long-name", "f"]);
    }

    #[test]
    fn a_file_that_is_not_there_is_none_and_a_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_optional(&dir.path().join("none")).unwrap(), None);
        assert!(read_optional(dir.path()).is_err());
    }
}
