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
    let path = path.to_owned();
    let caller = Caller { uid: Some(0), user: "root".into(), via: Via::Installer };
    Ledger::init(&path, &caller, Deployment::Traditional).unwrap();
    let mut previous = Ledger::read(&path, Ledger::head).unwrap().hash;
    let connection = Connection::open(&path).unwrap();
    for Line { id, timestamp, operation, target, metadata } in lines(include_str!("../search/entries.jsonl"))
    {
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
        connection
            .execute(
                "INSERT INTO operations VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, ?7)",
                params![id, timestamp, operation, target, previous, hash, metadata],
            )
            .unwrap();
        previous = hash;
    }
    drop(connection);
    assert!(Ledger::read(&path, Ledger::verify).unwrap().first_bad.is_none());
    path
}
