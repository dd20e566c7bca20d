use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Kind};
use crate::spec::{Capability, Plugin};

/// The name of the file in the plugin's subvolume.
pub const MAPPING: &str = "semantic-mapping.toml";

/// The version of the file's form.
const VERSION: u32 = 1;

/// Which methods that change something may be offered as an operation: `semantic-mapping.toml`.
/// A method that is not listed is not offered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SemanticMapping {
    /// The version of the file's form.
    pub version: u32,
    /// The methods.
    #[serde(default, rename = "method", skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<Method>,
}

/// A method, and the operation it is offered as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// The method: `interface.Member` on the bus, or the back end's own word.
    pub name: String,
    /// The operation, by which it is called (`plugin call`); the entry of the call in the ledger has it among its result.
    pub operation: String,
    /// What it does.
    pub effect: Effect,
    /// Whether it is offered. It must be said: what is left out is not offered.
    #[serde(default)]
    pub allow: bool,
}

/// What a method does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It changes something that can be changed back.
    Change,
    /// It destroys something; it is confirmed before it runs.
    Destroy,
}

/// Why a mapping was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// It is not TOML, or a field is unknown, missing or of the wrong kind.
    #[error("{MAPPING} is wrong: {0}")]
    Syntax(Box<toml::de::Error>),
    /// It was written for another version of the program.
    #[error("{MAPPING} has version {found}, and this program knows version {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// A method is listed twice, so that it is unclear what holds.
    #[error("{MAPPING} lists the method {name} twice")]
    Twice {
        /// The method.
        name: String,
    },
}

impl MappingError {
    /// Where in the file it is wrong, in bytes.
    pub(super) fn offset(&self) -> Option<usize> {
        match self {
            Self::Syntax(error) => error.span().map(|span| span.start),
            Self::Version { .. } | Self::Twice { .. } => None,
        }
    }
}

impl Fault for MappingError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl SemanticMapping {
    /// Reads a mapping.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let mapping: Self = toml::from_str(text).map_err(|e| MappingError::Syntax(Box::new(e)))?;
        if mapping.version != VERSION {
            return Err(MappingError::Version { found: mapping.version });
        }
        let mut seen = BTreeSet::new();
        if let Some(method) = mapping.methods.iter().find(|m| !seen.insert(&m.name)) {
            return Err(MappingError::Twice { name: method.name.clone() });
        }
        Ok(mapping)
    }

    /// The method of that name, if it may be offered.
    #[must_use]
    pub fn allowed(&self, name: &str) -> Option<&Method> {
        self.methods.iter().find(|method| method.name == name && method.allow)
    }
}

/// The methods each back end or bus name is shipped with.
///
/// Allowed are only those that are operations of operation-dbus already, with its own checks. What acts on
/// the whole host (systemd's units) is listed for the admin to allow. The bridge's flows and the
/// mesh have no method at all: they follow from the host spec, and a change by hand would be undone.
fn shipped(introspection: &str) -> Vec<Method> {
    use Effect::{Change, Destroy};
    let (prefix, allow, methods): (&str, bool, &[(&str, &str, Effect)]) = match introspection {
        "opdbus:lxc" => (
            "",
            true,
            &[
                ("create", "container.create", Change),
                ("start", "container.start", Change),
                ("stop", "container.stop", Change),
                ("delete", "container.delete", Destroy),
            ],
        ),
        "org.freedesktop.systemd1" => (
            "org.freedesktop.systemd1.Manager.",
            false,
            &[
                ("StartUnit", "unit.start", Change),
                ("StopUnit", "unit.stop", Change),
                ("RestartUnit", "unit.restart", Change),
                ("ReloadUnit", "unit.reload", Change),
            ],
        ),
        _ => return Vec::new(),
    };
    methods
        .iter()
        .map(|(name, operation, effect)| Method {
            name: format!("{prefix}{name}"),
            operation: (*operation).to_owned(),
            effect: *effect,
            allow,
        })
        .collect()
}

/// The mapping a plugin is shipped with, explained for the admin who edits it.
#[must_use]
pub(super) fn render(plugin: &Plugin) -> String {
    let methods = if plugin.capabilities.contains(&Capability::Write) {
        shipped(&plugin.introspection)
    } else {
        Vec::new()
    };
    // Strings, words and truth values: there is nothing in it that TOML could not express.
    let fields = toml::to_string(&SemanticMapping { version: VERSION, methods }).unwrap_or_default();
    format!(
        "# Which methods that change something may be offered as an operation, to chat and MCP clients too.\n\
         # A method that is not listed, or has no allow = true, is never offered. Methods that only read\n\
         # need no entry. Once edited this file is kept, and a newer one is laid beside it as\n\
         # {MAPPING}.opdbus-new.\n\
         {fields}\n\
         # An entry to begin with:\n\
         # [[method]]\n\
         # name = \"org.example.Thing.Restart\"   # interface.Member, or the back end's own word\n\
         # operation = \"thing.restart\"          # its name for callers and in the ledger\n\
         # effect = \"change\"                    # or \"destroy\": confirmed before it runs\n\
         # allow = true\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::HostSpec;

    fn of(introspection: &str) -> SemanticMapping {
        let plugin = Plugin {
            introspection: introspection.to_owned(),
            capabilities: vec![Capability::Read, Capability::Write],
        };
        SemanticMapping::parse(&render(&plugin)).unwrap()
    }

    #[test]
    fn what_is_shipped_is_read_back_and_allows_only_operations_of_ours() {
        let lxc = of("opdbus:lxc");
        assert_eq!(lxc.allowed("create").unwrap().operation, "container.create");
        assert_eq!(lxc.allowed("delete").unwrap().effect, Effect::Destroy);
        let systemd = of("org.freedesktop.systemd1");
        assert_eq!(systemd.methods.len(), 4);
        for introspection in ["org.freedesktop.systemd1", "opdbus:ovs", "opdbus:netmaker", "org.example.X"] {
            assert!(of(introspection).methods.iter().all(|m| !m.allow), "{introspection}");
        }
        for plugin in HostSpec::default().plugins.values() {
            SemanticMapping::parse(&render(plugin)).unwrap();
        }
    }

    #[test]
    fn a_plugin_that_may_only_read_is_shipped_with_no_method() {
        let plugin = Plugin { introspection: "opdbus:lxc".into(), capabilities: vec![Capability::Read] };
        assert!(SemanticMapping::parse(&render(&plugin)).unwrap().methods.is_empty());
    }

    #[test]
    fn the_example_in_the_comment_is_valid_when_uncommented() {
        let text = render(&Plugin { introspection: "org.example.X".into(), capabilities: vec![] });
        let (shipped, example) = text.split_once("# An entry to begin with:\n").unwrap();
        let example: String = example.lines().map(|l| l.trim_start_matches("# ").to_owned() + "\n").collect();
        let mapping = SemanticMapping::parse(&format!("{shipped}{example}")).unwrap();
        assert!(mapping.allowed("org.example.Thing.Restart").is_some());
    }

    #[test]
    fn nothing_is_allowed_by_leaving_something_out() {
        let text = "version = 1\n[[method]]\nname = \"A.B\"\noperation = \"a.b\"\neffect = \"change\"\n";
        let mapping = SemanticMapping::parse(text).unwrap();
        assert!(mapping.allowed("A.B").is_none() && mapping.allowed("A.C").is_none());
    }

    #[test]
    fn a_mapping_that_is_unclear_is_refused() {
        let method = "[[method]]\nname = \"A.B\"\noperation = \"a.b\"\neffect = \"change\"\nallow = true\n";
        for (text, why) in [
            (format!("version = 1\n{method}{}", method.replace("true", "false")), "twice"),
            (format!("version = 2\n{method}"), "version 2"),
            ("version = 1\nalow = true".to_owned(), "unknown field"),
            (method.to_owned(), "version"),
            (method.replace("change", "maybe"), "maybe"),
        ] {
            let error = SemanticMapping::parse(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
