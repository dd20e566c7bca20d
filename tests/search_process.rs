//! The process that has the search's index: asked, killed, and given an index that is none.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails ends the test")]

#[path = "support/past.rs"]
mod past;
#[path = "support/searched.rs"]
mod searched;
mod support;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use opdbus::deployment::Deployment;
use opdbus::fault::Kind;
use opdbus::ledger::{self, Caller, NewEntry, Outcome, Via};
use opdbus::search::wire::{self, Asked, By, Found};
use rusqlite::Connection;
use searched::Bare;
use serde_json::json;
use support::Need;

/// A host with the ledger of `tests/search`.
fn bare(ml: &str) -> Bare {
    Bare::below(&std::env::temp_dir(), ml, |path| drop(past::ledger(path)))
}

fn call(operation: &str, target: &str) -> NewEntry {
    let caller = Caller { uid: Some(1000), user: "alice".into(), via: Via::Dbus };
    NewEntry::call(ledger::Call {
        operation,
        target,
        caller: &caller,
        arguments: json!({ "name": target }).as_object().cloned().unwrap(),
        outcome: Outcome::Ok,
        duration: Duration::from_millis(12),
        deployment: Deployment::Traditional,
    })
}

fn ids(found: &Found) -> Vec<i64> {
    found.matches.iter().map(|found| found.entry.id).collect()
}

#[test]
fn a_question_is_answered_and_what_was_appended_since_is_found() {
    let bare = bare("{}");
    let _running = bare.start();
    let found = bare.ask("zeppelin-07").unwrap();
    assert_eq!((found.by, ids(&found)), (By::Words, vec![]));
    assert!(found.notes[0].contains("ml.enable"), "{:?}", found.notes);
    let new = bare.ledger().append(&call("container.create", "zeppelin-07")).unwrap();
    let found = bare.ask("zeppelin-07").unwrap();
    assert_eq!(ids(&found), [new.id]);
    let found = bare.ask("what did alice do in the last 5 minutes").unwrap();
    assert_eq!((found.by, ids(&found)), (By::Time, vec![new.id]));
    assert_eq!(found.understood.caller.as_deref(), Some("alice"));
    let found = bare.ask("what failed before 1999").unwrap();
    assert_eq!((ids(&found), found.understood.outcome.as_deref()), (vec![], Some("failed")));
}

#[test]
fn what_is_about_an_operation_alone_gives_all_of_those_calls_and_the_newest_first() {
    let bare = bare("{}");
    let _running = bare.start();
    let created: Vec<i64> = (0..4)
        .flat_map(|number| {
            let ledger = bare.ledger();
            let created = ledger.append(&call("container.create", &format!("zeppelin-{number}"))).unwrap();
            // One that speaks of it, in fewer words.
            ledger.append(&call("ledger.show", "container.create")).unwrap();
            [created.id]
        })
        .collect();
    let found = bare.ask("what containers were created today?").unwrap();
    assert_eq!(
        (found.by, found.understood.operations.as_slice()),
        (By::Time, &["container.create".to_owned()][..])
    );
    assert_eq!(ids(&found), created.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(found.notes, [""; 0]);
    let found = bare.ask("was the container zeppelin-2 created today?").unwrap();
    assert_eq!(ids(&found), [created[2]]);
    let found = bare.ask("was the container zeppelin-9 created today?").unwrap();
    assert_eq!((found.by, found.understood.operations.len()), (By::Words, 0));
    assert!(found.notes[0].contains("there is no such container.create"), "{:?}", found.notes);
}

#[test]
fn a_question_without_an_end_and_one_that_is_none_are_refused_and_the_next_is_answered() {
    let bare = bare("{}");
    let _running = bare.start();
    let error = bare.ask(&"x".repeat(5000)).unwrap_err();
    assert_eq!(error.kind, Kind::Invalid, "{error}");
    for line in ["", "{", "{\"search\":{}}\n", "\u{0}\u{0}\n", "[[[[[["] {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(wire::socket(&bare.at("run"))).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\"invalid\""), "{line:?}: {answer}");
    }
    assert!(bare.ask("everything of root").is_ok());
    for odd in
        ["\" OR 1=1 --", "'; DROP TABLE entries; --", "NEAR(a b, 3) *", "^a:b", "\u{202e}x", "AND OR NOT"]
    {
        assert!(bare.ask(odd).is_ok(), "{odd}");
    }
}

#[test]
fn an_index_that_is_damaged_or_of_another_ledger_is_made_anew_and_said_so() {
    let bare = bare("{}");
    let right = {
        let _running = bare.start();
        ids(&bare.ask("snapshots of machines").unwrap())
    };
    assert!(!right.is_empty());
    let whole = fs::read(bare.index()).unwrap();
    let forget = || {
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", bare.index().display()));
        }
    };
    let damaged = |from: usize, to: usize| {
        let mut bytes = whole.clone();
        let end = to.min(bytes.len());
        bytes[from..end].iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31).wrapping_add(7));
        bytes
    };
    let connection = Connection::open(bare.index()).unwrap();
    connection.execute("UPDATE about SET value = 'ff' WHERE key = 'ledger'", []).unwrap();
    drop(connection);
    let other = fs::read(bare.index()).unwrap();
    for (what, bytes) in [
        ("no database", b"#!/bin/sh\n".repeat(1000)),
        ("cut short", whole[..whole.len() / 2].to_vec()),
        ("a damaged head", damaged(0, 4096)),
        ("damaged in the middle", damaged(4096, 1 << 30)),
        ("another ledger's", other),
    ] {
        forget();
        fs::write(bare.index(), bytes).unwrap();
        let _running = bare.start();
        let found = bare.ask("snapshots of machines").unwrap();
        assert_eq!(ids(&found), right, "{what}");
        assert!(found.notes.iter().any(|note| note.contains("made anew")), "{what}: {:?}", found.notes);
    }
    forget();
    fs::remove_file(bare.index()).unwrap();
    let _running = bare.start();
    let found = bare.ask("snapshots of machines").unwrap();
    assert_eq!(ids(&found), right);
    assert!(!found.notes.iter().any(|note| note.contains("made anew")), "there was none before");
}

#[test]
fn a_ledger_that_was_put_back_is_indexed_anew() {
    let bare = bare("{}");
    let path = bare.at("base/@timing/blockchain.db");
    let before = fs::read(&path).unwrap();
    {
        let _running = bare.start();
        bare.ledger().append(&call("container.create", "zeppelin-07")).unwrap();
        assert_eq!(bare.ask("zeppelin-07").unwrap().matches.len(), 1);
    }
    fs::write(&path, before).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", path.display()));
    }
    let again = bare.ledger().append(&call("container.create", "balloon-01")).unwrap();
    let _running = bare.start();
    assert_eq!(ids(&bare.ask("balloon-01").unwrap()), [again.id]);
    assert_eq!(bare.ask("zeppelin-07").unwrap().matches.len(), 0);
}

/// `OPDBUS_KILLS` of them, 20 if it does not say.
#[test]
fn killed_at_random_while_the_ledger_grows_it_loses_and_invents_nothing() {
    let bare = bare("{}");
    let runs: u32 = std::env::var("OPDBUS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let ledger = bare.ledger();
    let before = ledger.head().unwrap().id;
    let mut appended = 0;
    for run in 0..runs {
        let running = bare.start();
        let mut random = [0; 2];
        getrandom::fill(&mut random).unwrap();
        let end = Instant::now() + Duration::from_micros(u64::from(u16::from_le_bytes(random)) * 3);
        while Instant::now() < end {
            ledger.append(&call("container.create", &format!("kite-{run}-{appended}"))).unwrap();
            wire::ring(&bare.at("run"));
            appended += 1;
        }
        drop(running);
    }
    assert_eq!(ledger.head().unwrap().id, before + appended, "each append was answered");
    assert!(ledger.verify().unwrap().first_bad.is_none());
    let _running = bare.start();
    let status = bare.status();
    // All but the genesis, which has nothing to say.
    assert_eq!(status.entries, u64::try_from(before + appended).unwrap());
    assert_eq!(status.anew, None, "a kill damages nothing");
    let last = format!("kite-{}-", runs - 1);
    let found = bare.ask(&format!("{last}{}", appended - 1)).unwrap();
    assert_eq!(ids(&found), [before + appended], "{found:?}");
}

#[test]
fn without_a_model_it_says_so_and_searches_words() {
    let bare = bare(r#"{"enable": true}"#);
    let _running = bare.start();
    let found = bare.ask("snapshots of machines").unwrap();
    assert_eq!(found.by, By::Words);
    assert!(
        found.notes[0].contains("there is no model at") && found.notes[0].contains("op-dbus model fetch")
    );
    bare.specify(r#"{"enable": true, "executionProvider": "cuda"}"#);
    let near: Vec<String> = wire::ask(&bare.at("run"), &Asked::Nearest("make a backup".into())).unwrap();
    assert_eq!(near, [""; 0]);
    let notes = bare.ask("snapshots of machines").unwrap().notes;
    assert!(notes[0].contains("cuda") || notes[0].contains("CUDA"), "{notes:?}");
}

#[test]
fn with_the_model_entries_are_embedded_behind_the_append_and_remembered() {
    let name = "with_the_model_entries_are_embedded_behind_the_append_and_remembered";
    if !support::can_run("unit", name, &[Need::Files("OPDBUS_TEST_MODEL")]) {
        return;
    }
    let model = PathBuf::from(std::env::var_os("OPDBUS_TEST_MODEL").unwrap());
    let bare = bare(&json!({ "enable": true, "model": model }).to_string());
    let asked = "somebody broke into the web server";
    let first = {
        let _running = bare.start();
        let status = bare.settled();
        assert_eq!((status.behind, status.loaded), (0, true), "{status:?}");
        let found = bare.ask(asked).unwrap();
        assert_eq!(found.by, By::Meaning);
        assert!(found.notes.is_empty(), "{:?}", found.notes);
        assert!(found.matches.iter().all(|found| found.why.unwrap().meaning.is_some()));
        let new = bare.ledger().append(&call("container.create", "zeppelin-07")).unwrap();
        wire::ring(&bare.at("run"));
        assert_eq!(bare.settled().behind, 0);
        assert_eq!(ids(&bare.ask("zeppelin-07").unwrap())[0], new.id);
        // What is offered for a sentence that nobody understands.
        for (sentence, wanted) in [
            ("could you keep a copy of everything for later", "snapshot.create"),
            ("is this host in good health", "doctor"),
            ("get rid of that machine", "container.delete"),
            ("has anybody tampered with the audit trail", "ledger.verify"),
            ("what is the meaning of life", ""),
            ("", ""),
        ] {
            let near: Vec<String> = wire::ask(&bare.at("run"), &Asked::Nearest(sentence.to_owned())).unwrap();
            assert!(near.len() <= 3 && wanted.is_empty() == near.is_empty(), "{sentence}: {near:?}");
            assert!(wanted.is_empty() || near.iter().any(|name| name == wanted), "{sentence}: {near:?}");
        }
        ids(&bare.ask(asked).unwrap())
    };
    // The index is gone; what its sentences came to is not.
    fs::remove_file(bare.index()).unwrap();
    let _running = bare.start();
    let began = Instant::now();
    assert_eq!(bare.settled().behind, 0);
    assert!(began.elapsed() < Duration::from_secs(20), "it was not computed anew");
    assert_eq!(ids(&bare.ask(asked).unwrap()), first);
}
