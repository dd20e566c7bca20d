//! `ledger.*`

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::containers::NoArgs;
use super::registry::{Effect, Op};
use crate::fault::Report;
use crate::ledger::{self, Entry, Filter, Verification};
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
    /// Only from this time on: an RFC 3339 time, or a date in the host's time zone.
    #[arg(long)]
    since: Option<String>,
    /// Only up to this time.
    #[arg(long)]
    until: Option<String>,
    /// How many entries, the newest first.
    #[arg(short = 'n', long, default_value_t = 50)]
    limit: u32,
}

impl Default for ShowArgs {
    fn default() -> Self {
        Self { operation: None, target: None, since: None, until: None, limit: 50 }
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
        let spec = call.spec()?;
        let filter = Filter {
            operation: args.operation,
            target: args.target,
            since: args.since.as_deref().map(ledger::parse_time).transpose()?,
            until: args.until.as_deref().map(ledger::parse_time).transpose()?,
            limit: Some(args.limit),
            ..Filter::default()
        };
        Ok(ledger::Ledger::open_read_only(&Tree::new(&spec.btrfs.base_path).ledger())?.entries(&filter)?)
    }
    fn text(entries: &Vec<Entry>) -> String {
        ledger::entries_text(entries)
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
        Ok(ledger::verify(&Tree::new(&spec.btrfs.base_path).ledger())?)
    }
    fn text(verification: &Verification) -> String {
        ledger::verification_text(verification)
    }
}
