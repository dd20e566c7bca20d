use crate::fault::{Fault, Kind};
use crate::files::ManagedError;
use crate::storage::place::PlaceError;

/// Why the plugins could not be made what the host spec says.
#[derive(Debug, thiserror::Error)]
pub enum PluginsError {
    /// A subvolume or directory.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A file of a plugin.
    #[error(transparent)]
    Managed(#[from] ManagedError),
}

impl Fault for PluginsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Place(error) => error.kind(),
            Self::Managed(error) => error.kind(),
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Place(error) => error.next(),
            Self::Managed(error) => error.next(),
        }
    }
}
