//! btrfs subvolumes: made, cloned and removed by the kernel's own calls, without a fork.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags, XattrFlags};
use rustix::io::Errno;

use super::ioctl;
use crate::fault::{Fault, Kind};

/// `BTRFS_SUPER_MAGIC`.
const BTRFS_MAGIC: u64 = 0x9123_683E;
/// The inode of every subvolume's top directory (`BTRFS_FIRST_FREE_OBJECTID`).
const TOP_INODE: u64 = 256;
/// The extended attribute that says that a thing is ours, and which component's.
const MARKER: &str = "user.opdbus";
/// The extended attribute of a copy that was made to be exchanged with what is in use.
const STAGED: &str = "user.opdbus.staged";
/// The property that says how what is written below is compressed.
const COMPRESSION: &str = "btrfs.compression";

/// Why something could not be done with a subvolume.
#[derive(Debug, thiserror::Error)]
pub enum SubvolumeError {
    /// There is something at the target already. btrfs-progs would nest inside it; this does not.
    #[error("cannot {verb} {}: something of that name exists", .path.display())]
    Exists {
        /// What was tried.
        verb: &'static str,
        /// The target.
        path: PathBuf,
    },
    /// It is not a subvolume: a plain directory or file, or on another file system.
    #[error("cannot {verb} {}: it is not a btrfs subvolume", .path.display())]
    NotASubvolume {
        /// What was tried.
        verb: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// The directory is not on btrfs.
    #[error("cannot {verb} {}: it is not on a btrfs file system", .path.display())]
    NotBtrfs {
        /// What was tried.
        verb: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Fault for SubvolumeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Exists { .. } => Kind::Conflict,
            Self::NotASubvolume { .. } | Self::NotBtrfs { .. } => Kind::Invalid,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Kind::NotFound,
                io::ErrorKind::PermissionDenied => Kind::Denied,
                _ => Kind::Failed,
            },
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Exists { path, .. } => {
                Some(format!("move {} away, or choose another name", path.display()))
            }
            Self::NotASubvolume { .. } => None,
            Self::NotBtrfs { .. } => {
                Some("mount a btrfs file system there, or give the base path an image (btrfs.image)".into())
            }
            Self::Io { source, .. } => match source.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::PERM | Errno::ACCESS) => Some("run it as root".into()),
                Some(Errno::NOSPC) => Some("free space on the file system: `btrfs filesystem usage`".into()),
                Some(Errno::BUSY) => {
                    Some("something is mounted on it or swaps to it; `findmnt` and `swapon` tell".into())
                }
                _ => None,
            },
        }
    }
}

/// Turns an error of the kernel into one that names the path and what was tried.
fn failed(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> SubvolumeError {
    let path = path.to_owned();
    move |source| {
        let path = path.clone();
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::EXIST) => SubvolumeError::Exists { verb, path },
            // What a file system answers that does not know the call.
            Some(Errno::NOTTY | Errno::OPNOTSUPP) => SubvolumeError::NotBtrfs { verb, path },
            _ => SubvolumeError::Io { verb, path, source },
        }
    }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directory of `path`, opened, and the name in it.
fn parent<'p>(verb: &'static str, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), SubvolumeError> {
    let Some(name) = path.file_name() else {
        return Err(failed(verb, path)(Errno::INVAL.into()));
    };
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The directory itself may be reached by a link; it is the last part that must be what it says.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory =
        fs::openat(CWD, directory, flags, Mode::empty()).map_err(|e| failed(verb, directory)(e.into()))?;
    Ok((directory, name))
}

/// Opens a subvolume; what is not one is refused.
fn open(verb: &'static str, path: &Path) -> Result<OwnedFd, SubvolumeError> {
    let not = || SubvolumeError::NotASubvolume { verb, path: path.to_owned() };
    let fd = fs::openat(CWD, path, DIRECTORY, Mode::empty()).map_err(|error| match error {
        Errno::NOTDIR | Errno::LOOP => not(),
        other => failed(verb, path)(other.into()),
    })?;
    if is_top(fd.as_fd()).map_err(failed(verb, path))? { Ok(fd) } else { Err(not()) }
}

fn is_top(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(is_btrfs_fd(fd)? && fs::fstat(fd)?.st_ino == TOP_INODE)
}

fn is_btrfs_fd(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // The type of the field differs between architectures; the number is 32 bits on all of them.
    Ok(u64::try_from(fs::fstatfs(fd)?.f_type).is_ok_and(|magic| magic & 0xFFFF_FFFF == BTRFS_MAGIC))
}

/// Makes an empty subvolume. A target that exists, whatever it is, is refused.
pub fn create(path: &Path) -> Result<(), SubvolumeError> {
    let verb = "create the subvolume";
    let (directory, name) = parent(verb, path)?;
    ioctl::create(directory.as_fd(), name).map_err(failed(verb, path))
}

/// Makes `dest` a snapshot of the subvolume `source`. A target that exists is refused, and never nested
/// into. The snapshot has the source's marker and compression; subvolumes inside the source are empty
/// directories in it.
pub fn snapshot(source: &Path, dest: &Path, read_only: bool) -> Result<(), SubvolumeError> {
    let source = open("take a snapshot of", source)?;
    let verb = "create the snapshot";
    let (directory, name) = parent(verb, dest)?;
    ioctl::snapshot(directory.as_fd(), name, source.as_fd(), read_only).map_err(failed(verb, dest))
}

/// Removes a subvolume with all it holds: also subvolumes inside it, which a container's systemd may
/// have made, and read-only ones. Killed half way, what is left can be removed by the same call.
pub fn delete(path: &Path) -> Result<(), SubvolumeError> {
    let verb = "delete the subvolume";
    let error = failed(verb, path);
    let top = open(verb, path)?;
    while delete_innermost(top.as_fd()).map_err(&error)? {}
    let (directory, name) = parent(verb, path)?;
    ioctl::destroy(directory.as_fd(), name).map_err(error)
}

/// Removes one subvolume that is inside `top`, at any depth, and has none inside itself; false where there is none.
/// It holds two directories open however deep they are nested, and follows no link.
fn delete_innermost(top: BorrowedFd<'_>) -> io::Result<bool> {
    let mut found: Option<(OwnedFd, std::ffi::OsString, OwnedFd)> = None;
    loop {
        let current = found.as_ref().map_or(top, |(_, _, subvolume)| subvolume.as_fd());
        let Some(child) = ioctl::children(current)?.into_iter().next() else { break };
        // The kernel removes nothing from a subvolume that is read-only.
        if ioctl::is_read_only(current)? {
            ioctl::set_read_only(current, false)?;
        }
        let (path, name) = ioctl::locate(current, child)?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
        let directory = fs::openat2(current, path, DIRECTORY, Mode::empty(), resolve)?;
        let subvolume = fs::openat2(&directory, &name, DIRECTORY, Mode::empty(), resolve)?;
        found = Some((directory, name, subvolume));
    }
    match found {
        None => Ok(false),
        Some((directory, name, _)) => ioctl::destroy(directory.as_fd(), &name).map(|()| true),
    }
}

/// Whether there is a subvolume at `path`; false also where there is nothing. A link is not one.
pub fn is_subvolume(path: &Path) -> io::Result<bool> {
    match fs::openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => {
            let stat = fs::fstat(&fd)?;
            let directory = fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::Directory;
            Ok(directory && is_top(fd.as_fd())?)
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether `path` is on btrfs, or would be, were it made: the nearest directory above that exists decides.
pub fn is_btrfs(path: &Path) -> io::Result<bool> {
    for path in path.ancestors() {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => return is_btrfs_fd(fd.as_fd()),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// Whether the subvolume is read-only.
pub fn is_read_only(path: &Path) -> Result<bool, SubvolumeError> {
    let verb = "read the flags of";
    ioctl::is_read_only(open(verb, path)?.as_fd()).map_err(failed(verb, path))
}

/// Makes the subvolume read-only, or writable again.
pub fn set_read_only(path: &Path, read_only: bool) -> Result<(), SubvolumeError> {
    let verb = if read_only { "make read-only" } else { "make writable" };
    ioctl::set_read_only(open(verb, path)?.as_fd(), read_only).map_err(failed(verb, path))
}

/// What the kernel knows of a subvolume. Ids are as `btrfs subvolume show` prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The number of its tree: higher than that of every subvolume of the file system made before.
    pub id: u64,
    /// Its own id.
    pub uuid: String,
    /// The subvolume it is a snapshot of; `None` where it is none.
    pub parent: Option<String>,
    /// The snapshot of another host that it was received from; `None` where it was not.
    pub received: Option<String>,
    /// The transaction that changed it last.
    pub transaction: u64,
}

/// A UUID as it is written, `None` for the one of zeros that stands for none.
#[must_use]
pub fn uuid_text(bytes: [u8; 16]) -> Option<String> {
    let hex = crate::hex::hex(&bytes);
    (bytes != [0; 16]).then(|| [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// Asks the kernel about a subvolume.
pub fn info(path: &Path) -> Result<Info, SubvolumeError> {
    let verb = "ask about";
    let info = ioctl::info(open(verb, path)?.as_fd()).map_err(failed(verb, path))?;
    Ok(Info {
        id: info.treeid,
        uuid: uuid_text(info.uuid).unwrap_or_default(),
        parent: uuid_text(info.parent_uuid),
        received: uuid_text(info.received_uuid),
        transaction: info.ctransid,
    })
}

/// The subvolumes right inside the one at `path`, relative to it; at most 255 of them.
pub fn children(path: &Path) -> Result<Vec<PathBuf>, SubvolumeError> {
    let verb = "list the subvolumes in";
    let error = failed(verb, path);
    let top = open(verb, path)?;
    let mut all = Vec::new();
    for child in ioctl::children(top.as_fd()).map_err(&error)? {
        let (directory, name) = ioctl::locate(top.as_fd(), child).map_err(&error)?;
        all.push(directory.join(name));
    }
    all.sort();
    Ok(all)
}

/// Gives what is at each of two paths on one file system the name of the other, in one step.
pub fn exchange(one: &Path, other: &Path) -> Result<(), SubvolumeError> {
    fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
        .map_err(|e| failed("exchange", other)(e.into()))
}

/// Gives a subvolume another name, which must be free. A read-only one stays in its directory.
pub fn rename(from: &Path, to: &Path) -> Result<(), SubvolumeError> {
    fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
        .map_err(|e| failed("give its name to", to)(e.into()))
}

/// Marks a copy as made to be exchanged with what is in use, or takes the mark away.
pub fn set_staged(path: &Path, staged: bool) -> Result<(), SubvolumeError> {
    let changed = if staged {
        fs::lsetxattr(path, STAGED, b"1", XattrFlags::empty())
    } else {
        match fs::lremovexattr(path, STAGED) {
            Err(Errno::NODATA) => Ok(()),
            other => other,
        }
    };
    changed.map_err(|e| failed("mark", path)(e.into()))
}

/// Whether a copy was made to be exchanged, and was not yet.
pub fn is_staged(path: &Path) -> Result<bool, SubvolumeError> {
    Ok(attribute(path, STAGED)?.is_some())
}

/// Commits the file system that `path` is on: what was made before is there after a power cut.
pub fn sync(path: &Path) -> Result<(), SubvolumeError> {
    let verb = "sync";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = fs::openat(CWD, path, flags, Mode::empty()).map_err(|e| failed(verb, path)(e.into()))?;
    ioctl::sync(fd.as_fd()).map_err(failed(verb, path))
}

/// How many blocks of its own the file of [`deepen`] has, and how much is in an attribute, which with its head is more
/// than half of a block of 16 KiB.
const FILLING: (u32, usize) = (140, 15_000);

/// Makes the tree of a subvolume that is about to be cloned often one level higher, where it is about to become so.
///
/// A snapshot is a copy of the tree's top block, and one more reference to each block below it. The top has room for
/// 493 in blocks of 16 KiB, the size that mkfs.btrfs gives: a Debian of 470 is as dear as can be, each reference being
/// an entry elsewhere, the more apart the more snapshots there are. One more level, and it is two references. The
/// kernel adds the level when the top is full and keeps it while both halves are a quarter full. So a file without a
/// name is filled with attributes, and gone again when this returns or is killed. A tree that is too small for it, where
/// a snapshot costs little, is afterwards as it was, and so is a larger one, which has the level.
pub fn deepen(path: &Path) -> Result<(), SubvolumeError> {
    let verb = "write into";
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file =
        fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600)).map_err(|e| failed(verb, path)(e.into()))?;
    let value = vec![0; FILLING.1];
    for n in 0..FILLING.0 {
        match fs::fsetxattr(&file, format!("user.opdbus.{n}"), &value, XattrFlags::CREATE) {
            Ok(()) => {}
            // Smaller blocks, which were asked for; or no room, which what comes next will say better.
            Err(Errno::NOSPC) => break,
            Err(error) => return Err(failed(verb, path)(error.into())),
        }
    }
    Ok(())
}

/// Commits the file systems that the paths are on, once each, with all that was written to files on them.
pub fn sync_all(paths: &[&Path]) -> Result<(), SubvolumeError> {
    let mut done: Vec<Option<u64>> = Vec::new();
    for path in paths {
        let error = failed("sync", path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::openat(CWD, *path, flags, Mode::empty()).map_err(|e| error(e.into()))?;
        // Subvolumes differ in the number of their device. One mount is of one file system; two may be of one, which
        // is then committed again.
        let found =
            fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_err(|e| error(e.into()))?;
        let mount = (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id);
        if mount.is_some() && done.contains(&mount) {
            continue;
        }
        fs::syncfs(&fd).map_err(|e| error(e.into()))?;
        done.push(mount);
    }
    Ok(())
}

/// The compression property of a file, directory or subvolume: `zstd`; `None` where it has none.
pub fn compression(path: &Path) -> Result<Option<String>, SubvolumeError> {
    attribute(path, COMPRESSION)
}

/// Sets the compression property, for what is written from now on. It carries the algorithm alone;
/// the level is the file system's.
pub fn set_compression(path: &Path, algorithm: &str) -> Result<(), SubvolumeError> {
    fs::lsetxattr(path, COMPRESSION, algorithm.as_bytes(), XattrFlags::empty())
        .map_err(|e| failed("set the compression of", path)(e.into()))
}

/// Whose a thing is: the component that made it, or `None` where it is not ours.
pub fn marker(path: &Path) -> Result<Option<String>, SubvolumeError> {
    attribute(path, MARKER)
}

/// Marks a directory or subvolume as ours, made by the component `tag`.
pub fn mark(path: &Path, tag: &str) -> Result<(), SubvolumeError> {
    fs::lsetxattr(path, MARKER, tag.as_bytes(), XattrFlags::empty())
        .map_err(|e| failed("mark", path)(e.into()))
}

fn attribute(path: &Path, name: &str) -> Result<Option<String>, SubvolumeError> {
    let mut value = [0; 256];
    match fs::lgetxattr(path, name, &mut value[..]) {
        Ok(length) => Ok(Some(String::from_utf8_lossy(&value[..length]).into_owned())),
        Err(Errno::NODATA | Errno::NOENT | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(failed("read the attributes of", path)(error.into())),
    }
}
