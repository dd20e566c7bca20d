use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::PluginsError;
use super::manifest::{MANIFEST, Manifest};
use super::mapping::{self, MAPPING};
use crate::engine::{Action, Change, Component, Context};
use crate::files::{FileState, Managed};
use crate::name::PluginName;
use crate::paths::Tree;
use crate::spec::{HostSpec, Plugin};
use crate::storage::place::{Found, Leftover, Place, PlaceChange};

/// The component's name, and the marker of what it makes.
const TAG: &str = "plugins";

/// The plugins' subvolumes and what is shipped in them. The subvolume of a plugin that is no longer
/// in the host spec stays: its state is the user's.
#[derive(Debug, Clone, Copy, Default)]
pub struct PluginsComponent;

/// What is seen of the plugins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginsSeen {
    /// The plugins of the host spec.
    pub plugins: BTreeMap<PluginName, PluginSeen>,
    /// What was left half made.
    pub leftovers: Vec<Leftover>,
}

/// What is seen of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginSeen {
    /// Its subvolume.
    pub subvolume: Found,
    /// The directories in it, by name.
    pub directories: BTreeMap<String, Found>,
    /// The files in it, by name.
    pub files: BTreeMap<String, FileState>,
}

/// One change to the plugins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum PluginChange {
    /// A subvolume or directory.
    Place(PlaceChange),
    /// A file is written, or laid beside one that was edited.
    File {
        /// Where.
        path: PathBuf,
        /// What.
        #[serde(skip)]
        content: String,
        /// What is there now.
        was: FileState,
    },
}

impl Change for PluginChange {
    fn action(&self) -> Action {
        match self {
            Self::Place(change) => change.action(),
            Self::File { was: FileState::Missing, .. } => Action::Create,
            Self::File { .. } => Action::Update,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Place(change) => change.object(),
            Self::File { path, .. } => format!("file {}", path.display()),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Place(change) => change.detail(),
            Self::File { was: FileState::EditedAndOutdated, .. } => {
                "edited, and kept; the new one is laid beside as .opdbus-new".into()
            }
            Self::File { .. } => String::new(),
        }
    }
}

impl Component for PluginsComponent {
    const NAME: &'static str = TAG;
    type Seen = PluginsSeen;
    type Change = PluginChange;
    type Error = PluginsError;

    fn validate(&self, cx: &Context<'_>) -> Result<(), PluginsError> {
        self.plan(cx.spec, &self.observe(cx)?).map(drop)
    }

    fn observe(&self, cx: &Context<'_>) -> Result<PluginsSeen, PluginsError> {
        let (tree, managed) = (cx.tree(), record(cx));
        let mut leftovers = Leftover::list(&tree.join("@plugins"))?;
        leftovers.extend(Leftover::of_file(&record_path(&tree))?);
        let mut plugins = BTreeMap::new();
        for (name, plugin) in &cx.spec.plugins {
            let subvolume = tree.plugin(name);
            let mut seen = PluginSeen {
                subvolume: Found::read(&subvolume)?,
                directories: BTreeMap::new(),
                files: BTreeMap::new(),
            };
            for (directory, place) in directories(&tree, name) {
                seen.directories.insert(directory.to_owned(), Found::read(&place.path)?);
            }
            for (file, content) in files(name, plugin) {
                let state = managed.state(&subvolume.join(file), content.as_bytes())?;
                seen.files.insert(file.to_owned(), state);
            }
            // In a subvolume that is not ours nothing is, whatever its name.
            if seen.subvolume.attributes().is_some_and(|a| a.marker.is_some()) {
                leftovers.extend(Leftover::list(&subvolume)?);
            }
            plugins.insert(name.clone(), seen);
        }
        Ok(PluginsSeen { plugins, leftovers })
    }

    fn plan(&self, spec: &HostSpec, seen: &PluginsSeen) -> Result<Vec<PluginChange>, PluginsError> {
        let tree = Tree::new(&spec.btrfs.base_path);
        let mut changes = Vec::new();
        for leftover in &seen.leftovers {
            changes.push(PluginChange::Place(leftover.removal()?));
        }
        for (name, plugin) in &spec.plugins {
            let there = seen.plugins.get(name);
            let subvolume = Place::subvolume(tree.plugin(name), TAG, 0o750);
            let found = there.map_or(&Found::Missing, |p| &p.subvolume);
            changes.extend(subvolume.compare(found)?.map(PluginChange::Place));
            for (directory, place) in directories(&tree, name) {
                let found = there.and_then(|p| p.directories.get(directory)).unwrap_or(&Found::Missing);
                changes.extend(place.compare(found)?.map(PluginChange::Place));
            }
            for (file, content) in files(name, plugin) {
                let was = there.and_then(|p| p.files.get(file)).copied().unwrap_or(FileState::Missing);
                if matches!(was, FileState::Missing | FileState::Outdated | FileState::EditedAndOutdated) {
                    changes.push(PluginChange::File { path: tree.plugin(name).join(file), content, was });
                }
            }
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &PluginChange) -> Result<(), PluginsError> {
        match change {
            PluginChange::Place(change) => Ok(change.apply()?),
            PluginChange::File { path, content, .. } => {
                record(cx).ship(path, content.as_bytes(), 0o644)?;
                Ok(())
            }
        }
    }
}

/// What was shipped is remembered with the data, so that a base path moved to another host keeps it.
fn record_path(tree: &Tree) -> PathBuf {
    tree.join("@state/managed-files.json")
}

fn record(cx: &Context<'_>) -> Managed {
    Managed::new(record_path(&cx.tree()))
}

/// The directories in a plugin's subvolume (requirements, section 7). The files of state that the
/// section names (`flows.json` and the like) are made by what has such a state, when it has one.
fn directories(tree: &Tree, name: &PluginName) -> Vec<(&'static str, Place)> {
    let directory = |directory, mode| {
        (directory, Place::directory(tree.plugin(name).join(directory), TAG, mode).inside_ours())
    };
    let mut all = vec![directory("state", 0o750), directory("cache", 0o750)];
    if name.as_str() == "netmaker" {
        // Whoever reads a key can join the mesh.
        all.push(directory("enrollment-keys", 0o700));
    }
    all
}

fn files(name: &PluginName, plugin: &Plugin) -> [(&'static str, String); 2] {
    [(MANIFEST, Manifest::of(name, plugin).render()), (MAPPING, mapping::render(plugin))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Kind};
    use crate::storage::place::Attributes;

    fn attributes(mode: u32) -> Attributes {
        Attributes {
            owner: "root".into(),
            group: "root".into(),
            mode,
            marker: Some(TAG.into()),
            compression: Some("zstd".into()),
            empty: false,
        }
    }

    fn whole(spec: &HostSpec) -> PluginsSeen {
        let tree = Tree::new(&spec.btrfs.base_path);
        let plugins = spec.plugins.iter().map(|(name, plugin)| {
            let directories = directories(&tree, name)
                .into_iter()
                .map(|(at, place)| (at.to_owned(), Found::Directory(attributes(place.mode))))
                .collect();
            let files = files(name, plugin).map(|(file, _)| (file.to_owned(), FileState::Current)).into();
            (name.clone(), PluginSeen { subvolume: Found::Subvolume(attributes(0o750)), directories, files })
        });
        PluginsSeen { plugins: plugins.collect(), leftovers: Vec::new() }
    }

    fn words(spec: &HostSpec, seen: &PluginsSeen) -> Vec<String> {
        let changes = PluginsComponent.plan(spec, seen).unwrap();
        changes.iter().map(|c| format!("{:?} {}: {}", c.action(), c.object(), c.detail())).collect()
    }

    #[test]
    fn a_bare_host_gets_every_plugin_whole_and_a_whole_one_nothing() {
        let spec = HostSpec::default();
        let bare = PluginsSeen { plugins: BTreeMap::new(), leftovers: Vec::new() };
        let all = words(&spec, &bare);
        assert_eq!(all.len(), 4 * 5 + 1, "{all:#?}");
        assert!(all.iter().all(|w| w.starts_with("Create")));
        let keys = "Create directory /var/lib/op-dbus/@plugins/netmaker/enrollment-keys: root:root 0700";
        assert!(all.iter().any(|w| w == keys), "{all:#?}");
        assert!(words(&spec, &whole(&spec)).is_empty());
    }

    #[test]
    fn an_edited_file_is_no_change_until_what_is_shipped_is_new() {
        let spec = HostSpec::default();
        let mut seen = whole(&spec);
        let lxc: PluginName = "lxc".parse().unwrap();
        let mut set = |state| {
            seen.plugins.get_mut(&lxc).unwrap().files.insert(MANIFEST.into(), state);
            words(&spec, &seen)
        };
        assert!(set(FileState::Edited).is_empty());
        assert_eq!(
            set(FileState::EditedAndOutdated),
            [
                "Update file /var/lib/op-dbus/@plugins/lxc/plugin.toml: edited, and kept; the new one is laid beside as .opdbus-new"
            ]
        );
        assert_eq!(set(FileState::Outdated), ["Update file /var/lib/op-dbus/@plugins/lxc/plugin.toml: "]);
    }

    #[test]
    fn a_plugin_that_left_the_host_spec_is_left_alone() {
        let mut spec = HostSpec::default();
        let seen = whole(&spec);
        spec.plugins.clear();
        assert!(words(&spec, &seen).is_empty());
    }

    #[test]
    fn a_foreign_subvolume_is_a_conflict_before_anything_is_changed() {
        let spec = HostSpec::default();
        let mut seen = whole(&spec);
        let mut foreign = attributes(0o750);
        foreign.marker = None;
        let ovs: PluginName = "ovs".parse().unwrap();
        seen.plugins.get_mut(&ovs).unwrap().subvolume = Found::Subvolume(foreign);
        let error = PluginsComponent.plan(&spec, &seen).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.next().unwrap().contains("setfattr -n user.opdbus -v plugins"), "{error}");
    }
}
