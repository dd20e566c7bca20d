//! `ledger.*`

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueHint};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::call::Call;
use super::containers::NoArgs;
use super::registry::{Effect, Handed, Op, Privilege};
use crate::fault::{Kind, Report};
use crate::ledger::checkpoint::{self, Checkpoint};
use crate::ledger::export::{self, Exported, Patient};
use crate::ledger::keep::{self, Kept};
use crate::ledger::note::{NoteError, Verifier};
use crate::ledger::{Entry, Filter, Ledger, Verification, key, text};
use crate::paths::Tree;
use crate::systemd::{self, SystemdError};

/// `ledger.show`
pub(super) struct Show;

/// The arguments of `ledger.show`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ShowArgs {
    /// Only the entry of this number.
    #[arg(long, value_name = "NUMBER")]
    id: Option<i64>,
    /// Only this operation, for example container.create.
    #[arg(long)]
    operation: Option<String>,
    /// Only what was done to this, for example web-01.
    #[arg(long)]
    target: Option<String>,
    /// Only entries at or after this time: a date, or a date and time in the host's time zone, or RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only entries at or before this time; a date includes that whole day.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// No more than this many, the newest first; 0 for all.
    #[arg(short = 'n', long, default_value_t = 50)]
    limit: u32,
    /// The oldest first.
    #[arg(long)]
    reverse: bool,
}

impl Default for ShowArgs {
    fn default() -> Self {
        Self { id: None, operation: None, target: None, since: None, until: None, limit: 50, reverse: false }
    }
}

/// A time that somebody gave, in seconds since 1970-01-01T00:00:00Z; `last` is the last second of a date, instead of the first.
pub(super) fn time(given: Option<String>, last: bool) -> Result<Option<i64>, Report> {
    let parsed = given.map(|given| text::point(&given, last, &TimeZone::system())).transpose();
    parsed.map_err(|why| Report::new(Kind::Invalid, why))
}

impl Op for Show {
    const NAME: &'static str = "ledger.show";
    const SUMMARY: &'static str = "Show the newest entries of the ledger";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "<the ledger> = [the] (ledger|audit trail|audit log)",
        "<show> <the ledger>",
        "ledger [entries]",
        "<show> [the] [newest|latest] [ledger] entries",
        "<show> [the] ledger entries",
        "<show> [the] [newest|latest] entries of <the ledger>",
        "[<show> [the]] last {limit} (entries of <the ledger>|ledger entries)",
        "+ for {evident target}",
        "+ for [the] <container> [<named>] {target: container}",
        "+ of [the] operation {operation: operation}",
        "+ since {since: time}",
        "+ until {until: time}",
        "+ from {since: time} to {until: time}",
    ];
    type Args = ShowArgs;
    type Answer = Vec<Entry>;

    fn target(_: &ShowArgs) -> String {
        "ledger".into()
    }
    fn run(call: &Call<'_>, args: ShowArgs) -> Result<Vec<Entry>, Report> {
        let filter = Filter {
            ids: args.id.map(|id| id..=id),
            operation: args.operation,
            target: args.target,
            since: time(args.since, false)?,
            until: time(args.until, true)?,
            limit: (args.limit > 0).then_some(args.limit),
            oldest_first: args.reverse,
        };
        let spec = call.spec()?;
        Ok(Ledger::read(&Tree::new(&spec.btrfs.base_path).ledger(), |ledger| ledger.entries(&filter))?)
    }
    fn text(entries: &Vec<Entry>) -> String {
        text::table(entries, &TimeZone::system())
    }
}

/// `ledger.verify`
pub(super) struct Verify;

/// The arguments of `ledger.verify`.
#[derive(Debug, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct VerifyArgs {
    /// Signed checkpoints that were made of this ledger before, one after the other; on the command line the file that
    /// holds them.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = notes)]
    against: Option<String>,
    /// The key that signed them (`opdbus-ledger key show`); on the command line also the file that holds it [default:
    /// this host's, which root of this host could have changed].
    #[arg(long, value_name = "KEY", value_hint = ValueHint::FilePath, value_parser = key_given, requires = "against")]
    key: Option<String>,
}

/// The most that is taken of checkpoints: thousands of them.
const MOST: usize = 1 << 20;

fn notes(file: &str) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(MOST as u64 + 1).read_to_string(&mut text));
    read.map(|_| text).map_err(|e| e.to_string())
}

fn key_given(given: &str) -> Result<String, String> {
    key::given(given).map_err(|e| e.to_string())
}

/// The checkpoints of a text, each signed by the key.
fn checkpoints(args: &VerifyArgs, etc: &Path) -> Result<Vec<Checkpoint>, Report> {
    let Some(text) = &args.against else { return Ok(Vec::new()) };
    if text.len() > MOST {
        return Err(Report::new(Kind::Invalid, "more than 1 MiB of checkpoints")
            .with_next("the newest alone speaks for all entries before it"));
    }
    let wrong = |what: &str, error: NoteError| {
        Report::new(Kind::Invalid, format!("{what}: {error}"))
            .with_next("it is no evidence for or against this ledger: look at how it was kept")
    };
    let key: Verifier = match &args.key {
        Some(key) => key.parse().map_err(|e| wrong("the key cannot be used", e))?,
        None => key::public(etc)?,
    };
    let notes = checkpoint::split(text);
    if notes.is_empty() {
        return Err(Report::new(Kind::Invalid, "there is no checkpoint in what was given"));
    }
    let open = |note: &str| Checkpoint::open(note, &key).map_err(|e| wrong("a checkpoint is false", e));
    notes.into_iter().map(open).collect()
}

impl Op for Verify {
    const NAME: &'static str = "ledger.verify";
    const SUMMARY: &'static str = "Check that no entry of the ledger was altered";
    const HELP: &'static str = "Names the first bad entry and ends with status 1 where there is one. A checkpoint that was kept elsewhere also\ntells a ledger that was cut short or rewritten. For a copy of a ledger: opdbus-ledger verify --db FILE.";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "<the ledger> = [the] (ledger|audit trail|audit log)",
        "verify <the ledger>",
        "verify the hash chain of <the ledger>",
        "is <the ledger> (intact|whole)",
        "has <the ledger> been (tampered with|altered)",
        "check that no entry of <the ledger> was altered",
    ];
    type Args = VerifyArgs;
    type Answer = Verification;

    fn target(_: &VerifyArgs) -> String {
        "ledger".into()
    }
    fn run(call: &Call<'_>, args: VerifyArgs) -> Result<Verification, Report> {
        let against = checkpoints(&args, &call.host.paths.etc)?;
        let spec = call.spec()?;
        let db = Tree::new(&spec.btrfs.base_path).ledger();
        Ok(Ledger::read(&db, |ledger| ledger.verify_against(&against, None))?)
    }
    fn text(verification: &Verification) -> String {
        text::verification(verification)
    }
}

/// `ledger.checkpoint`
pub(super) struct MakeCheckpoint;

/// The unit that alone has the key.
const UNIT: &str = "opdbus-checkpoint.service";
/// How long it may take; a little more than it gives itself.
const UNIT_LIMIT: Duration = Duration::from_secs(16 * 60);

impl Op for MakeCheckpoint {
    const NAME: &'static str = "ledger.checkpoint";
    const SUMMARY: &'static str = "Make a signed checkpoint now, to where the host spec keeps them";
    const HELP: &'static str = "The host spec names where (`ledger.checkpoints`); a checkpoint is made there whether it is due or not. The daemon has\nno key: opdbus-checkpoint.service makes it. Without such a place: opdbus-ledger checkpoint, as root.";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const PHRASES: &'static [&'static str] = &[
        "(make|create) [a] [signed] checkpoint of the ledger",
        "(make|create) [a] [signed] ledger checkpoint",
    ];
    type Args = NoArgs;
    type Answer = Kept;

    fn target(_: &NoArgs) -> String {
        "ledger".into()
    }
    fn run(call: &Call<'_>, _: NoArgs) -> Result<Kept, Report> {
        let spec = call.spec()?;
        if spec.ledger.checkpoints.is_none() {
            return Err(Report::new(Kind::Unavailable, "the host spec names no place for checkpoints")
                .with_next("name one (ledger.checkpoints), or print one as root: opdbus-ledger checkpoint"));
        }
        let tree = Tree::new(&spec.btrfs.base_path);
        // Two calls at once would each take the other's for theirs.
        let _lock = call.lock()?;
        keep::forget(&tree)?;
        let why = format!("journalctl -u {UNIT} says why");
        systemd::start(UNIT, UNIT_LIMIT).map_err(|error| match error {
            SystemdError::Job { .. } => Report::new(Kind::Failed, "no checkpoint was made").with_next(&why),
            other => other.into(),
        })?;
        let kept = keep::last(&tree)?;
        let kept = kept.ok_or_else(|| Report::new(Kind::Failed, "no checkpoint was made").with_next(why))?;
        call.record("checkpoint", json!({ "size": kept.size, "to": kept.to }));
        Ok(kept)
    }
    fn text(kept: &Kept) -> String {
        kept.note.clone()
    }
}

/// `ledger.export`
pub(super) struct Export;

/// The arguments of `ledger.export`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportArgs {
    /// The file to make, readable by you alone; - is standard output.
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    #[serde(default = "standard")]
    file: String,
    /// Only entries at or after this time: a date, or a date and time in the host's time zone, or RFC 3339.
    #[arg(long, value_name = "TIME")]
    #[serde(default)]
    since: Option<String>,
    /// Only entries at or before this time; a date includes that whole day.
    #[arg(long, value_name = "TIME")]
    #[serde(default)]
    until: Option<String>,
}

fn standard() -> String {
    "-".into()
}

/// How long somebody may take nothing of what is exported.
const READER: Duration = Duration::from_secs(60);

impl Op for Export {
    const NAME: &'static str = "ledger.export";
    const SUMMARY: &'static str = "Write the ledger to a file, an entry a line, as JSON";
    const HELP: &'static str = "The oldest entry first, each in canonical form (RFC 8785), its hashes among its fields. Nothing is verified: see\n`op-dbus ledger verify`.\n\nExamples:\n  op-dbus ledger export ledger.jsonl\n  op-dbus ledger export --since 2026-01-31 | jq --compact-output 'select(.metadata.outcome != \"ok\")'";
    const EFFECT: Effect = Effect::Read;
    const FILE: Option<Handed> = Some(Handed::Write);
    type Args = ExportArgs;
    type Answer = Exported;

    fn target(_: &ExportArgs) -> String {
        "ledger".into()
    }
    fn run(call: &Call<'_>, args: ExportArgs) -> Result<Exported, Report> {
        let [_, output, _] = call.take_streams().ok_or_else(|| {
            Report::new(Kind::Invalid, "a ledger is exported through a stream, and none was handed over")
                .with_next("use op-dbus on this host; ledger.show answers in pages everywhere")
        })?;
        let (since, until) = (time(args.since, false)?, time(args.until, true)?);
        let spec = call.spec()?;
        let db = Tree::new(&spec.btrfs.base_path).ledger();
        let exported = export::export(&db, since, until, &mut Patient::new(output, READER))?;
        call.record("stream", json!(exported));
        Ok(exported)
    }
    fn text(exported: &Exported) -> String {
        match (exported.first, exported.last) {
            (Some(first), Some(last)) => {
                format!("{} entries, {first} to {last}; SHA-256 {}", exported.entries, exported.sha256)
            }
            _ => "no entries".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Deployment;
    use crate::engine::{Host, Silent};
    use crate::ledger::{self, Via};
    use crate::ops::{Caller, Nobody, Service, Streams};
    use serde_json::Value;

    struct Bare {
        dir: tempfile::TempDir,
        service: Service,
    }

    impl Bare {
        fn new(more: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut host = Host::default();
            host.paths.etc = dir.path().join("etc");
            host.paths.run = dir.path().join("run");
            let base = dir.path().join("base");
            for directory in [&host.paths.etc, &host.paths.run, &base.join("@timing")] {
                std::fs::create_dir_all(directory).unwrap();
            }
            let spec = format!("{{\"version\":1,\"btrfs\":{{\"basePath\":{base:?}}}{more}}}");
            std::fs::write(host.paths.config(), spec).unwrap();
            let by = ledger::Caller::this_process(Via::Helper);
            Ledger::init(&Tree::new(&base).ledger(), &by, Deployment::Traditional).unwrap();
            key::create(&Tree::new(&base).ledger(), &host.paths.etc).unwrap();
            Self { dir, service: Service::new(host) }
        }

        fn call(&self, name: &str, args: Value, streams: Option<Streams>) -> Result<Value, Report> {
            let root = Caller { uid: 0, user: "root".into(), member: false, via: Via::Dbus, token: None };
            self.service.call(&root, &Nobody, name, args, &Silent, streams)
        }

        fn note(&self) -> String {
            keep::signed(&Tree::new(self.dir.path().join("base")).ledger(), &self.dir.path().join("etc"))
                .unwrap()
                .1
        }
    }

    #[test]
    fn the_ledger_is_held_against_the_checkpoints_that_come_with_the_call() {
        let bare = Bare::new("");
        let note = bare.note();
        let answer = bare.call("ledger.verify", json!({ "against": note }), None).unwrap();
        assert_eq!((&answer["whole"], &answer["proven"]), (&json!(true), &json!(2)));
        let other = Bare::new("");
        let error = bare.call("ledger.verify", json!({ "against": other.note() }), None).unwrap_err();
        assert_eq!(error.kind, Kind::Invalid, "it is not signed by this host's key: {error}");
        // By the key of the other ledger, it is a checkpoint, and not one of this ledger.
        let key = key::public(&other.dir.path().join("etc")).unwrap().to_string();
        let args = json!({ "against": other.note(), "key": key });
        let answer = bare.call("ledger.verify", args, None).unwrap();
        assert_eq!(answer["first_bad"]["damage"], "rewritten");
        for wrong in [json!({ "against": "" }), json!({ "against": "x".repeat(MOST + 1) })] {
            assert_eq!(bare.call("ledger.verify", wrong, None).unwrap_err().kind, Kind::Invalid);
        }
    }

    #[test]
    fn an_export_needs_a_stream_and_is_in_the_ledger_with_its_sum() {
        let bare = Bare::new("");
        assert_eq!(bare.call("ledger.export", json!({}), None).unwrap_err().kind, Kind::Invalid);
        let file = bare.dir.path().join("out");
        let [a, b] = [(); 2].map(|()| File::open("/dev/null").unwrap().into());
        let streams = [a, File::create(&file).unwrap().into(), b];
        let answer = bare.call("ledger.export", json!({}), Some(streams)).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 3, "two, and that of the refusal");
        assert_eq!(answer["entries"], 3);
        let last = bare.call("ledger.show", json!({ "limit": 1 }), None).unwrap();
        assert_eq!(last[0]["metadata"]["result"]["stream"]["sha256"], answer["sha256"]);
    }

    #[test]
    fn one_entry_is_shown_by_its_number_and_none_by_a_number_that_no_entry_has() {
        let bare = Bare::new("");
        bare.call("ledger.verify", json!({}), None).unwrap();
        for id in [0, 1] {
            let shown = bare.call("ledger.show", json!({ "id": id }), None).unwrap();
            let ids: Vec<&Value> = shown.as_array().unwrap().iter().map(|entry| &entry["id"]).collect();
            assert_eq!(ids, [&json!(id)]);
        }
        for id in [-1, 1000, i64::MAX] {
            assert_eq!(bare.call("ledger.show", json!({ "id": id }), None).unwrap(), json!([]), "{id}");
        }
        let none = bare.call("ledger.show", json!({ "id": 1, "operation": "apply" }), None).unwrap();
        assert_eq!(none, json!([]), "the others hold, too");
    }

    #[test]
    fn without_a_place_for_it_no_checkpoint_is_asked_for() {
        let error = Bare::new("").call("ledger.checkpoint", json!({}), None).unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
    }
}
