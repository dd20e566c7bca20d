//! Looking into a tree that is not to be trusted: no link is followed, nothing outside the top is reached,
//! and no subvolume inside is entered.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;

/// The inode of a subvolume's top.
const TOP_INODE: u64 = 256;
/// The inode of the empty directory that stands for a subvolume in a snapshot of what holds it.
const EMPTY_INODE: u64 = 2;

/// A tree.
pub(super) struct Tree(OwnedFd);

/// Something in it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where, relative to the top.
    pub(super) path: PathBuf,
    stat: Statx,
}

/// What tells one inode from another, also from one that had its number before.
pub(super) type Identity = (u64, i64, u32);

impl Node {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.stx_mode.into())
    }
    /// Whether it is a directory that can be looked into; a subvolume inside is not.
    pub(super) fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory && ![TOP_INODE, EMPTY_INODE].contains(&self.stat.stx_ino)
    }
    pub(super) fn mode(&self) -> u16 {
        self.stat.stx_mode & 0o7777
    }
    pub(super) fn owner(&self) -> (u32, u32) {
        (self.stat.stx_uid, self.stat.stx_gid)
    }
    pub(super) fn size(&self) -> u64 {
        self.stat.stx_size
    }
    pub(super) fn device(&self) -> (u32, u32) {
        (self.stat.stx_rdev_major, self.stat.stx_rdev_minor)
    }
    pub(super) fn modified(&self) -> (i64, u32) {
        (self.stat.stx_mtime.tv_sec, self.stat.stx_mtime.tv_nsec)
    }
    pub(super) fn identity(&self) -> Identity {
        (self.stat.stx_ino, self.stat.stx_btime.tv_sec, self.stat.stx_btime.tv_nsec)
    }
    /// Whether it is the same inode, which nobody has touched since: the change time cannot be set.
    pub(super) fn untouched(&self, other: &Self) -> bool {
        let changed = |s: &Statx| (s.stx_ctime.tv_sec, s.stx_ctime.tv_nsec);
        self.identity() == other.identity() && changed(&self.stat) == changed(&other.stat)
    }
}

impl Tree {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(fs::openat(CWD, path, flags, Mode::empty())?))
    }

    fn reach(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        loop {
            match fs::openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// What is in a directory, by name.
    pub(super) fn list(&self, directory: &Path) -> io::Result<Vec<(OsString, Node)>> {
        use std::os::unix::ffi::OsStringExt;
        let fd = self.reach(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut nodes = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name == "." || name == ".." {
                continue;
            }
            let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
            match fs::statx(&fd, &name, AtFlags::SYMLINK_NOFOLLOW, wanted) {
                Ok(stat) => nodes.push((name.clone(), Node { path: directory.join(&name), stat })),
                // It went while we looked.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        nodes.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(nodes)
    }

    /// Where a link points.
    pub(super) fn target(&self, path: &Path) -> io::Result<Vec<u8>> {
        let fd = self.reach(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        Ok(fs::readlinkat(&fd, "", Vec::new())?.into_bytes())
    }

    /// A file's content.
    pub(super) fn file(&self, path: &Path) -> io::Result<impl Read + use<>> {
        // What is no file any more by now does not hold us up.
        let fd = self.reach(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        if FileType::from_raw_mode(fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no file any more"));
        }
        Ok(File::from(fd))
    }

    /// The extended attributes, by name.
    pub(super) fn attributes(&self, path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let fd = self.reach(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        // A link cannot be opened for reading; through this name the attributes are its own.
        let here = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let mut names = vec![0_u8; 65_536];
        let length = match fs::listxattr(&here, &mut names[..]) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut all = Vec::new();
        for name in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
            let mut value = vec![0_u8; 65_536];
            match fs::getxattr(&here, name, &mut value[..]) {
                Ok(length) => all.push((name.to_vec(), value[..length].to_vec())),
                Err(Errno::NODATA) => {}
                Err(error) => return Err(error.into()),
            }
        }
        all.sort();
        Ok(all)
    }
}
