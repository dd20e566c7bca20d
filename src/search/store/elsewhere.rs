//! What the index remembers where its vectors lie elsewhere: under what name, and which entries were given theirs. An entry
//! with a vector elsewhere has a code of no bytes.

use super::{Store, sql};
use crate::search::error::SearchError;

impl Store {
    /// What tells this index from any other: random, and another one where the index is made anew or its vectors are to come
    /// from another model or to lie in another place.
    pub fn token(&mut self) -> Result<String, SearchError> {
        let make = "INSERT OR IGNORE INTO about VALUES ('token', lower(hex(randomblob(16)))) RETURNING value";
        if let Some(token) = self.about("token")? {
            return Ok(token);
        }
        self.connection.query_row(make, [], |row| row.get(0)).map_err(sql("write", &self.path))
    }

    /// The hash of the first entry of the ledger that it is of.
    pub fn ledger(&self) -> Result<String, SearchError> {
        Ok(self.about("ledger")?.unwrap_or_default())
    }

    /// Takes note that these entries have their vectors elsewhere.
    pub fn given(&mut self, ids: impl Iterator<Item = i64>) -> Result<(), SearchError> {
        let give = || {
            let tx = self.connection.unchecked_transaction()?;
            let mut update = tx.prepare("UPDATE entries SET code = x'' WHERE id = ?1")?;
            for id in ids {
                update.execute([id])?;
            }
            drop(update);
            tx.commit()
        };
        give().map_err(sql("write", &self.path))
    }

    /// Takes note that no entry has a vector.
    pub fn none_given(&mut self) -> Result<(), SearchError> {
        self.connection.execute(super::FORGET, []).map(drop).map_err(sql("write", &self.path))
    }
}
