//! What a purge destroys, by name: what the admin is shown before the question.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::containers::{Backend, Lxc};
use crate::engine::Context;
use crate::ledger::Ledger;

/// What a purge destroys. Names are those of directories, so that what is damaged is named, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Destroyed {
    /// The base path.
    pub base: PathBuf,
    /// The containers.
    pub containers: Vec<Container>,
    /// The templates.
    pub templates: Vec<String>,
    /// The snapshots.
    pub snapshots: Vec<String>,
    /// The plugins' subvolumes, and whatever else is beside them.
    pub plugins: Vec<String>,
    /// How many entries the ledger has; none where there is none that can be read.
    pub ledger_entries: Option<i64>,
    /// The image.
    pub image: Option<ImageFile>,
}

/// A container that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub running: bool,
}

/// The image that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ImageFile {
    /// Its file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

impl Destroyed {
    /// Looks what there is.
    pub(super) fn read(cx: &Context<'_>) -> Self {
        let tree = cx.tree();
        // Where systemd cannot be asked, none of ours runs.
        let running = Lxc.running(cx).unwrap_or_default();
        let containers = names(&tree.containers()).into_iter().map(|name| {
            let running = running.iter().any(|n| n.as_str() == name);
            Container { name, running }
        });
        let ledger = tree.ledger();
        let head = ledger.exists().then(|| Ledger::read(&ledger, Ledger::head).ok()).flatten();
        let image = cx.spec.btrfs.image.as_ref().and_then(|image| {
            let size = std::fs::symlink_metadata(&image.path).ok().filter(std::fs::Metadata::is_file)?.len();
            Some(ImageFile { path: image.path.clone(), size })
        });
        Self {
            base: tree.base().to_owned(),
            containers: containers.collect(),
            templates: names(&tree.templates())
                .into_iter()
                .filter(|name| tree.templates().join(name) != tree.generations())
                .collect(),
            snapshots: names(&tree.join("@snapshots")),
            plugins: names(&tree.join("@plugins")),
            // The genesis entry is number 0.
            ledger_entries: head.map(|head| head.id + 1),
            image,
        }
    }

    /// Whether the same things would go. What runs and how long the ledger is may change while somebody reads the list.
    pub(super) fn names_the_same(&self, other: &Self) -> bool {
        let containers = |all: &Self| all.containers.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        containers(self) == containers(other)
            && self.templates == other.templates
            && self.snapshots == other.snapshots
            && self.plugins == other.plugins
            && self.image == other.image
    }

    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let containers: Vec<String> = self
            .containers
            .iter()
            .map(|c| format!("{} ({})", c.name, if c.running { "running" } else { "stopped" }))
            .collect();
        let ledger = match self.ledger_entries {
            None => "none".into(),
            Some(1) => "1 entry".into(),
            Some(count) => format!("{count} entries"),
        };
        let mut text = format!(
            "This destroys the data at {}, for good:\n  containers  {}\n  templates   {}\n  snapshots   {}\n  plugins     {}\n  ledger      {ledger}\n",
            self.base.display(),
            list(&containers),
            list(&self.templates),
            list(&self.snapshots),
            list(&self.plugins),
        );
        if let Some(image) = &self.image {
            let size = crate::spec::Size(image.size);
            text.push_str(&format!("  image       {}, {size}\n", image.path.display()));
        }
        text
    }
}

/// What is in a directory, without our own temporary things.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with(".opdbus-"))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_goes_is_named() {
        let all = Destroyed {
            base: "/var/lib/op-dbus".into(),
            containers: vec![
                Container { name: "web-01".into(), running: true },
                Container { name: "web-02".into(), running: false },
            ],
            templates: vec!["debian-base".into()],
            plugins: vec!["lxc".into(), "mine".into()],
            ledger_entries: Some(42),
            image: Some(ImageFile { path: "/var/lib/op-dbus.btrfs".into(), size: 20 << 30 }),
            ..Destroyed::default()
        };
        insta::assert_snapshot!(all.text());
        let mut later = all.clone();
        later.containers[0].running = false;
        later.ledger_entries = Some(43);
        assert!(all.names_the_same(&later));
        later.containers.pop();
        assert!(!all.names_the_same(&later));
    }
}
