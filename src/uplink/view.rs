//! How a move stands, for people and programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::UplinkError;
use super::journal::{self, Journal, Manager, Phase};
use super::plan::{File, Plan};
use super::rollback::store;
use crate::engine::Host;

/// How a move stands, or what one would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The network card that is moved; none where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nic: Option<String>,
    /// The bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// Who configures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<Manager>,
    /// How far the move is; none for one that is only planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// How many seconds are left to confirm it; none where there is nothing to confirm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// The addresses that were moved.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// The routes that were moved.
    #[serde(default)]
    pub routes: Vec<String>,
    /// The files that were written; of a plan, with what would be.
    #[serde(default)]
    pub files: Vec<File>,
    /// Of a plan: what `ip` would be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

impl Status {
    /// What a move would do.
    pub(super) fn planned(plan: &Plan) -> Self {
        Self {
            nic: Some(plan.nic.clone()),
            bridge: Some(plan.bridge.clone()),
            manager: Some(plan.manager.clone()),
            addresses: plan.addresses.iter().map(|address| address.net.clone()).collect(),
            routes: plan.routes.iter().map(|route| route.words.join(" ")).collect(),
            files: plan.files.clone(),
            commands: plan.batch().lines().map(|line| format!("ip {line}")).collect(),
            ..Self::default()
        }
    }

    fn of(journal: Journal, boot: &str, seconds: f64) -> Self {
        let waits = matches!(journal.phase, Phase::Applied | Phase::Preparing);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most a day, and never negative"
        )]
        let left = waits.then(|| journal.left(boot, seconds).ceil() as u64);
        Self {
            nic: Some(journal.nic),
            bridge: Some(journal.bridge),
            manager: Some(journal.manager),
            phase: Some(journal.phase),
            seconds_left: left,
            addresses: journal.addresses.into_iter().map(|address| address.net).collect(),
            routes: journal.routes.into_iter().map(|route| route.words.join(" ")).collect(),
            // Who may look may not see what root alone may read.
            files: journal
                .files
                .into_iter()
                .map(|c| File { path: c.path, text: String::new(), mode: c.mode })
                .collect(),
            commands: Vec::new(),
        }
    }
}

/// How the move stands.
pub fn status(host: &Host) -> Result<Status, UplinkError> {
    let (boot, seconds) = journal::now()?;
    Ok(store(host).load()?.map_or_else(Status::default, |journal| Status::of(journal, &boot, seconds)))
}
