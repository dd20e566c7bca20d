//! The files that are shipped into a plugin's subvolume, and their types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::PluginName;
use crate::spec::{Capability, Plugin};

/// `plugin.toml`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The plugin's name.
    pub name: String,
    /// The version of these files.
    pub version: String,
    /// The bus name it is discovered by, or the back end of operation-dbus that serves it. (The
    /// requirements call the field a path; what they put there is a bus name.)
    pub introspection_path: String,
    /// What may be asked of it.
    pub capabilities: Vec<Capability>,
}

/// `semantic-mapping.toml`: which methods of the plugin's service may be called as tools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// By the method's full name, `interface.Method`.
    #[serde(default)]
    pub methods: BTreeMap<String, MethodMapping>,
}

/// What is said of one method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodMapping {
    /// What it does, in a line.
    pub summary: String,
    /// `read`, `change` or `destroy`.
    pub effect: String,
}

const MAPPING_HEAD: &str = "\
# Which methods of this plugin's service may be called as tools, and what they do. A method that is not
# listed here cannot be called. Yours to edit: an edited file is kept on upgrades.
#
# [methods.\"org.example.Interface.Method\"]
# summary = \"What it does, in a line\"
# effect = \"read\"        # or \"change\", or \"destroy\", which asks for confirmation
";

const SYSTEMD_METHODS: &str = "
[methods.\"org.freedesktop.systemd1.Manager.ListUnits\"]
summary = \"List the units that are loaded\"
effect = \"read\"

[methods.\"org.freedesktop.systemd1.Manager.GetUnitFileState\"]
summary = \"Say whether a unit is enabled\"
effect = \"read\"
";

/// The files of a plugin, by name.
pub(super) fn shipped(name: &PluginName, plugin: &Plugin) -> [(&'static str, String); 2] {
    let manifest = Manifest {
        name: name.to_string(),
        version: "1.0.0".into(),
        introspection_path: plugin.introspection.clone(),
        capabilities: plugin.capabilities.clone(),
    };
    let mut mapping = MAPPING_HEAD.to_owned();
    if name.as_str() == "systemd" {
        mapping.push_str(SYSTEMD_METHODS);
    }
    // Strings and lists of words always have a TOML form.
    let manifest = toml::to_string(&manifest).unwrap_or_default();
    [("plugin.toml", manifest), ("semantic-mapping.toml", mapping)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::HostSpec;

    #[test]
    fn what_is_shipped_is_what_is_read() {
        for (name, plugin) in HostSpec::default().plugins {
            let [(_, manifest), (_, mapping)] = shipped(&name, &plugin);
            let manifest: Manifest = toml::from_str(&manifest).unwrap();
            assert_eq!(
                (manifest.name.as_str(), &manifest.introspection_path),
                (name.as_str(), &plugin.introspection)
            );
            let mapping: Mapping = toml::from_str(&mapping).unwrap();
            assert!(
                mapping.methods.values().all(|m| m.effect == "read"),
                "nothing that changes is allowed by default"
            );
        }
    }
}
