//! The ledger on disk: making it, appending to it, reading it.
//!
//! The file is never opened by anything but SQLite. Its locks are POSIX locks, which a process loses
//! when it closes any descriptor of the file, and the daemon may have it open elsewhere.

use crate::deployment::Deployment;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};
use rustix::fs::{Access, CWD, FileType, Mode, OFlags, StatVfsMountFlags};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::checkpoint::Checkpoint;
use super::entry::{Call, Caller, Entry, EntryRef, Filter, NewEntry, Outcome};
use super::error::LedgerError;
use super::format::{self, Fields};
use super::schema;
use super::tiles::Leaves;
use super::tree::Hash;
use super::verify::{self, Verification};

/// How long a writer waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// The free space, in bytes, below which a ledger with a log (`-wal`) is neither written nor read. SQLite shares the
/// index of the log as mapped memory, which readers write into as well, and where a file system copies on write, that
/// needs space of its own: without any, the kernel ends the process (SIGBUS) where a `write` would have failed.
const FLOOR: u64 = 16 << 20;

/// The free space, in bytes, below which its number is not believed: what a transaction of btrfs has given back or set
/// aside counts as free and cannot be had. So much as [`PROBE`] is then asked for, as a mapped page would.
const DOUBT: u64 = 256 << 20;

/// In bytes: much more than the index of a log and an entry take, as others write at the same time.
const PROBE: usize = 4 << 20;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// A database without anything in it: an `init` was killed before its transaction.
    Empty,
    /// A ledger of a format that this program knows.
    Ledger,
    /// A ledger of a newer format.
    Newer(i64),
    /// Something else.
    Foreign(String),
}

/// What an `init` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// It made the ledger.
    Created,
    /// The ledger was there.
    AlreadyThere,
}

/// Where the chain ends, as the ledger itself says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Head {
    /// The number of the last entry.
    pub id: i64,
    /// Its hash.
    pub hash: String,
}

/// An open ledger. Threads may share it.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// The type of an error, with the path and the verb filled in.
fn sql<'p>(verb: &'static str, path: &'p Path) -> impl Fn(rusqlite::Error) -> LedgerError + 'p {
    move |source| match source.sqlite_error_code() {
        // To read, too, takes a little: the index of the log is made anew.
        Some(ErrorCode::SystemIoFailure | ErrorCode::DiskFull) if expect_room(verb, path).is_err() => {
            LedgerError::Full { verb, path: path.to_owned() }
        }
        _ => LedgerError::Sql { verb, path: path.to_owned(), source },
    }
}

fn io<'p>(verb: &'static str, path: &'p Path) -> impl Fn(io::Error) -> LedgerError + 'p {
    move |source| LedgerError::Io { verb, path: path.to_owned(), source }
}

impl Ledger {
    /// Opens a ledger to append to it.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        expect_ledger(path)?;
        expect_room("open", path)?;
        let connection = writable(path).map_err(sql("open", path))?;
        if let Some(what) = schema::difference(&connection).map_err(sql("open", path))? {
            // Verify reports it. Refusing would take every operation away for an index somebody added; what
            // would break the chain is refused by append.
            tracing::warn!(ledger = %path.display(), what, "the schema of the ledger was altered");
        }
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// Opens a ledger, or a copy of one, to read it. Prefer [`Ledger::read`] where it is not known that
    /// a writer has it open.
    pub fn open_read_only(path: &Path) -> Result<Self, LedgerError> {
        expect_ledger(path)?;
        let (connection, _) = readable(path).map_err(sql("open", path))?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// Reads a ledger, or a copy of one, also from a medium that cannot be written. Nothing is left beside it.
    pub fn read<T>(path: &Path, f: impl Fn(&Self) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let mut tries = 0;
        loop {
            expect_ledger(path)?;
            let before = stamp(path);
            let (connection, frozen) = readable(path).map_err(sql("open", path))?;
            let result = f(&Self { path: path.to_owned(), connection: Mutex::new(connection) });
            tries += 1;
            // A file that was read as one that does not change, and did: a writer came meanwhile.
            if frozen && tries < 5 && (before != stamp(path) || beside(path, "-wal").exists()) {
                continue;
            }
            return result;
        }
    }

    /// Makes a ledger where there is none: the schema, the genesis entry and entry 1, which covers the
    /// genesis entry and names the caller, in one transaction. Does nothing where there is a ledger.
    pub fn init(path: &Path, caller: &Caller, deployment: Deployment) -> Result<Init, LedgerError> {
        let began = Instant::now();
        match inspect(path)? {
            State::Ledger => return Ok(Init::AlreadyThere),
            State::Newer(found) => return Err(LedgerError::Newer { path: path.to_owned(), found }),
            State::Foreign(what) => return Err(LedgerError::InTheWay { path: path.to_owned(), what }),
            State::Absent => create_file(path)?,
            State::Empty => {}
        }
        expect_room("make", path)?;
        secure(path).map_err(io("restrict", path))?;
        let mut connection = writable(path).map_err(sql("make", path))?;
        let tx = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql("make", path))?;
        // Another init may have been faster.
        match contents(&tx).map_err(sql("make", path))? {
            State::Ledger => return Ok(Init::AlreadyThere),
            State::Empty => {}
            _ => {
                let what = "something that another program put there just now".into();
                return Err(LedgerError::InTheWay { path: path.to_owned(), what });
            }
        }
        schema::create(&tx).map_err(sql("make", path))?;
        let timestamp = now();
        tx.execute(
            "INSERT INTO operations VALUES (0, ?1, ?2, ?3, NULL, ?4, NULL, ?5)",
            params![
                timestamp,
                format::GENESIS_OPERATION,
                format::GENESIS_TARGET,
                format::GENESIS_HASH,
                format::GENESIS_METADATA
            ],
        )
        .map_err(sql("make", path))?;
        let mut first = NewEntry::call(Call {
            operation: format::INIT_OPERATION,
            target: format::GENESIS_TARGET,
            caller,
            arguments: Map::new(),
            outcome: Outcome::Ok,
            duration: began.elapsed(),
            deployment,
        });
        first.metadata.insert(format::GENESIS_MEMBER.into(), format::genesis_digest(timestamp).into());
        first.metadata.insert("format".into(), schema::VERSION.into());
        first.metadata.insert(format::LEDGER_ID.into(), random_id(path)?.into());
        append(&tx, path, &first)?;
        tx.commit().map_err(sql("make", path))?;
        Ok(Init::Created)
    }

    /// The ledger's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The connection, where there is room for what this does with it: to read writes into the index of the log, too.
    fn connection(&self, verb: &'static str) -> Result<MutexGuard<'_, Connection>, LedgerError> {
        if beside(&self.path, "-wal").exists() {
            expect_room(verb, &self.path)?;
        }
        // A panic elsewhere rolled its transaction back on the way out; the connection is as before.
        Ok(self.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Appends an entry. When this returns, the entry is on the disk.
    pub fn append(&self, entry: &NewEntry) -> Result<EntryRef, LedgerError> {
        let mut connection = self.connection("append to")?;
        self.append_on(&mut connection, entry)
    }

    /// Appends an entry that is on the disk once the caller has committed the file system, which has to happen before
    /// anyone is told of it: for a call that waits for such a commit anyway, one wait in place of two. After a power
    /// cut before the commit the ledger is whole, with this entry or without it: in the log each transaction has
    /// checksums, and it is synced before anything of it goes into the database.
    pub fn append_unsynced(&self, entry: &NewEntry) -> Result<EntryRef, LedgerError> {
        let mut connection = self.connection("append to")?;
        let synchronous = |connection: &Connection, how| {
            connection.pragma_update(None, "synchronous", how).map_err(sql("append to", &self.path))
        };
        synchronous(&connection, "normal")?;
        let appended = self.append_on(&mut connection, entry);
        synchronous(&connection, "full")?;
        appended
    }

    fn append_on(&self, connection: &mut Connection, entry: &NewEntry) -> Result<EntryRef, LedgerError> {
        let fail = sql("append to", &self.path);
        // Taking the write lock before the last entry is read is what keeps two writers from forking the chain.
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
        let appended = append(&tx, &self.path, entry)?;
        tx.commit().map_err(&fail)?;
        Ok(appended)
    }

    /// Where the chain ends.
    pub fn head(&self) -> Result<Head, LedgerError> {
        let connection = self.connection("read")?;
        head(&connection).map_err(sql("read", &self.path))?.ok_or_else(|| LedgerError::Altered {
            path: self.path.clone(),
            what: "its head is missing".into(),
        })
    }

    /// The entries that the filter lets through. Reading verifies nothing.
    pub fn entries(&self, filter: &Filter) -> Result<Vec<Entry>, LedgerError> {
        let fail = sql("read", &self.path);
        // Always a range: by it SQLite finds the first row, and does not pass over all before.
        let ids = filter.ids.clone().unwrap_or(i64::MIN..=i64::MAX);
        let connection = self.connection("read")?;
        let mut statement = connection
            .prepare(&format!(
                "SELECT id, timestamp, operation, target, previous_hash, current_hash, metadata FROM operations
                 WHERE id BETWEEN ?1 AND ?2 AND (?3 IS NULL OR operation = ?3)
                 AND (?4 IS NULL OR target = ?4) AND (?5 IS NULL OR timestamp >= ?5)
                 AND (?6 IS NULL OR timestamp <= ?6) ORDER BY id {} LIMIT ?7",
                if filter.oldest_first { "ASC" } else { "DESC" }
            ))
            .map_err(&fail)?;
        let rows = statement
            .query_map(
                params![
                    *ids.start(),
                    *ids.end(),
                    filter.operation,
                    filter.target,
                    filter.since,
                    filter.until,
                    filter.limit.map_or(-1, i64::from),
                ],
                entry,
            )
            .map_err(&fail)?;
        rows.collect::<rusqlite::Result<_>>().map_err(&fail)
    }

    /// Checks every entry, the head and the schema. Other threads that share this ledger wait meanwhile;
    /// a program that appends verifies by `Ledger::read(path, Ledger::verify)`, on a connection apart.
    pub fn verify(&self) -> Result<Verification, LedgerError> {
        self.verify_against(&[], None)
    }

    /// The same, held against checkpoints that were made of this ledger before, and against the tiles that were kept with
    /// them, in this directory.
    pub fn verify_against(
        &self,
        checkpoints: &[Checkpoint],
        tiles: Option<&Path>,
    ) -> Result<Verification, LedgerError> {
        let connection = self.connection("verify")?;
        let beside = readable(&self.path).ok().map(|(connection, _)| connection);
        verify::verify(&connection, beside, checkpoints, tiles.and_then(Leaves::below))
            .map_err(sql("verify", &self.path))
    }

    /// The checkpoint of what the ledger holds now, and the hashes of the leaves of its tree. A ledger that is not whole
    /// gets none.
    pub fn checkpoint(&self) -> Result<(Checkpoint, Vec<Hash>), LedgerError> {
        let connection = self.connection("read")?;
        verify::checkpoint(&connection)
            .map_err(sql("read", &self.path))?
            .map_err(|found| LedgerError::Altered { path: self.path.clone(), what: found.to_string() })
    }
}

/// What is at `path`. Changes nothing.
pub fn inspect(path: &Path) -> Result<State, LedgerError> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(State::Absent);
        }
        Err(e) => return Err(io("read", path)(e)),
    };
    // A link is followed for reading (a copy may be one); a writer's file is never one of ours if it is.
    let metadata =
        if metadata.is_symlink() { std::fs::metadata(path).map_err(io("read", path))? } else { metadata };
    if !metadata.is_file() {
        return Ok(State::Foreign("something that is not a regular file".into()));
    }
    if metadata.len() == 0 {
        return Ok(State::Empty);
    }
    rustix::fs::access(path, Access::READ_OK).map_err(|e| io("read", path)(e.into()))?;
    if beside(path, "-wal").exists() {
        expect_room("read", path)?;
    }
    match readable(path).and_then(|(connection, _)| contents(&connection)) {
        Ok(state) => Ok(state),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            Ok(State::Foreign("a file that is not an SQLite database".into()))
        }
        Err(error) => Err(sql("read", path)(error)),
    }
}

/// What a database holds.
fn contents(connection: &Connection) -> rusqlite::Result<State> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (id, version) = (pragma("application_id")?, pragma("user_version")?);
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let ours = id == schema::APPLICATION_ID;
    Ok(if objects == 0 && (ours || (id, version) == (0, 0)) {
        State::Empty
    } else if ours && version > schema::VERSION {
        State::Newer(version)
    } else if ours || (schema::has_columns(connection)? && has_head(connection)?) {
        // One with an altered schema or application id is a ledger still, and verify says what was altered.
        State::Ledger
    } else {
        State::Foreign("an SQLite database that is not a ledger".into())
    })
}

fn has_head(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'head')", [], |row| row.get(0))
}

fn expect_ledger(path: &Path) -> Result<(), LedgerError> {
    let path = path.to_owned();
    Err(match inspect(&path)? {
        State::Ledger => return Ok(()),
        State::Absent => LedgerError::Absent { path },
        State::Empty => LedgerError::NotALedger { path, what: "an empty file".into() },
        State::Newer(found) => LedgerError::Newer { path, found },
        State::Foreign(what) => LedgerError::NotALedger { path, what },
    })
}

/// See [`FLOOR`]. A medium that cannot be written has no free space, and nothing there is written into.
fn expect_room(verb: &'static str, path: &Path) -> Result<(), LedgerError> {
    let there = rustix::fs::statvfs(path).map_err(|e| io(verb, path)(e.into()))?;
    let free = there.f_bavail.saturating_mul(there.f_frsize);
    if there.f_flag.contains(StatVfsMountFlags::RDONLY) || free >= DOUBT {
        return Ok(());
    }
    if free < FLOOR || !takes(path.parent().unwrap_or(path), PROBE) {
        return Err(LedgerError::Full { verb, path: path.to_owned() });
    }
    Ok(())
}

/// Whether a file system sets so many bytes aside for a file of this directory. Nothing is written to the disk: the
/// file has no name, and is gone before its pages are due. Where none can be made, by its rights or its kind, that
/// says nothing about its room.
fn takes(directory: &Path, bytes: usize) -> bool {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let full = |error| matches!(error, rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT);
    match rustix::fs::open(directory, flags, Mode::from_raw_mode(0o600)) {
        Ok(file) => match rustix::io::write(&file, &vec![0; bytes]) {
            Ok(written) => written == bytes,
            Err(error) => !full(error),
        },
        Err(error) => !full(error),
    }
}

/// The file, made as root's alone before there is anything in it. SQLite gives `-wal` and `-shm` the mode of the file.
fn create_file(path: &Path) -> Result<(), LedgerError> {
    match rustix::fs::mknodat(CWD, path, FileType::RegularFile, Mode::from_raw_mode(0o600), 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(rustix::io::Errno::NOENT) => return Err(LedgerError::NoDirectory { path: path.to_owned() }),
        Err(error) => return Err(io("make", path)(error.into())),
    }
    path.parent().map_or(Ok(()), crate::files::sync_directory).map_err(io("make", path))
}

/// Whether the files of a ledger are the own user's alone.
pub(super) fn is_private(path: &Path) -> io::Result<bool> {
    let metadata = std::fs::metadata(path)?;
    Ok(metadata.mode() & 0o7777 == 0o600 && metadata.uid() == rustix::process::geteuid().as_raw())
}

/// Makes the files of a ledger the own user's alone.
pub(super) fn secure(path: &Path) -> io::Result<()> {
    for path in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        let chowned = std::os::unix::fs::lchown(&path, Some(rustix::process::geteuid().as_raw()), None);
        let done = chowned.and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)));
        match done {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Absolute, so that no path is taken for a URI.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    // What a schema that somebody altered may do to whoever reads it is kept small.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "cell_size_check", true)
}

fn writable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(absolute(path), flags)?;
    configure(&connection)?;
    // Switching to WAL does not wait for others who do the same, so the waiting is done here.
    let deadline = Instant::now() + PATIENCE;
    loop {
        match connection.pragma_update(None, "journal_mode", "wal") {
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => break other?,
        }
    }
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Without it a REPLACE deletes the row in its way past the triggers; the insert trigger refuses it first.
    connection.pragma_update(None, "recursive_triggers", true)?;
    Ok(connection)
}

/// A connection that only reads, and whether it takes the file for one that does not change. A reader of a
/// ledger in WAL mode makes `-shm` and `-wal` beside it; without a `-wal` there is nothing in one that is
/// needed, so none is made, and a copy on a medium that cannot be written is read as well.
fn readable(path: &Path) -> rusqlite::Result<(Connection, bool)> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let wal = std::fs::metadata(beside(path, "-wal")).map_or(None, |m| Some(m.len()));
    let open = |frozen: bool| {
        let connection = if frozen {
            Connection::open_with_flags(immutable_uri(path), flags | OpenFlags::SQLITE_OPEN_URI)?
        } else {
            Connection::open_with_flags(absolute(path), flags)?
        };
        configure(&connection)?;
        // SQLite opens the files when it first reads.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok((connection, frozen))
    };
    match open(wal.is_none()) {
        // An empty -wal left on a medium that cannot be written.
        Err(_) if wal == Some(0) => open(true),
        other => other,
    }
}

fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for &byte in absolute(path).as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push('%');
            uri.push_str(&crate::hex::hex(&[byte]));
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// What changes when a file is written.
fn stamp(path: &Path) -> Option<(u64, u64, i64, i64, i64, i64)> {
    let stamp = |m: Metadata| (m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    std::fs::metadata(path).ok().map(stamp)
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn random_id(path: &Path) -> Result<String, LedgerError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| io("make", path)(io::Error::other(e)))?;
    Ok(crate::hex::hex(&bytes))
}

fn head(connection: &Connection) -> rusqlite::Result<Option<Head>> {
    connection
        .prepare_cached("SELECT last_id, last_hash FROM head")?
        .query_row([], |row| Ok(Head { id: row.get(0)?, hash: row.get(1)? }))
        .optional()
}

fn last(connection: &Connection) -> rusqlite::Result<Option<Head>> {
    connection
        .prepare_cached("SELECT id, current_hash FROM operations ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| Ok(Head { id: row.get(0)?, hash: row.get(1)? }))
        .optional()
}

/// Appends within a transaction that holds the write lock.
fn append(connection: &Connection, path: &Path, entry: &NewEntry) -> Result<EntryRef, LedgerError> {
    let fail = sql("append to", path);
    let metadata = entry.check().map_err(|why| LedgerError::Refused { why })?;
    let altered = |what: String| LedgerError::Altered { path: path.to_owned(), what };
    let head_now = || head(connection).map_err(&fail)?.ok_or_else(|| altered("its head is missing".into()));
    let (said, there) = (head_now()?, last(connection).map_err(&fail)?);
    // Appended to all the same, a ledger whose last entry was deleted would look whole again.
    if there.as_ref() != Some(&said) {
        let there = there
            .map_or_else(|| "there is none".into(), |l| format!("the last one is {} ({})", l.id, l.hash));
        return Err(altered(format!(
            "the head says that the last entry is {} ({}), and {there}",
            said.id, said.hash
        )));
    }
    let id = said.id + 1;
    let timestamp = now();
    let fields = Fields {
        id,
        timestamp,
        operation: &entry.operation,
        target: &entry.target,
        metadata: &metadata,
        previous_hash: &said.hash,
    };
    let hash = fields.hash();
    // Kept: to compile it takes all the triggers with it, about as long as the disk takes.
    connection
        .prepare_cached(
            "INSERT INTO operations (id, timestamp, operation, target, previous_hash, current_hash, embedding, metadata)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, ?7)",
        )
        .and_then(|mut insert| {
            insert.execute(params![id, timestamp, entry.operation, entry.target, said.hash, hash, metadata])
        })
        .map_err(&fail)?;
    let moved = head_now()?;
    if moved.id != id || moved.hash != hash {
        return Err(altered(
            "its head does not move with a new entry: the trigger operations_head was altered".into(),
        ));
    }
    Ok(EntryRef { id, timestamp, hash })
}

/// A column as text, whatever it was altered into.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let metadata = text(row, 6)?.unwrap_or_default();
    Ok(Entry {
        id: row.get(0)?,
        timestamp: match row.get_ref(1)? {
            ValueRef::Integer(seconds) => seconds,
            _ => 0,
        },
        operation: text(row, 2)?.unwrap_or_default(),
        target: text(row, 3)?.unwrap_or_default(),
        previous_hash: text(row, 4)?,
        current_hash: text(row, 5)?.unwrap_or_default(),
        metadata: serde_json::from_str(&metadata).unwrap_or_else(|_| json!(metadata)),
    })
}
