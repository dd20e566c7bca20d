//! Appending to the ledger beside a bare insert into a table of the same columns with the same pragmas, and verifying it
//! beside hashing the same bytes; and whether the memory of a verification grows with the ledger. On a real file system:
//! in `target/`, not in memory.

#![allow(clippy::unwrap_used, reason = "a bench ends where its set-up fails")]
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a bench prints what it measured")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use opdbus::deployment::Deployment;
use opdbus::ledger::{Call, Caller, Ledger, NewEntry, Outcome, Via};
use rusqlite::{Connection, params};
use serde_json::json;
use sha2::{Digest, Sha256};
use support::{Limit, median, ratio, timed};

const ROUNDS: usize = 15;
const APPENDS: usize = 40;

fn entry(number: usize) -> NewEntry {
    let caller = Caller { uid: Some(1000), user: "ann".into(), via: Via::Dbus };
    let arguments = json!({ "template": "debian-base", "network": "socket", "connect": ["web-01", "db-01"] });
    NewEntry::call(Call {
        operation: "container.create",
        target: &format!("web-{number:06}"),
        caller: &caller,
        arguments: arguments.as_object().unwrap().clone(),
        outcome: Outcome::Ok,
        duration: Duration::from_millis(17),
        deployment: Deployment::Traditional,
    })
}

fn caller() -> Caller {
    Caller { uid: Some(0), user: "root".into(), via: Via::Cli }
}

fn init(path: &Path) -> Ledger {
    Ledger::init(path, &caller(), Deployment::Traditional).unwrap();
    Ledger::open(path).unwrap()
}

fn append(dir: &Path) {
    let ledger = init(&dir.join("append.db"));
    let bare = Connection::open(dir.join("bare.db")).unwrap();
    bare.pragma_update(None, "journal_mode", "wal").unwrap();
    bare.pragma_update(None, "synchronous", "full").unwrap();
    bare.execute_batch(
        "CREATE TABLE operations (id INTEGER PRIMARY KEY, timestamp INTEGER, operation TEXT, target TEXT,
         previous_hash TEXT, current_hash TEXT, embedding BLOB, metadata TEXT)",
    )
    .unwrap();
    let metadata = serde_json::to_string(&entry(0).metadata).unwrap();
    let hash = "0".repeat(64);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ours.push(timed(|| {
            for n in 0..APPENDS {
                ledger.append(&entry(round * APPENDS + n)).unwrap();
            }
        }));
        theirs.push(timed(|| {
            for _ in 0..APPENDS {
                bare.execute(
                    "INSERT INTO operations VALUES (NULL, ?1, ?2, ?3, ?4, ?5, NULL, ?6)",
                    params![1_700_000_000, "container.create", "web-000001", hash, hash, metadata],
                )
                .unwrap();
            }
        }));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    ratio(
        "durable appends to the ledger in the time of a bare insert",
        theirs.as_secs_f64() / ours.as_secs_f64(),
        Limit::AtLeast(0.8),
        &format!("{:.2?} : {:.2?} each", ours / 40, theirs / 40),
    );
}

/// A ledger of so many entries, made without waiting for the disk each time.
fn large(path: &Path, entries: usize) {
    let ledger = init(path);
    ledger.append(&entry(0)).unwrap();
    drop(ledger);
    // The library's own rows, put in by hand: what is measured is the reading of them.
    let db = Connection::open(path).unwrap();
    db.pragma_update(None, "synchronous", "off").unwrap();
    let (mut previous, last): (String, i64) =
        db.query_row("SELECT last_hash, last_id FROM head", [], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
    let metadata: String =
        db.query_row("SELECT metadata FROM operations WHERE id = ?1", [last], |r| r.get(0)).unwrap();
    db.execute_batch("BEGIN").unwrap();
    {
        let mut insert = db
            .prepare("INSERT INTO operations VALUES (?1, ?2, 'container.create', ?3, ?4, ?5, NULL, ?6)")
            .unwrap();
        for id in last + 1..i64::try_from(entries).unwrap() {
            let (timestamp, target) = (1_700_000_000 + id, format!("web-{id:06}"));
            let hash = opdbus::ledger::format::Fields {
                id,
                timestamp,
                operation: "container.create",
                target: &target,
                metadata: &metadata,
                previous_hash: &previous,
            }
            .hash();
            insert.execute(params![id, timestamp, target, previous, hash, metadata]).unwrap();
            previous = hash;
        }
    }
    db.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

fn bytes(path: &Path) -> Vec<u8> {
    let db = Connection::open(path).unwrap();
    let mut statement = db
        .prepare(
            "SELECT id || timestamp || operation || target || coalesce(previous_hash, '') || current_hash || metadata
             FROM operations ORDER BY id",
        )
        .unwrap();
    let mut all = Vec::new();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        all.extend_from_slice(row.get_ref(0).unwrap().as_str().unwrap().as_bytes());
    }
    all
}

fn verify(path: &Path) {
    let bytes = bytes(path);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(timed(|| assert!(Ledger::read(path, Ledger::verify).unwrap().whole)));
        theirs.push(timed(|| assert_ne!(Sha256::digest(&bytes)[..], [0; 32])));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    ratio(
        "verification of 100,000 entries, in the speed of SHA-256 over the same bytes",
        theirs.as_secs_f64() / ours.as_secs_f64(),
        Limit::AtLeast(0.5),
        &format!("{ours:.0?} : {theirs:.0?}, {:.0} MB", bytes.len() as f64 / 1e6),
    );
}

/// The most memory that `opdbus-ledger verify` had, in KiB, as the kernel keeps count of it.
fn peak(path: &Path) -> f64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_opdbus-ledger"))
        .args(["verify", "--db", path.to_str().unwrap()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0.0;
    while child.try_wait().unwrap().is_none() {
        let now = std::fs::read_to_string(&status).unwrap_or_default();
        let line = now.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(most);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    most
}

fn main() {
    let dir = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).unwrap();
    append(dir.path());
    let (small, big) = (dir.path().join("small.db"), dir.path().join("big.db"));
    large(&small, 100_000);
    verify(&small);
    large(&big, 1_000_000);
    let (little, much) = (peak(&small), peak(&big));
    ratio(
        "memory to verify 1,000,000 entries to that for 100,000",
        much / little,
        Limit::AtMost(1.1),
        &format!("{:.1} : {:.1} MiB", much / 1024.0, little / 1024.0),
    );
}
