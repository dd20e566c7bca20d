use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::TemplateName;

/// A container template: a root file system without identity, from which containers are cloned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Template {
    /// What it is made of. Default: debian.
    pub distribution: Distribution,
    /// The release: of Debian a code name or stable, of Ubuntu a code name, of Alpine 3.22, edge or stable, which is the
    /// newest. Default: stable, the release itself being recorded in the template when built.
    pub suite: String,
    /// Where packages come from. Default: none, which means the host's own apt configuration (where host and template
    /// are Debian), else the distribution's own mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// A tarball of a root file system to use instead of a mirror; of Alpine the mini root file system, to which packages
    /// are added from the mirror. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<PathBuf>,
    /// Packages to have beside the base system. Default: none.
    pub packages: Vec<String>,
    /// The user that is there from the start. Default: none beside root, who has no password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<TemplateUser>,
    /// The time zone, as a name of the tz database. Default: Etc/UTC.
    pub time_zone: String,
    /// The locale. Default: C.UTF-8, the one that needs no generating.
    pub locale: String,
    /// How many earlier generations stay when it is refreshed, to roll back to: 0 to 100. Default: 2.
    #[schemars(range(max = 100))]
    pub keep: u32,
}

/// How many earlier generations of a template stay where the host spec does not say.
const KEPT: u32 = 2;

impl Default for Template {
    fn default() -> Self {
        Self {
            distribution: Distribution::Debian,
            suite: "stable".into(),
            mirror: None,
            rootfs: None,
            packages: Vec::new(),
            user: None,
            time_zone: "Etc/UTC".into(),
            locale: "C.UTF-8".into(),
            keep: KEPT,
        }
    }
}

/// What a template is made of.
#[derive(Debug, Clone, Copy, clap::ValueEnum, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Debian, by mmdebstrap (or debootstrap where that is missing), or from a tarball.
    Debian,
    /// Ubuntu, in the same way, held to Ubuntu's own keys (Debian's package ubuntu-keyring).
    Ubuntu,
    /// Alpine, from its mini root file system and by its own apk.
    Alpine,
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Debian => "Debian",
            Self::Ubuntu => "Ubuntu",
            Self::Alpine => "Alpine",
        })
    }
}

/// The user that is in every clone from the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateUser {
    /// The login name.
    pub name: String,
    /// Public keys for `authorized_keys`, one a line. Default: none, and no password either.
    #[serde(default)]
    pub ssh_keys: Vec<String>,
    /// Whether the user may become root by sudo without a password (where sudo is installed). Default: false.
    #[serde(default)]
    pub sudo: bool,
}

pub(super) fn default_templates() -> BTreeMap<TemplateName, Template> {
    "debian-base".parse().ok().map(|name| (name, Template::default())).into_iter().collect()
}
