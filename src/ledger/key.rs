//! The key that signs checkpoints: made once, root's alone, with the number of its ledger in its name.

use std::io;
use std::path::{Path, PathBuf};

use super::error::LedgerError;
use super::note::{NoteError, NoteSigner, Verifier};
use super::store::Ledger;
use crate::fault::{Fault, Kind};
use crate::files;

/// The key's file in `/etc/opdbus`, and the credential by which systemd hands it to a unit.
pub const KEY: &str = "ledger-key";
/// The file of its public part.
pub const PUBLIC: &str = "ledger-key.pub";

/// Why there is no key to sign or to check with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("there is no key {}", .0.display())]
    Absent(PathBuf),
    /// A file of it could not be read or written.
    #[error("cannot {verb} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// What is there is no key.
    #[error("the key {} cannot be used: {source}", .path.display())]
    Wrong {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: NoteError,
    },
    /// The ledger that it is for.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No random numbers.
    #[error("cannot get random numbers: {0}")]
    Random(getrandom::Error),
    /// The ledger's number is none.
    #[error("the ledger's origin {0} cannot name a key")]
    Name(String),
}

impl Fault for KeyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Absent(_) => Kind::NotFound,
            Self::Wrong { .. } => Kind::Invalid,
            Self::Ledger(e) => e.kind(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Io { .. } | Self::Random(_) | Self::Name(_) => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Absent(_) => Some("make one: opdbus-ledger key create".into()),
            Self::Ledger(e) => e.next(),
            Self::Io { .. } if self.kind() == Kind::Denied => Some("run it as root".into()),
            _ => None,
        }
    }
}

fn failed<'p>(verb: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> KeyError + 'p {
    move |source| KeyError::Io { verb, path: path.to_owned(), source }
}

fn read(path: &Path) -> Result<String, KeyError> {
    let bytes = files::read_optional(path).map_err(failed("read", path))?;
    bytes
        .map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
        .ok_or_else(|| KeyError::Absent(path.to_owned()))
}

/// The public part.
pub fn public(etc: &Path) -> Result<Verifier, KeyError> {
    let path = etc.join(PUBLIC);
    read(&path)?.parse().map_err(|source| KeyError::Wrong { path, source })
}

/// What `opdbus-checkpoint.service` has as its credential where there is no key: systemd would not start it without.
const ABSENT: &[u8] = b"absent";

/// The key: from systemd, which hands it to a unit as a credential, else from its file.
pub fn private(etc: &Path) -> Result<NoteSigner, KeyError> {
    let credential =
        std::env::var_os("CREDENTIALS_DIRECTORY").map(|directory| PathBuf::from(directory).join(KEY));
    let given = |path: &PathBuf| std::fs::read(path).is_ok_and(|key| key != ABSENT);
    let path = credential.filter(given).unwrap_or_else(|| etc.join(KEY));
    NoteSigner::read(&read(&path)?).map_err(|source| KeyError::Wrong { path, source })
}

/// A key that is given itself, or as the file that holds it.
pub fn given(text: &str) -> Result<String, KeyError> {
    if text.contains('+') && !Path::new(text).exists() {
        return Ok(text.to_owned());
    }
    let path = Path::new(text);
    std::fs::read_to_string(path).map_err(failed("read", path))
}

/// Whether the key and its public part are there.
#[must_use]
pub fn is_there(etc: &Path) -> bool {
    [KEY, PUBLIC].into_iter().all(|name| etc.join(name).exists())
}

/// Makes the key of a ledger where there is none. The public part is written last, and again where it is missing.
pub fn create(db: &Path, etc: &Path) -> Result<Verifier, KeyError> {
    let path = etc.join(KEY);
    let signer = if path.exists() {
        private(etc)?
    } else {
        let origin = Ledger::read(db, Ledger::checkpoint)?.0.origin;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(KeyError::Random)?;
        let signer = NoteSigner::new(&origin, seed).ok_or(KeyError::Name(origin))?;
        std::fs::create_dir_all(etc).map_err(failed("make", etc))?;
        files::replace(&path, format!("{}\n", signer.secret()).as_bytes(), 0o600)
            .map_err(failed("write", &path))?;
        signer
    };
    let public = etc.join(PUBLIC);
    let verifier = signer.verifier();
    files::replace(&public, format!("{verifier}\n").as_bytes(), 0o644).map_err(failed("write", &public))?;
    Ok(verifier)
}
