//! Sentences that were embedded before, kept over reboots: an index that is made anew, and the entries that say what others
//! said, take no arithmetic. A cache: what is wrong with it is removed, and what cannot be kept is computed again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::embed::{Embedder, Vector};
use super::error::SearchError;
use super::model;
use super::store::{self, Halves, from_halves, halves};

/// The most sentences on disk: about 50 MB.
const MOST: i64 = 50_000;

/// How many more may come before the oldest are looked for.
const SLACK: u32 = 500;

/// The most sentences in memory: 4 MB.
const RECENT: usize = 2048;

/// The file below `@cache`.
const NAME: &str = "embeddings.db";

/// An embedder that remembers.
#[derive(Debug)]
pub struct Remembering {
    embedder: Embedder,
    recent: HashMap<[u8; 32], Vector>,
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    connection: Connection,
    added: u32,
}

impl Remembering {
    /// Remembers in a directory; where that cannot be written, in memory alone.
    #[must_use]
    pub fn new(embedder: Embedder, cache: Option<&Path>) -> Self {
        Self { embedder, recent: HashMap::new(), kept: cache.and_then(Kept::open) }
    }

    /// A sentence's vector.
    pub fn embed(&mut self, sentence: &str) -> Result<Vector, SearchError> {
        let key: [u8; 32] = Sha256::digest(sentence).into();
        if let Some(vector) = self.recent.get(&key) {
            return Ok(*vector);
        }
        let vector = if let Some(vector) = self.kept(|kept| kept.get(&key)) {
            vector
        } else {
            // As it is kept: the same sentence has the same vector whether it was kept or not.
            let vector = from_halves(&halves(&self.embedder.embed(sentence)?));
            self.kept(|kept| kept.put(&key, &vector).map(Some));
            vector
        };
        if self.recent.len() >= RECENT {
            self.recent.clear();
        }
        self.recent.insert(key, vector);
        Ok(vector)
    }

    /// Does something with what is on disk; once that fails, it is done without.
    fn kept<T>(&mut self, f: impl FnOnce(&mut Kept) -> rusqlite::Result<Option<T>>) -> Option<T> {
        let kept = self.kept.as_mut()?;
        match f(kept) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("{} is not used any longer: {error}", kept.path.display());
                if store::is_damage(&error) {
                    let path = kept.path.clone();
                    self.kept = None;
                    remove(&path);
                }
                self.kept = None;
                None
            }
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = store::remove(path) {
        tracing::warn!("{error}");
    }
}

impl Kept {
    fn open(directory: &Path) -> Option<Self> {
        let path = directory.join(NAME);
        let opened = Self::try_open(&path).or_else(|error| {
            if !store::is_damage(&error) {
                return Err(error);
            }
            tracing::warn!("{} is made anew: {error}", path.display());
            remove(&path);
            Self::try_open(&path)
        });
        match opened {
            Ok(connection) => Some(Self { path, connection, added: 0 }),
            Err(error) => {
                tracing::warn!("sentences are not remembered in {}: {error}", path.display());
                None
            }
        }
    }

    fn try_open(path: &Path) -> rusqlite::Result<Connection> {
        let connection = store::connect(path)?;
        // Another model has other vectors, so its name is the table's.
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS model (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS sentences (
                 number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, vector BLOB NOT NULL);",
        )?;
        let sum = model::FILES[0].sha256;
        let known: Option<String> =
            connection.query_row("SELECT sha256 FROM model", [], |row| row.get(0)).optional()?;
        if known.as_deref() != Some(sum) {
            let tx = connection.unchecked_transaction()?;
            tx.execute("DELETE FROM sentences", [])?;
            tx.execute("DELETE FROM model", [])?;
            tx.execute("INSERT INTO model VALUES (?1)", [sum])?;
            tx.commit()?;
        }
        Ok(connection)
    }

    fn get(&mut self, key: &[u8; 32]) -> rusqlite::Result<Option<Vector>> {
        let bytes: Option<Halves> = self
            .connection
            .prepare_cached("SELECT vector FROM sentences WHERE key = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?;
        Ok(bytes.map(|bytes| from_halves(&bytes)))
    }

    fn put(&mut self, key: &[u8; 32], vector: &Vector) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO sentences (key, vector) VALUES (?1, ?2)")?
            .execute(params![key, halves(vector)])?;
        self.added += 1;
        if self.added >= SLACK {
            self.added = 0;
            self.forget(MOST)?;
        }
        Ok(())
    }

    /// Has no more than so many be there: the newest.
    fn forget(&mut self, most: i64) -> rusqlite::Result<()> {
        self.connection
            .execute("DELETE FROM sentences WHERE number <= (SELECT max(number) FROM sentences) - ?1", [most])
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(first: f32) -> Vector {
        std::array::from_fn(|i| if i == 0 { first } else { 0.25 })
    }

    #[test]
    fn what_was_put_is_there_after_it_was_closed_and_the_oldest_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = Kept::open(dir.path()).unwrap();
        for number in 0..10_u8 {
            kept.put(&[number; 32], &vector(f32::from(number))).unwrap();
        }
        drop(kept);
        let mut kept = Kept::open(dir.path()).unwrap();
        assert_eq!(kept.get(&[7; 32]).unwrap(), Some(vector(7.0)));
        assert_eq!(kept.get(&[11; 32]).unwrap(), None);
        kept.forget(4).unwrap();
        let left: Vec<u8> = (0..10).filter(|n| kept.get(&[*n; 32]).unwrap().is_some()).collect();
        assert_eq!(left, [6, 7, 8, 9]);
    }

    #[test]
    fn what_is_damaged_or_of_another_model_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        std::fs::write(&path, "this is no database, however long it may be".repeat(100)).unwrap();
        let mut kept = Kept::open(dir.path()).unwrap();
        kept.put(&[1; 32], &vector(1.0)).unwrap();
        kept.connection.execute("UPDATE model SET sha256 = 'another'", []).unwrap();
        drop(kept);
        assert_eq!(Kept::open(dir.path()).unwrap().get(&[1; 32]).unwrap(), None);
        let nowhere = dir.path().join("not there");
        assert!(Kept::open(&nowhere).is_none());
    }
}
