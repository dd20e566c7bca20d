//! Checking a ledger: every entry, where the chain ends, and what keeps it append-only.

use std::cmp::Ordering;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, Row};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::against::Against;
use super::checkpoint::{self, Checkpoint};
use super::format::{self, Fields};
use super::schema;
use super::store::Head;
use super::tiles::Leaves;
use super::tree::{self, Hash, Tree};
use crate::hex::unhex;

/// Where something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// In the chain of entries.
    Entry,
    /// In the head, the record of where the chain ends.
    Head,
    /// In the schema.
    Schema,
    /// In the database file.
    File,
    /// Between the ledger and a checkpoint.
    Checkpoint,
}

/// What was done to a ledger, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Damage {
    /// An entry does not say what it said.
    Altered,
    /// An entry does not link to the one before: entries were swapped, or put in.
    Unlinked,
    /// An entry is not there, and later ones are.
    Missing,
    /// An entry is there that nobody appended.
    Inserted,
    /// The end is not there.
    Truncated,
    /// Entries were replaced together with all hashes that follow: the chain holds, and is another one.
    Rewritten,
    /// The record of where the chain ends was altered.
    Head,
    /// The schema was altered.
    Schema,
    /// The file is damaged.
    File,
}

/// Something that should not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Where.
    pub part: Part,
    /// What was done.
    pub damage: Damage,
    /// The entry, where it is about one; that of a missing entry, too.
    pub id: Option<i64>,
    /// What.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.part, self.id) {
            (_, Some(id)) => write!(f, "entry {id}: {}", self.what),
            (Part::Schema, None) => write!(f, "schema altered: {}", self.what),
            (Part::File, None) => write!(f, "file damaged: {}", self.what),
            (Part::Head | Part::Entry | Part::Checkpoint, None) => write!(f, "head altered: {}", self.what),
        }
    }
}

/// What came of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// Whether nothing was found.
    pub whole: bool,
    /// How many entries are there up to the first bad one.
    pub entries: i64,
    /// The last good entry.
    pub head: Option<Head>,
    /// The first thing found: the first bad entry, if there is one; else the head, the schema, the file.
    pub first_bad: Option<Finding>,
    /// What else was found.
    pub others: Vec<Finding>,
    /// What is odd and proves nothing.
    pub warnings: Vec<String>,
    /// How many entries the largest checkpoint speaks for that the ledger was held against and agrees with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<u64>,
}

/// Reads a whole ledger, verifying its chain, and gives the checkpoint of what it holds and the hashes of the leaves
/// that it is of; the error is what was found.
pub fn checkpoint(connection: &Connection) -> rusqlite::Result<Result<(Checkpoint, Vec<Hash>), Finding>> {
    let snapshot = connection.unchecked_transaction()?;
    let mut walk = Walk { leaves: Some(Vec::new()), ..Walk::default() };
    if let Some(finding) = walk.run(&snapshot)? {
        return Ok(Err(finding));
    }
    if let Some(finding) = head(&snapshot, walk.last.as_ref())? {
        return Ok(Err(finding));
    }
    let leaves = walk.leaves.unwrap_or_default();
    let tree: Tree = leaves.iter().copied().collect();
    Ok(match &walk.ledger_id {
        Some(id) => {
            Ok((Checkpoint { origin: checkpoint::origin(id), size: tree.size(), root: tree.root() }, leaves))
        }
        None => Err(bad(1, Damage::Altered, "it does not say which ledger this is".into())),
    })
}

/// Verifies a ledger as it is at one instant, whatever is appended meanwhile, and holds it against checkpoints, and
/// against the hashes of leaves that were kept with them.
pub fn verify(
    connection: &Connection,
    beside: Option<Connection>,
    against: &[Checkpoint],
    kept: Option<Leaves>,
) -> rusqlite::Result<Verification> {
    // The file is looked through on a connection of its own meanwhile, where there can be one.
    let looking = beside.map(|beside| std::thread::spawn(move || file(&beside)));
    let snapshot = connection.unchecked_transaction()?;
    let against = (!against.is_empty()).then(|| Against::new(against, kept));
    let mut walk = Walk { against, ..Walk::default() };
    let mut findings = Vec::new();
    let schema = schema::difference(&snapshot)?;
    // With other columns there is no chain to read, and the schema is the finding.
    if schema::has_columns(&snapshot)? {
        let bad = walk.run(&snapshot)?;
        let whole = bad.is_none();
        findings.extend(bad);
        // Of a chain with a bad entry, no checkpoint says more than where it is.
        if whole {
            findings.extend(walk.against.as_mut().map(Against::findings).unwrap_or_default());
            findings.extend(head(&snapshot, walk.last.as_ref())?);
        }
    }
    findings.extend(schema.map(|what| Finding {
        part: Part::Schema,
        damage: Damage::Schema,
        id: None,
        what,
    }));
    findings.extend(match looking.map(std::thread::JoinHandle::join) {
        Some(Ok(found)) => found?,
        Some(Err(panic)) => std::panic::resume_unwind(panic),
        None => file(&snapshot)?,
    });
    let mut findings = findings.into_iter();
    let first_bad = findings.next();
    Ok(Verification {
        whole: first_bad.is_none(),
        entries: walk.expected,
        head: walk.last.take(),
        first_bad,
        others: findings.collect(),
        warnings: walk.warnings(),
        proven: walk.against.and_then(|against| against.proven()),
    })
}

/// The walk along the chain. It keeps nothing but the entry before, so memory does not grow with the ledger.
#[derive(Default)]
struct Walk {
    expected: i64,
    last: Option<Head>,
    last_timestamp: i64,
    genesis_timestamp: i64,
    /// How often the clock went back, and the first entry where it did.
    back: Option<(u64, i64)>,
    /// The number of the ledger, in entry 1.
    ledger_id: Option<String>,
    /// What is held against the tree of the entries, where it is asked for.
    against: Option<Against>,
    /// The hashes of the leaves so far, where they are asked for: 32 bytes an entry.
    leaves: Option<Vec<Hash>>,
}

impl Walk {
    /// The first bad entry. The error is one that says nothing about the ledger (no memory, interrupted).
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<Option<Finding>> {
        let mut statement = connection.prepare(
            "SELECT id, timestamp, operation, target, previous_hash, current_hash, embedding, metadata
             FROM operations ORDER BY id",
        )?;
        let mut rows = statement.query([])?;
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) if is_damage(&error) => {
                    return Ok(Some(bad(self.expected, Damage::File, format!("it cannot be read: {error}"))));
                }
                Err(error) => return Err(error),
            };
            if let Err(finding) = self.entry(row)? {
                return Ok(Some(finding));
            }
        }
        Ok(match self.expected {
            0 => Some(bad(0, Damage::Missing, "it is missing: there is no genesis entry".into())),
            1 => {
                let what = format!("it is missing: no {} covers the genesis entry", format::INIT_OPERATION);
                Some(bad(1, Damage::Missing, what))
            }
            _ => None,
        })
    }

    fn entry(&mut self, row: &Row<'_>) -> rusqlite::Result<Result<(), Finding>> {
        let id: i64 = row.get(0)?;
        if id > self.expected {
            return Ok(Err(bad(
                self.expected,
                Damage::Missing,
                format!("it is missing: the next one is {id}"),
            )));
        }
        if id < self.expected {
            let what = "it should not be there: the ledger begins with entry 0";
            return Ok(Err(bad(id, Damage::Inserted, what.into())));
        }
        let entry = match Columns::read(row)? {
            Ok(entry) => entry,
            Err(what) => return Ok(Err(bad(id, Damage::Altered, what))),
        };
        let checked = if id == 0 { genesis(&entry) } else { self.link(id, &entry) };
        if let Err(finding) = checked {
            return Ok(Err(finding));
        }
        if id == 0 {
            self.genesis_timestamp = entry.timestamp;
        } else if entry.timestamp < self.last_timestamp {
            let (times, first) = self.back.unwrap_or((0, id));
            self.back = Some((times + 1, first));
        }
        self.last_timestamp = entry.timestamp;
        match &mut self.last {
            Some(last) => {
                last.id = id;
                last.hash.clear();
                last.hash.push_str(entry.current_hash);
            }
            None => self.last = Some(Head { id, hash: entry.current_hash.to_owned() }),
        }
        self.expected += 1;
        if self.against.is_some() || self.leaves.is_some() {
            // Columns::read has seen that it is a hash.
            let leaf = tree::leaf(&unhex(entry.current_hash).unwrap_or_default());
            if let Some(against) = &mut self.against {
                against.push(leaf, self.ledger_id.as_deref());
            }
            if let Some(leaves) = &mut self.leaves {
                leaves.push(leaf);
            }
        }
        Ok(Ok(()))
    }

    /// Checks an entry against the one before.
    fn link(&mut self, id: i64, entry: &Columns<'_>) -> Result<(), Finding> {
        let previous = self.last.as_ref().map_or(format::GENESIS_HASH, |last| &last.hash);
        let Some(linked) = entry.previous_hash else {
            return Err(bad(id, Damage::Altered, "it has no previous_hash".into()));
        };
        if linked != previous {
            let what = format!("it does not link to entry {}, whose hash is {previous}", id - 1);
            return Err(bad(id, Damage::Unlinked, what));
        }
        format::expect_canonical(entry.metadata).map_err(|why| bad(id, Damage::Altered, why))?;
        let fields = Fields {
            id,
            timestamp: entry.timestamp,
            operation: entry.operation,
            target: entry.target,
            metadata: entry.metadata,
            previous_hash: linked,
        };
        let hash = fields.hash();
        if hash != entry.current_hash {
            return Err(bad(
                id,
                Damage::Altered,
                format!("its hash is {}, and its content hashes to {hash}", entry.current_hash),
            ));
        }
        if id == 1 {
            let (metadata, _) =
                format::canonical_of(entry.metadata).map_err(|why| bad(id, Damage::Altered, why))?;
            self.ledger_id =
                metadata.get(format::LEDGER_ID).and_then(serde_json::Value::as_str).map(str::to_owned);
            let digest = metadata.get(format::GENESIS_MEMBER).and_then(serde_json::Value::as_str);
            if entry.operation != format::INIT_OPERATION || digest.is_none() {
                return Err(bad(
                    1,
                    Damage::Altered,
                    format!("it is not the {} that covers the genesis entry", format::INIT_OPERATION),
                ));
            }
            if digest != Some(&format::genesis_digest(self.genesis_timestamp)) {
                return Err(bad(
                    0,
                    Damage::Altered,
                    "its timestamp is not the one that entry 1 covers".into(),
                ));
            }
        }
        Ok(())
    }

    fn warnings(&self) -> Vec<String> {
        self.back
            .map(|(times, first)| {
                let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
                format!("the clock went back {times}, first at entry {first}")
            })
            .into_iter()
            .collect()
    }
}

fn bad(id: i64, damage: Damage, what: String) -> Finding {
    Finding { part: Part::Entry, damage, id: Some(id), what }
}

/// Whether an error of SQLite speaks of the file rather than of the machine.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TooBig)
    )
}

/// The columns of an entry, each of the storage class it should have.
struct Columns<'a> {
    timestamp: i64,
    operation: &'a str,
    target: &'a str,
    previous_hash: Option<&'a str>,
    current_hash: &'a str,
    metadata: &'a str,
}

impl<'a> Columns<'a> {
    fn read(row: &'a Row<'_>) -> rusqlite::Result<Result<Self, String>> {
        let column = |index: usize| row.get_ref(index).map(|value| (schema::COLUMNS[index], value));
        let timestamp = column(1)?;
        let texts = [column(2)?, column(3)?, column(5)?, column(7)?];
        let (previous, embedding) = (column(4)?, column(6)?);
        let read = || {
            let (_, ValueRef::Integer(timestamp)) = timestamp else {
                return Err("its timestamp is not an integer".to_owned());
            };
            if embedding.1 != ValueRef::Null {
                return Err("its embedding is not NULL".to_owned());
            }
            let [operation, target, current_hash, metadata] = texts;
            Ok(Self {
                timestamp,
                operation: text(operation)?,
                target: text(target)?,
                previous_hash: if previous.1 == ValueRef::Null { None } else { Some(hash(previous)?) },
                current_hash: hash(current_hash)?,
                metadata: text(metadata)?,
            })
        };
        Ok(read())
    }
}

fn text<'a>((name, value): (&str, ValueRef<'a>)) -> Result<&'a str, String> {
    let ValueRef::Text(bytes) = value else { return Err(format!("its {name} is not text")) };
    std::str::from_utf8(bytes).map_err(|_| format!("its {name} is not UTF-8"))
}

fn hash<'a>(column: (&str, ValueRef<'a>)) -> Result<&'a str, String> {
    let name = column.0;
    let text = text(column)?;
    let plain = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    plain.then_some(text).ok_or_else(|| format!("its {name} is not 64 lower-case hexadecimal digits"))
}

/// Checks the genesis entry, all of which is constant but the time; entry 1 covers that.
fn genesis(entry: &Columns<'_>) -> Result<(), Finding> {
    let wrong = [
        ("operation", entry.operation == format::GENESIS_OPERATION),
        ("target", entry.target == format::GENESIS_TARGET),
        ("previous_hash", entry.previous_hash.is_none()),
        ("current_hash", entry.current_hash == format::GENESIS_HASH),
        ("metadata", entry.metadata == format::GENESIS_METADATA),
    ]
    .into_iter()
    .find(|(_, right)| !right);
    match wrong {
        None => Ok(()),
        Some((column, _)) => {
            Err(bad(0, Damage::Altered, format!("its {column} is not that of a genesis entry")))
        }
    }
}

/// Checks the head against the last entry of a chain that is whole.
fn head(connection: &Connection, last: Option<&Head>) -> rusqlite::Result<Option<Finding>> {
    let Some(last) = last else { return Ok(None) };
    let altered =
        |what: &str| Some(Finding { part: Part::Head, damage: Damage::Head, id: None, what: what.into() });
    let heads =
        connection.prepare("SELECT last_id, last_hash FROM head LIMIT 2").and_then(|mut statement| {
            let rows = statement.query_map([], |row| {
                Ok(match (row.get_ref(0)?, row.get_ref(1)?) {
                    (ValueRef::Integer(id), ValueRef::Text(hash)) => {
                        Some(Head { id, hash: String::from_utf8_lossy(hash).into_owned() })
                    }
                    _ => None,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
    let heads = match heads {
        Ok(heads) => heads,
        // The statement is right, so if it cannot be prepared, the table is not what it should be.
        Err(error) if is_damage(&error) || matches!(error, rusqlite::Error::SqlInputError { .. }) => {
            return Ok(altered("it cannot be read"));
        }
        Err(error) => return Err(error),
    };
    let said = match heads.as_slice() {
        [Some(said)] => said,
        [] => return Ok(altered("it is missing")),
        [None] => return Ok(altered("it does not name an entry")),
        _ => return Ok(altered("there is more than one")),
    };
    // Saturating: a head altered to the largest number must be reported, not overflow.
    let (says, there) = (said.id.saturating_add(1), last.id + 1);
    let counts = format!("the head says {says} entries, {there} are there");
    let at = |damage, id: i64, what: String| Some(Finding { part: Part::Head, damage, id: Some(id), what });
    Ok(match said.id.cmp(&last.id) {
        Ordering::Greater => at(Damage::Truncated, there, format!("truncated: {counts}")),
        Ordering::Less => at(
            Damage::Inserted,
            says.max(0),
            format!("{counts}: it was put in past the head, or the head was altered"),
        ),
        Ordering::Equal if said.hash != last.hash => {
            at(Damage::Head, last.id, "the head has another hash for it: one of the two was altered".into())
        }
        Ordering::Equal => None,
    })
}

/// What SQLite finds in its own file: an index that hides an entry from a search, for one.
fn file(connection: &Connection) -> rusqlite::Result<Option<Finding>> {
    let finding = |what: String| Some(Finding { part: Part::File, damage: Damage::File, id: None, what });
    match connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0)) {
        Ok(answer) if answer == "ok" => Ok(None),
        Ok(answer) => Ok(finding(answer)),
        Err(error) if is_damage(&error) => Ok(finding(error.to_string())),
        Err(error) => Err(error),
    }
}
