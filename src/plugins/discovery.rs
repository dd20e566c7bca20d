//! Which plugins there are: what lies in `@plugins`, whoever put it there, and whether what each is served by is there.
//! One that is wrong is shown with the reason, and keeps no other from being shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bus::Names;
use super::error::{PluginsError, io_error};
use super::manifest::Manifest;
use super::mapping::SemanticMapping;
use super::switches;
use crate::engine::Context;
use crate::name::PluginName;
use crate::spec::Capability;
use crate::storage::subvolume;

/// Whether what a plugin is served by is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// A back end of operation-dbus.
    BackEnd,
    /// Its name is on the bus.
    Present,
    /// The bus would start it.
    Activatable,
    /// The bus does not know its name.
    Absent,
    /// The bus could not be asked.
    Unknown,
}

/// A plugin as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Discovered {
    /// Its name: that of its subvolume, which may not even be one.
    pub name: String,
    /// Whether its files are in order.
    pub valid: bool,
    /// Why not, with the file, the line and the field; or why the bus could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether it is offered: valid and enabled.
    pub offered: bool,
    /// Whether the host spec declares it.
    pub declared: bool,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The bus name it is discovered by, or its back end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection: Option<String>,
    /// Whether that is there.
    pub presence: Presence,
    /// What may be asked of it.
    pub capabilities: Vec<Capability>,
    /// The operations that its methods are offered as.
    pub operations: Vec<String>,
}

fn presence(introspection: &str, names: &Result<Names, String>) -> Presence {
    if introspection.starts_with("opdbus:") {
        return Presence::BackEnd;
    }
    match names {
        Err(_) => Presence::Unknown,
        Ok(names) if names.present.contains(introspection) => Presence::Present,
        Ok(names) if names.activatable.contains(introspection) => Presence::Activatable,
        Ok(_) => Presence::Absent,
    }
}

/// All plugins, by name. `names` is what the bus answered.
pub fn discover(cx: &Context<'_>, names: &Result<Names, String>) -> Result<Vec<Discovered>, PluginsError> {
    let directory = cx.tree().join("@plugins");
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(io_error("list", &directory)(error)),
    };
    for entry in entries {
        let name = entry.map_err(io_error("list", &directory))?.file_name().to_string_lossy().into_owned();
        if !name.starts_with(".opdbus-") {
            found.push(look(cx, name, names)?);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// One plugin, which must be there.
pub fn one(
    cx: &Context<'_>,
    name: &PluginName,
    names: &Result<Names, String>,
) -> Result<Discovered, PluginsError> {
    if cx.tree().plugin(name).symlink_metadata().is_err() {
        return Err(PluginsError::NotFound(name.clone()));
    }
    look(cx, name.to_string(), names)
}

fn look(cx: &Context<'_>, name: String, names: &Result<Names, String>) -> Result<Discovered, PluginsError> {
    let tree = cx.tree();
    let parsed = name.parse::<PluginName>();
    let enabled = match &parsed {
        Ok(name) => switches::enabled(&tree, name)?,
        Err(_) => false,
    };
    let declared = parsed.as_ref().is_ok_and(|name| cx.spec.plugins.contains_key(name));
    let checked: Result<(Manifest, SemanticMapping), String> =
        parsed.map_err(|error| error.to_string()).and_then(|name| {
            let path = tree.plugin(&name);
            if subvolume::is_subvolume(&path).unwrap_or(false) {
                Manifest::check(&path, &name).map_err(|error| error.to_string())
            } else {
                Err(format!("{} is not a subvolume", path.display()))
            }
        });
    let mut found = Discovered {
        name,
        valid: checked.is_ok(),
        reason: None,
        enabled,
        offered: enabled && checked.is_ok(),
        declared,
        version: None,
        introspection: None,
        presence: Presence::Unknown,
        capabilities: Vec::new(),
        operations: Vec::new(),
    };
    match checked {
        Ok((manifest, mapping)) => {
            found.presence = presence(&manifest.introspection_path, names);
            if found.presence == Presence::Unknown {
                found.reason = names.as_ref().err().cloned();
            }
            found.version = Some(manifest.version);
            found.introspection = Some(manifest.introspection_path);
            found.capabilities = manifest.capabilities;
            let offered = mapping.methods.into_iter().filter(|method| method.allow);
            found.operations = offered.map(|method| method.operation).collect();
        }
        Err(reason) => found.reason = Some(reason),
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_bus_knows_decides_whether_a_plugin_is_there() {
        let names = Ok(Names {
            present: ["org.freedesktop.systemd1".to_owned()].into(),
            activatable: ["org.freedesktop.systemd1".to_owned(), "org.freedesktop.resolve1".to_owned()]
                .into(),
        });
        assert_eq!(presence("opdbus:lxc", &names), Presence::BackEnd);
        assert_eq!(presence("org.freedesktop.systemd1", &names), Presence::Present);
        assert_eq!(presence("org.freedesktop.resolve1", &names), Presence::Activatable);
        assert_eq!(presence("org.example.None", &names), Presence::Absent);
        assert_eq!(presence("org.example.None", &Err("no bus".into())), Presence::Unknown);
    }
}
