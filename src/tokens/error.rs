//! How tokens fail.

use std::io;
use std::path::PathBuf;

use crate::fault::{Fault, Kind};

/// Why a token was not made, not known or not taken away.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is none: which of the reasons it is would tell whoever guesses.
    #[error("the token is not known here, or has expired or been revoked")]
    Unknown,
    /// There is one of that name.
    #[error("{user} has a token {name} already")]
    Exists {
        /// The user.
        user: String,
        /// The name.
        name: String,
    },
    /// There is none of that name.
    #[error("there is no token {name} of {user}")]
    Absent {
        /// The user.
        user: String,
        /// The name.
        name: String,
    },
    /// The name cannot be one.
    #[error("\"{}\" cannot name a token: 1 to 40 letters, digits, '.', '_' or '-'", .name.escape_default())]
    Name {
        /// What was given.
        name: String,
    },
    /// The user has too many.
    #[error("{user} has {most} tokens already")]
    Many {
        /// The user.
        user: String,
        /// How many one may have.
        most: usize,
    },
    /// The file that they are kept in.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Fault for TokenError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unknown => Kind::Denied,
            Self::Exists { .. } | Self::Many { .. } => Kind::Conflict,
            Self::Absent { .. } => Kind::NotFound,
            Self::Name { .. } => Kind::Invalid,
            Self::Io { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        Some(match self {
            Self::Unknown => {
                "op-dbus chat open signs a browser in, op-dbus token create makes a token".into()
            }
            Self::Exists { name, .. } => format!("op-dbus token revoke {name}, or take another name"),
            Self::Absent { .. } | Self::Many { .. } => "op-dbus token list shows those that there are".into(),
            Self::Name { .. } | Self::Io { .. } => return None,
        })
    }
}
