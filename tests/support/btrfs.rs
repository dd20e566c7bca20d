//! A btrfs file system of its own for a test: a sparse file, loop-mounted in a temporary directory,
//! unmounted and removed when dropped, after a panic too.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted btrfs file system.
pub struct Btrfs {
    directory: tempfile::TempDir,
    mount: PathBuf,
}

impl Btrfs {
    /// Makes and mounts one. btrfs wants at least 128 MiB; nothing is written to the disk but what the test writes.
    pub fn new(size_mib: u64) -> Self {
        let directory = tempfile::Builder::new().prefix("opdbus-btrfs-").tempdir().unwrap();
        let image = directory.path().join("image");
        let mount = directory.path().join("mnt");
        std::fs::create_dir(&mount).unwrap();
        std::fs::File::create(&image).unwrap().set_len(size_mib << 20).unwrap();
        run(Command::new("mkfs.btrfs").arg("-q").arg(&image));
        run(Command::new("mount").args(["-o", "loop,noatime"]).arg(&image).arg(&mount));
        Self { directory, mount }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// A directory beside the mount, on the host's own file system, removed with it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        unmount(&self.mount);
    }
}

/// Unmounts whatever a test mounted; lazily where something still holds it, so that the loop device
/// goes with its last user.
pub fn unmount(at: &Path) {
    let quiet = |flags: &[&str]| {
        Command::new("umount").args(flags).arg(at).output().is_ok_and(|out| out.status.success())
    };
    if !quiet(&["-R"]) {
        quiet(&["-R", "-l"]);
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
