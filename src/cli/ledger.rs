//! `ledger init|verify|show`, for the helper and for the admin's program.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Common, Out};
use crate::deployment::Deployment;
use crate::fault::{Kind, Report};
use crate::ledger::{Caller, Filter, Init, Ledger, text};
use crate::paths::Tree;
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
    out.answer(&json!({ "ledger": db, "result": done }), |_| match done {
        Init::Created => format!("made the ledger {}", db.display()),
        Init::AlreadyThere => format!("the ledger {} is there; nothing to do", db.display()),
    });
    Ok(())
}

/// `ledger verify`. The error is what was found.
pub fn verify(db: &Path, out: Out) -> Result<(), Report> {
    let verification = Ledger::read(db, Ledger::verify)?;
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

/// `ledger show`.
pub fn show(db: &Path, args: &ShowArgs, out: Out) -> Result<(), Report> {
    let filter = args.filter();
    let entries = Ledger::read(db, |ledger| ledger.entries(&filter))?;
    out.answer(&json!({ "entries": entries }), |_| text::table(&entries, &TimeZone::system()));
    Ok(())
}
