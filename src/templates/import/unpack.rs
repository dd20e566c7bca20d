//! Writing the members of an archive into a root file system, and nowhere else. Every step goes from a directory that
//! was opened below the root without following a link (`openat2`, `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`), and
//! every name in it is made anew: what an earlier member left, a link first of all, is never written through.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    self, AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use tar::EntryType;

use super::Fail;
use super::members::{MOST_MEMBERS, Member, each, shown};
use crate::files::RootDir;

/// How many directories deep a name may lead. What looks through a template later holds each of them open.
const DEEPEST: usize = 128;
/// How many of the things left out are named.
const MOST_NAMED: usize = 50;
/// What the name of a whiteout begins with, and the one that hides all that is in its directory.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A root file system that is being written.
pub(super) struct Unpacker {
    root: OwnedFd,
    /// The same, for removing.
    inside: RootDir,
    /// Bytes of files that may still be written.
    left: u64,
    members: u64,
    /// What was left out: device nodes and the like.
    pub(super) left_out: Vec<String>,
}

/// The names that a path leads through; none for the root itself.
fn checked(member: &Member, path: &[u8]) -> Result<PathBuf, Fail> {
    let refused = |why| Err(Fail::Refused(format!("{} {why}", shown(path))));
    if path.starts_with(b"/") {
        return refused("is an absolute name");
    }
    if path.is_empty() {
        return Err(Fail::Refused(format!("{} has an empty name", member.shown())));
    }
    let mut checked = PathBuf::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return refused("leads out by \"..\""),
            _ if part.contains(&0) || part.len() > 255 => return refused("is no name of a file"),
            _ => checked.push(OsStr::from_bytes(part)),
        }
    }
    if checked.components().count() > DEEPEST {
        return refused("is too deep");
    }
    Ok(checked)
}

impl Unpacker {
    /// Writes below `root`, which is trusted, files of `most` bytes together.
    pub(super) fn new(root: &Path, most: u64) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let inside = RootDir::open(root)?;
        let root = fs::openat(CWD, root, flags, Mode::empty())?;
        Ok(Self { root, inside, left: most, members: 0, left_out: Vec::new() })
    }

    fn directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        loop {
            match fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// The directory that a path's last name is in; made where it is not there.
    fn parent(&self, path: &Path, make: bool) -> Result<Option<OwnedFd>, Fail> {
        let parent = path.parent().unwrap_or(Path::new(""));
        match self.directory(parent) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT) if !make => Ok(None),
            Err(Errno::NOENT) => {
                let (Some(above), Some(name)) = (self.parent(parent, true)?, parent.file_name()) else {
                    return Ok(None);
                };
                match fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(Fail::Io(error.into())),
                }
                self.directory(parent).map(Some).map_err(|e| Fail::Io(e.into()))
            }
            Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => Err(Fail::Refused(format!(
                "{} leads through something that is no directory: a link, or a file",
                shown(path.as_os_str().as_bytes())
            ))),
            Err(error) => Err(Fail::Io(error.into())),
        }
    }

    /// Removes from what lower layers left what the whiteouts of a layer say.
    pub(super) fn hide(&mut self, layer: impl Read) -> Result<(), Fail> {
        each(layer, |member, _| {
            let path = checked(&member, &member.name)?;
            let Some(name) = path.file_name().map(OsStrExt::as_bytes) else { return Ok(true) };
            let Some(hidden) = name.strip_prefix(WHITEOUT) else { return Ok(true) };
            if self.parent(&path, false)?.is_none() {
                return Ok(true);
            }
            let directory = path.parent().unwrap_or(Path::new(""));
            if name == OPAQUE {
                let at = if directory.as_os_str().is_empty() { Path::new("/") } else { directory };
                self.inside.clear_dir(at)?;
            } else if matches!(hidden, b"" | b"." | b"..") {
                return Err(Fail::Refused(format!("{} hides what is no file", member.shown())));
            } else if !hidden.starts_with(WHITEOUT) {
                self.inside.remove_all(directory.join(OsStr::from_bytes(hidden)))?;
            }
            Ok(true)
        })
    }

    /// Writes the members of an archive; of a layer, all but whiteouts.
    pub(super) fn unpack(&mut self, archive: impl Read, layer: bool) -> Result<(), Fail> {
        each(archive, |member, data| {
            self.members += 1;
            if self.members > MOST_MEMBERS {
                return Err(Fail::Refused(format!("it has more than {MOST_MEMBERS} members")));
            }
            let path = checked(&member, &member.name)?;
            let Some(name) = path.file_name() else { return Ok(true) };
            if !(layer && name.as_bytes().starts_with(WHITEOUT)) {
                self.write(&member, &path, name, data)?;
            }
            Ok(true)
        })
    }

    fn write(&mut self, member: &Member, path: &Path, name: &OsStr, data: &mut dyn Read) -> Result<(), Fail> {
        let wanted = match member.kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => FileType::RegularFile,
            EntryType::Directory => FileType::Directory,
            EntryType::Symlink => FileType::Symlink,
            EntryType::Link => FileType::Unknown,
            _ => {
                self.leave_out(path);
                // What a lower layer had there is replaced all the same.
                if self.parent(path, false)?.is_some() {
                    self.inside.remove_all(path)?;
                }
                return Ok(());
            }
        };
        // In tar's first form a directory is a file whose name ends in a slash.
        let wanted = if wanted == FileType::RegularFile && member.name.ends_with(b"/") {
            FileType::Directory
        } else {
            wanted
        };
        let Some(parent) = self.parent(path, true)? else { return Ok(()) };
        let there = match fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(Fail::Io(error.into())),
        };
        if wanted == FileType::Unknown {
            return self.link(member, path, &parent, name);
        }
        if there.is_some() && !(there == Some(FileType::Directory) && wanted == FileType::Directory) {
            self.inside.remove_all(path)?;
        }
        match wanted {
            FileType::Directory => {
                if there != Some(FileType::Directory) {
                    fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700))?;
                }
                let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                dress(&fs::openat(&parent, name, flags, Mode::empty())?, member)?;
            }
            FileType::Symlink => {
                if member.link.is_empty() || member.link.contains(&0) {
                    return Err(Fail::Refused(format!("{} is a link to nothing", member.shown())));
                }
                fs::symlinkat(OsStr::from_bytes(&member.link), &parent, name)?;
                let (uid, gid) = member.owner;
                let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                fs::chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            _ => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600))?);
                self.copy(member, data, &mut file)?;
                dress(&file.into(), member)?;
            }
        }
        Ok(())
    }

    fn copy(&mut self, member: &Member, data: &mut dyn Read, file: &mut File) -> Result<(), Fail> {
        self.left = self.left.checked_sub(member.size).ok_or_else(Fail::too_large)?;
        let mut buffer = vec![0; 1 << 16];
        let mut written = 0;
        loop {
            let read = data.read(&mut buffer).map_err(|e| Fail::read("the archive", &e))?;
            if read == 0 {
                break;
            }
            file.write_all(&buffer[..read])?;
            written += read as u64;
        }
        if written == member.size {
            Ok(())
        } else {
            Err(Fail::Refused(format!("it ends in the middle of {}", member.shown())))
        }
    }

    /// Makes a hard link to a file that is there already, in the root.
    fn link(&self, member: &Member, path: &Path, parent: &OwnedFd, name: &OsStr) -> Result<(), Fail> {
        let target = checked(member, &member.link)?;
        let refused = |why| {
            Fail::Refused(format!("{} is a hard link to {}, {why}", member.shown(), shown(&member.link)))
        };
        if target == path {
            return Ok(());
        }
        let (Some(directory), Some(file)) = (self.parent(&target, false)?, target.file_name()) else {
            return Err(refused("which is not there"));
        };
        match fs::statat(&directory, file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(refused("which is a directory"));
            }
            Ok(_) => {}
            // To a device that was left out, for one.
            Err(Errno::NOENT) => return Err(refused("which is not there")),
            Err(error) => return Err(Fail::Io(error.into())),
        }
        // Beside first: what is replaced may be where the only other name of the target is.
        self.inside.remove_all(path)?;
        match fs::linkat(&directory, file, parent, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Err(refused("which is not there")),
            other => Ok(other?),
        }
    }

    fn leave_out(&mut self, path: &Path) {
        match self.left_out.len() {
            n if n < MOST_NAMED => {
                self.left_out.push(shown(path.as_os_str().as_bytes()).trim_matches('"').to_owned());
            }
            MOST_NAMED => self.left_out.push("and more".into()),
            _ => {}
        }
    }
}

/// Gives what was made its owner, mode, attributes and time.
fn dress(made: &OwnedFd, member: &Member) -> Result<(), Fail> {
    let (uid, gid) = member.owner;
    fs::fchown(made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    fs::fchmod(made, Mode::from_raw_mode(member.mode))?;
    for (name, value) in &member.attributes {
        // A file's capabilities are what ping has; others' (of a mandatory access control, of an overlay) mean nothing
        // here, and our own marks are ours to set.
        let wanted = name == b"security.capability"
            || (name.starts_with(b"user.") && !name.starts_with(b"user.opdbus"));
        if wanted && !name.contains(&0) {
            fs::fsetxattr(made, OsStr::from_bytes(name), value, XattrFlags::empty())?;
        }
    }
    let time = Timespec { tv_sec: member.changed, tv_nsec: 0 };
    Ok(fs::futimens(made, &Timestamps { last_access: time, last_modification: time })?)
}
