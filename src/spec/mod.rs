//! The host spec: the one typed document that describes a host (`/etc/opdbus/config.json`).
//!
//! Field names are those of the NixOS options (`services.operation-dbus.<section>.<field>`), so that
//! the module renders them as they are. Unknown fields are refused with their path.

mod container;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod ledger;
mod load;
mod mcp;
mod ml;
mod nix;
mod ovs;
mod path;
mod plugin;
mod snapshot;
mod storage;
mod template;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{ContainerName, PluginName, TemplateName};

pub use container::{Container, Limits, Network, ServiceAddress};
pub use ledger::{Checkpoints, Destination, LedgerSpec};
pub use load::{SpecError, check, load, parse, render, schema};
pub use mcp::{Mcp, Tls};
pub use ml::{ExecutionProvider, Ml, Qdrant, Whereabouts};
pub use nix::{Extent, to_nix};
pub use ovs::{Datapath, Ovs};
pub use plugin::{Capability, Plugin, is_served};
pub use snapshot::{Every, Keep, SnapshotPolicy, Subject, SubjectError};
pub use storage::{Btrfs, Image, REQUIRED_SUBVOLUMES, Size, SubvolumeName};
pub use template::{Distribution, Template, TemplateUser};

/// The version of the document that this program writes and reads; older ones are migrated when read.
pub const VERSION: u32 = 1;

/// A host, as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSpec {
    /// The version of this document. It must be given, so that an older document can be told from a newer one.
    pub version: u32,
    /// Where the data lives, and how it is compressed.
    #[serde(default)]
    pub btrfs: Btrfs,
    /// The Open vSwitch bridge, the containers' subnet, and the way out.
    #[serde(default)]
    pub ovs: Ovs,
    /// Plugins by name, each a subvolume below `@plugins`. Those given here are added to the four
    /// that always exist: lxc, netmaker, ovs, systemd.
    #[serde(default = "plugin::default_plugins", deserialize_with = "plugin::with_defaults")]
    pub plugins: BTreeMap<PluginName, Plugin>,
    /// Container templates by name. `debian-base` is there by default.
    #[serde(default = "template::default_templates")]
    pub templates: BTreeMap<TemplateName, Template>,
    /// Containers that shall exist, by name. One made by hand (`op-dbus container create`) is not
    /// listed here and is never touched by `apply`.
    #[serde(default)]
    pub containers: BTreeMap<ContainerName, Container>,
    /// Snapshots that are taken by themselves, by what they are of: @state, @plugins/lxc, container/web-01.
    /// Default: none.
    #[serde(default)]
    pub snapshots: BTreeMap<Subject, SnapshotPolicy>,
    /// The ledger: where its checkpoints go.
    #[serde(default)]
    pub ledger: LedgerSpec,
    /// Search by meaning.
    #[serde(default)]
    pub ml: Ml,
    /// The chat page and the MCP endpoint.
    #[serde(default)]
    pub mcp: Mcp,
}

impl Default for HostSpec {
    fn default() -> Self {
        Self {
            version: VERSION,
            btrfs: Btrfs::default(),
            ovs: Ovs::default(),
            plugins: plugin::default_plugins(),
            templates: template::default_templates(),
            containers: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            ledger: LedgerSpec::default(),
            ml: Ml::default(),
            mcp: Mcp::default(),
        }
    }
}
