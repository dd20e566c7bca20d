//! What is mounted, from `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// The type of the file system.
    pub(super) kind: String,
    /// What is mounted: a device, mostly.
    pub(super) source: PathBuf,
    /// The options of the mount and of the file system.
    pub(super) options: Vec<String>,
    /// Whether the file system itself cannot be written; a mount of it may be read-only for one unit alone.
    pub(super) read_only: bool,
}

/// The mount that a path is on, as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MountSeen {
    /// The type of the file system.
    pub file_system: String,
    /// Those options that are someone's choice; not those that follow from the device (`ssd`) or differ from host to
    /// host (`subvolid`).
    pub options: Vec<String>,
}

impl Mount {
    pub(super) fn seen(&self) -> MountSeen {
        let chosen = |option: &&String| {
            let word = option.split(['=', ':']).next().unwrap_or_default();
            matches!(word, "ro" | "rw" | "noatime" | "relatime" | "compress" | "compress-force" | "nodatacow")
        };
        let mut options: Vec<String> = self.options.iter().filter(chosen).cloned().collect();
        options.sort();
        options.dedup();
        MountSeen { file_system: self.kind.clone(), options }
    }

    /// Whether it is of a btrfs subvolume whose path ends in `tail`. A bind of a directory in one counts: the kernel
    /// names the subvolume, not the directory.
    fn is_of(&self, tail: &Path) -> bool {
        let subvolume =
            |option: &String| option.strip_prefix("subvol=").is_some_and(|p| Path::new(p).ends_with(tail));
        self.kind == "btrfs" && self.options.iter().any(subvolume)
    }

    /// The file behind it, where it is a loop device.
    pub(super) fn backing_file(&self) -> Option<PathBuf> {
        let device = self.source.file_name()?.to_str().filter(|d| d.starts_with("loop"))?;
        let mut path = std::fs::read(Path::new("/sys/block").join(device).join("loop/backing_file")).ok()?;
        while path.last() == Some(&b'\n') {
            path.pop();
        }
        Some(OsString::from_vec(path).into())
    }
}

/// All mounts, in the order in which they were made.
pub(super) fn read() -> io::Result<Vec<Mount>> {
    let text = std::fs::read("/proc/self/mountinfo")?;
    Ok(text.split(|b| *b == b'\n').filter_map(parse).collect())
}

/// The mount at `path`, the uppermost where there are several.
pub(super) fn at<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    mounts.iter().rev().find(|m| m.point == path)
}

/// Where something is mounted at `path` or below it.
pub fn mounted_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(read()?.into_iter().map(|mount| mount.point).filter(|point| point.starts_with(path)).collect())
}

/// Whether a subvolume whose path in its file system ends in `tail`, or something in it, is mounted somewhere.
pub fn mounts_subvolume(tail: &Path) -> io::Result<bool> {
    Ok(read()?.iter().any(|mount| mount.is_of(tail)))
}

/// Whether the file system that `path` is on cannot be written, by whatever mount; a sandbox does not count.
pub fn read_only(path: &Path) -> io::Result<bool> {
    Ok(of(&read()?, path).is_some_and(|mount| mount.read_only))
}

/// The mount that `path` is on.
pub(super) fn of<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    path.ancestors().find_map(|ancestor| at(mounts, ancestor))
}

/// A line: `36 35 98:0 /root /point options optional… - type source super-options`.
pub(super) fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let point = unescape(fields.nth(4)?);
    let own = fields.next()?;
    let mut rest = fields.skip_while(|f| *f != b"-").skip(1);
    let kind = String::from_utf8_lossy(rest.next()?).into_owned();
    let source = unescape(rest.next()?);
    let all = rest.next().unwrap_or_default();
    let options = own
        .split(|b| *b == b',')
        .chain(all.split(|b| *b == b','))
        .map(|option| String::from_utf8_lossy(option).into_owned())
        .collect();
    let read_only = all.split(|b| *b == b',').any(|option| option == b"ro");
    Some(Mount { point: point.into(), kind, source: source.into(), options, read_only })
}

/// Undoes `\040` for a space, and the like.
pub(super) fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|d| *first == b'\\' && d.iter().all(|c| (b'0'..=b'7').contains(c)));
        if let Some(digits) = octal {
            bytes.push(digits.iter().fold(0u8, |n, d| n.wrapping_mul(8).wrapping_add(d - b'0')));
            rest = &after[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 22 0:40 / /var/lib/op\\040dbus rw,noatime - btrfs /dev/loop3 rw,compress=zstd:3,ssd,subvolid=5,subvol=/
41 22 0:41 / /var/lib/op\\040dbus ro,noatime master:2 propagate_from:3 - btrfs /dev/loop4 rw,compress=zstd:9
42 22 0:42 / /broken rw - ext4 /dev/vdb ro,errors=remount-ro";

    #[test]
    fn the_uppermost_mount_is_found_and_its_chosen_options_are_shown() {
        let mounts: Vec<Mount> = TEXT.split('\n').filter_map(|l| parse(l.as_bytes())).collect();
        assert_eq!(mounts.len(), 4);
        let base = Path::new("/var/lib/op dbus");
        assert_eq!(at(&mounts, base).unwrap().source, Path::new("/dev/loop4"));
        assert_eq!(of(&mounts, &base.join("@cache/x")).unwrap().source, Path::new("/dev/loop4"));
        assert_eq!(of(&mounts, Path::new("/var/lib")).unwrap().kind, "ext4");
        assert_eq!(at(&mounts, Path::new("/var/lib")), None);
        assert_eq!(mounts[1].seen().options, ["compress=zstd:3", "noatime", "rw"]);
        assert_eq!(mounts.iter().map(|m| m.read_only).collect::<Vec<_>>(), [false, false, false, true]);
    }

    #[test]
    fn a_damaged_line_is_passed_over() {
        for line in ["", "1 2 3", "22 1 254:0 / /point rw"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
