//! What is known of a template: `template.json` beside its root file system.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::{TemplateError, io_error};
use crate::name::TemplateName;
use crate::spec::Template;

/// The version of the record that this program writes.
pub const RECORD_VERSION: u32 = 1;

/// Who wanted a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The host spec declares it: `apply` makes it, and makes it anew when its declaration changed.
    System,
    /// Somebody made it by hand: nothing but a request to remove it touches it.
    User,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::User => "user",
        })
    }
}

/// What filled the root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// mmdebstrap, from a mirror.
    Mmdebstrap,
    /// debootstrap, from a mirror.
    Debootstrap,
    /// apk, from a mirror.
    Apk,
    /// A tarball.
    Tarball,
    /// An OCI image.
    Oci,
}

impl Source {
    /// The program that filled it.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Mmdebstrap => "mmdebstrap",
            Self::Debootstrap => "debootstrap",
            Self::Apk => "apk",
            Self::Tarball | Self::Oci => "tar",
        }
    }
}

/// A template, as `template.json` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateRecord {
    /// The version of this record.
    pub version: u32,
    /// The template's name.
    pub name: TemplateName,
    /// Whether it is the host spec's or a user's.
    pub origin: Origin,
    /// What it is made of, as its own os-release says: debian, ubuntu, alpine.
    pub distribution: String,
    /// The release found inside: bookworm, or a number where it has no name. "stable" may have been asked.
    pub release: String,
    /// The processor architecture, as dpkg names it.
    pub architecture: String,
    /// What filled it.
    pub source: Source,
    /// Which build it is; a refresh makes another. Every clone carries it in `/etc/opdbus/template`.
    pub generation: String,
    /// When it was built.
    #[schemars(with = "String")]
    pub built: jiff::Timestamp,
    /// The version of operation-dbus that built it.
    pub built_by: String,
    /// The packages it was given beside those every Debian system has.
    pub packages: Vec<String>,
    /// SHA-256 of the declaration it was built from, by which a changed one is seen.
    pub declaration_digest: String,
    /// That declaration.
    pub declaration: Template,
    /// What it was imported from, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<super::Imported>,
    /// When a refresh or a rollback put another in its place; none for the one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub replaced: Option<jiff::Timestamp>,
    /// The digest of the declaration that the host spec had when somebody went back to this generation: while it has
    /// that one, `apply` makes no newer generation of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_against: Option<String>,
}

/// The digest by which a changed declaration is seen. How many generations are kept is no part of it: a change
/// of that is no reason to build anything.
#[must_use]
pub fn declaration_digest(declaration: &Template) -> String {
    // The declaration came from JSON, so that it can always be written as JSON.
    let mut declaration = serde_json::to_value(declaration).unwrap_or_default();
    if let Some(fields) = declaration.as_object_mut() {
        fields.remove("keep");
    }
    let text = serde_json_canonicalizer::to_vec(&declaration).unwrap_or_default();
    crate::hex::hex(&Sha256::digest(text))
}

pub(super) fn path(template: &Path) -> PathBuf {
    template.join("template.json")
}

/// Reads the record of the template at `template`.
pub(super) fn read(template: &Path) -> Result<TemplateRecord, TemplateError> {
    let file = path(template);
    let damaged = |why: String| TemplateError::Damaged { path: template.to_owned(), why };
    let bytes = crate::files::read_optional(&file)
        .map_err(io_error("read", &file))?
        .ok_or_else(|| damaged("it has no template.json".into()))?;
    let document: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| damaged(format!("template.json is not JSON: {e}")))?;
    let found = document.get("version").and_then(serde_json::Value::as_u64);
    if let Some(found) = found.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > RECORD_VERSION) {
        return Err(TemplateError::TooNew { path: file, found });
    }
    serde_path_to_error::deserialize(document)
        .map_err(|e| damaged(format!("template.json is wrong at {}: {}", e.path(), e.inner())))
}

/// Writes the record of a template that is being made.
pub(super) fn write(template: &Path, record: &TemplateRecord) -> Result<(), TemplateError> {
    let file = path(template);
    let mut text =
        serde_json::to_vec_pretty(record).map_err(|e| io_error("write", &file)(std::io::Error::other(e)))?;
    text.push(b'\n');
    crate::files::replace(&file, &text, 0o644).map_err(io_error("write", &file))
}

#[cfg(test)]
pub(super) fn example(name: &str, origin: Origin, declaration: &Template) -> TemplateRecord {
    TemplateRecord {
        version: RECORD_VERSION,
        name: name.parse().unwrap(),
        origin,
        distribution: "debian".into(),
        release: "bookworm".into(),
        architecture: "amd64".into(),
        source: Source::Mmdebstrap,
        generation: "20260102T030405Z-0a0b0c0d".into(),
        built: "2026-01-02T03:04:05Z".parse().unwrap(),
        built_by: "0.1.0".into(),
        packages: vec!["dbus".into()],
        declaration_digest: declaration_digest(declaration),
        declaration: declaration.clone(),
        imported: None,
        replaced: None,
        held_against: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_the_declaration_is_seen() {
        let plain = Template::default();
        let digest = declaration_digest(&plain);
        assert_eq!(digest, declaration_digest(&plain.clone()));
        for changed in [
            Template { suite: "bookworm".into(), ..plain.clone() },
            Template { packages: vec!["curl".into()], ..plain.clone() },
            Template { locale: "de_DE.UTF-8".into(), ..plain.clone() },
            Template { rootfs: Some("/x.tar".into()), ..plain.clone() },
        ] {
            assert_ne!(digest, declaration_digest(&changed));
        }
        assert_eq!(digest, declaration_digest(&Template { keep: 7, ..plain }));
    }

    #[test]
    fn a_record_survives_being_written_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let record = example("debian-base", Origin::System, &Template::default());
        write(dir.path(), &record).unwrap();
        assert_eq!(read(dir.path()).unwrap(), record);
    }

    #[test]
    fn a_damaged_or_newer_record_is_an_error_that_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let mut value =
            serde_json::to_value(example("debian-base", Origin::User, &Template::default())).unwrap();
        value["origin"] = "martian".into();
        std::fs::write(path(dir.path()), value.to_string()).unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("wrong at origin"));
        value["version"] = 9.into();
        std::fs::write(path(dir.path()), value.to_string()).unwrap();
        assert!(matches!(read(dir.path()).unwrap_err(), TemplateError::TooNew { found: 9, .. }));
        std::fs::remove_file(path(dir.path())).unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("no template.json"));
    }
}
