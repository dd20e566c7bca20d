use serde::{Deserialize, Serialize};

use crate::name::PluginName;
use crate::spec::{Capability, Plugin};

/// The name of the file in the plugin's subvolume.
pub const MANIFEST: &str = "plugin.toml";

/// The version of the layout that the four plugins are shipped with.
const VERSION: &str = "1.0.0";

/// What a plugin is: `plugin.toml` (requirements, section 7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its name.
    pub name: PluginName,
    /// Its version.
    pub version: String,
    /// The bus name it is discovered by, or the back end that serves it (`opdbus:lxc`).
    pub introspection_path: String,
    /// What may be asked of it.
    pub capabilities: Vec<Capability>,
}

impl Manifest {
    /// The manifest of a plugin of the host spec.
    #[must_use]
    pub fn of(name: &PluginName, plugin: &Plugin) -> Self {
        Self {
            name: name.clone(),
            version: VERSION.to_owned(),
            introspection_path: plugin.introspection.clone(),
            capabilities: plugin.capabilities.clone(),
        }
    }

    /// The manifest as it is shipped, with a word on where it came from.
    #[must_use]
    pub fn render(&self) -> String {
        // Strings and a list of words: there is nothing in it that TOML could not express.
        let fields = toml::to_string(self).unwrap_or_default();
        format!(
            "# What the plugin is. Written from plugins.{0} of the host spec; once edited it is kept,\n\
             # and a newer one is laid beside it as {MANIFEST}.opdbus-new.\n\
             #\n\
             # introspection_path: the bus name it is discovered by, or opdbus:NAME for a back end of\n\
             # operation-dbus, where the subject has no bus name of its own.\n\
             {fields}",
            self.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::HostSpec;

    #[test]
    fn a_manifest_reads_back_as_what_the_host_spec_says() {
        let spec = HostSpec::default();
        for (name, plugin) in &spec.plugins {
            let manifest = Manifest::of(name, plugin);
            assert_eq!(toml::from_str::<Manifest>(&manifest.render()).unwrap(), manifest);
        }
    }

    #[test]
    fn the_fields_are_those_of_the_requirements_with_names_that_exist() {
        let spec = HostSpec::default();
        let (name, plugin) = spec.plugins.iter().find(|(n, _)| n.as_str() == "lxc").unwrap();
        let text = Manifest::of(name, plugin).render();
        let fields: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(
            fields,
            [
                r#"name = "lxc""#,
                r#"version = "1.0.0""#,
                r#"introspection_path = "opdbus:lxc""#,
                r#"capabilities = ["read", "write"]"#
            ]
        );
    }
}
