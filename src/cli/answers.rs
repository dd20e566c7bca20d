//! What programs answer that is no operation's answer: with `--json` as it is here.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use crate::engine::PlannedChange;
use crate::install::{Detected, StepOutcome};
use crate::ledger::{Entry, Init};
use crate::templates::{Generation, Listed};

/// What the installer did, or what it found where it installs nothing.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Installation {
    /// The steps and how each ended.
    Steps(Vec<StepOutcome>),
    /// On NixOS, which installs by its own configuration.
    NixOs(Detected),
}

/// What would be changed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Planned {
    /// The changes, in the order in which they would be made; none on a host that is as its spec says.
    pub changes: Vec<PlannedChange>,
}

/// The state that `op-dbus drift` compares with.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Baseline {
    /// Whether it was kept now; it is not where one of this version is kept already.
    pub kept: bool,
}

/// The file of `btrfs.image`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Image {
    /// Whether it was made now.
    pub made: bool,
}

/// The templates.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Templates {
    /// Each of them.
    pub templates: Vec<Listed>,
}

/// The generations of a template.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Generations {
    /// Each of them.
    pub generations: Vec<Generation>,
}

/// What came of a removal.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Removed {
    /// Whether it was removed; it was not where the question was answered with no.
    pub removed: bool,
}

/// The ledger that was to be made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Ledger {
    /// Its file.
    pub ledger: PathBuf,
    /// Whether it was made now.
    pub result: Init,
}

/// A checkpoint of the ledger.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Checkpoint {
    /// The name of the ledger.
    pub origin: String,
    /// How many entries it covers.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

/// The key of the ledger that was made, or was there.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MadeKey {
    /// Its public part, by which checkpoints are verified.
    pub key: String,
    /// The file of its secret part.
    pub path: PathBuf,
}

/// The key of the ledger.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Key {
    /// Its public part.
    pub key: String,
}

/// Entries of the ledger.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Entries {
    /// Each of them, as asked for.
    pub entries: Vec<Entry>,
}

/// What a unit of the uplink had done.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Done {
    /// In words.
    pub done: String,
}

/// Manual pages that were written.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Pages {
    /// How many.
    pub pages: usize,
}

/// A host spec that is valid. One that is not is an error.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Checked {
    /// That it is.
    pub ok: bool,
    /// Its file.
    pub path: PathBuf,
}

/// A NixOS configuration.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Nix {
    /// Its text.
    pub nix: String,
}

/// A NixOS configuration that was to be written.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WrittenNix {
    /// Its file.
    pub path: PathBuf,
    /// Whether it was written now; it is not where it is there as it should be.
    pub written: bool,
}
