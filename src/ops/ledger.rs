//! `ledger.*`

use clap::Args;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::containers::NoArgs;
use super::registry::{Effect, Op};
use crate::fault::{Kind, Report};
use crate::ledger::{Entry, Filter, Ledger, Verification, text};
use crate::paths::Tree;

/// `ledger.show`
pub(super) struct Show;

/// The arguments of `ledger.show`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ShowArgs {
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
        Self { operation: None, target: None, since: None, until: None, limit: 50, reverse: false }
    }
}

impl Op for Show {
    const NAME: &'static str = "ledger.show";
    const SUMMARY: &'static str = "Show the newest entries of the ledger";
    const EFFECT: Effect = Effect::Read;
    type Args = ShowArgs;
    type Answer = Vec<Entry>;

    fn target(_: &ShowArgs) -> String {
        "ledger".into()
    }
    fn run(call: &Call<'_>, args: ShowArgs) -> Result<Vec<Entry>, Report> {
        let time = |given: Option<String>, last: bool| {
            let parsed = given.map(|given| text::point(&given, last, &TimeZone::system())).transpose();
            parsed.map_err(|why| Report::new(Kind::Invalid, why))
        };
        let filter = Filter {
            ids: None,
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

impl Op for Verify {
    const NAME: &'static str = "ledger.verify";
    const SUMMARY: &'static str = "Check that no entry of the ledger was altered";
    const HELP: &'static str = "Names the first bad entry and ends with status 1 where there is one. For a copy of a\nledger: opdbus-ledger verify --db FILE.";
    const EFFECT: Effect = Effect::Read;
    type Args = NoArgs;
    type Answer = Verification;

    fn target(_: &NoArgs) -> String {
        "ledger".into()
    }
    fn run(call: &Call<'_>, _: NoArgs) -> Result<Verification, Report> {
        let spec = call.spec()?;
        Ok(Ledger::read(&Tree::new(&spec.btrfs.base_path).ledger(), Ledger::verify)?)
    }
    fn text(verification: &Verification) -> String {
        text::verification(verification)
    }
}
