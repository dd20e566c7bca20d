//! Promise 5, against root: a checkpoint that was kept elsewhere tells a ledger that was cut short, rewritten or
//! replaced, which the chain alone cannot.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    dead_code,
    reason = "a test program: a helper that fails ends the test"
)]

#[path = "support/kept_ledger.rs"]
mod kept_ledger;

use std::path::Path;

use kept_ledger::{Host, entry};
use opdbus::ledger::Ledger;
use serde_json::Value;

#[test]
fn what_was_appended_since_is_no_damage() {
    let host = Host::new(30);
    let first = host.checkpoint();
    host.append(13);
    let second = host.checkpoint();
    host.append(1);
    assert_eq!(host.verify(&[&first, &second]), None);
    let output = host.run(&["verify", "--against", first.to_str().unwrap()]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((answer["proven"].as_u64(), answer["entries"].as_u64()), (Some(30), Some(44)));
}

#[test]
fn a_ledger_that_was_cut_short_is_told_from_one_that_was_rewritten() {
    let host = Host::new(20);
    let (at_20, at_40) = (host.checkpoint(), {
        host.append(20);
        host.checkpoint()
    });
    host.append(5);
    host.rewrite(33);
    assert_eq!(host.verify(&[]), None, "the chain alone does not tell");
    assert_eq!(host.verify(&[&at_40, &at_20]), Some(("rewritten".into(), 20)));
    assert_eq!(host.verify(&[&at_20]), None, "what the checkpoint speaks for is as it was");
    assert_eq!(host.verify(&[&at_40]), Some(("rewritten".into(), 0)));

    let host = Host::new(40);
    let kept = host.checkpoint();
    host.truncate(31);
    assert_eq!(host.verify(&[]), None, "the chain alone does not tell");
    assert_eq!(host.verify(&[&kept]), Some(("truncated".into(), 31)));
    // Filled up again with other entries.
    let ledger = Ledger::open(&host.db()).unwrap();
    for _ in 0..9 {
        ledger.append(&entry("container.delete")).unwrap();
    }
    assert_eq!(host.verify(&[&kept]), Some(("rewritten".into(), 0)));
}

#[test]
fn every_entry_after_the_last_good_checkpoint_is_found_however_late_it_was_rewritten() {
    let host = Host::new(26);
    let kept = host.checkpoint();
    let whole = std::fs::read(host.db()).unwrap();
    for from in 1..26 {
        std::fs::write(host.db(), &whole).unwrap();
        // Entry 1 cannot be given another target: it covers the genesis entry and says which ledger this is.
        host.rewrite(from);
        assert_eq!(host.verify(&[&kept]), Some(("rewritten".into(), 0)), "{from}");
    }
}

#[test]
fn an_alteration_is_named_as_one_with_a_checkpoint_too() {
    let host = Host::new(26);
    let kept = host.checkpoint();
    host.tamper(|db| {
        db.execute("UPDATE operations SET target = 'x' WHERE id = 17", []).unwrap();
    });
    assert_eq!(host.verify(&[&kept]), Some(("altered".into(), 17)));
    host.tamper(|db| {
        db.execute("DELETE FROM operations WHERE id = 9", []).unwrap();
    });
    assert_eq!(host.verify(&[&kept]), Some(("missing".into(), 9)));
}

#[test]
fn another_ledger_in_its_place_and_a_false_checkpoint_are_told_apart() {
    let (host, other) = (Host::new(9), Host::new(9));
    let kept = host.checkpoint();
    // The key is the old ledger's, the ledger another one.
    std::fs::copy(other.db(), host.db()).unwrap();
    assert_eq!(host.verify(&[&kept]), Some(("rewritten".into(), 0)));
    let output = host.run(&["checkpoint"]);
    assert_eq!(output.status.code(), Some(5), "a key does not sign for a ledger that is not its own");

    let note = std::fs::read_to_string(&kept).unwrap();
    for (case, text) in [
        ("of more entries", note.replacen("\n9\n", "\n8\n", 1)),
        ("by another key", std::fs::read_to_string(other.checkpoint()).unwrap()),
        ("unsigned", note.split("\u{2014}").next().unwrap().to_owned()),
        ("none", "nonsense\n".into()),
        ("empty", String::new()),
    ] {
        std::fs::write(&kept, text).unwrap();
        let output = host.run(&["verify", "--against", kept.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(3), "{case}");
        assert!(output.stdout.is_empty(), "{case}: no verdict on the ledger");
    }
}

#[test]
fn a_ledger_that_is_not_whole_gets_no_checkpoint() {
    let host = Host::new(9);
    host.tamper(|db| {
        db.execute("UPDATE operations SET target = 'x' WHERE id = 4", []).unwrap();
    });
    let output = host.run(&["checkpoint"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("entry 4"));
}

#[test]
fn the_key_is_roots_alone_is_made_once_and_stays() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::new(4);
    let (secret, public) =
        (host.dir.path().join("etc/ledger-key"), host.dir.path().join("etc/ledger-key.pub"));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    let (before, shown) = (read(&secret), read(&public));
    std::fs::remove_file(&public).unwrap();
    let output = host.run(&["key", "create"]);
    assert!(output.status.success());
    assert_eq!((read(&secret), read(&public)), (before.clone(), shown));
    let said = String::from_utf8(output.stdout).unwrap();
    let private = before.trim().rsplit('+').next().unwrap();
    assert!(!said.contains(private), "the secret is not printed");
}

#[test]
fn checkpoints_in_a_directory_are_kept_and_one_that_differs_is_evidence() {
    let host = Host::new(8);
    let place = host.dir.path().join("kept");
    std::fs::create_dir(&place).unwrap();
    let keep = || host.run(&["checkpoint", "--to", place.to_str().unwrap()]).status.code();
    assert_eq!((keep(), keep()), (Some(0), Some(0)));
    host.append(1);
    assert_eq!(keep(), Some(0));
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 3, "two checkpoints, and their tiles");
    host.rewrite(5);
    assert_eq!(keep(), Some(5));
    let kept = place.join("checkpoint-000000000009");
    assert_eq!(host.verify(&[&kept]), Some(("rewritten".into(), 0)));
    assert_eq!(host.verify(&[&place]), Some(("rewritten".into(), 5)), "the tiles tell from where on");
}
