//! The index on disk, `vector-index.db`: what is known of each entry of the ledger, its words, and its vector. All of it
//! is derived: whatever is wrong with it, it is made anew from the ledger.

mod elsewhere;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use half::f16;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};

use super::embed::Vector;
use super::error::SearchError;
use super::model::DIMENSIONS;
use super::rows::{Code, Facts, Rows};
use super::when::TimeRange;
use super::words::{stem, words};
use crate::ledger::Entry;

/// The format that this program writes; another one is made anew.
const FORMAT: &str = "2";

const SCHEMA: &str = "
    CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE callers (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE operations (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL, caller INTEGER NOT NULL, outcome INTEGER NOT NULL,
        operation INTEGER NOT NULL, scale REAL, code BLOB, exact BLOB);
    CREATE INDEX of_operation ON entries(operation, id);
    -- What entries are looked up by, without their vectors.
    CREATE INDEX facts ON entries(id, timestamp, caller, outcome);
    CREATE INDEX without_vector ON entries(id) WHERE code IS NULL;
    CREATE VIRTUAL TABLE words USING fts5(text, content = '', tokenize = 'unicode61');
    CREATE VIRTUAL TABLE frequency USING fts5vocab(words, 'row');
";

/// Takes all entries' vectors.
const FORGET: &str = "UPDATE entries SET scale = NULL, code = NULL, exact = NULL WHERE code IS NOT NULL";

/// How an entry ended, as a number.
pub(super) const OUTCOMES: [&str; 3] = ["ok", "failed", "refused"];

/// The postings that a question's words may have together: more take longer to rank than the rest of a search.
const POSTINGS: i64 = 5_000;

/// What was found where the index should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// An index of this ledger.
    AsItWas,
    /// Nothing.
    New,
    /// Something that could not be used, for this reason; it was replaced.
    Anew(String),
}

/// Which entries are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Through {
    /// When.
    pub range: TimeRange,
    /// By whom, as the index numbers them.
    pub caller: Option<u32>,
    /// How it ended, as a place in `OUTCOMES`.
    pub outcome: Option<u8>,
}

impl Through {
    fn seconds(&self) -> (i64, i64) {
        let (since, until) = self.range.seconds();
        (since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX))
    }

    /// Whether it lets an entry through.
    #[must_use]
    pub fn lets(&self, facts: &Facts) -> bool {
        let (since, until) = self.seconds();
        (since..until).contains(&facts.timestamp)
            && self.caller.is_none_or(|caller| caller == facts.caller)
            && self.outcome.is_none_or(|outcome| outcome == facts.outcome)
    }
}

/// The index, open.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
}

fn sql<'p>(verb: &'static str, path: &'p Path) -> impl Fn(rusqlite::Error) -> SearchError + 'p {
    move |source| SearchError::Index { verb, path: path.to_owned(), source }
}

/// Whether an error says that the file is damaged, and not that it could not be got at.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || matches!(error, rusqlite::Error::SqliteFailure(e, _) if e.extended_code == rusqlite::ffi::SQLITE_ERROR)
        || matches!(
            error,
            rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..)
        )
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // What a power cut takes is written again from the ledger.
    connection.pragma_update(None, "synchronous", "normal")?;
    Ok(connection)
}

pub(super) fn remove(path: &Path) -> Result<(), SearchError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(SearchError::Io { verb: "remove", path, source: e });
            }
            _ => {}
        }
    }
    Ok(())
}

/// How many entries an index has and how many of them have no vector, without asking the process that has it; `None` where
/// there is no index, or one that it will make anew.
pub fn count(path: &Path) -> Result<Option<(u64, u64)>, SearchError> {
    if !path.exists() {
        return Ok(None);
    }
    let looked = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .and_then(|connection| counted(&connection));
    match looked {
        Ok(counted) => Ok(Some(counted)),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(sql("read", path)(error)),
    }
}

fn counted(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let all = connection.query_row("SELECT count(*) FROM entries", [], |row| row.get::<_, i64>(0))?;
    Ok((all.unsigned_abs(), count_behind(connection)?))
}

/// By the index of these alone.
fn count_behind(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .query_row("SELECT count(*) FROM entries WHERE code IS NULL", [], |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
}

impl Store {
    /// Opens the index of the ledger whose first entry has this hash; makes it where there is none that can be used.
    pub fn open(path: &Path, ledger: &str) -> Result<(Self, Opened), SearchError> {
        let existed = path.exists();
        let why = match connect(path).and_then(|connection| {
            let found = if existed { usable(&connection, ledger)? } else { Err("there was none".into()) };
            Ok((connection, found))
        }) {
            Ok((connection, Ok(()))) => {
                return Ok((Self { path: path.to_owned(), connection }, Opened::AsItWas));
            }
            Ok((_, Err(why))) => why,
            Err(error) if is_damage(&error) => error.to_string(),
            Err(error) => return Err(sql("open", path)(error)),
        };
        let store = Self::make(path, ledger)?;
        Ok((store, if existed { Opened::Anew(why) } else { Opened::New }))
    }

    /// Makes an empty index, whatever is there.
    pub fn make(path: &Path, ledger: &str) -> Result<Self, SearchError> {
        remove(path)?;
        let connection = connect(path).map_err(sql("make", path))?;
        let make = || {
            let tx = connection.unchecked_transaction()?;
            tx.execute_batch(SCHEMA)?;
            let mut about = tx.prepare("INSERT INTO about VALUES (?1, ?2)")?;
            about.execute(["format", FORMAT])?;
            about.execute(["ledger", ledger])?;
            drop(about);
            tx.commit()
        };
        make().map_err(sql("make", path))?;
        Ok(Self { path: path.to_owned(), connection })
    }

    fn about(&self, key: &str) -> Result<Option<String>, SearchError> {
        about(&self.connection, key).map_err(sql("read", &self.path))
    }

    /// The last entry that is in it, and its hash.
    pub fn last(&self) -> Result<Option<(i64, String)>, SearchError> {
        let id = self
            .connection
            .query_row("SELECT max(id) FROM entries", [], |row| row.get::<_, Option<i64>>(0))
            .map_err(sql("read", &self.path))?;
        Ok(id.zip(self.about("last")?))
    }

    /// Has all vectors be those of this model and in this place: others are dropped.
    pub fn of_model(&mut self, model: &str) -> Result<(), SearchError> {
        if self.about("model")?.as_deref() == Some(model) {
            return Ok(());
        }
        let change = || {
            let tx = self.connection.unchecked_transaction()?;
            tx.execute(FORGET, [])?;
            tx.execute("DELETE FROM about WHERE key = 'token'", [])?;
            tx.execute("INSERT OR REPLACE INTO about VALUES ('model', ?1)", [model])?;
            tx.commit()
        };
        change().map_err(sql("write", &self.path))
    }

    /// Adds entries with what they say, in the order of the ledger.
    pub fn add(&mut self, entries: &[(Entry, String)]) -> Result<(), SearchError> {
        let Some((newest, _)) = entries.last() else { return Ok(()) };
        let add = || {
            let tx = self.connection.unchecked_transaction()?;
            let mut caller = tx.prepare("INSERT OR IGNORE INTO callers (name) VALUES (?1)")?;
            let mut operation = tx.prepare("INSERT OR IGNORE INTO operations (name) VALUES (?1)")?;
            let mut insert = tx.prepare(
                "INSERT INTO entries (id, timestamp, caller, outcome, operation)
                 VALUES (?1, ?2, (SELECT number FROM callers WHERE name = ?3), ?4,
                         (SELECT number FROM operations WHERE name = ?5))",
            )?;
            let mut say = tx.prepare("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?;
            for (entry, text) in entries {
                let name = entry.metadata["caller"]["user"].as_str().unwrap_or("");
                let outcome = entry.metadata["outcome"].as_str().unwrap_or("ok");
                let outcome = OUTCOMES
                    .iter()
                    .position(|o| *o == outcome)
                    .and_then(|o| u8::try_from(o).ok())
                    .unwrap_or(0);
                caller.execute([name])?;
                operation.execute([&entry.operation])?;
                insert.execute(params![entry.id, entry.timestamp, name, outcome, entry.operation])?;
                say.execute(params![entry.id, stems(text)])?;
            }
            drop((caller, operation, insert, say));
            tx.execute("INSERT OR REPLACE INTO about VALUES ('last', ?1)", [&newest.current_hash])?;
            tx.commit()
        };
        add().map_err(sql("write", &self.path))
    }

    /// How many entries there are, and how many of them have no vector.
    pub fn count(&self) -> Result<(u64, u64), SearchError> {
        counted(&self.connection).map_err(sql("read", &self.path))
    }

    /// How many entries have no vector.
    pub fn behind(&self) -> Result<u64, SearchError> {
        count_behind(&self.connection).map_err(sql("read", &self.path))
    }

    /// Entries that have no vector yet, the newest first.
    pub fn without_vector(&self, count: u32) -> Result<Vec<i64>, SearchError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            self.connection
                .prepare_cached("SELECT id FROM entries WHERE code IS NULL ORDER BY id DESC LIMIT ?1")?
                .query_map([count], |row| row.get(0))?
                .collect()
        };
        read().map_err(sql("read", &self.path))
    }

    /// Gives entries their vectors, and puts them into memory, too.
    pub fn give(&mut self, vectors: &[(i64, Vector)], rows: &mut Rows) -> Result<(), SearchError> {
        let give = || {
            let tx = self.connection.unchecked_transaction()?;
            let mut update =
                tx.prepare("UPDATE entries SET scale = ?2, code = ?3, exact = ?4 WHERE id = ?1 RETURNING timestamp, caller, outcome")?;
            let mut given = Vec::with_capacity(vectors.len());
            for (id, vector) in vectors {
                let code = Code::of(vector);
                let bytes = code.bytes.map(i8::cast_unsigned);
                let facts = update
                    .query_row(params![id, code.scale, bytes, halves(vector)], |row| {
                        Ok(Facts {
                            id: *id,
                            timestamp: row.get(0)?,
                            caller: row.get(1)?,
                            outcome: row.get(2)?,
                        })
                    })
                    .optional()?;
                given.extend(facts.map(|facts| (facts, code)));
            }
            drop(update);
            tx.commit()?;
            Ok(given)
        };
        for (facts, code) in give().map_err(sql("write", &self.path))? {
            rows.push(facts, &code);
        }
        Ok(())
    }

    /// All vectors, into memory.
    pub fn load(&self) -> Result<Rows, SearchError> {
        let mut rows = Rows::default();
        let mut read = || {
            let mut all = self.connection.prepare(
                "SELECT id, timestamp, caller, outcome, scale, code FROM entries WHERE code IS NOT NULL ORDER BY id",
            )?;
            let mut found = all.query([])?;
            while let Some(row) = found.next()? {
                let bytes: [u8; DIMENSIONS] = row.get(5)?;
                let code = Code { bytes: bytes.map(u8::cast_signed), scale: row.get(4)? };
                rows.push(
                    Facts {
                        id: row.get(0)?,
                        timestamp: row.get(1)?,
                        caller: row.get(2)?,
                        outcome: row.get(3)?,
                    },
                    &code,
                );
            }
            Ok(())
        };
        read().map_err(sql("read", &self.path))?;
        Ok(rows)
    }

    /// The vectors of these entries, each number in two bytes.
    pub fn exact(&self, ids: &[i64]) -> Result<HashMap<i64, Vector>, SearchError> {
        let read = || {
            let mut one = self
                .connection
                .prepare_cached("SELECT exact FROM entries WHERE id = ?1 AND exact IS NOT NULL")?;
            let mut found = HashMap::with_capacity(ids.len());
            for id in ids {
                let bytes: Option<Halves> = one.query_row([id], |row| row.get(0)).optional()?;
                found.extend(bytes.map(|bytes| (*id, from_halves(&bytes))));
            }
            Ok(found)
        };
        read().map_err(sql("read", &self.path))
    }

    /// The users who are known to have asked for something.
    pub fn callers(&self) -> Result<Vec<(u32, String)>, SearchError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            self.connection
                .prepare_cached("SELECT number, name FROM callers")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        read().map_err(sql("read", &self.path))
    }

    /// The operations that are known to have been called.
    pub fn operations(&self) -> Result<Vec<String>, SearchError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            self.connection
                .prepare_cached("SELECT name FROM operations")?
                .query_map([], |row| row.get(0))?
                .collect()
        };
        read().map_err(sql("read", &self.path))
    }

    /// How many entries a word is in.
    fn frequency(&self, word: &str) -> rusqlite::Result<i64> {
        let found = self
            .connection
            .prepare_cached("SELECT doc FROM frequency WHERE term = ?1")?
            .query_row([word], |row| row.get(0))
            .optional()?;
        Ok(found.unwrap_or(0))
    }

    /// The entries in which the rarer of these words are, the best first, each with its rank (BM25: larger is better).
    pub fn with_words(
        &self,
        wanted: &[String],
        through: &Through,
        count: u32,
    ) -> Result<Vec<(i64, f64)>, SearchError> {
        let read = || {
            let mut known = Vec::new();
            for word in wanted {
                let parts: Vec<String> = parts(word).map(stem).collect();
                let mut rarest = i64::MAX;
                for part in &parts {
                    rarest = rarest.min(self.frequency(part)?);
                }
                if rarest > 0 {
                    known.extend(phrase(&parts).map(|phrase| (rarest, phrase)));
                }
            }
            known.sort();
            known.dedup();
            let mut postings = 0;
            let some: Vec<String> = known
                .into_iter()
                .enumerate()
                .take_while(|(at, (frequency, _))| {
                    postings += frequency;
                    *at == 0 || postings <= POSTINGS
                })
                .map(|(_, (_, term))| term)
                .collect();
            if some.is_empty() {
                return Ok(Vec::new());
            }
            let (since, until) = through.seconds();
            self.connection
                .prepare_cached(
                    "SELECT entries.id, -bm25(words) AS fit FROM words
                       JOIN entries INDEXED BY facts ON entries.id = words.rowid
                     WHERE words MATCH ?1 AND timestamp >= ?2 AND timestamp < ?3
                       AND (?4 IS NULL OR caller = ?4) AND (?5 IS NULL OR outcome = ?5)
                     ORDER BY fit DESC, entries.id DESC LIMIT ?6",
                )?
                .query_map(
                    params![some.join(" OR "), since, until, through.caller, through.outcome, count],
                    pair,
                )?
                .collect()
        };
        read().map_err(sql("search", &self.path))
    }

    /// The newest entries of some operations that are let through, in which all of these names are.
    pub fn newest_of(
        &self,
        operations: &[String],
        names: &[String],
        through: &Through,
        count: u32,
    ) -> Result<Vec<i64>, SearchError> {
        let names: Vec<String> =
            names.iter().filter_map(|name| phrase(&parts(name).map(stem).collect::<Vec<_>>())).collect();
        let condition =
            if names.is_empty() { "" } else { "AND id IN (SELECT rowid FROM words WHERE words MATCH ?6)" };
        let query = format!(
            "SELECT id FROM entries
             WHERE operation IN (SELECT number FROM operations JOIN json_each(?7) ON name = value)
               AND timestamp >= ?1 AND timestamp < ?2
               AND (?3 IS NULL OR caller = ?3) AND (?4 IS NULL OR outcome = ?4) {condition} ORDER BY id DESC LIMIT ?5"
        );
        let read = || -> rusqlite::Result<Vec<_>> {
            let (since, until) = through.seconds();
            let operations = serde_json::json!(operations).to_string();
            self.connection
                .prepare_cached(&query)?
                .query_map(
                    params![
                        since,
                        until,
                        through.caller,
                        through.outcome,
                        count,
                        names.join(" AND "),
                        operations
                    ],
                    |row| row.get(0),
                )?
                .collect()
        };
        read().map_err(sql("search", &self.path))
    }

    /// The newest entries that are let through.
    pub fn newest(&self, through: &Through, count: u32) -> Result<Vec<i64>, SearchError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let (since, until) = through.seconds();
            self.connection
                .prepare_cached(
                    "SELECT id FROM entries WHERE timestamp >= ?1 AND timestamp < ?2
                       AND (?3 IS NULL OR caller = ?3) AND (?4 IS NULL OR outcome = ?4) ORDER BY id DESC LIMIT ?5",
                )?
                .query_map(params![since, until, through.caller, through.outcome, count], |row| row.get(0))?
                .collect()
        };
        read().map_err(sql("search", &self.path))
    }
}

/// A name as a phrase of the index: several words, that have to stand side by side; nothing where it has no word.
fn phrase(stems: &[String]) -> Option<String> {
    (!stems.is_empty()).then(|| format!("\"{}\"", stems.join(" ")))
}

/// A vector as it is kept, two bytes a number.
pub(super) type Halves = [u8; 2 * DIMENSIONS];

pub(super) fn halves(vector: &Vector) -> Halves {
    let mut bytes = [0; 2 * DIMENSIONS];
    for (pair, value) in bytes.chunks_exact_mut(2).zip(vector) {
        pair.copy_from_slice(&f16::from_f32(*value).to_le_bytes());
    }
    bytes
}

pub(super) fn from_halves(bytes: &Halves) -> Vector {
    std::array::from_fn(|i| f16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]).to_f32())
}

fn pair(row: &Row<'_>) -> rusqlite::Result<(i64, f64)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn about(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM about WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// Whether an index is of this format and of this ledger, or why it cannot be used.
fn usable(connection: &Connection, ledger: &str) -> rusqlite::Result<Result<(), String>> {
    let there: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'about')",
        [],
        |row| row.get(0),
    )?;
    if !there {
        return Ok(Err("it holds something else".into()));
    }
    Ok(match (about(connection, "format")?.as_deref(), about(connection, "ledger")?) {
        (Some(FORMAT), Some(found)) if found == ledger => Ok(()),
        (Some(FORMAT), _) => Err("it is another ledger's".into()),
        (format, _) => Err(format!("its format is {}", format.unwrap_or("not known"))),
    })
}

/// The words of a name, as the index has them.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    word.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty())
}

/// A text as its stems.
fn stems(text: &str) -> String {
    let words = words(text);
    let stems: Vec<String> =
        words.iter().flat_map(|word| parts(&word.text).map(stem).collect::<Vec<_>>()).collect();
    stems.join(" ")
}
