//! A root file system seen from outside. Its symbolic links may point anywhere, as links of a
//! container's do; every path is resolved by the kernel inside the root (`openat2`, `RESOLVE_IN_ROOT`),
//! so that nothing written for a container ever lands on the host.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};

/// The largest file that is read. What is in a container's is the container's to choose.
const LARGEST: u64 = 16 << 20;

/// An open root file system.
#[derive(Debug)]
pub struct RootDir(OwnedFd);

impl RootDir {
    /// Opens the root file system at `path`, which is trusted.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?))
    }

    fn resolve(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match fs::openat2(&self.0, path, flags | OFlags::CLOEXEC, mode, resolve) {
                // The kernel asks to try again when a rename went on during the look-up.
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// The directory of `path`, opened, and the name in it.
    fn parent<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let Some(Component::Normal(name)) = path.components().next_back() else {
            return Err(io::Error::other(format!("{} names no file", path.display())));
        };
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("/"));
        Ok((self.resolve(parent, OFlags::DIRECTORY | OFlags::PATH, Mode::empty())?, name))
    }

    /// Makes a directory and those above it that are missing, owned by root, with mode 0755.
    pub fn create_dir_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        if self.resolve(path, OFlags::DIRECTORY | OFlags::PATH, Mode::empty()).is_ok() {
            return Ok(());
        }
        if let Some(parent) = path.parent().filter(|p| p.components().count() > 0) {
            self.create_dir_all(parent)?;
        }
        let (directory, name) = self.parent(path)?;
        match fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(fs::chmodat(&directory, name, Mode::from_raw_mode(0o755), AtFlags::empty())?),
            Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces a file, owned by root, in a directory that is there. A link of that name is replaced, not followed.
    pub fn write(&self, path: impl AsRef<Path>, content: &[u8], mode: u32) -> io::Result<()> {
        let (directory, name) = self.parent(path.as_ref())?;
        let mut temporary = OsStr::new(".opdbus-new-").to_owned();
        temporary.push(name);
        remove(&directory, &temporary)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(fs::openat(&directory, &temporary, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(content)?;
        fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        fs::renameat(&directory, &temporary, &directory, name)?;
        Ok(())
    }

    /// Makes a symbolic link, replacing a file or link of that name.
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> io::Result<()> {
        let (directory, name) = self.parent(path.as_ref())?;
        remove(&directory, name)?;
        Ok(fs::symlinkat(target.as_ref(), &directory, name)?)
    }

    /// Reads a file of at most 16 MiB; `None` where it is not there.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<Option<Vec<u8>>> {
        match self.resolve(path.as_ref(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty()) {
            Ok(fd) => {
                let mut bytes = Vec::new();
                File::from(fd).take(LARGEST + 1).read_to_end(&mut bytes)?;
                if bytes.len() as u64 > LARGEST {
                    return Err(io::Error::other(format!("the file is larger than {} MiB", LARGEST >> 20)));
                }
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a file of at most `most` bytes; `None` where it is not there. What is no file (a device, a pipe) is
    /// not even opened.
    pub fn read_file(&self, path: impl AsRef<Path>, most: u64) -> io::Result<Option<Vec<u8>>> {
        let path = path.as_ref();
        let looked = match self.resolve(path, OFlags::PATH, Mode::empty()) {
            Ok(fd) => fs::fstat(&fd)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if FileType::from_raw_mode(looked.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no file"));
        }
        let fd = self.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?;
        let mut bytes = Vec::new();
        File::from(fd).take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::other(format!("it is larger than {most} bytes")));
        }
        Ok(Some(bytes))
    }

    /// Whether there is anything at `path`, a broken link too.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.parent(path.as_ref()).is_ok_and(|(directory, name)| {
            fs::statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
        })
    }

    /// Removes a file or link; nothing where there is none.
    pub fn remove(&self, path: impl AsRef<Path>) -> io::Result<()> {
        match self.parent(path.as_ref()) {
            Ok((directory, name)) => remove(&directory, name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes what is inside a directory, and keeps the directory; nothing where there is none.
    pub fn clear_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        match self.resolve(path.as_ref(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
            Ok(directory) => clear(&directory),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The names in a directory, sorted; none where there is none.
    pub fn list(&self, path: impl AsRef<Path>) -> io::Result<Vec<std::ffi::OsString>> {
        match self.resolve(path.as_ref(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
            Ok(directory) => names(&directory),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// What kind of thing is at `path`, a link being itself; `None` where there is nothing.
    pub fn kind(&self, path: impl AsRef<Path>) -> io::Result<Option<FileType>> {
        let stat = match self.parent(path.as_ref()) {
            Ok((directory, name)) => fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match stat {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes whatever is at `path`, a directory with all that is in it; nothing where there is nothing.
    pub fn remove_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        if self.kind(path)? != Some(FileType::Directory) {
            return self.remove(path);
        }
        self.clear_dir(path)?;
        let (directory, name) = self.parent(path)?;
        Ok(fs::unlinkat(&directory, name, AtFlags::REMOVEDIR)?)
    }

    /// The paths below `start` of all things of a wanted kind, in the order of their names. Links
    /// are not followed.
    pub fn find(
        &self,
        start: impl AsRef<Path>,
        wanted: &dyn Fn(FileType) -> bool,
    ) -> io::Result<Vec<PathBuf>> {
        let start = start.as_ref();
        let mut found = Vec::new();
        match self.resolve(start, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
            Ok(directory) => find(&directory, start, wanted, &mut found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(found)
    }

    /// Changes the owner of a file inside, by number.
    pub fn chown(&self, path: impl AsRef<Path>, uid: u32, gid: u32) -> io::Result<()> {
        let (directory, name) = self.parent(path.as_ref())?;
        Ok(fs::chownat(
            &directory,
            name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Changes the mode of a file or directory inside; a link is followed, inside.
    pub fn chmod(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
        let path = path.as_ref();
        // chmodat would follow a link on the host. A descriptor that can be given to fchmod is had by
        // opening, which for a device may do something: so the kind is looked at first.
        let seen = fs::fstat(self.resolve(path, OFlags::PATH, Mode::empty())?)?;
        if !matches!(FileType::from_raw_mode(seen.st_mode), FileType::RegularFile | FileType::Directory) {
            return Err(io::Error::other("it is neither a file nor a directory"));
        }
        let fd = self.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?;
        Ok(fs::fchmod(&fd, Mode::from_raw_mode(mode))?)
    }
}

fn remove(directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn names(directory: &OwnedFd) -> io::Result<Vec<std::ffi::OsString>> {
    use std::os::unix::ffi::OsStrExt;
    let mut all = Vec::new();
    for entry in fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            all.push(OsStr::from_bytes(name).to_owned());
        }
    }
    all.sort();
    Ok(all)
}

fn find(
    directory: &OwnedFd,
    path: &Path,
    wanted: &dyn Fn(FileType) -> bool,
    found: &mut Vec<PathBuf>,
) -> io::Result<()> {
    for name in names(directory)? {
        let stat = fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let below = path.join(&name);
        if wanted(kind) {
            found.push(below.clone());
        }
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            find(&fs::openat(directory, &name, flags, Mode::empty())?, &below, wanted, found)?;
        }
    }
    Ok(())
}

fn clear(directory: &OwnedFd) -> io::Result<()> {
    for name in names(directory)? {
        match fs::unlinkat(directory, &name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(rustix::io::Errno::ISDIR) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                clear(&fs::openat(directory, &name, flags, Mode::empty())?)?;
                fs::unlinkat(directory, &name, AtFlags::REMOVEDIR)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_that_points_out_of_the_root_stays_inside() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().join("root");
        std::fs::create_dir_all(root.join("real")).unwrap();
        std::fs::create_dir(host.path().join("etc")).unwrap();
        symlink("../etc", root.join("etc")).unwrap();
        symlink(host.path().join("etc"), root.join("abs")).unwrap();
        std::fs::write(host.path().join("etc/secret"), "host").unwrap();
        let dir = RootDir::open(&root).unwrap();

        assert!(
            dir.write("etc/hostname", b"x", 0o644).is_err(),
            "the link resolves to root/etc, itself a link"
        );
        assert!(dir.write("abs/hostname", b"x", 0o644).is_err(), "an absolute link begins at the root");
        assert_eq!(dir.read("etc/secret").ok().flatten(), None);
        assert!(!host.path().join("etc/hostname").exists());
        dir.write("real/hostname", b"x", 0o600).unwrap();
        assert_eq!(std::fs::read(root.join("real/hostname")).unwrap(), b"x");
    }

    #[test]
    fn a_file_that_is_a_link_is_replaced_and_its_target_kept() {
        let host = tempfile::tempdir().unwrap();
        let target = host.path().join("target");
        std::fs::write(&target, "keep").unwrap();
        let root = host.path().join("root");
        std::fs::create_dir(&root).unwrap();
        symlink(&target, root.join("machine-id")).unwrap();
        let dir = RootDir::open(&root).unwrap();
        dir.write("machine-id", b"new", 0o444).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"keep");
        assert_eq!(std::fs::read(root.join("machine-id")).unwrap(), b"new");
    }

    #[test]
    fn directories_are_made_listed_and_cleared_without_following_links() {
        let host = tempfile::tempdir().unwrap();
        let outside = host.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("keep"), "").unwrap();
        let root = host.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let dir = RootDir::open(&root).unwrap();
        dir.create_dir_all("/a/b/c").unwrap();
        dir.write("a/b/c/f", b"", 0o644).unwrap();
        symlink(&outside, root.join("a/link")).unwrap();
        assert_eq!(dir.list("a").unwrap(), ["b", "link"]);
        dir.clear_dir("a").unwrap();
        assert!(dir.list("a").unwrap().is_empty() && dir.exists("a"));
        assert!(outside.join("keep").exists());
        assert!(dir.list("none").unwrap().is_empty());
    }

    #[test]
    fn a_mode_is_never_changed_through_a_link_to_the_host() {
        use std::os::unix::fs::PermissionsExt;
        let host = tempfile::tempdir().unwrap();
        let outside = host.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o755)).unwrap();
        let root = host.path().join("root");
        std::fs::create_dir_all(root.join("real")).unwrap();
        symlink(&outside, root.join("ssh")).unwrap();
        symlink("/real", root.join("inside")).unwrap();
        let dir = RootDir::open(&root).unwrap();
        assert!(dir.chmod("ssh", 0o700).is_err());
        dir.chmod("inside", 0o700).unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&outside), mode(&root.join("real"))), (0o755, 0o700));
    }

    #[test]
    fn a_tree_is_searched_and_removed_without_following_links() {
        let host = tempfile::tempdir().unwrap();
        let outside = host.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("keep"), "").unwrap();
        let root = host.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/f"), "").unwrap();
        symlink(&outside, root.join("a/link")).unwrap();
        let dir = RootDir::open(&root).unwrap();
        assert_eq!(dir.kind("a/link").unwrap(), Some(FileType::Symlink));
        assert_eq!(dir.kind("a/none/f").unwrap(), None);
        assert_eq!(dir.find("/", &|k| k == FileType::RegularFile).unwrap(), [Path::new("/a/b/f")]);
        dir.remove_all("a/link").unwrap();
        dir.remove_all("a").unwrap();
        dir.remove_all("a").unwrap();
        assert!(!root.join("a").exists() && outside.join("keep").exists());
    }
}
