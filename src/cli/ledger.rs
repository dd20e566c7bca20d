//! `ledger init|verify|show`, for the helper and for the admin's program.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Common, Out, TerminalProgress, answers};
use crate::deployment::Deployment;
use crate::engine::{Context, Progress};
use crate::fault::{Kind, Report};
use crate::ledger::checkpoint::{self, Checkpoint};
use crate::ledger::note::{NoteError, Verifier};
use crate::ledger::{Caller, Filter, Init, Ledger, keep, key, text};
use crate::paths::{Paths, Tree};
use crate::spec::HostSpec;

/// Which entries `ledger show` prints.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Only this operation, as `container.create`.
    #[arg(long)]
    pub operation: Option<String>,
    /// Only this target, as `web-01`.
    #[arg(long)]
    pub target: Option<String>,
    /// Only entries at or after this time: a date, `2026-01-31 14:00` in the host's time zone, or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<i64>,
    /// Only entries at or before this time; a date includes that whole day.
    #[arg(long, value_name = "TIME", value_parser = until)]
    pub until: Option<i64>,
    /// No more than this many; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
    /// Oldest first.
    #[arg(long)]
    pub reverse: bool,
}

impl ShowArgs {
    fn filter(&self) -> Filter {
        Filter {
            ids: None,
            operation: self.operation.clone(),
            target: self.target.clone(),
            since: self.since,
            until: self.until,
            limit: (self.limit > 0).then_some(self.limit),
            oldest_first: self.reverse,
        }
    }
}

fn since(given: &str) -> Result<i64, String> {
    text::point(given, false, &TimeZone::system())
}

fn until(given: &str) -> Result<i64, String> {
    text::point(given, true, &TimeZone::system())
}

/// The ledger meant: the one given, or the host's. A host without a host spec has its ledger in the default place.
pub fn database(db: Option<&Path>, common: &Common) -> Result<PathBuf, Report> {
    if let Some(db) = db {
        return Ok(db.to_owned());
    }
    let host = common.host();
    let spec = match common.spec(&host) {
        Err(report) if report.kind == Kind::NotFound && common.config.is_none() => HostSpec::default(),
        other => other?,
    };
    Ok(Tree::new(&spec.btrfs.base_path).ledger())
}

/// `ledger init`.
pub fn init(db: &Path, caller: &Caller, etc: &Path, out: Out) -> Result<(), Report> {
    let done = Ledger::init(db, caller, Deployment::read(etc))?;
    out.answer(&answers::Ledger { ledger: db.to_owned(), result: done }, |_| match done {
        Init::Created => format!("made the ledger {}", db.display()),
        Init::AlreadyThere => format!("the ledger {} is there; nothing to do", db.display()),
    });
    Ok(())
}

/// What `ledger verify` holds the ledger against.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// A file of checkpoints that were made of this ledger before, one or several, or the directory that `checkpoint
    /// --to` keeps them in, which also tells from which entry on a ledger was rewritten; may be given again.
    #[arg(long, value_name = "FILE|DIR")]
    pub against: Vec<PathBuf>,
    /// The key that signed them (`opdbus-ledger key show`): a file, or the key itself [default: this host's, which
    /// root of this host could have changed].
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
}

/// Where `ledger checkpoint` puts what it prints.
#[derive(Debug, Clone, Args)]
pub struct CheckpointArgs {
    /// Also keep it in this directory, one file a checkpoint, named by the number of entries, and the hashes that lead
    /// to it in `tile/`.
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Mark that directory as the one to keep this ledger's checkpoints in, as `ledger.checkpoints` of the host spec needs:
    /// what is not marked is taken for a mount point with nothing mounted.
    #[arg(long, requires = "to")]
    pub first: bool,
    /// Make the one that the host spec asks for (`ledger.checkpoints`), if it is due: what opdbus-checkpoint.timer
    /// has done each hour.
    #[arg(long, conflicts_with_all = ["to", "db"])]
    pub scheduled: bool,
}

fn failed<'p>(verb: &'p str, path: &'p Path) -> impl FnOnce(std::io::Error) -> Report + 'p {
    move |e| Report::new(Kind::Failed, format!("cannot {verb} {}: {e}", path.display()))
}

/// The checkpoints of some files, each signed by the key.
fn checkpoints(args: &VerifyArgs, paths: &Paths) -> Result<Vec<Checkpoint>, Report> {
    if args.against.is_empty() {
        return Ok(Vec::new());
    }
    let wrong = |what: &str, error: NoteError| {
        Report::new(Kind::Invalid, format!("{what}: {error}"))
            .with_next("it is no evidence for or against this ledger: look at how it was kept")
    };
    let key: Verifier = match &args.key {
        Some(given) => key::given(given)?.parse().map_err(|e| wrong("the key cannot be used", e))?,
        None => key::public(&paths.etc)?,
    };
    let mut all = Vec::new();
    let mut files = Vec::new();
    for path in &args.against {
        if path.is_dir() {
            let there = std::fs::read_dir(path).map_err(failed("read", path))?;
            for file in there {
                let file = file.map_err(failed("read", path))?.path();
                if file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"checkpoint")) {
                    files.push(file);
                }
            }
        } else {
            files.push(path.clone());
        }
    }
    for path in &files {
        let text = std::fs::read_to_string(path).map_err(failed("read", path))?;
        for note in checkpoint::split(&text) {
            let opened = Checkpoint::open(note, &key);
            all.push(opened.map_err(|e| wrong(&format!("a checkpoint in {} is false", path.display()), e))?);
        }
    }
    if all.is_empty() {
        return Err(Report::new(Kind::Invalid, "there is no checkpoint in the files given"));
    }
    Ok(all)
}

/// `ledger verify`. The error is what was found.
pub fn verify(db: &Path, args: &VerifyArgs, paths: &Paths, out: Out) -> Result<(), Report> {
    let against = checkpoints(args, paths)?;
    let tiles = args.against.iter().find(|path| path.is_dir());
    let progress = TerminalProgress::new(out.json);
    progress.report(&format!("verifying {}", db.display()), None);
    let verification =
        Ledger::read(db, |ledger| ledger.verify_against(&against, tiles.map(PathBuf::as_path)))?;
    drop(progress);
    out.answer(&verification, text::verification);
    match &verification.first_bad {
        None => Ok(()),
        Some(first) => {
            Err(Report::new(Kind::Failed, format!("the ledger {} is not whole: {first}", db.display()))
                .with_next(
                    "compare it with a copy kept elsewhere; docs/ledger-format.md says what is proven",
                ))
        }
    }
}

/// `ledger checkpoint`.
pub fn checkpoint(db: &Path, args: &CheckpointArgs, paths: &Paths, out: Out) -> Result<(), Report> {
    let progress = TerminalProgress::new(out.json);
    progress.report(&format!("verifying {}", db.display()), None);
    let (checkpoint, note, leaves) = keep::signed(db, &paths.etc)?;
    drop(progress);
    if let Some(directory) = &args.to {
        if args.first {
            keep::prepare(directory, &checkpoint.origin)?;
        }
        keep::in_directory(directory, &checkpoint, &note, &leaves)?;
    }
    let Checkpoint { origin, size, .. } = checkpoint;
    out.answer(&answers::Checkpoint { origin, size, note }, |made| made.note.clone());
    Ok(())
}

/// `ledger checkpoint --scheduled`.
pub fn scheduled(common: &Common) -> Result<(), Report> {
    let (host, out) = (common.host(), common.out());
    let spec = common.spec(&host)?;
    let progress = TerminalProgress::new(out.json);
    let made = keep::scheduled(&Context { host: &host, spec: &spec, progress: &progress }, Timestamp::now());
    drop(progress);
    out.answer(&made?, |made| match (made, &spec.ledger.checkpoints) {
        (Some(made), _) => format!("a checkpoint of {} entries was put there: {}", made.size, made.to),
        (None, Some(_)) => "none is due".into(),
        (None, None) => "the host spec asks for none (ledger.checkpoints)".into(),
    });
    Ok(())
}

/// `ledger key create`.
pub fn create_key(db: &Path, paths: &Paths, out: Out) -> Result<(), Report> {
    let key = key::create(db, &paths.etc)?.to_string();
    out.answer(&answers::MadeKey { key, path: paths.etc.join(key::KEY) }, |made| made.key.clone());
    Ok(())
}

/// `ledger key show`.
pub fn show_key(paths: &Paths, out: Out) -> Result<(), Report> {
    let key = key::public(&paths.etc)?.to_string();
    out.answer(&answers::Key { key }, |shown| shown.key.clone());
    Ok(())
}

/// `ledger show`.
pub fn show(db: &Path, args: &ShowArgs, out: Out) -> Result<(), Report> {
    let filter = args.filter();
    let entries = Ledger::read(db, |ledger| ledger.entries(&filter))?;
    out.answer(&answers::Entries { entries }, |shown| text::table(&shown.entries, &TimeZone::system()));
    Ok(())
}
