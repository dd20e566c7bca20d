//! Promise 5: every operation is in the ledger with its caller; no alteration of the ledger goes unnoticed.
//! Each alteration is shown to the program and to the verifier in Python, which know nothing of each other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test program: helpers outside of the test functions fail the test, too"
)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use opdbus::deployment::Deployment;
use opdbus::fault::{Fault, Kind};
use opdbus::ledger::format::{self, Fields};
use opdbus::ledger::{
    Call, Caller, EntryRef, Filter, Init, Ledger, LedgerError, NewEntry, Outcome, State, Via, inspect, schema,
};
use proptest::prelude::*;
use rusqlite::{Connection, params};
use serde_json::{Map, Value, json};
use support::Need;

const PROGRAM: &str = env!("CARGO_BIN_EXE_opdbus-ledger");
const VERIFIER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verify_ledger.py");
const DOCUMENT: &str = include_str!("../docs/ledger-format.md");

macro_rules! needs_python {
    () => {
        if !support::can_run(
            "unit",
            std::thread::current().name().unwrap_or("?"),
            &[Need::Program("python3")],
        ) {
            return;
        }
    };
}

fn caller() -> Caller {
    Caller { uid: Some(1000), user: "ann".into(), via: Via::Dbus }
}

fn entry(number: usize) -> NewEntry {
    let caller = caller();
    let outcome = match number % 3 {
        0 => Outcome::Ok,
        1 => Outcome::Refused("\"../x\" is refused: it has a character other than a-z".into()),
        _ => Outcome::Failed("nö space\nleft".into()),
    };
    let arguments =
        json!({ "template": "debian-base", "note": format!("π {number}"), "limits": [number, null] });
    NewEntry::call(Call {
        operation: ["container.create", "container.delete", "snapshot.create"][number % 3],
        target: &format!("web-{number:02}"),
        caller: &caller,
        arguments: arguments.as_object().unwrap().clone(),
        outcome,
        duration: Duration::from_micros(number as u64),
        deployment: Deployment::Traditional,
    })
}

/// A ledger in a directory of its own, with so many entries.
fn ledger(entries: usize) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blockchain.db");
    assert_eq!(Ledger::init(&path, &caller(), Deployment::Traditional).unwrap(), Init::Created);
    let ledger = Ledger::open(&path).unwrap();
    for number in 2..entries {
        ledger.append(&entry(number)).unwrap();
    }
    (dir, path)
}

/// What a verifier said: `None` where the ledger is whole, else the first bad entry, if it is an entry, and the words.
type Verdict = Option<(Option<i64>, String)>;

fn by_program(db: &Path) -> Verdict {
    let output = Command::new(PROGRAM).args(["verify", "--json", "--db"]).arg(db).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no answer: {}", String::from_utf8_lossy(&output.stderr)));
    let first = &answer["first_bad"];
    assert_eq!(answer["whole"], first.is_null());
    assert_eq!(output.status.code(), Some(i32::from(!first.is_null())), "{answer}");
    (!first.is_null()).then(|| (first["id"].as_i64(), first["what"].as_str().unwrap().to_owned()))
}

fn by_python(db: &Path) -> Verdict {
    let output = Command::new("python3").arg(VERIFIER).arg(db).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    match output.status.code() {
        Some(0) => {
            assert!(said.starts_with("whole: "), "{said}");
            None
        }
        Some(1) if said.starts_with("bad: ") => {
            let id =
                said.strip_prefix("bad: entry ").map(|rest| rest.split(':').next().unwrap().parse().unwrap());
            Some((id, said))
        }
        other => panic!("{other:?}: {said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// What both say; they must agree.
fn verdict(db: &Path, case: &str) -> Verdict {
    let (ours, theirs) = (by_program(db), by_python(db));
    assert_eq!(ours.as_ref().map(|v| v.0), theirs.as_ref().map(|v| v.0), "{case}: {ours:?} and {theirs:?}");
    ours
}

fn assert_bad(db: &Path, id: impl Into<Option<i64>>, words: &str, case: &str) {
    let id = id.into();
    let found = verdict(db, case);
    assert!(
        found.as_ref().is_some_and(|(bad, what)| *bad == id && what.contains(words)),
        "{case}: expected {id:?} {words:?}, found {found:?}"
    );
}

/// What root can do: takes the triggers away, does something, and puts them back.
fn tamper(db: &Path, f: impl FnOnce(&Connection)) {
    let connection = Connection::open(db).unwrap();
    let triggers = || schema::OBJECTS.into_iter().filter(|o| o.kind == "trigger");
    for trigger in triggers() {
        connection.execute_batch(&format!("DROP TRIGGER {}", trigger.name)).unwrap();
    }
    f(&connection);
    for trigger in triggers() {
        connection.execute_batch(trigger.sql).unwrap();
    }
}

/// A copy of a ledger to be tampered with.
struct Bench {
    _dir: tempfile::TempDir,
    base: PathBuf,
    copy: PathBuf,
}

impl Bench {
    fn new(entries: usize) -> Self {
        let (dir, base) = ledger(entries);
        let copy = dir.path().join("copy.db");
        Self { _dir: dir, base, copy }
    }

    fn tampered(&self, f: impl FnOnce(&Connection)) -> &Path {
        std::fs::copy(&self.base, &self.copy).unwrap();
        tamper(&self.copy, f);
        &self.copy
    }
}

fn one_row(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) {
    assert_eq!(connection.execute(sql, parameters).unwrap(), 1, "{sql}");
}

const LAST: i64 = 999;

#[test]
fn an_entry_that_is_not_synced_by_itself_is_one_of_the_chain_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    Ledger::init(&path, &caller(), Deployment::Traditional).unwrap();
    let ledger = Ledger::open(&path).unwrap();
    let ids: Vec<i64> = [
        ledger.append(&entry(1)).unwrap(),
        ledger.append_unsynced(&entry(2)).unwrap(),
        ledger.append(&entry(3)).unwrap(),
    ]
    .iter()
    .map(|entry| entry.id)
    .collect();
    assert_eq!(ids, [2, 3, 4]);
    let verified = Ledger::read(&path, Ledger::verify).unwrap();
    assert!(verified.whole, "{verified:?}");
    assert_eq!(verified.entries, 5);
}

#[test]
fn one_byte_changed_in_any_column_of_any_entry_is_found_and_the_entry_named() {
    needs_python!();
    let bench = Bench::new(1000);
    assert_eq!(verdict(&bench.base, "unaltered"), None);
    assert_eq!(verdict(bench.tampered(|_| {}), "triggers taken away and put back"), None);

    for id in [0, 1, 2, 500, LAST - 1, LAST] {
        let change = |case: &str, sql: &str, value: &dyn rusqlite::ToSql| {
            let copy = bench.tampered(|c| one_row(c, sql, params![id, value]));
            assert_bad(copy, id, "", &format!("{case} of entry {id}"));
        };
        change("id", "UPDATE operations SET id = id | ?2 WHERE id = ?1", &(1 << 20));
        change("timestamp", "UPDATE operations SET timestamp = timestamp + ?2 WHERE id = ?1", &1);
        change("embedding", "UPDATE operations SET embedding = ?2 WHERE id = ?1", &[0u8]);
        if id == 0 {
            change("previous_hash", "UPDATE operations SET previous_hash = ?2 WHERE id = ?1", &"0");
        }
        for column in ["operation", "target", "previous_hash", "current_hash", "metadata"] {
            let base = Connection::open(&bench.base).unwrap();
            let read = format!("SELECT CAST({column} AS BLOB) FROM operations WHERE id = ?1");
            let Some(bytes): Option<Vec<u8>> = base.query_row(&read, [id], |row| row.get(0)).unwrap() else {
                continue;
            };
            // Every place at one entry, one place at the others. Flipping the lowest bit makes another
            // digit of a digit, and broken UTF-8 of some of the rest.
            let step = if id == 500 { bytes.len().div_ceil(12) } else { bytes.len() };
            for place in (bytes.len() / 2 % step..bytes.len()).step_by(step) {
                let mut other = bytes.clone();
                other[place] ^= 1;
                change(
                    &format!("byte {place} of {column}"),
                    &format!("UPDATE operations SET {column} = CAST(?2 AS TEXT) WHERE id = ?1"),
                    &other,
                );
            }
        }
    }
}

#[test]
fn entries_deleted_swapped_or_forged_are_found_and_the_first_bad_one_named() {
    needs_python!();
    let bench = Bench::new(1000);
    let delete = |id: i64| bench.tampered(|c| one_row(c, "DELETE FROM operations WHERE id = ?1", [id]));
    assert_bad(delete(500), 500, "missing", "an entry deleted");
    assert_bad(
        delete(LAST),
        LAST,
        "truncated: the head says 1000 entries, 999 are there",
        "the last deleted",
    );
    assert_bad(delete(0), 0, "missing", "genesis deleted");
    assert_bad(delete(1), 1, "missing", "entry 1 deleted");
    let copy =
        bench.tampered(|c| assert_eq!(c.execute("DELETE FROM operations WHERE id > 600", []).unwrap(), 399));
    assert_bad(copy, 601, "truncated", "the end deleted");
    let copy = bench.tampered(|c| assert_eq!(c.execute("DELETE FROM operations", []).unwrap(), 1000));
    assert_bad(copy, 0, "missing", "all deleted");

    let copy = bench.tampered(|c| {
        c.execute_batch(
            "UPDATE operations SET id = -5 WHERE id = 300; UPDATE operations SET id = 300 WHERE id = 301;
             UPDATE operations SET id = 301 WHERE id = -5;",
        )
        .unwrap();
    });
    assert_bad(copy, 300, "link", "two neighbours swapped");
    let copy = bench.tampered(|c| {
        c.execute_batch(
            "CREATE TEMP TABLE t AS SELECT id, operation, target FROM operations WHERE id IN (10, 20);
             UPDATE operations SET (operation, target) = (SELECT operation, target FROM t WHERE t.id = 30 - operations.id)
             WHERE id IN (10, 20);",
        )
        .unwrap();
    });
    assert_bad(copy, 10, "hash", "the content of two swapped");
    let negative = bench.tampered(|c| {
        c.execute_batch("INSERT INTO operations SELECT -1, timestamp, operation, target, NULL, current_hash, NULL, metadata FROM operations WHERE id = 0").unwrap();
    });
    assert_bad(negative, -1, "should not be there", "an entry before the first");

    // An entry at the end, by somebody who can hash.
    let forged = |previous: &str, head: bool| {
        bench.tampered(|c| {
            insert(c, LAST + 1, 2_000_000_000, previous);
            if head {
                one_row(c, "UPDATE head SET last_id = last_id + 1, last_hash = (SELECT current_hash FROM operations WHERE id = 1000)", []);
            }
        })
    };
    let last_hash = Ledger::open_read_only(&bench.base).unwrap().head().unwrap().hash;
    for head in [false, true] {
        assert_bad(forged(&"ab".repeat(32), head), LAST + 1, "link", "an entry with a forged link");
    }
    assert_bad(forged(&last_hash, false), LAST + 1, "past the head", "an entry put in past the head");
    // This is what a chain without signatures cannot tell, and the document says so.
    assert_eq!(verdict(forged(&last_hash, true), "an entry as the writer would have made it"), None);

    // An entry altered and hashed anew: the next one, or the head, gives it away.
    let rehashed = |id: i64| {
        bench.tampered(|c| {
            let previous: String = c
                .query_row("SELECT previous_hash FROM operations WHERE id = ?1", [id], |row| row.get(0))
                .unwrap();
            one_row(c, "DELETE FROM operations WHERE id = ?1", [id]);
            insert(c, id, 1_700_000_000, &previous);
        })
    };
    assert_bad(rehashed(500), 501, "link", "an entry altered and hashed anew");
    assert_bad(rehashed(LAST), LAST, "another hash", "the last entry altered and hashed anew");
    assert_bad(rehashed(1), 1, "genesis", "entry 1 replaced");
}

/// Puts in an entry that hashes right, by SQL.
fn insert(connection: &Connection, id: i64, timestamp: i64, previous_hash: &str) {
    insert_with(connection, id, timestamp, previous_hash, r#"{"outcome":"ok"}"#);
}

fn insert_with(connection: &Connection, id: i64, timestamp: i64, previous_hash: &str, metadata: &str) {
    let fields = Fields { id, timestamp, operation: "o", target: "t", metadata, previous_hash };
    one_row(
        connection,
        "INSERT INTO operations VALUES (?1, ?2, 'o', 't', ?3, ?4, NULL, ?5)",
        params![id, timestamp, previous_hash, fields.hash(), fields.metadata],
    );
}

#[test]
fn other_forms_of_the_same_metadata_and_other_kinds_of_values_are_found() {
    needs_python!();
    let bench = Bench::new(6);
    for (sql, id) in [
        ("SET metadata = replace(metadata, ':', ': ') WHERE id = 3", 3),
        ("SET metadata = metadata || ' ' WHERE id = 3", 3),
        ("SET metadata = replace(metadata, 'π', '\\u03c0') WHERE id = 3", 3),
        ("SET metadata = replace(metadata, '\"outcome\":', '\"outcome\":1,\"outcome\":') WHERE id = 3", 3),
        ("SET metadata = CAST(metadata AS BLOB) WHERE id = 3", 3),
        ("SET metadata = NULL WHERE id = 3", 3),
        ("SET metadata = '[]' WHERE id = 3", 3),
        ("SET metadata = 17 WHERE id = 3", 3),
        ("SET metadata = '{\"a\":\"\\ud800\"}' WHERE id = 3", 3),
        ("SET metadata = '{\"a\":1e400}' WHERE id = 3", 3),
        ("SET metadata = '{\"a\":' || replace(hex(zeroblob(4000)), '00', '[') || '}' WHERE id = 3", 3),
        ("SET metadata = '{\"a\":9' || hex(zeroblob(4000)) || '}' WHERE id = 3", 3),
        ("SET operation = CAST(operation AS BLOB) WHERE id = 4", 4),
        ("SET timestamp = timestamp + 0.5 WHERE id = 4", 4),
        ("SET timestamp = 'now' WHERE id = 4", 4),
        ("SET target = target || char(0) WHERE id = 4", 4),
        ("SET target = '' WHERE id = 4", 4),
        ("SET current_hash = upper(current_hash) WHERE id = 5", 5),
        ("SET previous_hash = NULL WHERE id = 5", 5),
        ("SET metadata = '{\"deployment\": \"operation-dbus\", \"version\": \"1.0\"}' WHERE id = 0", 0),
        ("SET embedding = zeroblob(1536) WHERE id = 2", 2),
    ] {
        let copy = bench.tampered(|c| one_row(c, &format!("UPDATE operations {sql}"), []));
        assert_bad(copy, id, "", sql);
    }
}

#[test]
fn an_entry_that_hashes_right_and_is_not_canonical_is_found() {
    needs_python!();
    let bench = Bench::new(2);
    let previous = Ledger::open_read_only(&bench.base).unwrap().head().unwrap().hash;
    let appended = |metadata: &str| {
        std::fs::copy(&bench.base, &bench.copy).unwrap();
        insert_with(&Connection::open(&bench.copy).unwrap(), 2, 1, &previous, metadata);
        verdict(&bench.copy, metadata)
    };
    let nested = |levels: usize| format!("{}{{}}{}", "{\"a\":".repeat(levels - 1), "}".repeat(levels - 1));
    // Members in the order of UTF-16: a surrogate before U+FB33.
    for good in [
        "{}",
        r#"{"a":-9007199254740991,"b":"\u0001\"\\/"}"#,
        "{\"\u{1f600}\":1,\"\u{fb33}\":2}",
        &nested(64),
    ] {
        assert_eq!(appended(good), None);
    }
    for bad in [
        r#"{"a": 1}"#,
        r#"{"b":1,"a":1}"#,
        "{\"\u{fb33}\":2,\"\u{1f600}\":1}",
        r#"{"a":1,"a":1}"#,
        r#"{"a":"\/"}"#,
        r#"{"a":"\u00e9"}"#,
        r#"{"a":"\u001F"}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":1.5}"#,
        r#"{"a":1e2}"#,
        r#"{"a":-0}"#,
        r#"{"a":9007199254740992}"#,
        r#"{"a":NaN}"#,
        "[]",
        "\"text\"",
        "nothing",
        &nested(65),
        &nested(5000),
    ] {
        let found = appended(bad);
        assert_eq!(found.as_ref().map(|v| v.0), Some(Some(2)), "{bad}: {found:?}");
    }
}

#[test]
fn an_altered_head_or_schema_is_found() {
    needs_python!();
    let bench = Bench::new(4);
    for (sql, id, words) in [
        ("DELETE FROM head", None, "missing"),
        ("UPDATE head SET last_id = 7", Some(4), "truncated: the head says 8 entries, 4 are there"),
        ("UPDATE head SET last_id = 9223372036854775807", Some(4), "truncated"),
        ("UPDATE head SET last_id = 2", Some(3), "head"),
        ("UPDATE head SET last_id = -9", Some(0), "head"),
        ("UPDATE head SET last_hash = upper(last_hash)", Some(3), "another hash"),
        ("UPDATE head SET last_hash = x'00'", None, "name an entry"),
        ("DROP INDEX idx_target", None, "idx_target"),
        ("CREATE TRIGGER extra AFTER INSERT ON operations BEGIN SELECT 1; END", None, "extra"),
        ("CREATE VIEW log AS SELECT * FROM operations", None, "log"),
        ("ALTER TABLE operations ADD COLUMN extra", None, "operations"),
        ("PRAGMA application_id = 1", None, "application_id"),
        ("PRAGMA user_version = 0", None, "user_version"),
        ("DROP TABLE head; CREATE TABLE head (x)", None, "read"),
    ] {
        let mut recreated = true;
        std::fs::copy(&bench.base, &bench.copy).unwrap();
        if sql.starts_with("DROP TABLE") {
            // Triggers of a table go with it.
            Connection::open(&bench.copy).unwrap().execute_batch(sql).unwrap();
            recreated = false;
        }
        let copy = if recreated { bench.tampered(|c| c.execute_batch(sql).unwrap()) } else { &bench.copy };
        assert_bad(copy, id, words, sql);
    }
    std::fs::copy(&bench.base, &bench.copy).unwrap();
    Connection::open(&bench.copy).unwrap().execute_batch("DROP TRIGGER operations_no_update").unwrap();
    assert_bad(&bench.copy, None, "operations_no_update", "a trigger taken away");
}

#[test]
fn a_byte_changed_in_the_file_itself_is_found() {
    needs_python!();
    let bench = Bench::new(200);
    let whole = std::fs::read(&bench.base).unwrap();
    // Each of these stands in a row; the target in an index, too, where a search would look for it.
    for needle in ["web-77", "web-150", "π 42"] {
        let places: Vec<usize> = (0..whole.len() - needle.len())
            .filter(|&at| whole[at..].starts_with(needle.as_bytes()))
            .collect();
        assert!(!places.is_empty());
        for place in places {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            std::fs::write(&bench.copy, bytes).unwrap();
            assert!(verdict(&bench.copy, needle).is_some(), "{needle} at {place}");
        }
    }
    // Cut off in the middle.
    std::fs::write(&bench.copy, &whole[..whole.len() / 2]).unwrap();
    assert!(by_python(&bench.copy).is_some());
    let status = Command::new(PROGRAM).args(["verify", "--db"]).arg(&bench.copy).output().unwrap().status;
    assert!(!status.success());
}

#[test]
fn the_ledger_refuses_what_is_not_an_append() {
    let (_dir, path) = ledger(5);
    // As any SQLite client opens it: without recursive triggers.
    let client = Connection::open(&path).unwrap();
    let row =
        "timestamp, operation, target, previous_hash, current_hash, embedding, metadata FROM operations";
    for sql in [
        "UPDATE operations SET target = 'x' WHERE id = 3",
        "UPDATE operations SET embedding = x'00'",
        "UPDATE OR REPLACE operations SET id = 2 WHERE id = 3",
        "DELETE FROM operations WHERE id = 4",
        "DELETE FROM operations",
        &format!("INSERT OR REPLACE INTO operations SELECT 3, {row} WHERE id = 2"),
        &format!("REPLACE INTO operations SELECT 4, {row} WHERE id = 4"),
        &format!("REPLACE INTO operations SELECT 0, {row} WHERE id = 0"),
        &format!("INSERT INTO operations SELECT NULL, {row} WHERE id = 4"),
        &format!("INSERT INTO operations SELECT 5, {row} WHERE id = 4"),
        &format!("INSERT INTO operations SELECT 9, {row} WHERE id = 4"),
        &format!("INSERT OR IGNORE INTO operations SELECT -1, {row} WHERE id = 4"),
        "INSERT INTO operations SELECT 5, 'now', 'o', 't', last_hash, last_hash, NULL, '{}' FROM head",
        "INSERT INTO operations SELECT 5, 1, 'o', 't', last_hash, 'zz', NULL, '{}' FROM head",
        "INSERT INTO operations SELECT 5, 1, 'o', 't', last_hash, last_hash, x'00', '{}' FROM head",
        "INSERT INTO operations SELECT 5, 1, 'o', 't', last_hash, last_hash, NULL, NULL FROM head",
        "INSERT INTO operations SELECT 5, 1, 'o', 't', NULL, last_hash, NULL, '{}' FROM head",
        "DELETE FROM head",
        "UPDATE head SET last_id = 3",
        "UPDATE head SET last_id = 5",
        "UPDATE head SET last_hash = 'x'",
        "INSERT OR REPLACE INTO head VALUES (1, 0, 'x')",
        "INSERT INTO head VALUES (2, 0, 'x')",
    ] {
        let error = client.execute(sql, []).expect_err(sql);
        assert_eq!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::ConstraintViolation),
            "{sql}: {error}"
        );
    }
    let verification = Ledger::read(&path, Ledger::verify).unwrap();
    assert!(verification.whole && verification.entries == 5, "{verification:?}");
}

#[test]
fn nothing_is_appended_to_a_ledger_that_does_not_end_as_it_should() {
    let (_dir, path) = ledger(5);
    tamper(&path, |c| one_row(c, "DELETE FROM operations WHERE id = 4", []));
    let open = Ledger::open(&path).unwrap();
    let error = open.append(&entry(1)).unwrap_err();
    assert!(
        matches!(&error, LedgerError::Altered { what, .. } if what.contains("last entry is 4")),
        "{error}"
    );
    assert!(error.next().unwrap().contains("evidence"));
    assert_eq!(by_program(&path).unwrap().0, Some(4), "the truncation is still there to be seen");

    let (_dir, path) = ledger(3);
    Connection::open(&path).unwrap().execute_batch("DROP TRIGGER operations_head").unwrap();
    let error = Ledger::open(&path).unwrap().append(&entry(1)).unwrap_err();
    assert!(
        matches!(&error, LedgerError::Altered { what, .. } if what.contains("operations_head")),
        "{error}"
    );
    assert_eq!(
        Ledger::open(&path).unwrap().entries(&Filter::default()).unwrap().len(),
        3,
        "it was rolled back"
    );
}

#[test]
fn a_clock_that_goes_back_stops_nothing_and_is_mentioned() {
    needs_python!();
    let (_dir, path) = ledger(3);
    let head = Ledger::open(&path).unwrap().head().unwrap();
    insert(&Connection::open(&path).unwrap(), 3, 1, &head.hash);
    Ledger::open(&path).unwrap().append(&entry(4)).unwrap();
    assert_eq!(verdict(&path, "clock"), None);
    let verification = Ledger::read(&path, Ledger::verify).unwrap();
    assert_eq!(verification.warnings, ["the clock went back once, first at entry 3"]);
}

#[test]
fn entries_that_cannot_be_kept_alike_everywhere_are_refused_and_leave_nothing() {
    let (_dir, path) = ledger(2);
    let ledger = Ledger::open(&path).unwrap();
    let new = |operation: &str, target: &str, metadata: Value| NewEntry {
        operation: operation.into(),
        target: target.into(),
        metadata: metadata.as_object().unwrap().clone(),
    };
    for (refused, why) in [
        (new("", "t", json!({})), "operation is empty"),
        (new("o", "", json!({})), "target is empty"),
        (new("o", "a\nb", json!({})), "control character"),
        (new("o", &"x".repeat(1025), json!({})), "longer than 1024"),
        (new("o", "t", json!({ "a": 0.5 })), "integer"),
        (new("o", "t", json!({ "a": "x".repeat(1 << 20) })), "longer than"),
    ] {
        let error = ledger.append(&refused).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(ledger.head().unwrap().id, 1);
}

fn any_metadata() -> impl Strategy<Value = Map<String, Value>> {
    let integer = -9_007_199_254_740_991..=9_007_199_254_740_991_i64;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        integer.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let member = (
        any::<String>(),
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        }),
    );
    prop::collection::vec(member, 0..5).prop_map(|members| members.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_entry_hashes_alike_in_both_implementations(
        entries in prop::collection::vec(("\\PC{1,20}", "\\PC{1,40}", any_metadata()), 80)
    ) {
        if !support::can_run("unit", "any_entry_hashes_alike_in_both_implementations", &[Need::Program("python3")]) {
            return Ok(());
        }
        let (_dir, path) = ledger(2);
        let ledger = Ledger::open(&path).unwrap();
        let mut last = String::new();
        for (operation, target, metadata) in entries {
            last = ledger.append(&NewEntry { operation, target, metadata }).unwrap().hash;
        }
        prop_assert_eq!(by_program(&path), None);
        let said = Command::new("python3").arg(VERIFIER).arg(&path).output().unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&said.stdout), format!("whole: 82 entries, {last}\n"));
    }
}

#[test]
fn an_appended_entry_is_read_back_and_filters_choose() {
    let (_dir, path) = ledger(12);
    let ledger = Ledger::open(&path).unwrap();
    let appended = ledger.append(&entry(1)).unwrap();
    let ids =
        |filter: Filter| -> Vec<i64> { ledger.entries(&filter).unwrap().into_iter().map(|e| e.id).collect() };
    let all = Filter::default;
    assert_eq!(ids(all()), (0..=12).rev().collect::<Vec<_>>());
    assert_eq!(ids(Filter { oldest_first: true, limit: Some(3), ..all() }), [0, 1, 2]);
    assert_eq!(ids(Filter { ids: Some(3..=5), ..all() }), [5, 4, 3]);
    assert_eq!(ids(Filter { operation: Some("container.create".into()), limit: Some(2), ..all() }), [9, 6]);
    assert_eq!(ids(Filter { target: Some("web-01".into()), ..all() }), [12]);
    assert_eq!(ids(Filter { since: Some(appended.timestamp + 1), ..all() }), [0; 0]);
    assert_eq!(ids(Filter { until: Some(1), ..all() }), [0; 0]);
    let last = ledger.entries(&Filter { ids: Some(12..=12), ..all() }).unwrap().remove(0);
    assert_eq!((last.timestamp, &last.current_hash), (appended.timestamp, &appended.hash));
    assert_eq!(last.metadata["caller"], json!({ "uid": 1000, "user": "ann", "via": "dbus" }));
    assert_eq!(last.metadata["outcome"], "refused");
    let output =
        Command::new(PROGRAM).args(["show", "--target", "web-01", "--db"]).arg(&path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.lines().count() == 2 && text.contains("ann (dbus)"), "{text}");
}

/// Not a test of its own: what the other tests run as a process, which appends and says so until it is killed.
#[test]
fn child_that_appends() {
    let Some(path) = std::env::var_os("OPDBUS_TEST_APPEND") else { return };
    let count: usize = std::env::var("OPDBUS_TEST_COUNT").unwrap().parse().unwrap();
    let ledger = Ledger::open(Path::new(&path)).unwrap();
    let mut out = std::io::stdout();
    for number in 0..count {
        let appended = ledger.append(&entry(number)).unwrap();
        writeln!(out, "acknowledged {} {}", appended.id, appended.hash).unwrap();
        out.flush().unwrap();
    }
}

fn child(path: &Path, count: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child_that_appends", "--nocapture"])
        .env("OPDBUS_TEST_APPEND", path)
        .env("OPDBUS_TEST_COUNT", count.to_string())
        .stdout(Stdio::piped());
    command
}

#[test]
fn writers_in_several_processes_and_threads_never_fork_the_chain() {
    let (_dir, path) = ledger(2);
    let children: Vec<_> = (0..2).map(|_| child(&path, 60).spawn().unwrap()).collect();
    let shared = Ledger::open(&path).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..60).for_each(|number| drop(shared.append(&entry(number)).unwrap())));
        }
        scope.spawn(|| {
            let own = Ledger::open(&path).unwrap();
            (0..60).for_each(|number| drop(own.append(&entry(number)).unwrap()));
        });
        // A reader in the middle of it sees a whole ledger.
        for _ in 0..5 {
            assert!(Ledger::read(&path, Ledger::verify).unwrap().whole);
        }
    });
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let verification = shared.verify().unwrap();
    assert!(verification.whole && verification.entries == 2 + 5 * 60, "{verification:?}");
}

#[test]
fn a_killed_writer_loses_no_acknowledged_entry_and_leaves_a_whole_ledger() {
    let (_dir, path) = ledger(2);
    let mut acknowledged: Vec<EntryRef> = Vec::new();
    for round in 0..8 {
        let mut child = child(&path, 1_000_000).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // At least some appends; then it dies in the middle of whatever it is doing.
        let take = |line: std::io::Result<String>| {
            let line = line.unwrap();
            let mut words = line.split_once("acknowledged ")?.1.split(' ');
            let (id, hash) = (words.next()?.parse().ok()?, words.next()?.to_owned());
            (hash.len() == 64).then_some(EntryRef { id, timestamp: 0, hash })
        };
        acknowledged.extend(lines.by_ref().filter_map(take).take(3 + round * 5));
        std::thread::sleep(Duration::from_micros(137 * round as u64));
        child.kill().unwrap();
        acknowledged.extend(lines.filter_map(take));
        child.wait().unwrap();
    }
    let ledger = Ledger::open(&path).unwrap();
    let verification = ledger.verify().unwrap();
    assert!(verification.whole, "{verification:?}");
    let there = ledger.entries(&Filter { oldest_first: true, ..Filter::default() }).unwrap();
    assert!(acknowledged.len() > 150);
    for entry in acknowledged {
        let index = usize::try_from(entry.id).unwrap();
        assert_eq!(
            there.get(index).map(|e| &e.current_hash),
            Some(&entry.hash),
            "entry {index} was acknowledged"
        );
    }
}

#[test]
fn an_init_killed_at_any_instant_is_finished_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..30 {
        let path = dir.path().join(format!("{round}.db"));
        let mut init =
            Command::new(PROGRAM).args(["init", "--db"]).arg(&path).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(400 * round));
        init.kill().unwrap();
        init.wait().unwrap();
        assert!(
            matches!(inspect(&path).unwrap(), State::Absent | State::Empty | State::Ledger),
            "round {round}"
        );
        Ledger::init(&path, &caller(), Deployment::Traditional).unwrap();
        let verification = Ledger::read(&path, Ledger::verify).unwrap();
        assert!(verification.whole && verification.entries == 2, "round {round}: {verification:?}");
    }
}

#[test]
fn init_is_done_once_however_many_try() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blockchain.db");
    let results: Vec<Init> = std::thread::scope(|scope| {
        let inits: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Ledger::init(&path, &caller(), Deployment::NixOs).unwrap()))
            .collect();
        inits.into_iter().map(|init| init.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|r| **r == Init::Created).count(), 1, "{results:?}");
    let before = std::fs::read(&path).unwrap();
    let again = Command::new(PROGRAM).args(["init", "--db"]).arg(&path).output().unwrap();
    assert!(again.status.success() && String::from_utf8_lossy(&again.stdout).contains("nothing to do"));
    assert_eq!(std::fs::read(&path).unwrap(), before, "a second run changes nothing");
    let first =
        Ledger::open(&path).unwrap().entries(&Filter { ids: Some(0..=1), ..Filter::default() }).unwrap();
    assert_eq!(first[0].metadata["deployment"], "nixos");
    assert_eq!(first[1].metadata, json!({ "version": "1.0", "deployment": "operation-dbus" }));
}

#[test]
fn what_is_not_a_ledger_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    let status = |verb: &str| {
        let output = Command::new(PROGRAM).args([verb, "--db"]).arg(&path).output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
        output.status.code().unwrap()
    };
    assert_eq!((status("verify"), status("show")), (4, 4), "nothing there");
    assert!(!path.exists());

    std::fs::write(&path, "some text that somebody needs").unwrap();
    assert_eq!((status("verify"), status("show"), status("init")), (3, 3, 5), "a text file");
    assert_eq!(std::fs::read(&path).unwrap(), b"some text that somebody needs");

    std::fs::remove_file(&path).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE operations (id); CREATE TABLE mine (x)")
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_eq!((status("verify"), status("init")), (3, 5), "another database");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!((status("verify"), status("init")), (3, 5), "a directory");

    std::fs::remove_dir(&path).unwrap();
    Ledger::init(&path, &caller(), Deployment::Traditional).unwrap();
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    assert_eq!((status("verify"), status("init")), (3, 3), "a newer format");
}

#[test]
fn the_ledger_is_its_owners_alone_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blockchain.db");
    let script = "umask 000; exec \"$0\" init --db \"$1\"";
    assert!(Command::new("sh").args(["-c", script, PROGRAM]).arg(&path).output().unwrap().status.success());
    let ledger = Ledger::open(&path).unwrap();
    ledger.append(&entry(2)).unwrap();
    let mut files = 0;
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        files += 1;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600, "{:?}", file.path());
    }
    assert_eq!(files, 3, "the database, -wal and -shm");
}

#[test]
fn a_plain_copy_is_verified_and_nothing_is_left_beside_it() {
    needs_python!();
    let (_dir, path) = ledger(2);
    let live = Ledger::open(&path).unwrap();
    live.append(&entry(2)).unwrap();
    let copies = tempfile::Builder::new().prefix("copy of a ledger ?#%é").tempdir().unwrap();
    let copy = copies.path().join("blockchain.db");
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(verdict(&copy, "a copy without the -wal is the ledger as of the last checkpoint"), None);
    let names: Vec<_> = std::fs::read_dir(copies.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["blockchain.db"]);

    std::fs::copy(path.with_extension("db-wal"), copy.with_extension("db-wal")).unwrap();
    assert_eq!(verdict(&copy, "with it, all"), None);
    assert_eq!(Ledger::open_read_only(&copy).unwrap().head().unwrap(), live.head().unwrap());
    assert!(Ledger::open_read_only(&path).unwrap().append(&entry(3)).is_err());
}

/// The text between a line of three back quotes with this word and the next such line.
fn block(word: &str) -> &'static str {
    let start = format!("```{word}\n");
    let at = DOCUMENT.find(&start).unwrap_or_else(|| panic!("no block {word} in the document")) + start.len();
    DOCUMENT[at..].split("\n```").next().unwrap()
}

fn of_hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

#[test]
fn the_document_describes_this_format() {
    let example = Fields {
        id: 2,
        timestamp: 1_767_225_600,
        operation: "container.create",
        target: "web-01",
        metadata: r#"{"caller":{"uid":1000,"user":"ann","via":"dbus"},"outcome":"ok"}"#,
        previous_hash: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    assert_eq!(of_hex(block("preimage")), example.preimage(), "{}", opdbus::hex::hex(&example.preimage()));
    assert_eq!(block("hash"), example.hash());
    assert_eq!(block("genesis-digest"), format::genesis_digest(1_767_225_600));
    assert_eq!(block("schema-digest"), schema::expected_digest());
    assert!(std::fs::read_to_string(VERIFIER).unwrap().contains(&schema::expected_digest()));
    assert_eq!(block("genesis-metadata"), format::GENESIS_METADATA);
    let statements: Vec<String> = schema::OBJECTS.iter().map(|o| format!("{};", o.sql)).collect();
    assert_eq!(block("sql"), statements.join("\n\n"));
}
