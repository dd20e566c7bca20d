//! `doctor`

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::registry::{Choices, Effect, Op, Privilege};
use crate::doctor::{self, Diagnosis};
use crate::fault::Report;

/// The checks an operation is about.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Checks {
    /// The checks, by name [default: all].
    #[arg(value_name = "CHECK")]
    #[serde(default)]
    checks: Vec<String>,
}

impl Checks {
    fn target(&self) -> String {
        if self.checks.is_empty() { "host".into() } else { self.checks.join(",") }
    }
}

/// `doctor`
pub(super) struct Look;

impl Op for Look {
    const NAME: &'static str = "doctor";
    const SUMMARY: &'static str = "Check that this host is well, and say what mends what is not";
    const HELP: &'static str = "Ends with status 1 where there is a problem; warnings are none. Root is answered without\nthe daemon where that does not run.";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "doctor",
        "run the doctor",
        "is <this host> (healthy|ok|okay|well|fine)",
        "check <this host>",
        "[run a] health check",
        "<what is> wrong with <this host>",
        "check [the] {checks, …}",
        "doctor {checks, …}",
        "run the doctor on [the] {checks, …}",
    ];
    const CHOICES: &'static [(&'static str, Choices)] = &[("checks", doctor::ids)];
    type Args = Checks;
    type Answer = Diagnosis;

    fn target(args: &Checks) -> String {
        args.target()
    }
    fn run(call: &Call<'_>, args: Checks) -> Result<Diagnosis, Report> {
        doctor::diagnose(call.host, &args.checks, call.progress)
    }
    fn text(diagnosis: &Diagnosis) -> String {
        doctor::text::text(diagnosis)
    }
}

/// `doctor.fix`
pub(super) struct Fix;

impl Op for Fix {
    const NAME: &'static str = "doctor.fix";
    const SUMMARY: &'static str = "Check that this host is well, and mend what `apply` mends";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const PHRASES: &'static [&'static str] = &[
        "(fix|repair|mend) <this host>",
        "doctor (fix|--fix)",
        "run the doctor and fix what it finds",
        "(fix|repair|mend) [the] {checks, …}",
    ];
    const CHOICES: &'static [(&'static str, Choices)] = &[("checks", doctor::ids)];
    type Args = Checks;
    type Answer = Diagnosis;

    fn target(args: &Checks) -> String {
        args.target()
    }
    fn run(call: &Call<'_>, args: Checks) -> Result<Diagnosis, Report> {
        let lock = call.lock()?;
        let diagnosis =
            doctor::fix(call.host, &args.checks, call.progress, &|outcome| call.changed(outcome))?;
        drop(lock);
        Ok(diagnosis)
    }
    fn text(diagnosis: &Diagnosis) -> String {
        doctor::text::text(diagnosis)
    }
}
