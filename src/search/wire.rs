//! What is said between the daemon and the process that has the index: a JSON line there, one back.
//!
//! The index and the model are a process of their own (`opdbus-search`), so that the daemon stays small and a fault of
//! theirs ends nothing else. systemd starts it when it is asked, or told that the ledger grew; it ends when it was not for
//! a while.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::SearchError;
use super::question::Question;
use crate::fault::Report;
use crate::ledger::Entry;

/// The longest question, in bytes.
pub const LONGEST: usize = 4096;

/// The most entries that are answered.
pub const MOST: u32 = 1000;

/// The most that is read of either side, in bytes: a thousand entries, and more than the longest question.
const BYTES: u64 = 64 << 20;

/// How long an answer may take. A ledger that was never indexed is read once first, at some ten thousand entries a second.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Asked {
    /// A question.
    Search(Search),
    /// Which operations a sentence may be about, by what it means: their names, the nearest first; none without a model. Good
    /// to offer, and never to run: "delete it" and "do not delete it" mean about the same.
    Nearest(String),
    /// How it is.
    Status,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// In words.
    pub query: String,
    /// How many entries are wanted.
    pub limit: u32,
    /// Only entries at or after this second, whatever the words say.
    pub since: Option<i64>,
    /// Only entries before this second.
    pub until: Option<i64>,
    /// Whether to say of each entry why it was found.
    pub explain: bool,
}

/// How a question was understood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Understood {
    /// Only entries at or after this second (since 1970-01-01T00:00:00Z).
    pub since: Option<i64>,
    /// Only entries before this second.
    pub until: Option<i64>,
    /// The phrases of time that were found.
    pub phrases: Vec<String>,
    /// Only what ended so: ok, failed or refused.
    pub outcome: Option<String>,
    /// Only what this user asked for.
    pub caller: Option<String>,
    /// Only these operations, the newest first: what was asked is about nothing else, apart from names.
    #[serde(default)]
    pub operations: Vec<String>,
    /// What was looked for by its meaning.
    pub text: String,
    /// What was looked for as words.
    pub words: Vec<String>,
    /// Those of the words that count as names.
    pub names: Vec<String>,
}

/// How a question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// There was nothing to look for but a time, a caller, an outcome, or an operation (of a name): the newest first.
    Time,
    /// By words alone.
    Words,
    /// By words and by meaning.
    Meaning,
}

/// An entry that was found.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Match {
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
    /// Why it was found, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
}

/// Why an entry was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// How well it fits; only the order means something.
    pub score: f64,
    /// Its cosine to the question, where both have a vector.
    pub meaning: Option<f64>,
    /// What the words count that are in it, from 0 to 1.
    pub words: f64,
    /// How many of the question's names are in it, from 0 to 1.
    pub names: f64,
}

/// What a search came to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// How the question was understood.
    pub understood: Understood,
    /// How it was answered.
    pub by: By,
    /// What else should be known: why the meaning was not looked at, that the index was made anew.
    pub notes: Vec<String>,
    /// The entries, the best first.
    pub matches: Vec<Match>,
}

/// How the index and the model are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The model's name.
    pub model: String,
    /// Where its files are looked for.
    pub directory: PathBuf,
    /// Whether entries are embedded.
    pub loaded: bool,
    /// Why not.
    pub why: Option<String>,
    /// Entries that are in the index.
    pub entries: u64,
    /// Those of them that have no vector yet; all, where none is computed.
    pub behind: u64,
    /// Why the index was made anew, where that happened since the process was started.
    pub anew: Option<String>,
}

impl From<&Question> for Understood {
    fn from(question: &Question) -> Self {
        let (since, until) = question.range.seconds();
        Self {
            since,
            until,
            phrases: question.phrases.clone(),
            outcome: question.outcome.map(str::to_owned),
            caller: question.caller.clone(),
            operations: question.operations.clone(),
            text: question.text.clone(),
            words: question.words.clone(),
            names: question.names.clone(),
        }
    }
}

/// The socket on which questions are answered.
#[must_use]
pub fn socket(run: &Path) -> PathBuf {
    run.join("search.sock")
}

/// The socket on which it is said that the ledger grew.
#[must_use]
pub fn bell(run: &Path) -> PathBuf {
    run.join("search-bell.sock")
}

/// Says that the ledger grew. Nobody waits for it: where nobody listens, or has not heard the last thousand times yet, it is
/// not said.
pub fn ring(run: &Path) {
    let said = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(&[1], bell(run))
    });
    if let Err(error) = said {
        tracing::trace!("the index was not told that the ledger grew: {error}");
    }
}

/// Asks the process that has the index.
pub fn ask<T: DeserializeOwned>(run: &Path, asked: &Asked) -> Result<T, Report> {
    let path = socket(run);
    let exchange = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        send(&mut stream, asked)?;
        stream.shutdown(Shutdown::Write)?;
        receive(&stream)
    };
    let text = exchange().map_err(|source| SearchError::Asked { path: path.clone(), source })?;
    let answer: Result<T, Report> = serde_json::from_str(&text)
        .map_err(|error| SearchError::Asked { path, source: std::io::Error::other(error) })?;
    answer
}

pub(super) fn send(to: &mut impl Write, what: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)
}

pub(super) fn receive(from: impl Read) -> std::io::Result<String> {
    let mut line = String::new();
    BufReader::new(from.take(BYTES)).read_line(&mut line)?;
    Ok(line)
}
