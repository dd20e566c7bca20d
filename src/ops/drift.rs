//! `drift`

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::registry::{Choices, Effect, Op, Privilege};
use crate::drift::{self, Drift};
use crate::fault::Report;
use crate::system;

/// The parts of the host an operation is about.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Parts {
    /// Components, as `op-dbus show` has them, or bus: the services on the system bus [default: all].
    #[arg(value_name = "COMPONENT")]
    #[serde(default)]
    parts: Vec<String>,
}

/// What can be compared.
fn parts() -> Vec<&'static str> {
    system::names().into_iter().chain([drift::BUS]).collect()
}

impl Parts {
    fn target(&self) -> String {
        if self.parts.is_empty() { "host".into() } else { self.parts.join(",") }
    }
}

/// `drift`
pub(super) struct Look;

impl Op for Look {
    const NAME: &'static str = "drift";
    const SUMMARY: &'static str = "Show how this host differs from the state that was applied last";
    const HELP: &'static str = "Ends with status 1 where it differs. Containers and templates made by hand are no drift, nor is\nwhat changes by itself: which containers and services run, objects on the bus that come and go.";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "<show> [the] drift",
        "drift",
        "has anything drifted [on <this host>]",
        "is there any drift [on <this host>]",
        "check for drift",
        "how does <this host> differ from the (state that was applied last|last applied state|applied state)",
        "[<show> [the]] drift (of|in) [the] {parts, …}",
        "has the {parts, …} drifted",
    ];
    const CHOICES: &'static [(&'static str, Choices)] = &[("parts", parts)];
    type Args = Parts;
    type Answer = Drift;

    fn target(args: &Parts) -> String {
        args.target()
    }
    fn run(call: &Call<'_>, args: Parts) -> Result<Drift, Report> {
        let spec = call.spec()?;
        drift::drift(&call.context(&spec), &args.parts)
    }
    fn text(found: &Drift) -> String {
        drift::text::text(found)
    }
}

/// `drift.save`
pub(super) struct Save;

impl Op for Save {
    const NAME: &'static str = "drift.save";
    const SUMMARY: &'static str = "Take what is there now for the state that `drift` compares with";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const PHRASES: &'static [&'static str] = &[
        "save the drift baseline",
        "drift (save|--save)",
        "(save|accept|take) the current state as the [new] (drift baseline|baseline for drift)",
        "save the drift baseline of [the] {parts, …}",
    ];
    const CHOICES: &'static [(&'static str, Choices)] = &[("parts", parts)];
    type Args = Parts;
    type Answer = Drift;

    fn target(args: &Parts) -> String {
        args.target()
    }
    fn run(call: &Call<'_>, args: Parts) -> Result<Drift, Report> {
        let spec = call.spec()?;
        let _lock = call.lock()?;
        drift::save(&call.context(&spec), &args.parts)
    }
    fn text(found: &Drift) -> String {
        drift::text::text(found)
    }
}
