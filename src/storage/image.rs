//! The image: a file that holds a btrfs file system, for hosts whose disk is not btrfs. It is made
//! under a temporary name and renamed when it holds a file system; one that exists is never resized,
//! never made again, only mounted.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use serde::Serialize;

use super::StorageError;
use super::mounts::{self, Mount};
use super::place::{self, Leftover, PlaceError};
use crate::engine::Context;
use crate::files::{self, FileState, Managed};
use crate::run::Invocation;
use crate::spec::{Btrfs, Image};

/// Where btrfs keeps its magic number (`btrfs_super_block.magic` of the first copy), and the number.
const MAGIC_AT: u64 = 0x1_0040;
const MAGIC: &[u8; 8] = b"_BHRfS_M";

/// Where the label is (`btrfs_super_block.label`), and ours.
const LABEL_AT: u64 = 0x1_012b;
const LABEL: &str = "op-dbus";

/// What is where the image shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageFile {
    /// Nothing.
    Missing,
    /// A file with a btrfs file system.
    Btrfs,
    /// Something else.
    Other,
}

/// What is mounted at the base path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mounted {
    /// Nothing, and there is nothing there that a mount would hide.
    No,
    /// Nothing, and there are files there that a mount would hide.
    NoAndNotEmpty,
    /// The image.
    Image,
    /// The image, which an uninstall that was stopped has emptied and marked for removal.
    Retired,
    /// Something else.
    Other,
}

/// What is seen of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSeen {
    /// The file.
    pub file: ImageFile,
    /// What is mounted at the base path.
    pub mounted: Mounted,
    /// Whether a run was stopped while it made the file.
    pub half_made: bool,
    /// The mount unit; `None` where the host has no systemd running, or NixOS writes the units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitSeen>,
}

/// What is seen of the mount unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitSeen {
    /// Where it is, or will be.
    pub path: PathBuf,
    /// How the file stands to what is written now.
    pub file: FileState,
    /// Whether it is mounted at boot.
    pub enabled: bool,
}

impl ImageSeen {
    pub(super) fn read(
        cx: &Context<'_>,
        image: &Image,
        mounts: &[Mount],
        systemd: bool,
    ) -> Result<Self, StorageError> {
        let base = &cx.spec.btrfs.base_path;
        let half_made = place::staged(&image.path);
        let unit = systemd.then(|| {
            let path = unit_path(cx);
            let file = units_record(cx).state(&path, unit(&cx.spec.btrfs, image).as_bytes())?;
            let wanted = wanted_by(cx);
            Ok::<_, StorageError>(UnitSeen { path, file, enabled: wanted.symlink_metadata().is_ok() })
        });
        Ok(Self {
            file: file_kind(&image.path).map_err(|e| StorageError::io("look at", &image.path, e))?,
            mounted: mounted(base, &image.path, mounts).map_err(|e| StorageError::io("look at", base, e))?,
            half_made: half_made.symlink_metadata().is_ok(),
            unit: unit.transpose()?,
        })
    }
}

fn file_kind(path: &Path) -> io::Result<ImageFile> {
    let kind = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => return Ok(ImageFile::Other),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound) => return Ok(ImageFile::Missing),
        Err(error) => return Err(error),
    };
    if kind.len() < MAGIC_AT + 8 {
        return Ok(ImageFile::Other);
    }
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(MAGIC_AT))?;
    let mut magic = [0; 8];
    file.read_exact(&mut magic)?;
    Ok(if &magic == MAGIC { ImageFile::Btrfs } else { ImageFile::Other })
}

fn mounted(base: &Path, image: &Path, mounts: &[Mount]) -> io::Result<Mounted> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if let Some(mount) = mounts::at(mounts, &real(base)) {
        return Ok(match mount.backing_file() {
            Some(file) if real(&file) == real(image) => Mounted::Image,
            Some(file) if real(&file) == real(&place::staged(image)) => Mounted::Retired,
            _ => Mounted::Other,
        });
    }
    match std::fs::read_dir(base) {
        Ok(mut entries) => Ok(if entries.next().is_none() { Mounted::No } else { Mounted::NoAndNotEmpty }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Mounted::No),
        Err(error) => Err(error),
    }
}

/// Makes the image of the host spec where there is none, and mounts nothing: for a host whose mount unit comes from
/// elsewhere (NixOS), and starts after this. `true` where it was made; an error where what is there is no image, or
/// where the mount would hide files at the base path.
pub fn make_image(cx: &Context<'_>) -> Result<bool, StorageError> {
    let base = &cx.spec.btrfs.base_path;
    let Some(image) = &cx.spec.btrfs.image else { return Ok(false) };
    let mounts = mounts::read().map_err(|e| StorageError::io("read", "/proc/self/mountinfo".as_ref(), e))?;
    let seen = ImageSeen::read(cx, image, &mounts, false)?;
    match (seen.mounted, seen.file) {
        (Mounted::Other | Mounted::Retired, _) => {
            Err(StorageError::OtherMount { image: image.path.clone(), base: base.clone() })
        }
        (Mounted::NoAndNotEmpty, _) => Err(StorageError::WouldHide { base: base.clone() }),
        (_, ImageFile::Other) => Err(StorageError::NotAnImage { image: image.path.clone() }),
        (Mounted::Image, ImageFile::Missing) => {
            Err(StorageError::ImageGone { image: image.path.clone(), base: base.clone() })
        }
        (_, ImageFile::Btrfs) => remove_half_made(&image.path).map(|()| false),
        (Mounted::No, ImageFile::Missing) => make(cx, image).map(|()| true),
    }
}

/// Makes the image: a sparse file with a file system, under a temporary name until it is whole.
pub(super) fn make(cx: &Context<'_>, image: &Image) -> Result<(), StorageError> {
    let staged = place::staged(&image.path);
    let io = |error| StorageError::io("make the image", &image.path, error);
    remove_half_made(&image.path)?;
    let directory = image.path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory).map_err(io)?;
    let file = std::fs::File::options()
        .write(true)
        .create_new(true)
        // All data of all containers is in it.
        .mode(0o600)
        .open(&staged)
        .map_err(io)?;
    file.set_len(image.size.0).map_err(io)?;
    cx.host.run.run(&Invocation::new("mkfs.btrfs").args(["--quiet", "--label", LABEL]).arg(&staged))?;
    file.sync_all().map_err(io)?;
    rustix::fs::renameat_with(CWD, &staged, CWD, &image.path, RenameFlags::NOREPLACE)
        .map_err(|e| io(e.into()))?;
    files::sync_directory(directory).map_err(io)
}

pub(super) fn remove_half_made(image: &Path) -> Result<(), StorageError> {
    let staged = place::staged(image);
    match std::fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StorageError::io("remove", &staged, error))
        }
        _ => Ok(()),
    }
}

/// Whether the file holds a btrfs of our making.
pub(super) fn has_our_label(path: &Path) -> bool {
    let label = |path: &Path| -> io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(LABEL_AT))?;
        let mut label = vec![0; LABEL.len() + 1];
        file.read_exact(&mut label)?;
        Ok(label)
    };
    matches!(file_kind(path), Ok(ImageFile::Btrfs))
        && label(path).is_ok_and(|there| there.strip_prefix(LABEL.as_bytes()) == Some(&[0]))
}

/// Gives the image, which is empty and mounted still, the name of a half-made one.
pub(super) fn retire(image: &Image) -> Result<(), StorageError> {
    let io = |error| StorageError::io("rename", &image.path, error);
    std::fs::rename(&image.path, place::staged(&image.path)).map_err(io)?;
    files::sync_directory(image.path.parent().unwrap_or(Path::new("/"))).map_err(io)
}

/// Unmounts the image.
pub(super) fn unmount(cx: &Context<'_>, base: &Path, by_unit: bool) -> Result<(), StorageError> {
    let call = if by_unit {
        Invocation::new("systemctl").args(["stop", &unit_name(base)])
    } else {
        Invocation::new("umount").arg(base)
    };
    cx.host.run.run(&call)?;
    Ok(())
}

/// Takes the mount unit away; one that the admin edited is put aside.
pub(super) fn remove_unit(cx: &Context<'_>, path: &Path, edited: bool) -> Result<(), StorageError> {
    let systemctl = || Invocation::new("systemctl");
    cx.host.run.run(&systemctl().args(["disable", &unit_name(&cx.spec.btrfs.base_path)]))?;
    let removed = if edited {
        files::put_aside(path, &cx.host.paths.etc.join(files::KEPT))
    } else {
        std::fs::remove_file(path)
    };
    removed.map_err(|e| StorageError::io("remove", path, e))?;
    let beside = files::beside(path);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StorageError::io("remove", &beside, error));
        }
        _ => {}
    }
    cx.host.run.run(&systemctl().arg("daemon-reload"))?;
    Ok(())
}

/// Mounts the image at the base path: by its unit where systemd runs the host, else at once.
pub(super) fn mount(cx: &Context<'_>, image: &Image, by_unit: bool) -> Result<(), StorageError> {
    let base = &cx.spec.btrfs.base_path;
    // Marked under the mount, so that it goes when the image does.
    place::make_directories(base, "storage").map_err(|e| StorageError::io("create", base, e))?;
    let systemctl = || Invocation::new("systemctl");
    if by_unit {
        // Also where the unit was written by a run that was stopped right after.
        cx.host.run.run(&systemctl().arg("daemon-reload"))?;
        cx.host.run.run(&systemctl().args(["start", &unit_name(base)]))?;
    } else {
        let options = format!("loop,{}", options(&cx.spec.btrfs));
        let call = Invocation::new("mount").args(["-t", "btrfs", "-o", &options]).arg(&image.path).arg(base);
        cx.host.run.run(&call)?;
    }
    Ok(())
}

/// Lays the mount unit down, or beside one that the admin edited.
pub(super) fn write_unit(cx: &Context<'_>, image: &Image) -> Result<(), StorageError> {
    let etc = &cx.host.paths.etc;
    std::fs::create_dir_all(etc).map_err(|e| StorageError::io("create", etc, e))?;
    units_record(cx).ship(&unit_path(cx), unit(&cx.spec.btrfs, image).as_bytes(), 0o644)?;
    cx.host.run.run(&Invocation::new("systemctl").arg("daemon-reload"))?;
    Ok(())
}

/// Has the image mounted at boot.
pub(super) fn enable_unit(cx: &Context<'_>) -> Result<(), StorageError> {
    let name = unit_name(&cx.spec.btrfs.base_path);
    cx.host.run.run(&Invocation::new("systemctl").args(["enable", &name]))?;
    Ok(())
}

/// The record of the unit files is in `/etc/opdbus`: the base path is not mounted yet when the unit is written.
fn record_path(cx: &Context<'_>) -> PathBuf {
    cx.host.paths.etc.join("managed-files.json")
}

fn units_record(cx: &Context<'_>) -> Managed {
    Managed::new(record_path(cx))
}

/// What a run left that was stopped while it wrote the unit.
pub(super) fn unit_leftovers(cx: &Context<'_>) -> Result<Vec<Leftover>, PlaceError> {
    let mut all = Leftover::of_file(&unit_path(cx))?;
    all.extend(Leftover::of_file(&record_path(cx))?);
    Ok(all)
}

fn unit_path(cx: &Context<'_>) -> PathBuf {
    cx.host.paths.units.join(unit_name(&cx.spec.btrfs.base_path))
}

fn wanted_by(cx: &Context<'_>) -> PathBuf {
    cx.host.paths.units.join("local-fs.target.wants").join(unit_name(&cx.spec.btrfs.base_path))
}

/// Mount options. No access times: each would be a write to every snapshot that is only read.
fn options(btrfs: &Btrfs) -> String {
    format!("noatime,compress=zstd:{}", btrfs.compression_level)
}

/// The mount unit. `local-fs.target` wants it and does not require it: a damaged image must not keep
/// the host from booting; what needs the data says so itself (`RequiresMountsFor=`).
fn unit(btrfs: &Btrfs, image: &Image) -> String {
    format!(
        "# Written by opdbus-storage from btrfs.image of the host spec. To change an option, add a\n\
         # drop-in: systemctl edit '{name}'\n\
         [Unit]\n\
         Description=Data of operation-dbus (btrfs image)\n\
         \n\
         [Mount]\n\
         What={what}\n\
         Where={base}\n\
         Type=btrfs\n\
         Options=loop,{options}\n\
         \n\
         [Install]\n\
         WantedBy=local-fs.target\n",
        name = unit_name(&btrfs.base_path),
        what = image.path.display(),
        base = btrfs.base_path.display(),
        options = options(btrfs),
    )
}

/// The name systemd gives to the mount unit of a path (`systemd-escape --path --suffix=mount`).
pub(super) fn unit_name(path: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut name = String::new();
    let parts = path.components().filter_map(|part| match part {
        std::path::Component::Normal(part) => Some(part.as_bytes()),
        _ => None,
    });
    for (index, part) in parts.enumerate() {
        if index > 0 {
            name.push('-');
        }
        for byte in part {
            let first = name.is_empty();
            if byte.is_ascii_alphanumeric() || b":_".contains(byte) || (*byte == b'.' && !first) {
                name.push(char::from(*byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(name, "\\x{byte:02x}");
            }
        }
    }
    if name.is_empty() {
        name.push('-');
    }
    name + ".mount"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Size;

    #[test]
    fn a_mount_unit_has_the_name_systemd_asks_for() {
        for (path, name) in [
            ("/var/lib/op-dbus", "var-lib-op\\x2ddbus.mount"),
            ("/srv/a_b/c.d", "srv-a_b-c.d.mount"),
            ("/.hidden/x", "\\x2ehidden-x.mount"),
            ("/ü", "\\xc3\\xbc.mount"),
            ("/", "-.mount"),
        ] {
            assert_eq!(unit_name(Path::new(path)), name);
        }
    }

    #[test]
    fn the_unit_mounts_the_image_with_the_level_of_the_host_spec_and_cannot_stop_a_boot() {
        let image = Image { path: "/var/lib/op-dbus.btrfs".into(), size: Size(1 << 30) };
        let text = unit(&Btrfs { compression_level: 7, ..Btrfs::default() }, &image);
        assert!(text.contains("What=/var/lib/op-dbus.btrfs\nWhere=/var/lib/op-dbus\n"), "{text}");
        assert!(text.contains("Options=loop,noatime,compress=zstd:7\n"), "{text}");
        assert!(text.contains("WantedBy=local-fs.target") && !text.contains("RequiredBy"), "{text}");
    }

    #[test]
    fn a_file_is_an_image_only_if_it_holds_btrfs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        assert_eq!(file_kind(&path).unwrap(), ImageFile::Missing);
        std::fs::write(&path, "my thesis").unwrap();
        assert_eq!(file_kind(&path).unwrap(), ImageFile::Other);
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(1 << 20).unwrap();
        assert_eq!(file_kind(&path).unwrap(), ImageFile::Other);
        std::os::unix::fs::FileExt::write_all_at(&file, MAGIC, MAGIC_AT).unwrap();
        assert_eq!(file_kind(&path).unwrap(), ImageFile::Btrfs);
        assert!(!has_our_label(&path));
        std::os::unix::fs::FileExt::write_all_at(&file, b"op-dbus\0", LABEL_AT).unwrap();
        assert!(has_our_label(&path));
        std::os::unix::fs::FileExt::write_all_at(&file, b"op-dbus-2\0", LABEL_AT).unwrap();
        assert!(!has_our_label(&path));
        assert_eq!(file_kind(dir.path()).unwrap(), ImageFile::Other);
    }
}
