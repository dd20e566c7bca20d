//! How the ledger fails.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

use super::schema;
use crate::fault::{Fault, Kind};

/// Why the ledger could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// There is none.
    #[error("there is no ledger at {}", .path.display())]
    Absent {
        /// Where it should be.
        path: PathBuf,
    },
    /// Something else is where the ledger should be made.
    #[error("cannot make the ledger {}: there is {what}", .path.display())]
    InTheWay {
        /// Where.
        path: PathBuf,
        /// What is there.
        what: String,
    },
    /// What is there is not a ledger.
    #[error("{} is not a ledger: it is {what}", .path.display())]
    NotALedger {
        /// Where.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// A newer program made it.
    #[error("the ledger {} has format {found}, and this program knows format {}", .path.display(), schema::VERSION)]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// It does not end as it should; nothing is appended to it.
    #[error("the ledger {} was altered, nothing is appended: {what}", .path.display())]
    Altered {
        /// The ledger.
        path: PathBuf,
        /// How.
        what: String,
    },
    /// The entry cannot be kept.
    #[error("the entry is refused: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// The directory of the ledger is not there.
    #[error("cannot make the ledger {}: its directory is not there", .path.display())]
    NoDirectory {
        /// The ledger.
        path: PathBuf,
    },
    /// Its file system is full, or as good as.
    #[error("cannot {verb} the ledger {}: No space left on device", .path.display())]
    Full {
        /// What was tried.
        verb: &'static str,
        /// The ledger.
        path: PathBuf,
    },
    /// The file could not be worked on.
    #[error("cannot {verb} the ledger {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The ledger.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// SQLite failed.
    #[error("cannot {verb} the ledger {}", .path.display())]
    Sql {
        /// What was tried.
        verb: &'static str,
        /// The ledger.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
}

impl Fault for LedgerError {
    fn kind(&self) -> Kind {
        match self {
            Self::Absent { .. } => Kind::NotFound,
            Self::InTheWay { .. } => Kind::Conflict,
            Self::NotALedger { .. } | Self::Newer { .. } | Self::Refused { .. } => Kind::Invalid,
            Self::NoDirectory { .. } => Kind::Unavailable,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Altered { .. } | Self::Full { .. } | Self::Io { .. } => Kind::Failed,
            Self::Sql { source, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Busy,
                Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Kind::Denied,
                _ => Kind::Failed,
            },
        }
    }

    fn next(&self) -> Option<String> {
        Some(match self {
            Self::Absent { .. } => "run `opdbus-ledger init`, or name a ledger with --db FILE".into(),
            Self::InTheWay { path, .. } => {
                format!("move {} away, if nothing needs it, and try again", path.display())
            }
            Self::NotALedger { .. } => "name a ledger with --db FILE".into(),
            Self::Newer { .. } => "update operation-dbus".into(),
            Self::Altered { path, .. } => format!(
                "run `opdbus-ledger verify` and find out who did it; keep {0} and its -wal as evidence, move them away, and begin a new one with `opdbus-ledger init`",
                path.display()
            ),
            Self::NoDirectory { .. } => "make the subvolumes first: `opdbus-storage apply`".into(),
            Self::Full { .. } => "free some space and try again".into(),
            Self::Io { .. } | Self::Sql { .. } if self.kind() == Kind::Denied => "run it as root".into(),
            Self::Sql { source, .. } if source.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                "free some space and try again".into()
            }
            Self::Sql { .. } if self.kind() == Kind::Busy => {
                "another program is writing to it; try again".into()
            }
            Self::Refused { .. } | Self::Io { .. } | Self::Sql { .. } => return None,
        })
    }
}
