//! Plugins: a subvolume each (requirements section 7), so that one can be snapshotted and sent on its own.

mod files;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::engine::{self, Action, Context};
use crate::fault::{Fault, Kind};
use crate::files::{FileState, Managed, ManagedError};
use crate::name::PluginName;
use crate::paths::Tree;
use crate::spec::HostSpec;
use crate::storage::{self, StagedError, Wanted};

pub use files::{Manifest, Mapping, MethodMapping};

/// How plugins fail.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// A subvolume.
    #[error(transparent)]
    Staged(#[from] StagedError),
    /// A file.
    #[error(transparent)]
    File(#[from] ManagedError),
    /// A directory.
    #[error("cannot make the directory {}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Fault for PluginError {
    fn kind(&self) -> Kind {
        match self {
            Self::Staged(e) => e.kind(),
            Self::File(e) => e.kind(),
            Self::Directory { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Staged(e) => e.next(),
            Self::File(e) => e.next(),
            Self::Directory { .. } => None,
        }
    }
}

/// The plugins of the host spec. One that is no longer in it keeps its subvolume: data is not removed by
/// removing a declaration.
#[derive(Debug, Clone, Copy, Default)]
pub struct PluginsComponent;

const COMPONENT: &str = "plugins";
/// A plugin may hold keys (`netmaker/enrollment-keys`): root's alone.
const MODE: u32 = 0o700;

/// What there is of plugins, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Seen(BTreeMap<PluginName, SeenPlugin>);

/// What there is of one plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct SeenPlugin {
    /// Its subvolume.
    subvolume: storage::SeenSubvolume,
    /// Its directories that are missing.
    missing: Vec<PathBuf>,
    /// Its files.
    files: BTreeMap<PathBuf, FileState>,
}

/// A change to a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    /// Make its subvolume, or change it.
    Subvolume {
        /// The plugin.
        name: PluginName,
        /// Where.
        path: PathBuf,
        /// What differs; empty where it is not there.
        differences: Vec<String>,
    },
    /// Make a directory in it.
    Directory {
        /// Where.
        path: PathBuf,
    },
    /// Ship a file into it.
    File {
        /// The plugin.
        name: PluginName,
        /// Where.
        path: PathBuf,
        /// How what is there stands to it.
        state: FileState,
    },
}

impl engine::Change for Change {
    fn action(&self) -> Action {
        match self {
            Self::Subvolume { differences, .. } if differences.is_empty() => Action::Create,
            Self::Directory { .. } | Self::File { state: FileState::Missing, .. } => Action::Create,
            Self::Subvolume { .. } | Self::File { .. } => Action::Update,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Subvolume { path, .. } => format!("subvolume {}", path.display()),
            Self::Directory { path } => format!("directory {}", path.display()),
            Self::File { path, .. } => format!("file {}", path.display()),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Subvolume { differences, .. } => differences.join(", "),
            Self::File { state: FileState::EditedAndOutdated, .. } => {
                "you edited it: yours is kept, the new one is laid beside as .opdbus-new".into()
            }
            _ => String::new(),
        }
    }
}

fn managed(tree: &Tree) -> Managed {
    Managed::new(tree.join("@state/managed-files.json"))
}

/// The directories of a plugin and their modes.
fn directories(name: &PluginName) -> Vec<&'static str> {
    let mut all = vec!["state", "cache"];
    if name.as_str() == "netmaker" {
        all.push("enrollment-keys");
    }
    all
}

impl engine::Component for PluginsComponent {
    const NAME: &'static str = COMPONENT;
    type Seen = Seen;
    type Change = Change;
    type Error = PluginError;

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, PluginError> {
        let tree = cx.tree();
        let managed = managed(&tree);
        let mut all = BTreeMap::new();
        for (name, plugin) in &cx.spec.plugins {
            let path = tree.plugin(name);
            let subvolume = storage::seen_subvolume(&path)?;
            let mut files = BTreeMap::new();
            for (file, text) in files::shipped(name, plugin) {
                let file = path.join(file);
                let state = managed.state(&file, text.as_bytes())?;
                files.insert(file, state);
            }
            let missing =
                directories(name).into_iter().map(|d| path.join(d)).filter(|d| !d.is_dir()).collect();
            all.insert(name.clone(), SeenPlugin { subvolume, missing, files });
        }
        Ok(Seen(all))
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<Change>, PluginError> {
        let tree = Tree::new(&spec.btrfs.base_path);
        let wanted = Wanted { component: COMPONENT, mode: MODE };
        let mut changes = Vec::new();
        for (name, there) in &seen.0 {
            let differences = there.subvolume.as_ref().map_or(Vec::new(), |s| s.differences(&wanted));
            if there.subvolume.is_none() || !differences.is_empty() {
                changes.push(Change::Subvolume { name: name.clone(), path: tree.plugin(name), differences });
            }
            changes.extend(there.missing.iter().map(|path| Change::Directory { path: path.clone() }));
            for (path, state) in &there.files {
                if !matches!(state, FileState::Current | FileState::Edited) {
                    changes.push(Change::File { name: name.clone(), path: path.clone(), state: *state });
                }
            }
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &Change) -> Result<(), PluginError> {
        match change {
            Change::Subvolume { path, .. } => {
                Ok(storage::make_subvolume(path, &Wanted { component: COMPONENT, mode: MODE }, |_| Ok(()))?)
            }
            Change::Directory { path } => make_directory(path),
            Change::File { name, path, .. } => {
                let Some(plugin) = cx.spec.plugins.get(name) else { return Ok(()) };
                let file = path.file_name().unwrap_or_default();
                for (shipped, text) in files::shipped(name, plugin) {
                    if file == shipped {
                        managed(&cx.tree()).ship(path, text.as_bytes(), 0o644)?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn make_directory(path: &Path) -> Result<(), PluginError> {
    let failed = |source| PluginError::Directory { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(failed)?;
    rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(MODE)).map_err(|e| failed(e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Component;

    #[test]
    fn an_edited_file_is_not_planned_and_a_missing_one_is() {
        let name: PluginName = "lxc".parse().unwrap();
        let there = SeenPlugin {
            subvolume: None,
            missing: Vec::new(),
            files: [
                (PathBuf::from("/p/lxc/plugin.toml"), FileState::Edited),
                ("/p/lxc/semantic-mapping.toml".into(), FileState::Missing),
            ]
            .into(),
        };
        let plan = PluginsComponent.plan(&HostSpec::default(), &Seen([(name, there)].into())).unwrap();
        let words: Vec<String> = plan.iter().map(engine::Change::object).collect();
        assert_eq!(words, ["subvolume /var/lib/op-dbus/@plugins/lxc", "file /p/lxc/semantic-mapping.toml"]);
    }
}
