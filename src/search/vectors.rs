//! Where the vectors of the entries lie, and what is asked of such a place. What is known of the entries themselves, and
//! their words, are in the index on this host ([`super::store`]) wherever their vectors are.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use super::embed::Vector;
use super::error::SearchError;
use super::model;
use super::rows::Rows;
use super::store::{Store, Through};
use crate::ledger::Entry;

/// A place for vectors. Every method takes the index whose they are.
pub trait Vectors: Debug {
    /// What says whose vectors are here, and of which model. An index that was of another place has none given yet.
    fn place(&self) -> String;

    /// Has it be ready to be asked; nothing to do where it is.
    fn ready(&mut self, store: &mut Store) -> Result<(), SearchError>;

    /// Gives entries their vectors, and has the index know that they have them.
    fn give(&mut self, store: &mut Store, vectors: &[(Entry, Vector)]) -> Result<(), SearchError>;

    /// The entries that are nearest to a vector, of those that are let through.
    fn nearest(
        &mut self,
        store: &Store,
        to: &Vector,
        through: &Through,
        count: u32,
    ) -> Result<Vec<i64>, SearchError>;

    /// How near these entries are to a vector: their cosines. Those without a vector are left out.
    fn cosines(&mut self, store: &Store, to: &Vector, ids: &[i64]) -> Result<HashMap<i64, f64>, SearchError>;

    /// After how long it is worth asking again, where it did not answer.
    fn again(&self) -> Option<Duration> {
        None
    }
}

/// In the index itself, and in memory once they are asked for.
#[derive(Debug, Default)]
pub struct Local {
    rows: Option<Rows>,
}

impl Local {
    fn rows(&mut self, store: &Store) -> Result<&mut Rows, SearchError> {
        let rows = match self.rows.take() {
            Some(rows) => rows,
            None => store.load()?,
        };
        Ok(self.rows.insert(rows))
    }
}

/// The cosine of two vectors of length one.
pub(super) fn cosine(a: &Vector, b: &Vector) -> f64 {
    f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>())
}

impl Vectors for Local {
    fn place(&self) -> String {
        model::FILES[0].sha256.into()
    }

    fn ready(&mut self, _: &mut Store) -> Result<(), SearchError> {
        Ok(())
    }

    fn give(&mut self, store: &mut Store, vectors: &[(Entry, Vector)]) -> Result<(), SearchError> {
        let vectors: Vec<(i64, Vector)> = vectors.iter().map(|(entry, vector)| (entry.id, *vector)).collect();
        let rows = self.rows(store)?;
        store.give(&vectors, rows)
    }

    fn nearest(
        &mut self,
        store: &Store,
        to: &Vector,
        through: &Through,
        count: u32,
    ) -> Result<Vec<i64>, SearchError> {
        Ok(self.rows(store)?.nearest(to, count as usize, |facts| through.lets(facts)))
    }

    fn cosines(&mut self, store: &Store, to: &Vector, ids: &[i64]) -> Result<HashMap<i64, f64>, SearchError> {
        let exact = store.exact(ids)?;
        Ok(exact.into_iter().map(|(id, vector)| (id, cosine(to, &vector))).collect())
    }
}
