//! The second target of a component beside the host spec: nothing of it. What it made is taken away again; what is
//! not its own, or is the user's by now, is kept, and said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, PlannedChange, Stage};
use crate::fault::Report;

/// What a component would take away, and what of its affairs stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retirement<C> {
    /// The changes, in the order in which they are made.
    pub changes: Vec<C>,
    /// What stays.
    pub kept: Vec<Kept>,
}

impl<C> Default for Retirement<C> {
    fn default() -> Self {
        Self { changes: Vec::new(), kept: Vec::new() }
    }
}

/// Something that stays when operation-dbus goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// What: `bridge ovsbr0`.
    pub object: String,
    /// Why it stays, and what to do where it should not.
    pub why: String,
}

impl Kept {
    /// Something that stays, and why.
    pub fn new(object: impl Into<String>, why: impl Into<String>) -> Self {
        Self { object: object.into(), why: why.into() }
    }
}

/// What the components would take away, in the order given, and what stays. Changes nothing.
pub fn plan_retirement(
    stages: &[Box<dyn Stage>],
    cx: &Context<'_>,
    data: bool,
) -> Result<Retirement<PlannedChange>, Report> {
    let mut all = Retirement::default();
    for stage in stages {
        let one = stage.plan_retirement(cx, data)?;
        all.changes.extend(one.changes);
        all.kept.extend(one.kept);
    }
    Ok(all)
}
