//! What can go wrong with a search.

use std::io;
use std::path::PathBuf;

use super::model;
use crate::fault::{Fault, Kind};
use crate::ledger::LedgerError;
use crate::run::RunError;

/// What can go wrong with a search.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The model is not there.
    #[error("there is no model at {}", path.display())]
    NoModel {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// A file is not the model's.
    #[error("{} is not the file of {} that is pinned: its SHA-256 is {found}", path.display(), model::NAME)]
    AnotherModel {
        /// The file.
        path: PathBuf,
        /// Its sum.
        found: String,
    },
    /// A file is none of the model's.
    #[error("this is no file of {}: its SHA-256 is {found}", model::NAME)]
    NotOfModel {
        /// Its sum.
        found: String,
    },
    /// A file could not be fetched.
    #[error("cannot fetch {url}")]
    Fetch {
        /// From where.
        url: String,
        /// Why not.
        source: RunError,
    },
    /// The model could not be used.
    #[error("the model could not be {what}: {why}")]
    Model {
        /// What was to be done with it.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// What the host spec asks for to compute with is not there.
    #[error("there is no CUDA to compute with: {why}")]
    NoProvider {
        /// Why not.
        why: String,
    },
    /// The index could not be read or written.
    #[error("cannot {verb} the index of the search at {}", path.display())]
    Index {
        /// What was tried.
        verb: &'static str,
        /// The index.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// Qdrant, where the host spec has the vectors be, does not take or give them.
    #[error("Qdrant at {url} {why}")]
    Elsewhere {
        /// Where it should be.
        url: String,
        /// What it did instead.
        why: String,
    },
    /// The process that has the index does not answer.
    #[error("opdbus-search does not answer on {}", path.display())]
    Asked {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file could not be read or written.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Fault for SearchError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ledger(error) => error.kind(),
            Self::Fetch { source, .. } => source.kind(),
            Self::NoModel { .. } | Self::NoProvider { .. } | Self::Elsewhere { .. } | Self::Asked { .. } => {
                Kind::Unavailable
            }
            Self::AnotherModel { .. } => Kind::Conflict,
            Self::NotOfModel { .. } => Kind::Invalid,
            Self::Model { .. } | Self::Index { .. } | Self::Io { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        Some(match self {
            Self::Ledger(error) => return error.next(),
            Self::NoModel { .. } => "op-dbus model fetch, or op-dbus model import FILE".into(),
            Self::AnotherModel { .. } => "op-dbus model fetch replaces it".into(),
            Self::Elsewhere { .. } => "journalctl -u opdbus-search.service says more".into(),
            Self::Asked { .. } => {
                "systemctl start opdbus-search.socket; journalctl -u opdbus-search.service says what is the matter"
                    .into()
            }
            Self::NotOfModel { .. } => {
                let files: Vec<&str> = model::FILES.iter().map(|file| file.name).collect();
                format!("give {} of {}", files.join(" or "), model::PUBLISHED)
            }
            Self::Fetch { .. } => {
                "where this host cannot reach it, fetch the files elsewhere: op-dbus model import FILE".into()
            }
            Self::NoProvider { .. } => "set ml.executionProvider to cpu".into(),
            Self::Model { .. } | Self::Index { .. } | Self::Io { .. } => return None,
        })
    }
}
