//! What the tests that need a real host share: a test says what it needs, and is counted as skipped
//! where that is not there; in a tier that is declared required, it fails instead.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test program is a crate of its own and uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is the tests' own; a fixture that fails ends the test"
)]

pub mod btrfs;
pub mod sockets;

use std::io::Write;
use std::path::Path;

/// Something a test needs of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Effective user id 0.
    Root,
    /// Loop devices and the btrfs file system.
    Btrfs,
    /// Open vSwitch's programs.
    Ovs,
    /// A program in PATH.
    Program(&'static str),
    /// Files of which the environment says where they are, as no mirror that is always to be had has them. Such a
    /// test is counted as skipped without them even where its tier is required.
    Files(&'static str),
}

impl Need {
    fn missing(self) -> Option<String> {
        let present = match self {
            Self::Root => rustix::process::geteuid().is_root(),
            Self::Btrfs => {
                Path::new("/dev/loop-control").exists()
                    && std::fs::read_to_string("/proc/filesystems").is_ok_and(|f| f.contains("btrfs"))
                    && in_path("mkfs.btrfs")
            }
            Self::Ovs => in_path("ovs-vswitchd") && in_path("ovsdb-server"),
            Self::Program(name) => in_path(name),
            Self::Files(variable) => std::env::var_os(variable).is_some(),
        };
        (!present).then(|| format!("{self:?} is not here"))
    }
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|d| d.join(program).is_file())
}

/// Whether the test `name` of `tier` can run here. Where not, it is written to the file named by
/// `OPDBUS_SKIPS`, which `tests/run` counts; if `OPDBUS_REQUIRED` lists the tier, the test fails.
pub fn can_run(tier: &str, name: &str, needs: &[Need]) -> bool {
    let missing: Vec<String> = needs.iter().filter_map(|n| n.missing()).collect();
    if missing.is_empty() {
        return true;
    }
    let why = missing.join(", ");
    let optional = needs.iter().any(|n| matches!(n, Need::Files(_)) && n.missing().is_some());
    let required =
        if optional { String::new() } else { std::env::var("OPDBUS_REQUIRED").unwrap_or_default() };
    assert!(
        !required.split([',', ' ']).any(|t| t == tier),
        "{name} cannot run, and the tier {tier} is required: {why}"
    );
    eprintln!("SKIPPED {name}: {why}");
    if let Some(file) = std::env::var_os("OPDBUS_SKIPS") {
        let mut file = std::fs::File::options().append(true).create(true).open(file).unwrap();
        writeln!(file, "{tier} {name}: {why}").unwrap();
    }
    false
}

/// Ends a test of the host tier as skipped where what it needs is not there.
#[macro_export]
macro_rules! host_test {
    ($($need:expr),+ $(,)?) => {
        if !support::can_run("host", std::thread::current().name().unwrap_or("?"), &[$($need),+]) {
            return;
        }
    };
}
