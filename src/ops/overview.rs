//! `overview`: the host at a glance.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::containers::{List, NoArgs, Shown};
use super::registry::{Effect, Op, Registry};
use crate::fault::Report;
use crate::ledger::format::{Fields, canonical};
use crate::ledger::{Entry, Filter, Finding, Ledger, text};
use crate::paths::Tree;

/// How many entries are shown.
const LATEST: usize = 12;

/// How many are looked through for those that changed something.
const LOOKED_AT: u32 = 200;

/// How long a verification of the whole ledger is believed; only what was appended since is verified meanwhile.
const BELIEVED: Duration = Duration::from_secs(600);

/// How many entries are verified by themselves; where more came, the whole ledger is.
const TAIL: u32 = 1000;

/// The host at a glance.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Glance {
    /// The containers.
    containers: Vec<Shown>,
    /// The ledger.
    ledger: LedgerGlance,
}

/// The ledger at a glance.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct LedgerGlance {
    /// How many entries it has.
    entries: i64,
    /// Whether all of them are as they were appended. Without a checkpoint that is kept elsewhere, nobody can tell of one who is root.
    whole: bool,
    /// The first thing that is not as it should be.
    first_bad: Option<Finding>,
    /// The latest entries of calls that changed something or were refused, the newest first.
    latest: Vec<Entry>,
}

/// Up to where a ledger was verified.
#[derive(Debug, Clone)]
struct Verified {
    ledger: PathBuf,
    id: i64,
    hash: String,
    whole_at: Instant,
}

static VERIFIED: Mutex<Option<Verified>> = Mutex::new(None);

/// Whether entries follow on one another and on what was verified.
fn follow(before: &Verified, entries: &[Entry]) -> bool {
    let (mut id, mut hash) = (before.id, before.hash.clone());
    entries.iter().all(|entry| {
        let Some(Ok(metadata)) = entry.metadata.as_object().map(canonical) else { return false };
        let fields = Fields {
            id: entry.id,
            timestamp: entry.timestamp,
            operation: &entry.operation,
            target: &entry.target,
            metadata: &metadata,
            previous_hash: &hash,
        };
        let follows = entry.id == id + 1
            && entry.previous_hash.as_ref() == Some(&hash)
            && fields.hash() == entry.current_hash;
        (id, hash) = (entry.id, entry.current_hash.clone());
        follows
    })
}

/// How many entries there are, and what is wrong with the first bad one.
fn verified(path: &Path) -> Result<(i64, Option<Finding>), Report> {
    let mut known = VERIFIED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(before) =
        known.as_mut().filter(|before| before.ledger == path && before.whole_at.elapsed() < BELIEVED)
    {
        let filter = Filter {
            ids: Some(before.id..=i64::MAX),
            limit: Some(TAIL + 1),
            oldest_first: true,
            ..Filter::default()
        };
        let found = Ledger::read(path, |ledger| ledger.entries(&filter))?;
        // The one that it ended with is still there, and what follows follows on it.
        if let Some((last, new)) = found.split_first()
            && last.current_hash == before.hash
            && new.len() < TAIL as usize
            && follow(before, new)
        {
            if let Some(newest) = new.last() {
                (before.id, before.hash) = (newest.id, newest.current_hash.clone());
            }
            return Ok((before.id + 1, None));
        }
    }
    let verification = Ledger::read(path, Ledger::verify)?;
    *known = verification.head.filter(|_| verification.whole).map(|head| Verified {
        ledger: path.to_owned(),
        id: head.id,
        hash: head.hash,
        whole_at: Instant::now(),
    });
    Ok((verification.entries, verification.first_bad))
}

/// `overview`
pub(super) struct Overview;

impl Op for Overview {
    const NAME: &'static str = "overview";
    const SUMMARY: &'static str =
        "Show the host at a glance: containers, what was changed last, whether the ledger is whole";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] =
        &["[<show>] [me] [the] overview", "[<show>] [me] [the] host overview", "overview of (the|this) host"];
    type Args = NoArgs;
    type Answer = Glance;

    fn target(_: &NoArgs) -> String {
        "host".into()
    }
    fn run(call: &Call<'_>, args: NoArgs) -> Result<Glance, Report> {
        let spec = call.spec()?;
        let path = Tree::new(&spec.btrfs.base_path).ledger();
        let (entries, first_bad) = verified(&path)?;
        let newest = Filter { limit: Some(LOOKED_AT), ..Filter::default() };
        let registry = Registry::default();
        let only_looked = |entry: &Entry| {
            entry.metadata["outcome"] != "refused"
                && registry.find(&entry.operation).is_ok_and(|operation| operation.effect == Effect::Read)
        };
        let mut latest = Ledger::read(&path, |ledger| ledger.entries(&newest))?;
        latest.retain(|entry| !only_looked(entry));
        latest.truncate(LATEST);
        let containers = List::run(call, args)?;
        Ok(Glance {
            containers,
            ledger: LedgerGlance { entries, whole: first_bad.is_none(), first_bad, latest },
        })
    }
    fn text(glance: &Glance) -> String {
        let ledger = &glance.ledger;
        let state = match &ledger.first_bad {
            None => "verified".to_owned(),
            Some(finding) => format!("NOT WHOLE: {finding}"),
        };
        format!(
            "{}\n{} entries in the ledger, {state}\n\n{}",
            List::text(&glance.containers),
            ledger.entries,
            text::table(&ledger.latest, &TimeZone::system())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Deployment;
    use crate::ledger::{self, Caller, NewEntry, Outcome, Via};
    use rusqlite::Connection;

    fn append(ledger: &Ledger, target: &str) -> i64 {
        let caller = Caller { uid: Some(0), user: "root".into(), via: Via::Dbus };
        let entry = NewEntry::call(ledger::Call {
            operation: "container.create",
            target,
            caller: &caller,
            arguments: serde_json::Map::new(),
            outcome: Outcome::Ok,
            duration: Duration::ZERO,
            deployment: Deployment::Traditional,
        });
        ledger.append(&entry).unwrap().id
    }

    #[test]
    fn what_was_appended_is_verified_by_itself_and_what_was_altered_in_it_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blockchain.db");
        let caller = Caller { uid: Some(0), user: "root".into(), via: Via::Installer };
        Ledger::init(&path, &caller, Deployment::Traditional).unwrap();
        let ledger = Ledger::open(&path).unwrap();
        let last = append(&ledger, "a");
        assert_eq!(verified(&path).unwrap(), (last + 1, None));
        let last = append(&ledger, "b");
        assert_eq!(verified(&path).unwrap(), (last + 1, None));
        let last = append(&ledger, "c");
        let connection = Connection::open(&path).unwrap();
        let triggers: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for trigger in triggers {
            connection.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
        }
        connection.execute("UPDATE operations SET target = 'd' WHERE id = ?1", [last]).unwrap();
        assert_eq!(verified(&path).unwrap().1.unwrap().id, Some(last));
    }
}
