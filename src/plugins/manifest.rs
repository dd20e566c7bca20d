use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mapping::{MAPPING, SemanticMapping};
use crate::files::RootDir;
use crate::name::PluginName;
use crate::spec::{Capability, Plugin, is_served};

/// The name of the file in the plugin's subvolume.
pub const MANIFEST: &str = "plugin.toml";

/// The version of the layout that the four plugins are shipped with.
const VERSION: &str = "1.0.0";

/// What a plugin is: `plugin.toml` (requirements, section 7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// The longest file of a plugin that is read.
const LONGEST: u64 = 64 * 1024;

/// Why a plugin is not valid: the file, the line and the field, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {}{why}", .line.map(|l| format!(":{l}")).unwrap_or_default(), .field.as_ref().map(|f| format!("{f}: ")).unwrap_or_default())]
pub struct ManifestError {
    /// The file's path.
    pub file: String,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The field.
    pub field: Option<String>,
    /// Why.
    pub why: String,
}

/// Which line holds the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}

/// Reads a file of a plugin, whose subvolume may be anybody's: no link is followed out of it, and nothing but a file of a
/// sensible size is opened.
fn read(subvolume: &Path, name: &str) -> Result<String, ManifestError> {
    let file = subvolume.join(name).display().to_string();
    let wrong = |why: String| ManifestError { file: file.clone(), line: None, field: None, why };
    let root = RootDir::open(subvolume).map_err(|e| wrong(e.to_string()))?;
    let bytes = root.read_file(name, LONGEST).map_err(|e| wrong(e.to_string()))?;
    let bytes = bytes.ok_or_else(|| wrong("it is not there".into()))?;
    String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".into()))
}

impl Manifest {
    /// Reads the manifest of the plugin in a subvolume, and checks that all of it holds together; with it, what may be
    /// offered as an operation.
    pub fn check(subvolume: &Path, name: &PluginName) -> Result<(Self, SemanticMapping), ManifestError> {
        let text = read(subvolume, MANIFEST)?;
        let manifest = Self::parse(&text, &subvolume.join(MANIFEST).display().to_string())?;
        let wrong = |field: &str, why: String| ManifestError {
            file: subvolume.join(MANIFEST).display().to_string(),
            line: text.lines().position(|line| line.trim_start().starts_with(field)).map(|l| l + 1),
            field: Some(field.to_owned()),
            why,
        };
        if manifest.name != *name {
            return Err(wrong("name", format!("it is \"{}\", and the subvolume is {name}'s", manifest.name)));
        }
        let text = read(subvolume, MAPPING)?;
        let mapping = SemanticMapping::parse(&text).map_err(|error| ManifestError {
            file: subvolume.join(MAPPING).display().to_string(),
            line: error.offset().map(|offset| line_of(&text, offset)),
            field: None,
            why: error.to_string(),
        })?;
        Ok((manifest, mapping))
    }

    /// Reads a manifest; `file` is what it is called in an error.
    pub fn parse(text: &str, file: &str) -> Result<Self, ManifestError> {
        let error = |field: Option<String>, error: &toml::de::Error| ManifestError {
            file: file.to_owned(),
            line: error.span().map(|span| line_of(text, span.start)),
            field: field.filter(|field| field != "."),
            why: error.message().trim().to_owned(),
        };
        let document = toml::Deserializer::parse(text).map_err(|e| error(None, &e))?;
        let manifest: Self = serde_path_to_error::deserialize(document)
            .map_err(|e| error(Some(e.path().to_string()), e.inner()))?;
        let wrong = |field: &str, why: &str| ManifestError {
            file: file.to_owned(),
            line: text.lines().position(|line| line.trim_start().starts_with(field)).map(|l| l + 1),
            field: Some(field.to_owned()),
            why: why.to_owned(),
        };
        let version_ok = (1..=64).contains(&manifest.version.len())
            && manifest.version.chars().all(|c| c.is_ascii_alphanumeric() || "._+~-".contains(c));
        if !version_ok {
            return Err(wrong("version", "a version is 1 to 64 letters, digits and any of . _ + ~ -"));
        }
        if !is_served(&manifest.introspection_path) {
            let why = "it is neither a bus name nor one of opdbus:lxc, opdbus:netmaker, opdbus:ovs";
            return Err(wrong("introspection_path", why));
        }
        Ok(manifest)
    }

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
    fn what_is_wrong_is_named_with_its_file_line_and_field() {
        let good = "name = \"lxc\"\nversion = \"1.0.0\"\nintrospection_path = \"opdbus:lxc\"\ncapabilities = [\"read\"]\n";
        assert!(Manifest::parse(good, "f").is_ok());
        for (text, message) in [
            (good.replace("\"1.0.0\"", "1"), "f:2: version: "),
            (good.replace("\"1.0.0\"", "\"1 \\n\""), "f:2: version: a version is"),
            (good.replace("\"lxc\"", "\"../x\""), "f:1: name: plugin name"),
            (good.replace("[\"read\"]", "[\"read\", \"fly\"]"), "f:4: capabilities[1]: unknown variant"),
            (good.replace("opdbus:lxc", "opdbus:x"), "f:3: introspection_path: it is neither"),
            (good.replace("opdbus:lxc", "no bus name"), "f:3: introspection_path: it is neither"),
            (good.replace("capabilities", "capability"), "f:4: capability: unknown field"),
            (good.replace("version = ", "version "), "f:2: "),
            (good.replace("version = \"1.0.0\"\n", ""), "missing field `version`"),
        ] {
            let error = Manifest::parse(&text, "f").unwrap_err().to_string();
            assert!(error.contains(message), "{message}: {error}");
        }
    }

    #[test]
    fn a_plugin_of_anybodys_is_read_and_nothing_outside_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let name: PluginName = "lxc".parse().unwrap();
        let check = || Manifest::check(dir.path(), &name).map_err(|e| e.to_string());
        assert!(check().unwrap_err().ends_with("plugin.toml: it is not there"));
        let file = dir.path().join(MANIFEST);
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert!(!check().unwrap_err().contains("root:"));
        std::fs::remove_file(&file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
        assert!(check().unwrap_err().contains("no file"));
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, vec![b'#'; 1 << 20]).unwrap();
        assert!(check().unwrap_err().contains("larger"));
        let spec = HostSpec::default();
        std::fs::write(&file, Manifest::of(&name, &spec.plugins[&name]).render()).unwrap();
        let mapping = dir.path().join(MAPPING);
        std::fs::write(&mapping, "version = 1\n\nalow = true\n").unwrap();
        assert!(check().unwrap_err().contains("semantic-mapping.toml:3: "), "{}", check().unwrap_err());
        std::fs::write(&mapping, "version = 1\n").unwrap();
        assert!(check().is_ok());
        let other: PluginName = "ovs".parse().unwrap();
        let error = Manifest::check(dir.path(), &other).unwrap_err().to_string();
        assert!(error.contains("name: it is \"lxc\""), "{error}");
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
