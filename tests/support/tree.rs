//! A base path on a btrfs of its own, made by the components that make it on a host.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test program is a crate of its own and uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "this is the tests' own")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use opdbus::engine::{self, Context, Host, Silent, Stage};
use opdbus::paths::Tree;
use opdbus::plugins::PluginsComponent;
use opdbus::snapshots::SnapshotsComponent;
use opdbus::spec::HostSpec;
use opdbus::storage::StorageComponent;

use super::support::btrfs::Btrfs;

/// A host of which there are only the data.
pub struct Machine {
    pub fs: Btrfs,
    pub host: Host,
    pub spec: HostSpec,
}

impl Machine {
    pub fn new() -> Self {
        let fs = Btrfs::new(512);
        let mut host = Host::default();
        host.paths.etc = fs.beside("etc");
        host.paths.run = fs.beside("run");
        host.paths.units = fs.beside("units");
        let mut spec = HostSpec::default();
        spec.btrfs.base_path = fs.path().join("base");
        let machine = Self { fs, host, spec };
        machine.write_spec();
        std::fs::create_dir_all(&machine.host.paths.run).unwrap();
        machine.apply();
        machine
    }

    pub fn write_spec(&self) {
        std::fs::create_dir_all(&self.host.paths.etc).unwrap();
        std::fs::write(self.host.paths.config(), opdbus::spec::render(&self.spec)).unwrap();
    }

    pub fn tree(&self) -> Tree {
        Tree::new(&self.spec.btrfs.base_path)
    }

    pub fn base(&self) -> PathBuf {
        self.spec.btrfs.base_path.clone()
    }

    pub fn cx(&self) -> Context<'_> {
        Context { host: &self.host, spec: &self.spec, progress: &Silent }
    }

    fn stages() -> [Box<dyn Stage>; 3] {
        [Box::new(StorageComponent), Box::new(PluginsComponent), Box::new(SnapshotsComponent)]
    }

    /// What the components would change.
    pub fn plan(&self) -> Vec<String> {
        let changes = engine::plan(&Self::stages(), &self.cx()).unwrap();
        changes.iter().map(|c| format!("{:?} {} {}", c.action, c.object, c.detail)).collect()
    }

    /// Has them change it.
    pub fn apply(&self) {
        let outcome = engine::apply(&Self::stages(), &self.cx()).unwrap();
        assert!(outcome.failure().is_none(), "{:?}", outcome.failure());
    }

    /// A program of ours, to work on this host.
    pub fn program(&self, path: &str) -> Command {
        let mut command = Command::new(path);
        command.env("OPDBUS_ETC", &self.host.paths.etc).env("OPDBUS_RUN", &self.host.paths.run);
        command
    }
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What is left half done anywhere below the base path.
pub fn leftovers(base: &Path) -> Vec<PathBuf> {
    let mut left = vec![base.to_owned()];
    let mut found = Vec::new();
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with(".opdbus-") {
                found.push(path);
            } else if entry.file_type().unwrap().is_dir() {
                left.push(path);
            }
        }
    }
    found
}
