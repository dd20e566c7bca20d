//! A ledger with a key, and what somebody may do to it who has the file and all the time in the world.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use opdbus::deployment::Deployment;
use opdbus::ledger::format::Fields;
use opdbus::ledger::{Call, Caller, Ledger, NewEntry, Outcome, Via};
use rusqlite::{Connection, params};
use serde_json::{Map, Value};

/// A ledger, its key, and the directories they are in.
pub struct Host {
    pub dir: tempfile::TempDir,
}

impl Host {
    pub fn new(entries: usize) -> Self {
        // In memory, where that can be: what is tested is not that entries are on a disk.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let host = Self { dir };
        Ledger::init(&host.db(), &caller(), Deployment::Traditional).unwrap();
        host.append(entries - 2);
        assert!(host.run(&["key", "create"]).status.success());
        host
    }

    pub fn db(&self) -> PathBuf {
        self.dir.path().join("blockchain.db")
    }

    pub fn append(&self, count: usize) {
        let ledger = Ledger::open(&self.db()).unwrap();
        for _ in 0..count {
            ledger.append(&entry("container.create")).unwrap();
        }
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_opdbus-ledger"))
            .args(arguments)
            .arg("--json")
            .arg("--db")
            .arg(self.db())
            .env("OPDBUS_ETC", self.dir.path().join("etc"))
            .output()
            .unwrap()
    }

    /// A checkpoint of what is there, in a file of its own.
    pub fn checkpoint(&self) -> PathBuf {
        let output = self.run(&["checkpoint"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let path = self.dir.path().join(format!("note-{}", answer["size"]));
        std::fs::write(&path, answer["note"].as_str().unwrap()).unwrap();
        path
    }

    /// What was done and at which entry, as `verify --against` says; `None` where all is well.
    pub fn verify(&self, against: &[&Path]) -> Option<(String, i64)> {
        let mut arguments = vec!["verify"];
        for path in against {
            arguments.extend(["--against", path.to_str().unwrap()]);
        }
        let output = self.run(&arguments);
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let bad = &answer["first_bad"];
        assert_eq!(output.status.success(), bad.is_null());
        Some((bad["damage"].as_str()?.to_owned(), bad["id"].as_i64().unwrap()))
    }

    /// What somebody does who has the file, and all the time in the world.
    pub fn tamper(&self, f: impl FnOnce(&Connection)) {
        let connection = Connection::open(self.db()).unwrap();
        let mut triggers =
            connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").unwrap();
        let triggers: Vec<(String, String)> = triggers
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for (name, _) in &triggers {
            connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        f(&connection);
        for (_, sql) in &triggers {
            connection.execute_batch(sql).unwrap();
        }
    }

    /// Cuts the end off and mends the head.
    pub fn truncate(&self, entries: i64) {
        self.tamper(|db| {
            db.execute("DELETE FROM operations WHERE id >= ?1", [entries]).unwrap();
            mend_head(db);
        });
    }

    /// Gives an entry another target and makes every hash from there on right again.
    pub fn rewrite(&self, from: i64) {
        self.tamper(|db| {
            db.execute("UPDATE operations SET target = 'innocent' WHERE id = ?1", [from]).unwrap();
            let last: i64 = db.query_row("SELECT max(id) FROM operations", [], |row| row.get(0)).unwrap();
            for id in from..=last {
                let previous: String = db
                    .query_row("SELECT current_hash FROM operations WHERE id = ?1", [id - 1], |row| {
                        row.get(0)
                    })
                    .unwrap();
                let hash = db
                    .query_row(
                        "SELECT timestamp, operation, target, metadata FROM operations WHERE id = ?1",
                        [id],
                        |row| {
                            let (operation, target, metadata): (String, String, String) =
                                (row.get(1)?, row.get(2)?, row.get(3)?);
                            let fields = Fields {
                                id,
                                timestamp: row.get(0)?,
                                operation: &operation,
                                target: &target,
                                metadata: &metadata,
                                previous_hash: &previous,
                            };
                            Ok(fields.hash())
                        },
                    )
                    .unwrap();
                db.execute(
                    "UPDATE operations SET previous_hash = ?2, current_hash = ?3 WHERE id = ?1",
                    params![id, previous, hash],
                )
                .unwrap();
            }
            mend_head(db);
        });
    }
}

pub fn mend_head(db: &Connection) {
    db.execute_batch(
        "UPDATE head SET last_id = (SELECT max(id) FROM operations),
         last_hash = (SELECT current_hash FROM operations ORDER BY id DESC LIMIT 1)",
    )
    .unwrap();
}

pub fn caller() -> Caller {
    Caller { uid: Some(0), user: "root".into(), via: Via::Cli }
}

pub fn entry(operation: &str) -> NewEntry {
    NewEntry::call(Call {
        operation,
        target: "web-01",
        caller: &caller(),
        arguments: Map::new(),
        outcome: Outcome::Ok,
        duration: Duration::ZERO,
        deployment: Deployment::Traditional,
    })
}
