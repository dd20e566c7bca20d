//! Promise 5, at size: of a ledger of 10,000 entries with a checkpoint kept elsewhere, every change of a field, deletion,
//! swap, cut tail and rewritten chain is found, its kind told and the first bad entry named; and the verifier in Python,
//! which shares no code with ours, says the same of random ledgers, good and bad.
//!
//! By default a sample is taken. `OPDBUS_LEDGER_ROWS=N` changes N entries spread over the ledger in every field (10000:
//! each), `OPDBUS_LEDGERS=N` sets the number of random ledgers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    dead_code,
    reason = "a test program: helpers outside of the test functions fail the test, too"
)]

#[path = "support/kept_ledger.rs"]
mod kept_ledger;
mod support;

use std::path::PathBuf;
use std::process::Command;

use kept_ledger::{Host, mend_head};
use opdbus::ledger::checkpoint::{self, Checkpoint};
use opdbus::ledger::note::Verifier;
use opdbus::ledger::{Ledger, Verification, schema};
use rusqlite::{Connection, params};
use serde_json::Value;
use support::Need;

const ENTRIES: usize = 10_000;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

/// The ledger, and a place elsewhere with a checkpoint of all of it and its tiles.
struct Kept {
    host: Host,
    place: PathBuf,
    checkpoints: Vec<Checkpoint>,
}

impl Kept {
    fn new(entries: usize) -> Self {
        let host = Host::new(entries);
        let place = host.dir.path().join("elsewhere");
        std::fs::create_dir(&place).unwrap();
        let mut kept = Self { host, place, checkpoints: Vec::new() };
        kept.keep();
        kept
    }

    fn keep(&mut self) {
        let output = self.host.run(&["checkpoint", "--to", self.place.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let key: Verifier = self.key().parse().unwrap();
        let notes = answer["note"].as_str().unwrap().to_owned();
        self.checkpoints
            .extend(checkpoint::split(&notes).iter().map(|note| Checkpoint::open(note, &key).unwrap()));
    }

    fn key(&self) -> String {
        std::fs::read_to_string(self.host.dir.path().join("etc/ledger-key.pub")).unwrap()
    }

    /// By the library, as the program does it.
    fn verify(&self) -> Verification {
        let against = |ledger: &Ledger| ledger.verify_against(&self.checkpoints, Some(&self.place));
        Ledger::read(&self.host.db(), against).unwrap()
    }

    fn assert_bad(&self, damage: &[&str], id: i64, case: &str) {
        let found = self.verify().first_bad;
        let told = found.as_ref().map(|f| (serde_json::to_value(f.damage).unwrap(), f.id));
        assert!(
            told.as_ref().is_some_and(|(kind, at)| damage.iter().any(|d| kind == d) && *at == Some(id)),
            "{case}: expected {damage:?} at {id}, found {found:?}"
        );
    }

    /// Takes the triggers away for good: what is then done is done as root could.
    fn unlocked(&self) -> Connection {
        let connection = Connection::open(self.host.db()).unwrap();
        connection.pragma_update(None, "synchronous", "off").unwrap();
        for trigger in schema::OBJECTS.into_iter().filter(|o| o.kind == "trigger") {
            connection.execute_batch(&format!("DROP TRIGGER {}", trigger.name)).unwrap();
        }
        connection
    }
}

#[test]
fn of_ten_thousand_entries_any_changed_field_is_found_and_the_entry_named() {
    let kept = Kept::new(ENTRIES);
    assert!(kept.verify().whole);
    assert_eq!(kept.verify().proven, Some(ENTRIES as u64));
    let db = kept.unlocked();
    let rows = number("OPDBUS_LEDGER_ROWS", 6).max(2);
    let mut changes = 0;
    for row in 0..rows {
        let id = i64::try_from(row * (ENTRIES - 1) / (rows - 1)).unwrap();
        for (column, change) in [
            ("timestamp", "timestamp + 1"),
            ("operation", "operation || 'x'"),
            ("target", "substr(target, 2)"),
            ("previous_hash", "coalesce('f' || substr(previous_hash, 2), 'x')"),
            ("current_hash", "replace(current_hash, substr(current_hash, 7, 1), 'g')"),
            ("embedding", "x'00'"),
            ("metadata", "replace(metadata, ':', ': ')"),
        ] {
            let before: rusqlite::types::Value = db
                .query_row(&format!("SELECT {column} FROM operations WHERE id = ?1"), [id], |r| r.get(0))
                .unwrap();
            db.execute(&format!("UPDATE operations SET {column} = {change} WHERE id = ?1"), [id]).unwrap();
            let after: rusqlite::types::Value = db
                .query_row(&format!("SELECT {column} FROM operations WHERE id = ?1"), [id], |r| r.get(0))
                .unwrap();
            if after != before {
                kept.assert_bad(&["altered", "unlinked"], id, column);
                changes += 1;
            }
            db.execute(&format!("UPDATE operations SET {column} = ?2 WHERE id = ?1"), params![id, before])
                .unwrap();
        }
    }
    assert!(changes >= rows * 6, "{changes} changes of {rows} entries");
    // The triggers are away, and that is all.
    let verification = kept.verify();
    assert_eq!(verification.proven, Some(ENTRIES as u64));
    assert!(verification.first_bad.unwrap().what.contains("trigger"));
    println!("{changes} changes of fields, each found");
}

#[test]
fn of_ten_thousand_entries_what_is_deleted_swapped_cut_off_or_rewritten_is_told_apart() {
    let kept = Kept::new(ENTRIES);
    let db = kept.unlocked();
    let last = i64::try_from(ENTRIES).unwrap() - 1;
    let undo = |f: &dyn Fn(), case: &str, damage: &[&str], id| {
        db.execute_batch("CREATE TEMP TABLE before AS SELECT * FROM operations").unwrap();
        f();
        kept.assert_bad(damage, id, case);
        db.execute_batch(
            "DELETE FROM operations; INSERT INTO operations SELECT * FROM before ORDER BY id; DROP TABLE before",
        )
        .unwrap();
        mend_head(&db);
    };
    for id in [0, 1, 2, 4_321, last - 1] {
        undo(
            &|| assert_eq!(db.execute("DELETE FROM operations WHERE id = ?1", [id]).unwrap(), 1),
            "deleted",
            &["missing"],
            id,
        );
    }
    for (a, b) in [(2, 3), (2, last), (5_000, 7_000)] {
        let swap = || {
            for (from, to) in [(a, -1), (b, a), (-1, b)] {
                db.execute("UPDATE operations SET id = ?2 WHERE id = ?1", [from, to]).unwrap();
            }
        };
        undo(&swap, "swapped", &["unlinked"], a);
    }
    // Cut off, with the head mended or not.
    for from in [2, 9_000, last] {
        let cut = |mend: bool| {
            db.execute("DELETE FROM operations WHERE id >= ?1", [from]).unwrap();
            if mend {
                mend_head(&db);
            }
        };
        undo(&|| cut(true), "cut off, and the head mended", &["truncated"], from);
        undo(&|| cut(false), "cut off", &["truncated"], from);
    }
    drop(db);
    // A whole chain with all hashes right, rewritten from an entry on: the tiles name it.
    for from in [last, 9_000, 5_000, 256, 255, 2] {
        kept.host.rewrite(from);
        kept.assert_bad(&["rewritten"], from, "rewritten");
        // Without the tiles, the checkpoint alone: that it was, not where.
        let alone = Ledger::read(&kept.host.db(), |l| l.verify_against(&kept.checkpoints, None)).unwrap();
        assert_eq!(alone.first_bad.and_then(|f| f.id), Some(0));
    }
    // And cut short as well.
    kept.host.truncate(9_999);
    kept.assert_bad(&["rewritten"], 2, "rewritten and cut off");
    assert!(kept.verify().others.iter().any(|f| f.what.contains("truncated")));
}

/// What Python says: the first bad entry, `None` where it is whole.
fn by_python(kept: &Kept) -> Option<i64> {
    let output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verify_ledger.py"))
        .arg(kept.host.db())
        .args(["--key", &kept.key(), "--against"])
        .arg(&kept.place)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    match output.status.code() {
        Some(0) => None,
        Some(1) => Some(
            said.strip_prefix("bad: entry ")
                .and_then(|rest| rest.split(':').next()?.parse().ok())
                .unwrap_or_else(|| panic!("{said}")),
        ),
        other => panic!("{other:?}: {said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Numbers that look random and come again: `SplitMix64`.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }
}

#[test]
fn two_implementations_agree_on_random_ledgers_good_and_bad() {
    if !support::can_run("unit", "two_implementations_agree", &[Need::Program("python3")]) {
        return;
    }
    let (mut good, mut bad) = (0, 0);
    for seed in 0..number("OPDBUS_LEDGERS", 30) {
        let mut numbers = Numbers(seed as u64);
        let entries = 3 + numbers.below(if seed % 10 == 0 { 600 } else { 40 });
        let mut kept = Kept::new(entries);
        if numbers.below(2) == 0 {
            kept.host.append(1 + numbers.below(20));
            kept.keep();
        }
        kept.host.append(numbers.below(5));
        let there = i64::try_from(kept.checkpoints.last().unwrap().size).unwrap();
        let any =
            |numbers: &mut Numbers| i64::try_from(numbers.below(usize::try_from(there).unwrap())).unwrap();
        let (one, other) = (any(&mut numbers), any(&mut numbers));
        let expected = match numbers.below(7) {
            0 | 1 => None,
            2 => {
                kept.host.truncate(one.max(2));
                Some(one.max(2)).filter(|at| *at < there)
            }
            3 => {
                kept.host.rewrite(one.max(2));
                Some(one.max(2))
            }
            4 => {
                kept.host.rewrite(one.max(2));
                kept.host.truncate(other.max(2));
                Some(one.max(2).min(other.max(2)))
            }
            5 => {
                kept.host.tamper(|db| {
                    assert_eq!(db.execute("DELETE FROM operations WHERE id = ?1", [one]).unwrap(), 1);
                });
                Some(one)
            }
            _ => {
                let column =
                    ["timestamp", "operation", "target", "current_hash", "metadata"][numbers.below(5)];
                kept.host.tamper(|db| {
                    db.execute(
                        &format!("UPDATE operations SET {column} = {column} || '1' WHERE id = ?1"),
                        [one],
                    )
                    .unwrap();
                });
                Some(one)
            }
        };
        let ours = kept.verify().first_bad.map(|f| f.id.unwrap());
        assert_eq!(ours, by_python(&kept), "ledger {seed} of {entries} entries: ours, and Python's");
        assert_eq!(ours, expected, "ledger {seed} of {entries} entries");
        if ours.is_none() { good += 1 } else { bad += 1 }
    }
    assert!(good > 0 && bad > 0, "{good} good, {bad} bad");
    println!("{good} good and {bad} bad ledgers, on all of which both agree");
}
