//! The state that was applied, as it is kept: `@state/current-state.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::engine::Context;
use crate::fault::{Fault, Kind};
use crate::files;
use crate::spec::{self, HostSpec};

/// The format of the file. Before it was given a number, it was what `op-dbus show` prints.
const FORMAT: u32 = 2;

/// The interfaces of the services on the system bus, by name; `None` where they are not known.
pub type Outline = BTreeMap<String, Option<Vec<String>>>;

/// A state that was applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    format: u32,
    /// The version of the programs that saw it.
    pub version: String,
    /// When.
    pub time: jiff::Timestamp,
    /// SHA-256 of the host spec with every default filled in.
    pub spec: String,
    /// What lasts of each component.
    pub state: Map<String, Value>,
    /// The system bus in outline; `None` where there was none.
    pub bus: Option<Outline>,
}

/// What is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    /// Nothing yet.
    Nothing,
    /// Something that this version does not read: of an older or newer one, or damaged. It is replaced.
    Other,
    /// A state.
    Baseline(Box<Baseline>),
}

/// The state could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}", .path.display())]
pub struct BaselineError {
    verb: &'static str,
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl Fault for BaselineError {
    fn kind(&self) -> Kind {
        match self.source.kind() {
            std::io::ErrorKind::PermissionDenied => Kind::Denied,
            _ => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        Some("op-dbus doctor storage".into())
    }
}

/// Where it is kept.
#[must_use]
pub fn path(cx: &Context<'_>) -> PathBuf {
    cx.tree().join("@state/current-state.json")
}

/// The digest by which a host spec is known again.
#[must_use]
pub fn digest(spec: &HostSpec) -> String {
    crate::hex::hex(&Sha256::digest(spec::render(spec)))
}

/// Reads what is kept.
pub fn read(cx: &Context<'_>) -> Result<Kept, BaselineError> {
    let path = path(cx);
    match files::read_optional(&path) {
        Err(source) => Err(BaselineError { verb: "read", path, source }),
        Ok(None) => Ok(Kept::Nothing),
        Ok(Some(text)) => Ok(match serde_json::from_slice::<Baseline>(&text) {
            Ok(baseline) if baseline.format == FORMAT => Kept::Baseline(Box::new(baseline)),
            _ => Kept::Other,
        }),
    }
}

impl Baseline {
    /// The state seen now, of this host spec.
    #[must_use]
    pub fn now(spec: &HostSpec, state: Map<String, Value>, bus: Option<Outline>) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: jiff::Timestamp::now(),
            spec: digest(spec),
            state,
            bus,
        }
    }

    /// Keeps it. The caller holds the engine's lock.
    pub fn write(&self, cx: &Context<'_>) -> Result<(), BaselineError> {
        let path = path(cx);
        let failed = |source| BaselineError { verb: "write", path: path.clone(), source };
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))? + "\n";
        files::replace(&path, text.as_bytes(), 0o644).map_err(failed)
    }
}
