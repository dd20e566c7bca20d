use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::name::PluginName;

/// A plugin: a subvolume of its own with `plugin.toml`, `semantic-mapping.toml`, `state/` and `cache/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plugin {
    /// The bus name the plugin is discovered by (`org.freedesktop.systemd1`), or the back end of
    /// operation-dbus that serves it (`opdbus:lxc`) where the subject has no bus name.
    pub introspection: String,
    /// What may be asked of it. Default: read and write.
    #[serde(default = "read_and_write")]
    pub capabilities: Vec<Capability>,
}

/// What may be asked of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// To look.
    Read,
    /// To change.
    Write,
}

/// Whether a plugin can be served by that: a bus name, or a back end of operation-dbus.
#[must_use]
pub fn is_served(introspection: &str) -> bool {
    introspection.strip_prefix("opdbus:").map_or_else(
        || zbus::names::WellKnownName::try_from(introspection).is_ok(),
        |back_end| ["lxc", "netmaker", "ovs"].contains(&back_end),
    )
}

pub(super) fn read_and_write() -> Vec<Capability> {
    vec![Capability::Read, Capability::Write]
}

/// The four plugins of every host. Only systemd has a bus name of its own.
pub(super) fn default_plugins() -> BTreeMap<PluginName, Plugin> {
    [
        ("lxc", "opdbus:lxc"),
        ("netmaker", "opdbus:netmaker"),
        ("ovs", "opdbus:ovs"),
        ("systemd", "org.freedesktop.systemd1"),
    ]
    .into_iter()
    .filter_map(|(name, introspection)| {
        let plugin = Plugin { introspection: introspection.into(), capabilities: read_and_write() };
        Some((name.parse().ok()?, plugin))
    })
    .collect()
}

/// Reads the plugins given and adds those of the four that are not.
pub(super) fn with_defaults<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<PluginName, Plugin>, D::Error> {
    let given = BTreeMap::<PluginName, Plugin>::deserialize(from)?;
    let mut all = default_plugins();
    all.extend(given);
    Ok(all)
}
