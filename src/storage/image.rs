//! A btrfs file system in a file, loop-mounted at the base path: the way out where the host's own disk is
//! not btrfs.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use super::component::StorageError;
use crate::engine::Context;
use crate::files;
use crate::run::Invocation;
use crate::spec::Image;

/// The name of the mount unit of a path, as systemd-escape(1) makes it: '/' becomes '-', and what is not a
/// letter, a digit, ':', '_' or '.' becomes `\xNN`.
pub(super) fn mount_unit(path: &Path) -> String {
    let text = path.to_string_lossy();
    let mut unit = String::new();
    for (index, byte) in text.trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => unit.push('-'),
            b'.' if index == 0 => unit.push_str("\\x2e"),
            b':' | b'_' | b'.' => unit.push(char::from(byte)),
            b if b.is_ascii_alphanumeric() => unit.push(char::from(b)),
            // Writing to a String cannot fail.
            b => drop(write!(unit, "\\x{b:02x}")),
        }
    }
    unit.push_str(".mount");
    unit
}

/// The mount unit's text. The level is set here and nowhere else: btrfs has one per file system.
pub(super) fn unit_text(image: &Image, base: &Path, level: u8) -> String {
    format!(
        "# Written by operation-dbus.\n[Unit]\nDescription=operation-dbus data\nRequiresMountsFor={}\n\n[Mount]\nWhat={}\nWhere={}\nType=btrfs\nOptions={}\n\n[Install]\nWantedBy=local-fs.target\n",
        image.path.parent().unwrap_or(Path::new("/")).display(),
        image.path.display(),
        base.display(),
        options(level),
    )
}

fn options(level: u8) -> String {
    format!("loop,compress=zstd:{level},noatime,user_subvol_rm_allowed")
}

/// The options and the source of what is mounted at `path`, from mountinfo's text; `None` where nothing is.
pub(super) fn mounted(mountinfo: &str, path: &Path) -> Option<(String, String)> {
    mountinfo.lines().rev().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let place = before.split(' ').nth(4)?;
        if Path::new(place) != path {
            return None;
        }
        let mut rest = after.split(' ');
        let (_, source, options) = (rest.next()?, rest.next()?, rest.next()?);
        Some((source.to_owned(), options.to_owned()))
    })
}

/// Whether a loop device's backing file is `image`.
pub(super) fn backed_by(source: &str, image: &Path) -> bool {
    let Some(device) = Path::new(source).file_name() else { return false };
    let file = Path::new("/sys/block").join(device).join("loop/backing_file");
    std::fs::read_to_string(file).is_ok_and(|backing| Path::new(backing.trim_end()) == image)
}

/// Makes the image: a sparse file with a file system in it, under a temporary name until it is whole.
pub(super) fn make(cx: &Context<'_>, image: &Image) -> Result<(), StorageError> {
    let failed = |verb| {
        let path = image.path.clone();
        move |source: io::Error| StorageError::Io { verb, path, source }
    };
    let directory = image.path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory).map_err(failed("make the directory of"))?;
    let stage = staging(&image.path);
    let file = std::fs::File::create(&stage).map_err(failed("make"))?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o600))
        .map_err(|e| failed("protect")(e.into()))?;
    file.set_len(image.size.0).map_err(failed("size"))?;
    cx.host.run.run(&Invocation::new("mkfs.btrfs").args(["--quiet", "--label", "opdbus"]).arg(&stage))?;
    file.sync_all().map_err(failed("sync"))?;
    std::fs::rename(&stage, &image.path).map_err(failed("put in place"))?;
    files::sync_directory(directory).map_err(failed("sync"))
}

/// The temporary name of an image that is being made.
pub(super) fn staging(image: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(super::STAGING);
    name.push(image.file_name().unwrap_or_default());
    image.with_file_name(name)
}

/// Mounts the image: by its unit where systemd runs, else by mount.
pub(super) fn mount(cx: &Context<'_>, image: &Image) -> Result<(), StorageError> {
    let base = &cx.spec.btrfs.base_path;
    let failed = |source| StorageError::Io { verb: "make the directory", path: base.clone(), source };
    std::fs::create_dir_all(base).map_err(failed)?;
    let run = &cx.host.run;
    let level = cx.spec.btrfs.compression_level;
    if Path::new("/run/systemd/system").exists() {
        let unit = mount_unit(base);
        let path = cx.host.paths.units.join(&unit);
        files::replace(&path, unit_text(image, base, level).as_bytes(), 0o644)
            .map_err(|source| StorageError::Io { verb: "write", path: path.clone(), source })?;
        run.run(&Invocation::new("systemctl").arg("daemon-reload"))?;
        run.run(&Invocation::new("systemctl").args(["enable", "--now", "--"]).arg(&unit))?;
    } else {
        run.run(
            &Invocation::new("mount")
                .args(["-t", "btrfs", "-o"])
                .arg(options(level))
                .arg(&image.path)
                .arg(base),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_unit_is_named_as_systemd_escape_names_it() {
        // systemd-escape --path --suffix=mount /var/lib/op-dbus
        assert_eq!(mount_unit(Path::new("/var/lib/op-dbus")), "var-lib-op\\x2ddbus.mount");
        assert_eq!(mount_unit(Path::new("/srv/.data")), "srv-.data.mount");
    }

    #[test]
    fn what_is_mounted_last_at_a_place_is_found() {
        let text = "22 1 0:20 / /srv rw - ext4 /dev/sda rw\n30 22 0:31 / /srv rw shared:1 - btrfs /dev/loop3 rw,compress=zstd:3\n";
        assert_eq!(
            mounted(text, Path::new("/srv")),
            Some(("/dev/loop3".into(), "rw,compress=zstd:3".into()))
        );
        assert_eq!(mounted(text, Path::new("/")), None);
    }
}
