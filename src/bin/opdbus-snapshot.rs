//! The helper for snapshots: what the timer calls.

use std::process::ExitCode;
use std::time::Instant;

use clap::FromArgMatches;
use jiff::Timestamp;
use opdbus::cli::args::snapshot::{DUE, GROUP, RUN, command};
use opdbus::cli::{Common, PATIENCE, TerminalProgress, finish, init_logging, local, record_call};
use opdbus::engine::{Context, Lock, Stage};
use opdbus::fault::{Kind, Report};
use opdbus::ledger::Outcome;
use opdbus::snapshots::{self, Round, SnapshotsComponent};
use serde_json::json;

fn main() -> ExitCode {
    init_logging();
    let matches = command().get_matches();
    let done = if let Some(verb @ (RUN | DUE)) = matches.subcommand_name() {
        Common::from_arg_matches(&matches)
            .map_err(|error| Report::new(Kind::Invalid, error.to_string()))
            .and_then(|common| round(verb == RUN, &common))
    } else {
        let stages: [Box<dyn Stage>; 1] = [Box::new(SnapshotsComponent)];
        local::run(&stages, GROUP, &matches)
    };
    finish(matches.get_flag("json"), done)
}

/// What is due, taken or only shown.
fn round(run: bool, common: &Common) -> Result<(), Report> {
    let (host, out) = (common.host(), common.out());
    let spec = common.spec(&host)?;
    let progress = TerminalProgress::new(out.json);
    let cx = Context { host: &host, spec: &spec, progress: &progress };
    let round = if !run {
        snapshots::plan_round(&cx, Timestamp::now())
    } else if spec.snapshots.is_empty() {
        // Where nothing is declared, nobody is waited for.
        Round::default()
    } else {
        take(&cx)?
    };
    drop(progress);
    out.answer(&round, snapshots::text::round);
    round.failure().cloned().map_or(Ok(()), Err)
}

/// One round, with its entry in the ledger where it did anything.
fn take(cx: &Context<'_>) -> Result<Round, Report> {
    let started = Instant::now();
    let _lock = Lock::take(&cx.host.paths.lock(), PATIENCE)?;
    let round = snapshots::round(cx, Timestamp::now());
    if round.changed() || round.failure().is_some() {
        let outcome = round.failure().map_or(Outcome::Ok, |report| Outcome::Failed(report.message.clone()));
        let taken: Vec<String> =
            round.subjects.iter().flat_map(|done| &done.taken).map(ToString::to_string).collect();
        let removed: Vec<String> =
            round.subjects.iter().flat_map(|done| &done.removed).map(ToString::to_string).collect();
        let arguments = json!({ "taken": taken, "removed": removed });
        record_call(cx, "snapshot.run", "schedule", &arguments, &outcome, started.elapsed())?;
    }
    Ok(round)
}
