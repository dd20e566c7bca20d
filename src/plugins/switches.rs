//! Which plugins are disabled: `@state/plugins.json`. It is the one place that says so, and it is the host's: not the
//! plugin's own subvolume, as what is received or put back must not turn itself on; nor the host spec, which says what
//! is there, and which `apply` or a rebuild would turn back.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::{PluginsError, io_error};
use crate::files;
use crate::name::PluginName;
use crate::paths::Tree;

/// The version of the file that this program writes.
const VERSION: u32 = 1;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Switches {
    version: u32,
    disabled: BTreeSet<PluginName>,
}

fn path(tree: &Tree) -> PathBuf {
    tree.join("@state/plugins.json")
}

fn read(tree: &Tree) -> Result<Switches, PluginsError> {
    let path = path(tree);
    let Some(bytes) = files::read_optional(&path).map_err(io_error("read", &path))? else {
        return Ok(Switches { version: VERSION, ..Switches::default() });
    };
    let damaged = |why: String| PluginsError::Switches { path: path.clone(), why };
    let switches: Switches = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    if switches.version == VERSION {
        return Ok(switches);
    }
    Err(damaged(format!("it has version {}, and this program knows version {VERSION}", switches.version)))
}

/// Whether a plugin is enabled: every one is that was not disabled.
pub fn enabled(tree: &Tree, name: &PluginName) -> Result<bool, PluginsError> {
    Ok(!read(tree)?.disabled.contains(name))
}

/// Whether [`switch`] would change anything; refuses what it refuses. Changes nothing.
pub fn would_switch(tree: &Tree, name: &PluginName, on: bool) -> Result<bool, PluginsError> {
    if !on && tree.plugin(name).symlink_metadata().is_err() {
        return Err(PluginsError::NotFound(name.clone()));
    }
    Ok(read(tree)?.disabled.contains(name) == on)
}

/// Enables a plugin, or disables it; whether that changed anything. The caller holds the engine's lock.
pub fn switch(tree: &Tree, name: &PluginName, on: bool) -> Result<bool, PluginsError> {
    let changed = would_switch(tree, name, on)?;
    if changed {
        let mut switches = read(tree)?;
        if on {
            switches.disabled.remove(name);
        } else {
            switches.disabled.insert(name.clone());
        }
        let path = path(tree);
        let mut text = serde_json::to_vec_pretty(&switches)
            .map_err(|e| io_error("write", &path)(std::io::Error::other(e)))?;
        text.push(b'\n');
        files::replace(&path, &text, 0o644).map_err(io_error("write", &path))?;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Kind};

    #[test]
    fn every_plugin_is_enabled_until_it_is_disabled_and_that_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path());
        let name: PluginName = "ovs".parse().unwrap();
        std::fs::create_dir_all(tree.plugin(&name)).unwrap();
        std::fs::create_dir(tree.join("@state")).unwrap();
        assert!(enabled(&tree, &name).unwrap());
        assert!(switch(&tree, &name, false).unwrap() && !switch(&tree, &name, false).unwrap());
        assert!(!enabled(&tree, &name).unwrap());
        assert!(enabled(&tree, &"lxc".parse().unwrap()).unwrap());
        assert!(switch(&tree, &name, true).unwrap() && enabled(&tree, &name).unwrap());
        let none = switch(&tree, &"none".parse().unwrap(), false).unwrap_err();
        assert_eq!(none.kind(), Kind::NotFound);
        std::fs::write(path(&tree), r#"{"version": 2, "disabled": []}"#).unwrap();
        assert!(enabled(&tree, &name).unwrap_err().to_string().contains("version 2"));
    }
}
