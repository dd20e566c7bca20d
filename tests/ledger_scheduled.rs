//! Promise 5, by itself: the checkpoint that the host spec asks for is in the journal, whole and in fields, once in its
//! hour, and `verify --against` takes it from there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program: a helper that fails ends the test")]

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Output};

use opdbus::deployment::Deployment;
use opdbus::ledger::{Caller, Ledger, Via};
use serde_json::{Value, json};

struct Host {
    dir: tempfile::TempDir,
    journal: UnixDatagram,
}

impl Host {
    fn new(ledger: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = UnixDatagram::bind(dir.path().join("journal")).unwrap();
        journal.set_nonblocking(true).unwrap();
        let host = Self { dir, journal };
        std::fs::create_dir_all(host.at("base/@timing")).unwrap();
        std::fs::create_dir(host.at("etc")).unwrap();
        let spec = json!({ "version": 1, "btrfs": { "basePath": host.at("base") }, "ledger": ledger });
        std::fs::write(host.at("etc/config.json"), spec.to_string()).unwrap();
        let caller = Caller { uid: Some(0), user: "root".into(), via: Via::Cli };
        Ledger::init(&host.at("base/@timing/blockchain.db"), &caller, Deployment::Traditional).unwrap();
        host
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_opdbus-ledger"))
            .args(arguments)
            .arg("--json")
            .env("OPDBUS_ETC", self.at("etc"))
            .env("OPDBUS_JOURNAL", self.at("journal"))
            .env("CREDENTIALS_DIRECTORY", self.at("credentials"))
            .output()
            .unwrap()
    }

    /// The fields of the next entry of the journal, read as its documentation has them.
    fn entry(&self) -> Option<BTreeMap<String, String>> {
        let mut buffer = vec![0; 1 << 16];
        let length = self.journal.recv(&mut buffer).ok()?;
        let (mut rest, mut fields) = (&buffer[..length], BTreeMap::new());
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
            let name = String::from_utf8(rest[..end].to_vec()).unwrap();
            let length: [u8; 8] = rest[end + 1..end + 9].try_into().unwrap();
            let value = &rest[end + 9..][..usize::try_from(u64::from_le_bytes(length)).unwrap()];
            fields.insert(name, String::from_utf8(value.to_vec()).unwrap());
            rest = rest[end + 9 + value.len()..].strip_prefix(b"\n").unwrap();
        }
        Some(fields)
    }
}

const RUN: &[&str] = &["checkpoint", "--scheduled"];

#[test]
fn the_journal_has_the_checkpoint_whole_and_once() {
    let host = Host::new(&json!({ "checkpoints": { "to": "journal", "every": "monthly" } }));
    let output = host.run(RUN);
    assert_eq!(output.status.code(), Some(4), "there is no key");
    assert!(String::from_utf8_lossy(&output.stderr).contains("opdbus-ledger key create"));
    // What the unit has where there is none.
    std::fs::create_dir(host.at("credentials")).unwrap();
    std::fs::write(host.at("credentials/ledger-key"), "absent").unwrap();
    assert_eq!(host.run(RUN).status.code(), Some(4), "there is no key still");
    assert_eq!(host.entry(), None);

    assert!(host.run(&["key", "create"]).status.success());
    // The key as systemd hands it over, and nowhere else.
    std::fs::rename(host.at("etc/ledger-key"), host.at("credentials/ledger-key")).unwrap();
    let output = host.run(RUN);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let entry = host.entry().unwrap();
    assert_eq!((entry["OPDBUS_CHECKPOINT_SIZE"].as_str(), entry["PRIORITY"].as_str()), ("2", "5"));
    assert!(entry["OPDBUS_CHECKPOINT_ORIGIN"].starts_with("operation-dbus/ledger/"));
    assert!(entry["MESSAGE"].contains(&entry["OPDBUS_CHECKPOINT_ROOT"]));
    assert!(host.run(RUN).status.success());
    assert_eq!(host.entry(), None, "one a month (a run at its very end is one too many)");

    // As `journalctl -o cat` prints it.
    let notes = host.at("notes");
    std::fs::write(&notes, format!("{}\n", entry["MESSAGE"])).unwrap();
    let output = host.run(&["verify", "--against", notes.to_str().unwrap()]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.success(), answer["proven"].as_u64()), (true, Some(2)));
}

#[test]
fn a_checkpoint_that_could_not_be_kept_is_made_by_the_next_run() {
    let host = Host::new(&json!({ "checkpoints": { "to": "journal", "every": "monthly" } }));
    assert!(host.run(&["key", "create"]).status.success());
    std::fs::rename(host.at("journal"), host.at("away")).unwrap();
    assert_eq!(host.run(RUN).status.code(), Some(1));
    std::fs::rename(host.at("away"), host.at("journal")).unwrap();
    assert!(host.run(RUN).status.success());
    assert!(host.entry().is_some());
}

#[test]
fn where_the_host_spec_asks_for_none_no_key_is_needed() {
    let host = Host::new(&json!({}));
    let output = host.run(RUN);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(host.entry(), None);
    assert!(!host.at("base/@timing/last-checkpoint.json").exists());
}
