//! A ledger of 250 entries over half a year of a host that does not exist: `tests/search/entries.jsonl`.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test program is a crate of its own and uses a part of it"
)]

use std::path::{Path, PathBuf};

use opdbus::deployment::Deployment;
use opdbus::ledger::format::{Fields, canonical};
use opdbus::ledger::{Caller, Ledger, Via};
use rusqlite::{Connection, params};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Line {
    id: i64,
    timestamp: i64,
    operation: String,
    target: String,
    metadata: Map<String, Value>,
}

/// A file of JSON lines.
pub fn lines<T: for<'a> Deserialize<'a>>(text: &str) -> Vec<T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

/// A ledger with these entries, when they were made.
pub fn ledger(path: &Path) -> PathBuf {
    write(path, lines(include_str!("../search/entries.jsonl")).into_iter());
    assert!(Ledger::read(path, Ledger::verify).unwrap().first_bad.is_none());
    path.to_owned()
}

/// A ledger of so many entries over two years up to now: these again and again, of other machines.
pub fn long(path: &Path, count: i64) {
    const YEARS: i64 = 2 * 365 * 24 * 3600;
    let text: Vec<&str> = include_str!("../search/entries.jsonl").lines().collect();
    let first = jiff::Timestamp::now().as_second() - YEARS;
    let entries = (0..count - 1).map(|at| {
        let at_line = usize::try_from(at).unwrap();
        let (again, line) = (at_line / text.len(), text[at_line % text.len()]);
        let mut line: Line = serde_json::from_str(&renamed(line, again)).unwrap();
        line.id = at + 2;
        line.timestamp = first + YEARS * at / count;
        line
    });
    write(path, entries);
}

/// Has `web-01` be one of twenty machines: itself, `web-011`, `web-012` and so on.
fn renamed(line: &str, again: usize) -> String {
    let again = again % 20;
    let mut new = String::with_capacity(line.len() + 8);
    let mut rest = line;
    while let Some(at) = rest.find("-0") {
        let end = at + 3;
        let name = rest[..at].ends_with(|c: char| c.is_ascii_lowercase())
            && rest.as_bytes().get(end - 1).is_some_and(u8::is_ascii_digit)
            && rest.as_bytes().get(end).is_none_or(|next| !next.is_ascii_alphanumeric());
        new.push_str(&rest[..end]);
        if name && again > 0 {
            new.push_str(&again.to_string());
        }
        rest = &rest[end..];
    }
    new + rest
}

fn write(path: &Path, entries: impl Iterator<Item = Line>) {
    let caller = Caller { uid: Some(0), user: "root".into(), via: Via::Installer };
    Ledger::init(path, &caller, Deployment::Traditional).unwrap();
    let mut previous = Ledger::read(path, Ledger::head).unwrap().hash;
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("BEGIN").unwrap();
    let mut insert =
        connection.prepare("INSERT INTO operations VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, ?7)").unwrap();
    for Line { id, timestamp, operation, target, metadata } in entries {
        let metadata = canonical(&metadata).unwrap();
        let fields = Fields {
            id,
            timestamp,
            operation: &operation,
            target: &target,
            metadata: &metadata,
            previous_hash: &previous,
        };
        let hash = fields.hash();
        insert.execute(params![id, timestamp, operation, target, previous, hash, metadata]).unwrap();
        previous = hash;
    }
    drop(insert);
    connection.execute_batch("COMMIT").unwrap();
}
