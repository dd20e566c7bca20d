//! Where checkpoints are kept: in a directory, in the journal; and those that the host spec asks for, when they are due.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::error::LedgerError;
use super::key::{self, KeyError};
use super::store::Ledger;
use super::tiles::{self, TileError};
use super::tree::Hash;
use crate::engine::Context;
use crate::fault::{Fault, Kind};
use crate::files;
use crate::paths::Tree;
use crate::spec::{Checkpoints, Destination, Every};

/// The file by which a directory is known to be the one that was prepared, and for which ledger.
pub const MARKER: &str = "opdbus-origin";

/// The `MESSAGE_ID` of checkpoints in the journal: `journalctl -o cat MESSAGE_ID=…` prints the notes.
pub const MESSAGE_ID: &str = "a4d2f6c9b1e84f0f9c6d7e20c35a8b17";

/// Why a checkpoint was not made or not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key is that of another ledger.
    #[error("the key is that of another ledger: {key}, not {ledger}")]
    KeyOfAnother {
        /// The key's name.
        key: String,
        /// The ledger's.
        ledger: String,
    },
    /// The directory is not there, or it is not the one that was prepared.
    #[error("{} is not the directory that was prepared for checkpoints: there is no {MARKER} in it", .0.display())]
    NotPrepared(PathBuf),
    /// It keeps those of another ledger.
    #[error("{} keeps the checkpoints of another ledger: {origin}", .directory.display())]
    OfAnother {
        /// The directory.
        directory: PathBuf,
        /// That ledger's origin.
        origin: String,
    },
    /// There is another checkpoint of as many entries.
    #[error("{} is another checkpoint of {size} entries", .path.display())]
    Differs {
        /// Its file.
        path: PathBuf,
        /// How many.
        size: u64,
    },
    /// The tiles beside it.
    #[error(transparent)]
    Tiles(#[from] TileError),
    /// A file could not be read or written.
    #[error("cannot {verb} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Fault for KeepError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ledger(e) => e.kind(),
            Self::Key(e) => e.kind(),
            Self::KeyOfAnother { .. }
            | Self::OfAnother { .. }
            | Self::Differs { .. }
            | Self::Tiles(TileError::Differs { .. }) => Kind::Conflict,
            Self::NotPrepared(_) => Kind::Unavailable,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Io { .. } | Self::Tiles(_) => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        Some(match self {
            Self::Ledger(e) => return e.next(),
            Self::Key(e) => return e.next(),
            Self::KeyOfAnother { .. } => {
                "move the key away and make one for this ledger: opdbus-ledger key create".into()
            }
            Self::NotPrepared(directory) => format!(
                "mount it; where nothing was kept in it yet, prepare it: opdbus-ledger checkpoint --to {} --first",
                directory.display()
            ),
            Self::OfAnother { .. } => "give each ledger a directory of its own".into(),
            Self::Differs { .. } | Self::Tiles(TileError::Differs { .. }) => {
                "opdbus-ledger verify --against it says whether the ledger was rewritten".into()
            }
            Self::Io { .. } | Self::Tiles(_) => return None,
        })
    }
}

fn failed<'p>(verb: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> KeepError + 'p {
    move |source| KeepError::Io { verb, path: path.to_owned(), source }
}

/// The checkpoint of what the ledger holds now, the signed note of it, and the hashes of the leaves that it is of.
pub fn signed(db: &Path, etc: &Path) -> Result<(Checkpoint, String, Vec<Hash>), KeepError> {
    let signer = key::private(etc)?;
    let (checkpoint, leaves) = Ledger::read(db, Ledger::checkpoint)?;
    let key = signer.verifier().name().to_owned();
    if checkpoint.origin != key {
        return Err(KeepError::KeyOfAnother { key, ledger: checkpoint.origin });
    }
    let note = checkpoint.sign(&signer);
    Ok((checkpoint, note, leaves))
}

/// Marks a directory as the one in which the checkpoints of a ledger are kept.
pub fn prepare(directory: &Path, origin: &str) -> Result<(), KeepError> {
    match expect_prepared(directory, origin) {
        Err(KeepError::NotPrepared(_)) => {
            let marker = directory.join(MARKER);
            files::replace(&marker, format!("{origin}\n").as_bytes(), 0o644).map_err(failed("write", &marker))
        }
        other => other,
    }
}

/// Refuses a directory that is not the one that was prepared, as the mount point is when nothing is mounted there.
fn expect_prepared(directory: &Path, origin: &str) -> Result<(), KeepError> {
    let marker = directory.join(MARKER);
    let Some(said) = files::read_optional(&marker).map_err(failed("read", &marker))? else {
        return Err(KeepError::NotPrepared(directory.to_owned()));
    };
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    if said == origin {
        return Ok(());
    }
    let origin = said.chars().take(80).flat_map(char::escape_default).collect();
    Err(KeepError::OfAnother { directory: directory.to_owned(), origin })
}

/// Keeps a checkpoint in a directory, in a file named by the number of entries. The same ledger gives the same
/// checkpoint: one that is there is this one, or evidence. Beside it, the tiles that lead to it.
pub fn in_directory(
    directory: &Path,
    checkpoint: &Checkpoint,
    note: &str,
    leaves: &[Hash],
) -> Result<(), KeepError> {
    let path = directory.join(format!("checkpoint-{:012}", checkpoint.size));
    match files::read_optional(&path).map_err(failed("read", &path))? {
        Some(there) if there == note.as_bytes() => Ok(()),
        Some(_) => Err(KeepError::Differs { path, size: checkpoint.size }),
        None => {
            // First what leads to it: tiles without a checkpoint prove nothing and are taken up by the next one.
            let mut writer = tiles::Writer::new(directory);
            leaves.iter().try_for_each(|leaf| writer.push(*leaf))?;
            writer.finish()?;
            files::replace(&path, note.as_bytes(), 0o644).map_err(failed("write", &path))
        }
    }
}

/// An entry of the journal in its native form (systemd, "Native Journal Protocol"): the note is the message, so that
/// it is found whole wherever the journal is forwarded to, and what it says is in fields of its own.
fn journal_entry(checkpoint: &Checkpoint, note: &str) -> Vec<u8> {
    let size = checkpoint.size.to_string();
    let root = STANDARD.encode(checkpoint.root);
    let fields = [
        // `journalctl -o cat` ends each message with a line's end.
        ("MESSAGE", note.trim_end_matches('\n')),
        ("MESSAGE_ID", MESSAGE_ID),
        ("PRIORITY", "5"),
        ("SYSLOG_IDENTIFIER", "opdbus-ledger"),
        ("OPDBUS_CHECKPOINT_ORIGIN", &checkpoint.origin),
        ("OPDBUS_CHECKPOINT_SIZE", &size),
        ("OPDBUS_CHECKPOINT_ROOT", &root),
    ];
    let mut entry = Vec::new();
    for (name, value) in fields {
        entry.extend_from_slice(name.as_bytes());
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        entry.extend_from_slice(value.as_bytes());
        entry.push(b'\n');
    }
    entry
}

/// Keeps a checkpoint in the journal.
pub fn in_journal(socket: &Path, checkpoint: &Checkpoint, note: &str) -> Result<(), KeepError> {
    let sent = UnixDatagram::unbound()
        .and_then(|from| from.send_to(&journal_entry(checkpoint, note), socket).map(drop));
    sent.map_err(failed("write to the journal at", socket))
}

/// The last checkpoint that was made as the host spec asks: in `@timing/last-checkpoint.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// When.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// Where it was put: `journal`, or a directory.
    pub to: Destination,
    /// How many entries the ledger had.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

/// The file of the last one.
#[must_use]
pub fn record(tree: &Tree) -> PathBuf {
    tree.join("@timing/last-checkpoint.json")
}

/// The last one, where it is known. What is no record is none: another checkpoint is made.
pub fn last(tree: &Tree) -> Result<Option<Kept>, KeepError> {
    let path = record(tree);
    let bytes = files::read_optional(&path).map_err(failed("read", &path))?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Has the next run make one, due or not.
pub fn forget(tree: &Tree) -> Result<(), KeepError> {
    let path = record(tree);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
        _ => Ok(()),
    }
}

/// Whether one is due: none was put there yet in the hour, day, week or month that it is now.
#[must_use]
pub fn due(wanted: &Checkpoints, now: Timestamp, last: Option<&Kept>) -> bool {
    let this = |every: Every| move |kept: &Kept| every.period(kept.time) == every.period(now);
    !last.filter(|kept| kept.to == wanted.to).is_some_and(this(wanted.every))
}

/// Makes the checkpoint that the host spec asks for, if it asks for one and it is due.
pub fn scheduled(cx: &Context<'_>, now: Timestamp) -> Result<Option<Kept>, KeepError> {
    let Some(wanted) = &cx.spec.ledger.checkpoints else { return Ok(None) };
    let tree = cx.tree();
    if !due(wanted, now, last(&tree)?.as_ref()) {
        return Ok(None);
    }
    cx.progress.report("the ledger is verified", None);
    let (checkpoint, note, leaves) = signed(&tree.ledger(), &cx.host.paths.etc)?;
    match &wanted.to {
        Destination::Journal => in_journal(&cx.host.paths.journal, &checkpoint, &note)?,
        Destination::Directory(directory) => {
            expect_prepared(directory, &checkpoint.origin)?;
            in_directory(directory, &checkpoint, &note, &leaves)?;
        }
    }
    let kept = Kept { time: now, to: wanted.to.clone(), size: checkpoint.size, note };
    let path = record(&tree);
    let text = serde_json::to_vec(&kept).map_err(|e| failed("write", &path)(io::Error::other(e)))?;
    files::replace(&path, &text, 0o600).map_err(failed("write", &path))?;
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Deployment;
    use crate::engine::{Host, Silent};
    use crate::ledger::{Caller, Via};
    use crate::spec::HostSpec;

    fn kept(time: &str, to: &str) -> Kept {
        Kept { time: time.parse().unwrap(), to: to.to_owned().into(), size: 2, note: String::new() }
    }

    #[test]
    fn one_is_due_in_each_period_and_where_the_destination_is_another() {
        let wanted = Checkpoints { to: Destination::Journal, every: Every::Daily };
        let now = "2026-02-02T11:00:00Z".parse().unwrap();
        assert!(due(&wanted, now, None));
        assert!(!due(&wanted, now, Some(&kept("2026-02-02T00:00:00Z", "journal"))));
        assert!(due(&wanted, now, Some(&kept("2026-02-01T23:59:59Z", "journal"))));
        assert!(due(&wanted, now, Some(&kept("2036-02-02T00:00:00Z", "journal"))), "the clock was set back");
        assert!(due(&wanted, now, Some(&kept("2026-02-02T00:00:00Z", "/mnt/vault"))));
    }

    #[test]
    fn a_directory_is_prepared_once_and_for_one_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("unmounted");
        for directory in [dir.path(), &missing] {
            let error = expect_prepared(directory, "a").unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        }
        assert!(prepare(&missing, "a").is_err());
        prepare(dir.path(), "a").unwrap();
        prepare(dir.path(), "a").unwrap();
        expect_prepared(dir.path(), "a").unwrap();
        assert_eq!(prepare(dir.path(), "b").unwrap_err().kind(), Kind::Conflict);
    }

    #[test]
    fn what_is_due_goes_to_a_directory_that_was_prepared_and_never_to_an_empty_mount_point() {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::default();
        host.paths.etc = dir.path().join("etc");
        let directory = dir.path().join("vault");
        let mut spec = HostSpec::default();
        spec.btrfs.base_path = dir.path().join("base");
        spec.ledger.checkpoints =
            Some(Checkpoints { to: Destination::Directory(directory.clone()), every: Every::Hourly });
        let cx = Context { host: &host, spec: &spec, progress: &Silent };
        let db = cx.tree().ledger();
        std::fs::create_dir_all(db.parent().unwrap()).unwrap();
        std::fs::create_dir(&directory).unwrap();
        Ledger::init(&db, &Caller::this_process(Via::Helper), Deployment::Traditional).unwrap();
        let at = |time: &str| scheduled(&cx, time.parse().unwrap());
        let first = "2026-01-31T09:15:00Z";

        assert_eq!(at(first).unwrap_err().kind(), Kind::NotFound, "there is no key");
        let key = key::create(&db, &host.paths.etc).unwrap();
        let error = at(first).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert!(error.next().unwrap().contains("--first"), "{error}");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "nothing is left in the mount point");

        prepare(&directory, key.name()).unwrap();
        let kept = at(first).unwrap().unwrap();
        let file = directory.join("checkpoint-000000000002");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), kept.note);
        assert_eq!(Checkpoint::open(&kept.note, &key).unwrap().size, 2);
        assert_eq!(at("2026-01-31T09:59:59Z").unwrap(), None, "one an hour");
        assert!(at("2026-01-31T10:00:00Z").unwrap().is_some(), "the same one is no conflict");
        forget(&cx.tree()).unwrap();
        assert!(at("2026-01-31T10:00:01Z").unwrap().is_some());

        // Another ledger's directory, and one that was made anew in its place.
        std::fs::write(directory.join(MARKER), "operation-dbus/ledger/00\n").unwrap();
        assert_eq!(at("2026-01-31T11:00:00Z").unwrap_err().kind(), Kind::Conflict);
        prepare(&directory, key.name()).unwrap_err();
        std::fs::write(directory.join(MARKER), key.name()).unwrap();
        std::fs::write(&file, "another").unwrap();
        assert_eq!(at("2026-01-31T11:00:00Z").unwrap_err().kind(), Kind::Conflict);
        assert_eq!(last(&cx.tree()).unwrap().unwrap().time.to_string(), "2026-01-31T10:00:01Z");
    }
}
