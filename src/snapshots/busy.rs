//! Who would be cut off by an exchange.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{SnapshotError, io_error};
use crate::storage::{mounted_below, subvolume};

/// How many are named.
const MOST: usize = 8;

/// Refuses where something is mounted inside: it would go with the old one.
pub(super) fn mounts(path: &Path) -> Result<(), SnapshotError> {
    let mounts = mounted_below(path).map_err(io_error("read", Path::new("/proc/self/mountinfo")))?;
    if mounts.is_empty() {
        return Ok(());
    }
    Err(SnapshotError::Mounted { path: path.to_owned(), mounts })
}

/// Whether something is mounted inside a subvolume, or a program has something in it open or works in it.
pub fn in_use(path: &Path) -> Result<bool, SnapshotError> {
    let mounts = mounted_below(path).map_err(io_error("read", Path::new("/proc/self/mountinfo")))?;
    Ok(!mounts.is_empty() || !users(path)?.is_empty())
}

/// The programs that have something in the subvolume open, or work in it. Every subvolume has a device
/// number of its own, by which its files are known wherever they are mounted. Processes that may not be
/// looked at are not seen.
pub(super) fn users(path: &Path) -> Result<Vec<String>, SnapshotError> {
    let device = path.metadata().map_err(io_error("look at", path))?.dev();
    let inside = |link: &Path| link.metadata().is_ok_and(|m| m.dev() == device);
    let mut users = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name();
        if !pid.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let process = entry.path();
        let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        if inside(&process.join("cwd")) || open.map(|fd| fd.path()).any(|fd| inside(&fd)) {
            let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
            users.push(format!("{} ({})", name.trim_end(), pid.to_string_lossy()));
        }
        if users.len() == MOST {
            break;
        }
    }
    Ok(users)
}

/// The subvolumes inside that hold something; the empty ones that systemd makes in every system are nobody's loss.
pub(super) fn nested(path: &Path) -> Result<Vec<PathBuf>, SnapshotError> {
    let full = |inside: &PathBuf| {
        std::fs::read_dir(path.join(inside)).map_or(true, |mut entries| entries.next().is_some())
    };
    Ok(subvolume::children(path)?.into_iter().filter(full).collect())
}
