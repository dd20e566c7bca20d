//! A host with templates, and small trees that pass for a Debian.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test program is a crate of its own and uses a part of it"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use opdbus::engine::{self, Action, Context, Host, Progress, Stage};
use opdbus::name::TemplateName;
use opdbus::paths::{Paths, Tree};
use opdbus::spec::{HostSpec, Template};
use opdbus::storage::subvolume;
use opdbus::templates::{self, Origin, TemplateError, TemplatesComponent};

use super::support::btrfs::Btrfs;

/// A host of its own: a btrfs with `@templates`, a host spec, and what was reported.
pub struct Lab {
    pub fs: Btrfs,
    pub host: Host,
    pub spec: HostSpec,
    pub said: Said,
}

#[derive(Default)]
pub struct Said(pub Mutex<Vec<String>>);

impl Progress for Said {
    fn report(&self, message: &str, _: Option<f64>) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

impl Lab {
    pub fn new() -> Self {
        let fs = Btrfs::new(2048);
        subvolume::create(&fs.path().join("@templates")).unwrap();
        let mut spec = HostSpec::default();
        fs.path().clone_into(&mut spec.btrfs.base_path);
        spec.templates.clear();
        let paths = Paths { etc: fs.beside("etc"), run: fs.beside("run"), ..Paths::default() };
        Self { host: Host { paths, ..Host::default() }, fs, spec, said: Said::default() }
    }

    pub fn cx(&self) -> Context<'_> {
        Context { host: &self.host, spec: &self.spec, progress: &self.said }
    }

    pub fn tree(&self) -> Tree {
        Tree::new(self.fs.path())
    }

    pub fn declare(&mut self, declaration: Template) {
        self.spec.templates.insert(name("debian-base"), declaration);
    }

    pub fn build(&self, template: &str, declaration: &Template) -> Result<PathBuf, TemplateError> {
        templates::build(&self.cx(), &name(template), declaration, Origin::User)?;
        Ok(templates::find(&self.tree(), &name(template))?.rootfs)
    }

    /// The changes that `apply` makes.
    pub fn apply(&self) -> Vec<(Action, String)> {
        let outcome = engine::apply(&stages(), &self.cx()).unwrap();
        assert_eq!(outcome.failure(), None);
        outcome.components[0].applied.iter().map(|c| (c.action, c.object.clone())).collect()
    }

    /// The names in the directory of templates, without the earlier generations'.
    pub fn names(&self) -> Vec<String> {
        let mut names = names(&self.tree().templates());
        names.retain(|name| name != ".generations");
        names
    }

    pub fn write_spec(&self) {
        std::fs::create_dir_all(&self.host.paths.etc).unwrap();
        std::fs::write(self.host.paths.config(), serde_json::to_vec(&self.spec).unwrap()).unwrap();
    }

    pub fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opdbus-template"));
        command.args(args).env("OPDBUS_ETC", &self.host.paths.etc).env("OPDBUS_RUN", &self.host.paths.run);
        command
    }
}

pub fn stages() -> [Box<dyn Stage>; 1] {
    [Box::new(TemplatesComponent)]
}

pub fn name(name: &str) -> TemplateName {
    name.parse().unwrap()
}

pub fn names(directory: &Path) -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    all.sort();
    all
}

pub fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A small tree that passes for a Debian, with an identity and a file that says which `edition` it is.
pub fn tree(at: &Path, edition: &str) {
    for (path, text) in [
        ("sbin/init", "#!/bin/sh\n"),
        ("etc/os-release", "ID=debian\nVERSION_CODENAME=bookworm\n"),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/shadow", "root:*:19000:0:99999:7:::\n"),
        ("etc/group", "root:x:0:\nshadow:x:42:\n"),
        ("etc/hostname", "builder\n"),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("etc/ssh/ssh_host_ed25519_key", "secret\n"),
        ("etc/netclient/nodes.json", "{}\n"),
        ("etc/netmaker/join-key", "secret\n"),
        ("var/lib/systemd/random-seed", "seed\n"),
        ("var/log/journal/0123/system.journal", "x\n"),
        (
            "var/lib/dpkg/status",
            "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\n\nPackage: dbus\nStatus: install ok installed\n",
        ),
    ] {
        write(at, path, text);
    }
    write(at, "srv/edition", edition);
}

pub fn tar(tree: &Path, tarball: &Path) {
    let status = Command::new("tar").arg("-caf").arg(tarball).arg("-C").arg(tree).arg(".").status().unwrap();
    assert!(status.success());
}

/// A tarball of such a tree; `more` may add to it.
pub fn tarball(lab: &Lab, file: &str, edition: &str, more: impl FnOnce(&Path)) -> PathBuf {
    let source = lab.fs.beside(&format!("{file}.tree"));
    tree(&source, edition);
    more(&source);
    let tarball = lab.fs.beside(file);
    tar(&source, &tarball);
    tarball
}

pub fn from(tarball: &Path) -> Template {
    Template { rootfs: Some(tarball.to_owned()), ..Template::default() }
}

pub fn edition(rootfs: &Path) -> String {
    std::fs::read_to_string(rootfs.join("srv/edition")).unwrap()
}
