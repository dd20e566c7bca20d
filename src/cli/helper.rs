//! The verbs every helper has: `plan`, `apply`, `status`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::json;

use super::answers::Planned;
use super::output::{Out, TerminalProgress};
use crate::deployment::Deployment;
use crate::drift;
use crate::engine::{self, Context, Host, Lock, PlannedChange, Stage};
use crate::fault::Report;
use crate::ledger::{self, Caller, Ledger, NewEntry, Via};
use crate::ops::{Effect, said};
use crate::paths::Paths;
use crate::plan_text;
use crate::run::Runner;
use crate::spec::{self, HostSpec};

/// Options that every helper has.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// The host spec [default: /etc/opdbus/config.json].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl Common {
    /// The host as the environment gives it.
    #[must_use]
    pub fn host(&self) -> Host {
        Host { paths: Paths::from_env(), run: Runner::default() }
    }

    /// The host spec asked for.
    pub fn spec(&self, host: &Host) -> Result<HostSpec, Report> {
        let path = self.config.clone().unwrap_or_else(|| host.paths.config());
        Ok(spec::load(&path)?)
    }

    /// Where the answer goes.
    #[must_use]
    pub fn out(&self) -> Out {
        Out { json: self.json }
    }
}

/// What a helper does with its component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Show what would be changed, and change nothing.
    Plan,
    /// Make the host what the host spec says.
    Apply,
    /// Show what is there.
    Status,
}

/// How long a helper waits for another run to end before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Writes what a helper changed, or where it failed, to the ledger. A run that changed nothing (each boot has
/// some) is no entry, and before there is a ledger there is none to write to.
fn record(
    stages: &[Box<dyn Stage>],
    cx: &Context<'_>,
    outcome: &engine::Outcome,
    took: Duration,
) -> Result<(), Report> {
    if outcome.changes() == 0 && outcome.failure().is_none() {
        return Ok(());
    }
    let names: Vec<&str> = stages.iter().map(|stage| stage.name()).collect();
    let changes: Vec<&str> =
        outcome.components.iter().flat_map(|c| &c.applied).map(|change| change.object.as_str()).collect();
    let arguments = json!({ "components": names, "changes": changes });
    let ended = outcome
        .failure()
        .map_or(ledger::Outcome::Ok, |report| ledger::Outcome::Failed(report.message.clone()));
    record_call(cx, "apply", &names.join(","), &arguments, &ended, took)
}

/// Writes what a helper did to the ledger, where there is one, and to the log.
pub fn record_call(
    cx: &Context<'_>,
    operation: &str,
    target: &str,
    arguments: &serde_json::Value,
    outcome: &ledger::Outcome,
    took: Duration,
) -> Result<(), Report> {
    let path = cx.tree().ledger();
    let caller = Caller::this_process(Via::Helper);
    let entry = || -> Result<Option<i64>, Report> {
        if !path.exists() {
            return Ok(None);
        }
        let entry = NewEntry::call(ledger::Call {
            operation,
            target,
            caller: &caller,
            arguments: arguments.as_object().cloned().unwrap_or_default(),
            outcome: outcome.clone(),
            duration: took,
            deployment: Deployment::read(&cx.host.paths.etc),
        });
        Ok(Some(Ledger::open(&path)?.append(&entry)?.id))
    };
    let written = entry();
    let entry = written.as_ref().ok().copied().flatten();
    let effect = Effect::Change;
    said::Ended { operation, target, caller: &caller, effect, outcome, took, entry }.say();
    written.map(drop)
}

/// Runs a verb over a helper's components.
pub fn component_verb(stages: &[Box<dyn Stage>], verb: Verb, common: &Common) -> Result<(), Report> {
    let host = common.host();
    let spec = common.spec(&host)?;
    let out = common.out();
    let progress = TerminalProgress::new(out.json);
    let cx = Context { host: &host, spec: &spec, progress: &progress };
    match verb {
        Verb::Plan => {
            let changes = engine::plan(stages, &cx)?;
            drop(progress);
            out.answer(&Planned { changes }, |planned| plan_text::planned(&planned.changes));
        }
        Verb::Apply => {
            let started = Instant::now();
            let _lock = Lock::take(&host.paths.lock(), PATIENCE)?;
            let outcome = drift::apply(stages, &cx)?;
            let recorded = record(stages, &cx, &outcome, started.elapsed());
            drop(progress);
            let applied: Vec<PlannedChange> =
                outcome.components.iter().flat_map(|c| c.applied.clone()).collect();
            // That nothing was to be changed is not so where the first change failed.
            if out.json || outcome.failure().is_none() || !applied.is_empty() {
                out.answer(&outcome, |_| plan_text::applied(&applied));
            }
            if let Some(failure) = outcome.failure() {
                return Err(failure.clone());
            }
            recorded?;
        }
        Verb::Status => {
            let seen = engine::show(stages, &cx)?;
            drop(progress);
            out.answer(&seen, |seen| serde_json::to_string_pretty(seen).unwrap_or_default());
        }
    }
    Ok(())
}
