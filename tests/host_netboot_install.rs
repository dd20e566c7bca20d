//! The netboot image's installer, on loop devices. Everything is real but `nixos-generate-config` and
//! `nixos-install`, which need a NixOS: programs of their names write down how they were called. Where the kernel
//! has no vfat, the mount of the EFI system partition is stood in for, too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something fails")]

mod support;

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::Need;
use support::btrfs::unmount;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/nixos/netboot/opdbus-netboot-install.sh");
const NEEDS: [Need; 6] = [
    Need::Root,
    Need::Btrfs,
    Need::Program("jq"),
    Need::Program("sfdisk"),
    Need::Program("mkfs.vfat"),
    Need::Program("script"),
];

/// Runs a command that must succeed, and gives what it printed.
fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A sparse file as a disk.
struct Disk {
    file: PathBuf,
    device: String,
}

impl Disk {
    fn name(&self) -> &str {
        self.device.strip_prefix("/dev/").unwrap()
    }

    fn part(&self, number: u8) -> String {
        format!("{}p{number}", self.device)
    }

    /// What would differ, had anything been written.
    fn state(&self) -> (u64, String) {
        let head = tool("sh", &["-c", &format!("head -c 16M {} | sha256sum", self.file.display())]);
        (std::fs::metadata(&self.file).unwrap().blocks(), head)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for call in [["partx", "--delete"], ["losetup", "--detach"]] {
            let _ = Command::new(call[0]).arg(call[1]).arg(&self.device).output();
        }
    }
}

/// A machine to install on: two disks, each with a file system of somebody's, and the image's files.
struct Machine {
    disk: Disk,
    other: Disk,
    directory: tempfile::TempDir,
}

impl Drop for Machine {
    fn drop(&mut self) {
        unmount(&self.root());
        unmount(&self.path("elsewhere"));
    }
}

impl Machine {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("opdbus-netboot-").tempdir().unwrap();
        let disk = |name: &str| {
            let file = directory.path().join(name);
            std::fs::File::create(&file).unwrap().set_len(9 << 30).unwrap();
            tool("mkfs.vfat", &["-F", "32", "-n", "PRECIOUS", file.to_str().unwrap()]);
            let device = tool("losetup", &["--find", "--show", file.to_str().unwrap()]);
            Disk { file, device }
        };
        let machine = Self { disk: disk("disk"), other: disk("other"), directory };
        machine.declare(&serde_json::Value::Null);
        for directory in ["files/operation-dbus", "bin", "root", "elsewhere"] {
            std::fs::create_dir_all(machine.path(directory)).unwrap();
        }
        std::fs::write(machine.path("files/configuration.nix"), "declared\n").unwrap();
        std::fs::write(machine.path("files/operation-dbus/module.nix"), "{ }\n").unwrap();
        machine.stand_in("nixos-generate-config", "echo found >\"$2/etc/nixos/hardware-configuration.nix\"");
        machine.stand_in("nixos-install", "true");
        if !kernel_has_vfat() {
            let real = tool("sh", &["-c", "command -v mount"]);
            machine.program(
                "mount",
                &format!(
                    "case $4 in */boot) exec {real} -t tmpfs none \"$4\" ;; *) exec {real} \"$@\" ;; esac"
                ),
            );
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.path("root")
    }

    fn declare(&self, disk: &serde_json::Value) {
        let layout = serde_json::json!({
            "disk": disk,
            "espSize": "64M",
            "label": "host-01",
            "subvolumes": { "@op-dbus": "/var/lib/op-dbus", "@": "/", "@var": "/var" },
            "mountOptions": ["compress=zstd:5", "noatime"],
        });
        std::fs::write(self.path("layout.json"), layout.to_string()).unwrap();
    }

    fn program(&self, name: &str, body: &str) {
        let file = self.path("bin").join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// A program that writes down how it was called.
    fn stand_in(&self, name: &str, body: &str) {
        let calls = self.path("calls");
        self.program(name, &format!("echo {name} \"$@\" >>{}\n{body}", calls.display()));
    }

    /// The calls of what stands in for NixOS' programs.
    fn calls(&self) -> String {
        let root = self.root();
        std::fs::read_to_string(self.path("calls"))
            .unwrap_or_default()
            .replace(root.to_str().unwrap(), "ROOT")
    }

    fn prepared(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env(
                "PATH",
                format!("{}:/usr/sbin:/sbin:{}", self.path("bin").display(), std::env::var("PATH").unwrap()),
            )
            .env("OPDBUS_LAYOUT", self.path("layout.json"))
            .env("OPDBUS_FILES", self.path("files"))
            .stdin(Stdio::null());
        command
    }

    /// Without a terminal.
    fn install(&self, arguments: &[&str]) -> Output {
        self.prepared(PROGRAM).arg("--root").arg(self.root()).args(arguments).output().unwrap()
    }

    /// At a terminal, where somebody types.
    fn install_typing(&self, arguments: &[&str], typed: &str) -> Output {
        let call = format!("{PROGRAM} --root {} {}", self.root().display(), arguments.join(" "));
        let mut child = self
            .prepared("script")
            .args(["--quiet", "--return", "--command", &call, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// The call is refused with that status and sentence, and no disk was written to.
    fn refused(&self, call: impl FnOnce(&Self) -> Output, status: i32, sentence: &str) {
        let before = (self.disk.state(), self.other.state());
        let output = call(self);
        assert_eq!(output.status.code(), Some(status), "{}", text(&output));
        assert!(text(&output).contains(sentence), "'{sentence}' is not in: {}", text(&output));
        assert_eq!((self.disk.state(), self.other.state()), before, "something was written");
        assert_eq!(self.calls(), "", "the installation went on");
    }

    fn installed(&self, output: &Output) {
        assert!(output.status.success(), "{}", text(output));
        assert_eq!(tool("blkid", &["-p", "-o", "value", "-s", "LABEL", &self.disk.part(2)]), "host-01");
    }
}

fn kernel_has_vfat() -> bool {
    let _ = Command::new("modprobe").arg("vfat").output();
    std::fs::read_to_string("/proc/filesystems").unwrap().lines().any(|line| line.trim() == "vfat")
}

fn contains(output: &Output, sentence: &str) {
    assert!(text(output).contains(sentence), "'{sentence}' is not in: {}", text(output));
}

fn mounted(at: &Path, what: &str) -> String {
    tool("findmnt", &["--noheadings", "--output", what, "--mountpoint", at.to_str().unwrap()])
}

#[test]
fn the_disk_holds_what_was_declared_and_no_other_disk_is_touched() {
    host_test!(NEEDS[0], NEEDS[1], NEEDS[2], NEEDS[3], NEEDS[4]);
    let machine = Machine::new();
    let disk = &machine.disk;
    let other = machine.other.state();
    let output = machine.install(&[&disk.device, "--yes-erase", disk.name()]);
    machine.installed(&output);

    let table: serde_json::Value = serde_json::from_str(&tool("sfdisk", &["--json", &disk.device])).unwrap();
    let table = &table["partitiontable"];
    assert_eq!(table["label"], "gpt");
    let partitions = table["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 2);
    // The type by which the firmware knows an EFI system partition; 64 MiB in sectors.
    assert_eq!(partitions[0]["type"], "C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
    assert_eq!(partitions[0]["size"], 64 * 2048);
    assert_eq!(partitions[1]["name"], "host-01");
    let kind = |number| tool("blkid", &["-p", "-o", "value", "-s", "TYPE", &disk.part(number)]);
    assert_eq!((kind(1).as_str(), kind(2).as_str()), ("vfat", "btrfs"));
    assert_eq!(tool("blkid", &["-p", "-o", "value", "-s", "LABEL", &disk.part(1)]), "ESP");

    let root = machine.root();
    let subvolumes = tool("btrfs", &["subvolume", "list", root.to_str().unwrap()]);
    let mut subvolumes: Vec<_> = subvolumes.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    subvolumes.sort_unstable();
    assert_eq!(subvolumes, ["@", "@op-dbus", "@var"]);
    for (place, subvolume) in [("", "/@"), ("var", "/@var"), ("var/lib/op-dbus", "/@op-dbus")] {
        assert_eq!(mounted(&root.join(place), "FSROOT"), subvolume);
        let options = mounted(&root.join(place), "OPTIONS");
        assert!(options.contains("compress=zstd:5") && options.contains("noatime"), "{options}");
    }
    let options = if kernel_has_vfat() {
        mounted(&root.join("boot"), "OPTIONS")
    } else {
        "fmask=0077,dmask=0077".to_owned()
    };
    assert!(options.contains("fmask=0077") && options.contains("dmask=0077"), "{options}");

    let read = |name: &str| std::fs::read_to_string(root.join("etc/nixos").join(name)).unwrap();
    assert_eq!(read("configuration.nix"), "declared\n");
    assert_eq!(read("hardware-configuration.nix"), "found\n");
    assert_eq!(read("operation-dbus/module.nix"), "{ }\n");
    assert_eq!(
        machine.calls(),
        "nixos-generate-config --root ROOT\nnixos-install --root ROOT --no-root-password\n"
    );
    contains(&output, "Nobody can log in yet");
    assert_eq!(machine.other.state(), other);
}

#[test]
fn a_dry_run_shows_the_disk_and_the_plan_and_changes_nothing() {
    host_test!(NEEDS[0], NEEDS[1], NEEDS[2], NEEDS[3], NEEDS[4]);
    let machine = Machine::new();
    let device = machine.disk.device.clone();
    machine.refused(|m| m.install(&["--dry-run", &device]), 0, "Nothing was changed");
    let output = machine.install(&["--dry-run", machine.disk.name()]);
    for sentence in ["SERIAL", "PRECIOUS", "partition 1, 64M, vfat", "subvolume @op-dbus: /var/lib/op-dbus"] {
        contains(&output, sentence);
    }
    // Not even with the confirmation.
    machine.refused(|m| m.install(&["--dry-run", &device, "--yes-erase", &device]), 0, "Nothing was changed");
}

#[test]
fn nothing_is_erased_without_the_name_of_that_disk() {
    host_test!(NEEDS[0], NEEDS[1], NEEDS[2], NEEDS[3], NEEDS[4], NEEDS[5]);
    let machine = Machine::new();
    let device = machine.disk.device.clone();
    let other = machine.other.name().to_owned();
    machine.refused(|m| m.install(&[&device]), 6, "nobody is there to confirm it");
    machine.refused(|m| m.install(&[&device, "--yes-erase", &other]), 6, "and the disk is");
    machine.refused(|m| m.install_typing(&[&device], "yes\n"), 6, "'yes' is not");
    machine.refused(|m| m.install_typing(&[&device], &format!("{other}\n")), 6, "nothing was changed");
    machine.refused(|m| m.install_typing(&[&device], "\n"), 6, "nothing was changed");
    // End of input.
    machine.refused(|m| m.install_typing(&[&device], "\x04"), 6, "nothing was changed");

    let typed = format!("{}\n", machine.disk.name());
    machine.installed(&machine.install_typing(&[&device], &typed));
    // Somebody is there to say which password root shall have.
    assert!(machine.calls().ends_with("nixos-install --root ROOT\n"));
}

#[test]
fn a_disk_in_use_is_refused_even_with_the_confirmation() {
    host_test!(NEEDS[0], NEEDS[1], NEEDS[2], NEEDS[3], NEEDS[4]);
    let machine = Machine::new();
    let (disk, other) = (machine.disk.device.clone(), machine.other.device.clone());
    let elsewhere = machine.path("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();

    tool("mkfs.btrfs", &["--quiet", "--force", &disk]);
    tool("mount", &[&disk, elsewhere]);
    machine.refused(|m| m.install(&[&disk, "--yes-erase", &disk]), 5, "in use: mounted at");
    tool("umount", &[elsewhere]);

    // The second disk of a file system: only the first is seen to be mounted.
    tool("mkfs.btrfs", &["--quiet", "--force", &other, &disk]);
    tool("btrfs", &["device", "scan", &other, &disk]);
    tool("mount", &[&other, elsewhere]);
    std::fs::write(Path::new(elsewhere).join("file"), "precious").unwrap();
    tool("sync", &[]);
    for device in [&disk, &other] {
        machine.refused(|m| m.install(&[device, "--yes-erase", device]), 5, "in use");
    }
    tool("umount", &[elsewhere]);
}

#[test]
fn what_is_no_whole_disk_is_refused() {
    host_test!(NEEDS[0], NEEDS[1], NEEDS[2], NEEDS[3], NEEDS[4]);
    let machine = Machine::new();
    let file = machine.disk.file.to_str().unwrap().to_owned();
    machine.refused(|m| m.install(&[&file, "--yes-erase", &file]), 3, "is not a disk");
    machine.refused(|m| m.install(&["/dev/null"]), 3, "is not a disk");
    machine.refused(|m| m.install(&["/dev/opdbus-none"]), 4, "there is no /dev/opdbus-none here");
    machine.refused(|m| m.install(&[]), 2, "declares no disk");
    machine.refused(|m| m.install(&[&file, &file]), 2, "are two disks");
    machine.refused(|m| m.install(&["--erase-all"]), 2, "is not an option");

    let other = machine.other.device.clone();
    tool(
        "sh",
        &["-c", &format!("echo type=linux | sfdisk --quiet --wipe always {other}; partx --update {other}")],
    );
    let part = machine.other.part(1);
    machine.refused(|m| m.install(&[&part, "--yes-erase", &part]), 3, "is a part and not a whole disk");

    let small = machine.path("small");
    std::fs::File::create(&small).unwrap().set_len(1 << 30).unwrap();
    let device = tool("losetup", &["--find", "--show", small.to_str().unwrap()]);
    let small = Disk { file: small, device };
    machine.refused(|m| m.install(&[&small.device, "--yes-erase", &small.device]), 3, "too small");
    tool("losetup", &["--detach", &small.device]);
}

#[test]
fn a_declared_disk_is_the_only_one() {
    host_test!(NEEDS[0], NEEDS[1], NEEDS[2], NEEDS[3], NEEDS[4]);
    let machine = Machine::new();
    let other = machine.other.device.clone();
    // By a name that leads to it, as those of /dev/disk do.
    let link = machine.path("by-path");
    std::os::unix::fs::symlink(&machine.disk.device, &link).unwrap();
    machine.declare(&link.to_str().unwrap().into());
    machine.refused(
        |m| m.install(&[&other, "--yes-erase", &other]),
        5,
        "is not the disk that this image is for",
    );
    machine.installed(&machine.install(&["--yes-erase", machine.disk.name()]));

    machine.declare(&"/dev/disk/by-path/not-here".into());
    let output = machine.install(&[]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
}

#[test]
fn a_second_run_asks_again_and_shows_what_it_would_erase() {
    host_test!(NEEDS[0], NEEDS[1], NEEDS[2], NEEDS[3], NEEDS[4]);
    let machine = Machine::new();
    let device = machine.disk.device.clone();
    let root = machine.root();
    let kept = root.join("var/lib/op-dbus/kept");
    machine.installed(&machine.install(&[&device, "--yes-erase", &device]));
    std::fs::write(&kept, "mine").unwrap();
    std::fs::remove_file(machine.path("calls")).unwrap();
    tool("sync", &[]);

    machine.refused(|m| m.install(&[&device, "--yes-erase", &device]), 5, "in use: mounted at");
    tool("umount", &["--recursive", root.to_str().unwrap()]);
    machine.refused(|m| m.install(&[&device]), 6, "host-01");
    tool("mount", &["--options", "subvol=@op-dbus", &machine.disk.part(2), root.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(root.join("kept")).unwrap(), "mine");
    tool("umount", &[root.to_str().unwrap()]);

    machine.installed(&machine.install(&[&device, "--yes-erase", &device]));
    assert!(!kept.exists());
}

#[test]
fn where_the_new_root_would_go_nothing_is_in_the_way() {
    host_test!(NEEDS[0], NEEDS[1], NEEDS[2], NEEDS[3], NEEDS[4]);
    let machine = Machine::new();
    let device = machine.disk.device.clone();
    std::fs::write(machine.root().join("mine"), "").unwrap();
    machine.refused(|m| m.install(&[&device, "--yes-erase", &device]), 5, "is not empty");
}

#[test]
fn a_failed_installation_says_so_and_is_left_to_be_looked_at() {
    host_test!(NEEDS[0], NEEDS[1], NEEDS[2], NEEDS[3], NEEDS[4]);
    let machine = Machine::new();
    machine.stand_in("nixos-install", "exit 1");
    let device = machine.disk.device.clone();
    let output = machine.install(&[&device, "--yes-erase", &device]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    contains(&output, "did not end well");
    assert!(!text(&output).contains("is installed"));
    assert_eq!(mounted(&machine.root(), "FSROOT"), "/@");
}
