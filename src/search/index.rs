//! The index: kept up with the ledger, and asked.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::embed::Vector;
use super::error::SearchError;
use super::glosses::operations;
use super::model::DIMENSIONS;
use super::question::{Known, Question};
use super::remembered::Remembering;
use super::sentence::{self, Glosses};
use super::store::{OUTCOMES, Opened, Store, Through};
use super::vectors::{Local, Vectors, cosine};
use super::wire::By;
use crate::ledger::{Entry, Filter, Ledger};
use crate::paths::Tree;

/// Entries that are read and written at once.
const BATCH: u32 = 512;

/// Entries that get their vectors in one transaction: a question waits for it, a quarter of a second or so.
const EMBEDDED_AT_ONCE: u32 = 8;

/// How many entries are looked at more closely, for each way to find them.
const CANDIDATES: u32 = 64;

/// What the words that are there count beside the meaning, whose cosines mostly lie between 0 and 1.
const OF_WORDS: f64 = 0.15;

/// What an entry loses for each better one that says the same, and the most that it can lose: who asks is told the next
/// best thing rather than for the tenth time that `apply` failed.
const SAME_AGAIN: (f64, f64) = (0.08, 0.24);

/// The least cosine of a sentence to what an operation is called, for the operation to be offered, and how many are.
const NEAR: f64 = 0.4;
const OFFERED: usize = 3;

/// The index of one ledger.
pub struct Index<'a> {
    ledger: PathBuf,
    store: Store,
    vectors: Box<dyn Vectors>,
    /// Why the vectors could not be had, when they were last asked for.
    trouble: Option<String>,
    embedder: Option<Remembering>,
    glosses: Glosses<'a>,
}

/// Where the index of a host lies.
#[must_use]
pub fn path(tree: &Tree) -> PathBuf {
    tree.join("@vectors/vector-index.db")
}

/// An entry that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its number.
    pub id: i64,
    /// How well it fits; only the order means something.
    pub score: f64,
    /// Its cosine to the question, where it has a vector and the question a meaning.
    pub meaning: Option<f64>,
    /// What the words count that are in it, from 0 to 1.
    pub words: f64,
    /// How many of the question's names are in it, from 0 to 1.
    pub names: f64,
}

/// Brings the sum of vectors to length one, so that it compares with others.
fn unit(vector: &Vector) -> Vector {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    if length > 0.0 { vector.map(|v| v / length) } else { *vector }
}

fn sum(a: &Vector, b: &Vector) -> Vector {
    std::array::from_fn(|i| a[i] + b[i])
}

impl<'a> Index<'a> {
    /// Opens the index of a ledger; what cannot be used is made anew. Without a model it is one of words alone.
    pub fn open(
        path: &Path,
        ledger: &Path,
        embedder: Option<Remembering>,
        glosses: Glosses<'a>,
    ) -> Result<(Self, Opened), SearchError> {
        Self::open_with(path, ledger, embedder, glosses, Box::new(Local::default()))
    }

    /// The same with the vectors in a place of their own.
    pub fn open_with(
        path: &Path,
        ledger: &Path,
        embedder: Option<Remembering>,
        glosses: Glosses<'a>,
        vectors: Box<dyn Vectors>,
    ) -> Result<(Self, Opened), SearchError> {
        let first = entries(ledger, 1, 1)?;
        let root = first.first().map(|entry| entry.current_hash.clone()).unwrap_or_default();
        let (mut store, mut opened) = Store::open(path, &root)?;
        // A ledger that was put back, or cut off, is not the one that was read.
        if let Some((last, hash)) = store.last()?
            && entries(ledger, last, 1)?.first().is_none_or(|entry| entry.current_hash != hash)
        {
            drop(store);
            store = Store::make(path, &root)?;
            opened = Opened::Anew("the ledger is not the one that it was made of".into());
        }
        if embedder.is_some() {
            store.of_model(&vectors.place())?;
        }
        Ok((Self { ledger: ledger.to_owned(), store, vectors, trouble: None, embedder, glosses }, opened))
    }

    /// Takes over what the ledger has gained: its words at once. Gives how many entries.
    pub fn catch_up(&mut self) -> Result<usize, SearchError> {
        let mut taken = 0;
        loop {
            let next = self.store.last()?.map_or(0, |(last, _)| last) + 1;
            let new: Vec<(Entry, String)> = entries(&self.ledger, next, BATCH)?
                .into_iter()
                .map(|entry| {
                    let words = sentence::words_of(&entry, self.glosses);
                    (entry, words)
                })
                .collect();
            if new.is_empty() {
                return Ok(taken);
            }
            self.store.add(&new)?;
            taken += new.len();
        }
    }

    /// Gives some entries that have none their vectors. Gives how many; none, where all have one, there is no model, or the
    /// vectors' place cannot be reached.
    pub fn embed_some(&mut self) -> Result<usize, SearchError> {
        let given = self.try_embed_some();
        Ok(self.reached(given)?.unwrap_or_default())
    }

    fn try_embed_some(&mut self) -> Result<usize, SearchError> {
        let Some(embedder) = &mut self.embedder else { return Ok(0) };
        self.vectors.ready(&mut self.store)?;
        let ids = self.store.without_vector(EMBEDDED_AT_ONCE)?;
        let mut vectors = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(entry) = entries(&self.ledger, id, 1)?.into_iter().find(|entry| entry.id == id) {
                let vector = vector(embedder, &entry, self.glosses)?;
                vectors.push((entry, vector));
            }
        }
        self.vectors.give(&mut self.store, &vectors)?;
        Ok(vectors.len())
    }

    /// Takes note of whether the vectors' place could be reached. Where not, there is nothing, and the words are left.
    fn reached<T>(&mut self, asked: Result<T, SearchError>) -> Result<Option<T>, SearchError> {
        match asked {
            Err(error @ SearchError::Elsewhere { .. }) => {
                self.trouble = Some(error.to_string());
                Ok(None)
            }
            asked => {
                self.trouble = None;
                asked.map(Some)
            }
        }
    }

    /// Why the vectors could not be had, where that was so when they were last asked for.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// After how long the vectors' place is worth being asked again, where it could not be reached.
    #[must_use]
    pub fn again(&self) -> Option<Duration> {
        self.vectors.again()
    }

    /// The entries nearest to a vector and some others, with their cosines.
    fn near(
        &mut self,
        to: &Vector,
        through: &Through,
        others: &BTreeSet<i64>,
    ) -> Result<(BTreeSet<i64>, HashMap<i64, f64>), SearchError> {
        self.vectors.ready(&mut self.store)?;
        let nearest = self.vectors.nearest(&self.store, to, through, CANDIDATES)?;
        let all: BTreeSet<i64> = others.iter().copied().chain(nearest).collect();
        let ids: Vec<i64> = all.iter().copied().collect();
        let cosines = self.vectors.cosines(&self.store, to, &ids)?;
        Ok((all, cosines))
    }

    /// How many entries it has, and how many of them have no vector.
    pub fn count(&self) -> Result<(u64, u64), SearchError> {
        self.store.count()
    }

    /// How many entries have no vector.
    pub fn behind(&self) -> Result<u64, SearchError> {
        self.store.behind()
    }

    /// What a question may be about.
    pub fn known(&self) -> Result<Known, SearchError> {
        let callers = self.store.callers()?.into_iter().map(|(_, name)| name).collect();
        Ok(Known { callers, operations: self.store.operations()? })
    }

    /// The operations that a sentence may be about, by what it means: the nearest first.
    pub fn nearest(&mut self, sentence: &str) -> Result<Vec<&'static str>, SearchError> {
        let Some(embedder) = &mut self.embedder else { return Ok(Vec::new()) };
        let asked = embedder.embed(sentence)?;
        let mut near = Vec::new();
        for operation in operations() {
            let mut best = f64::MIN;
            for gloss in (self.glosses)(operation) {
                best = best.max(cosine(&asked, &embedder.embed(gloss)?));
            }
            if best >= NEAR {
                near.push((operation, best));
            }
        }
        near.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(near.into_iter().map(|(operation, _)| operation).take(OFFERED).collect())
    }

    /// The entries that answer a question, the best first. Where it is about an operation of which nothing is let through, it
    /// is asked as if that had not been seen: see [`Question::operations`], which is then empty.
    pub fn search(&mut self, question: &mut Question, limit: u32) -> Result<(Vec<Hit>, By), SearchError> {
        let caller = match &question.caller {
            Some(name) => {
                self.store.callers()?.into_iter().find(|(_, known)| known == name).map(|(number, _)| number)
            }
            None => None,
        };
        let outcome = question.outcome.and_then(|outcome| OUTCOMES.iter().position(|o| *o == outcome));
        let through =
            Through { range: question.range, caller, outcome: outcome.and_then(|o| u8::try_from(o).ok()) };
        let newest = if question.words.is_empty() {
            self.store.newest(&through, limit)?
        } else if question.operations.is_empty() {
            Vec::new()
        } else {
            self.store.newest_of(&question.operations, &question.names, &through, limit)?
        };
        if question.words.is_empty() || !newest.is_empty() {
            let plain = |id| Hit { id, score: 0.0, meaning: None, words: 0.0, names: 0.0 };
            return Ok((newest.into_iter().map(plain).collect(), By::Time));
        }
        question.operations.clear();
        let words: HashMap<i64, f64> =
            self.store.with_words(&question.words, &through, CANDIDATES)?.into_iter().collect();
        let best = words.values().copied().fold(f64::MIN_POSITIVE, f64::max);
        let mut names: HashMap<i64, f64> = HashMap::new();
        for name in &question.names {
            for (id, _) in self.store.with_words(std::slice::from_ref(name), &through, CANDIDATES)? {
                #[allow(clippy::cast_precision_loss, reason = "a handful")]
                let share = 1.0 / question.names.len() as f64;
                *names.entry(id).or_default() += share;
            }
        }
        let mut candidates: BTreeSet<i64> = words.keys().chain(names.keys()).copied().collect();
        let asked = self.embedder.as_mut().map(|embedder| embedder.embed(&question.text)).transpose()?;
        let mut cosines = None;
        if let Some(asked) = &asked {
            let near = self.near(asked, &through, &candidates);
            if let Some((all, found)) = self.reached(near)? {
                (candidates, cosines) = (all, Some(found));
            }
        }
        let mut hits: Vec<Hit> = candidates
            .into_iter()
            .map(|id| {
                let meaning = cosines.as_ref().and_then(|cosines| cosines.get(&id)).copied();
                let words = words.get(&id).map_or(0.0, |rank| rank / best);
                let names = names.get(&id).copied().unwrap_or_default();
                let of_words = if cosines.is_some() { OF_WORDS } else { 1.0 };
                // A name that somebody typed is meant.
                Hit {
                    id,
                    score: names + meaning.unwrap_or_default() + of_words * words,
                    meaning,
                    words,
                    names,
                }
            })
            .collect();
        best_first(&mut hits);
        let mut said: HashMap<u64, f64> = HashMap::new();
        for hit in &mut hits {
            // What says the same has the same vector, and so the same cosine.
            let again = said.entry(hit.meaning.unwrap_or(hit.words).to_bits()).or_default();
            hit.score -= again.min(SAME_AGAIN.1);
            *again += SAME_AGAIN.0;
        }
        best_first(&mut hits);
        hits.truncate(limit as usize);
        Ok((hits, if cosines.is_some() { By::Meaning } else { By::Words }))
    }
}

fn best_first(hits: &mut [Hit]) {
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.id.cmp(&a.id)));
}

fn entries(ledger: &Path, from: i64, count: u32) -> Result<Vec<Entry>, SearchError> {
    let filter =
        Filter { ids: Some(from..=i64::MAX), limit: Some(count), oldest_first: true, ..Filter::default() };
    Ok(Ledger::read(ledger, |ledger| ledger.entries(&filter))?)
}

/// The vector of an entry: of what was done, in all its words, and of what was particular.
fn vector(embedder: &mut Remembering, entry: &Entry, glosses: Glosses<'_>) -> Result<Vector, SearchError> {
    let mut all = |sentences: Vec<String>| {
        let mut total = [0.0; DIMENSIONS];
        for sentence in sentences {
            total = sum(&total, &embedder.embed(&sentence)?);
        }
        Ok::<_, SearchError>(unit(&total))
    };
    let done = all(sentence::done(entry, glosses))?;
    let particular = all(sentence::particular(entry))?;
    Ok(unit(&sum(&done, &particular)))
}
