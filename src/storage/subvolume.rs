//! Subvolumes: made, cloned, marked and deleted in process, without a fork.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, CWD, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::ioctl;
use crate::fault::{Fault, Kind};

/// The inode number of the root of every subvolume (`BTRFS_FIRST_FREE_OBJECTID`).
const ROOT_INODE: u64 = 256;
/// `BTRFS_SUPER_MAGIC` (linux/magic.h)
const SUPER_MAGIC: u32 = 0x9123_683e;
/// The extended attribute that marks what is ours; its value is the component's name.
const MARKER: &str = "user.opdbus";
/// The property that names the compression of files written from now on (btrfs-property(8)).
const COMPRESSION: &str = "btrfs.compression";

/// How an operation on a subvolume fails.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} the subvolume {}", .path.display())]
pub struct SubvolumeError {
    verb: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Fault for SubvolumeError {
    fn kind(&self) -> Kind {
        match self.source.kind() {
            io::ErrorKind::AlreadyExists => Kind::Conflict,
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::PermissionDenied => Kind::Denied,
            _ => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self.source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC) => Some("free some space: `btrfs filesystem usage` says what takes it".into()),
            Some(Errno::NOTTY) => Some(format!("{} is not on btrfs", self.path.display())),
            Some(Errno::ROFS) => Some("the file system is mounted read-only: `dmesg` says why".into()),
            _ => None,
        }
    }
}

fn fail<'p, E: Into<io::Error>>(verb: &'static str, path: &'p Path) -> impl Fn(E) -> SubvolumeError + 'p {
    move |source| SubvolumeError { verb, path: path.to_owned(), source: source.into() }
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(fs::openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// The directory of `path`, opened, and its name in it; refused where there is something of that name, which
/// `btrfs subvolume snapshot` would make the clone inside of.
fn vacant<'p>(verb: &'static str, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), SubvolumeError> {
    let (parent, name) = place(path).map_err(fail(verb, path))?;
    match fs::statat(&parent, name, fs::AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok((parent, name)),
        Ok(_) => Err(fail(verb, path)(io::Error::from(Errno::EXIST))),
        Err(error) => Err(fail(verb, path)(error)),
    }
}

fn place(path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((directory(parent)?, name)),
        _ => Err(io::Error::from(Errno::INVAL)),
    }
}

/// Makes an empty subvolume, where nothing is.
pub fn create(path: &Path) -> Result<(), SubvolumeError> {
    let (parent, name) = vacant("create", path)?;
    ioctl::create(parent.as_fd(), name.as_bytes()).map_err(fail("create", path))
}

/// Makes a snapshot of `source`, where nothing is. Subvolumes inside `source` are empty directories in it.
pub fn snapshot(source: &Path, path: &Path, read_only: bool) -> Result<(), SubvolumeError> {
    let (parent, name) = vacant("clone", path)?;
    let from = directory(source).map_err(fail("clone", source))?;
    ioctl::snapshot(parent.as_fd(), from.as_fd(), name.as_bytes(), read_only).map_err(fail("clone", path))
}

/// Deletes a subvolume, those below it first: a container's own systemd makes some (tmpfiles.d, `q` and `v`).
pub fn delete(path: &Path) -> Result<(), SubvolumeError> {
    let (parent, name) = place(path).map_err(fail("delete", path))?;
    let top = directory(path).map_err(fail("delete", path))?;
    // The ioctl would take a plain directory for an invalid argument.
    if !is_subvolume(path).map_err(fail("delete", path))? {
        return Err(fail("delete", path)(io::Error::other("it is not a subvolume")));
    }
    if ioctl::is_read_only(top.as_fd()).map_err(fail("look at", path))? {
        ioctl::set_read_only(top.as_fd(), false).map_err(fail("delete", path))?;
    }
    for (tree, in_directory) in ioctl::children(top.as_fd()).map_err(fail("look below", path))? {
        let (above, name) =
            ioctl::locate(top.as_fd(), tree, in_directory).map_err(fail("look below", path))?;
        delete(&path.join(OsStr::from_bytes(&above)).join(OsStr::from_bytes(&name)))?;
    }
    drop(top);
    ioctl::destroy(parent.as_fd(), name.as_bytes()).map_err(fail("delete", path))
}

/// Whether there is a subvolume at `path`; not where there is nothing.
pub fn is_subvolume(path: &Path) -> io::Result<bool> {
    let stat = match fs::lstat(path) {
        Ok(stat) => stat,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let is_directory = fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::Directory;
    Ok(is_directory && stat.st_ino == ROOT_INODE && is_btrfs(path)?)
}

/// Whether `path`, or the nearest directory above it that is there, is on btrfs.
pub fn is_btrfs(path: &Path) -> io::Result<bool> {
    for above in path.ancestors() {
        match fs::statfs(above) {
            // The type is signed or not, and of several widths, by architecture.
            Ok(statfs) => return Ok(u32::try_from(statfs.f_type & 0xffff_ffff) == Ok(SUPER_MAGIC)),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn attribute(path: &Path, name: &str) -> io::Result<Option<String>> {
    let mut value = vec![0_u8; 256];
    match fs::lgetxattr(path, name, value.as_mut_slice()) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(String::from_utf8_lossy(&value).into_owned()))
        }
        Err(Errno::NODATA | Errno::NOENT | Errno::NOTSUP | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The compression of files written below `path` from now on: `zstd`; the level is the mount's.
pub fn compression(path: &Path) -> io::Result<Option<String>> {
    Ok(attribute(path, COMPRESSION)?.filter(|value| !value.is_empty()))
}

/// Sets what [`compression`] gives.
pub fn set_compression(path: &Path, algorithm: &str) -> io::Result<()> {
    Ok(fs::lsetxattr(path, COMPRESSION, algorithm.as_bytes(), XattrFlags::empty())?)
}

/// The component whose directory or subvolume this is; `None` where it is not ours.
pub fn marker(path: &Path) -> io::Result<Option<String>> {
    attribute(path, MARKER)
}

/// Marks a directory or subvolume as a component's.
pub fn mark(path: &Path, component: &str) -> io::Result<()> {
    Ok(fs::lsetxattr(path, MARKER, component.as_bytes(), XattrFlags::empty())?)
}

/// Puts everything written to the file system of `path` on disk.
pub fn sync(path: &Path) -> Result<(), SubvolumeError> {
    let fd = directory(path).map_err(fail("sync", path))?;
    ioctl::sync(fd.as_fd()).map_err(fail("sync", path))
}
