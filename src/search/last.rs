//! When something last happened, as the ledger knows it: "since the last snapshot".

use std::path::Path;

use jiff::Timestamp;

use super::glosses;
use super::words::{stem, words};
use crate::ledger::{Filter, Ledger};

/// Verbs of operations that only look. "The last snapshot" is when one was taken, not when they were listed.
const LOOKS: [&str; 9] =
    ["list", "show", "diff", "generations", "logs", "status", "verify", "plan", "introspect"];

/// The operations that are called so in words: each word is a part of the operation's name ("snapshot", "doctor fix"). One that only looks
/// is meant only where its verb was said.
fn called(what: &str) -> Vec<&'static str> {
    let said: Vec<String> = words(what).into_iter().map(|word| stem(&word.text)).collect();
    let meant = |operation: &&str| {
        let parts: Vec<String> = operation.split(['.', '_']).map(stem).collect();
        let verb = operation.rsplit('.').next().unwrap_or(operation);
        said.iter().all(|word| parts.contains(word)) && (!LOOKS.contains(&verb) || said.contains(&stem(verb)))
    };
    if said.is_empty() { Vec::new() } else { glosses::operations().filter(meant).collect() }
}

/// When the newest of the entries was made that are called so and ended well.
pub(super) fn last(ledger: &Path, what: &str) -> Option<Timestamp> {
    let newest = |operation: &str| {
        // A few back, should the newest have failed.
        let filter = Filter { operation: Some(operation.into()), limit: Some(20), ..Filter::default() };
        let entries = Ledger::read(ledger, |ledger| ledger.entries(&filter)).ok()?;
        entries.into_iter().find(|entry| entry.metadata["outcome"] == "ok").map(|entry| entry.timestamp)
    };
    Timestamp::from_second(called(what).into_iter().filter_map(newest).max()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_names_the_operations_that_do_it() {
        for (what, operations) in [
            ("snapshot restore", &["snapshot.restore"][..]),
            ("doctor fix", &["doctor.fix"]),
            ("template builds", &["template.build"]),
            ("ledger verify", &["ledger.verify"]),
            ("weather", &[]),
            ("", &[]),
        ] {
            assert_eq!(called(what), operations, "{what}");
        }
        let snapshots = called("snapshot");
        assert!(snapshots.contains(&"snapshot.create") && snapshots.contains(&"snapshot.run"));
        assert!(!snapshots.contains(&"snapshot.list"), "it only looks");
    }
}
