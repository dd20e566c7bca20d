use crate::fault::{Fault, Kind};
use crate::run::RunError;
use crate::storage::place::PlaceError;

/// Why the socket directories could not be made what the host spec says.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// A directory.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The group could not be looked up.
    #[error("cannot look up the group {group}")]
    LookUp {
        /// The group.
        group: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The group could not be made.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Fault for SocketsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Place(error) => error.kind(),
            Self::LookUp { .. } => Kind::Failed,
            Self::Run(error) => error.kind(),
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Place(error) => error.next(),
            Self::LookUp { group, .. } => Some(format!("`getent group {group}` shows what the host answers")),
            Self::Run(error) => error.next(),
        }
    }
}
