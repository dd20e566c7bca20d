//! Running components: plan all, or validate all and then converge them one after the other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Change, Component, Context, PlannedChange, Retirement};
use crate::fault::{Kind, Report};

/// A component with its types erased, so that different ones fit one list.
pub trait Stage: Send + Sync {
    /// The component's name.
    fn name(&self) -> &'static str;
    /// See [`Component::validate`].
    fn validate(&self, cx: &Context<'_>) -> Result<(), Report>;
    /// What the component sees, as JSON.
    fn show(&self, cx: &Context<'_>) -> Result<Value, Report>;
    /// What of that stays as it is unless somebody changes it; see [`Component::lasting`].
    fn lasting(&self, cx: &Context<'_>) -> Result<Value, Report>;
    /// What it would change.
    fn plan(&self, cx: &Context<'_>) -> Result<Vec<PlannedChange>, Report>;
    /// Plans and makes the changes; stops at the first that fails and keeps what was done.
    fn converge(&self, cx: &Context<'_>) -> ComponentOutcome;
    /// See [`Component::retire`].
    fn plan_retirement(&self, cx: &Context<'_>, data: bool) -> Result<Retirement<PlannedChange>, Report>;
    /// Plans the retirement and makes its changes; stops at the first that fails and keeps what was done.
    fn retire(&self, cx: &Context<'_>, data: bool) -> ComponentOutcome;
}

/// What came of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentOutcome {
    /// The component.
    pub component: String,
    /// The changes that were made.
    pub applied: Vec<PlannedChange>,
    /// What stopped it, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Report>,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// The components that were reached, in order. The last one has the failure, if there was one.
    pub components: Vec<ComponentOutcome>,
}

impl Outcome {
    /// How many changes were made.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.components.iter().map(|c| c.applied.len()).sum()
    }
    /// What stopped the run, if anything did.
    #[must_use]
    pub fn failure(&self) -> Option<&Report> {
        self.components.iter().find_map(|c| c.failure.as_ref())
    }
}

fn planned<C: Component>(change: &C::Change) -> PlannedChange {
    PlannedChange {
        component: C::NAME.to_owned(),
        action: change.action(),
        object: change.object(),
        detail: change.detail(),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unshown<C: Component>(error: serde_json::Error) -> Report {
    Report::new(Kind::Failed, format!("cannot show {}: {error}", C::NAME))
}

impl<C: Component> Stage for C {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn validate(&self, cx: &Context<'_>) -> Result<(), Report> {
        Component::validate(self, cx).map_err(Report::from)
    }

    fn show(&self, cx: &Context<'_>) -> Result<Value, Report> {
        let seen = self.observe(cx).map_err(Report::from)?;
        serde_json::to_value(seen).map_err(unshown::<C>)
    }

    fn lasting(&self, cx: &Context<'_>) -> Result<Value, Report> {
        let seen = self.observe(cx).map_err(Report::from)?;
        Component::lasting(self, &seen).map_err(unshown::<C>)
    }

    fn plan(&self, cx: &Context<'_>) -> Result<Vec<PlannedChange>, Report> {
        let seen = self.observe(cx)?;
        Ok(Component::plan(self, cx.spec, &seen)?.iter().map(planned::<C>).collect())
    }

    fn converge(&self, cx: &Context<'_>) -> ComponentOutcome {
        let changes = self.observe(cx).and_then(|seen| Component::plan(self, cx.spec, &seen));
        make(self, cx, changes)
    }

    fn plan_retirement(&self, cx: &Context<'_>, data: bool) -> Result<Retirement<PlannedChange>, Report> {
        let Retirement { changes, kept } = Component::retire(self, cx, &self.observe(cx)?, data)?;
        Ok(Retirement { changes: changes.iter().map(planned::<C>).collect(), kept })
    }

    fn retire(&self, cx: &Context<'_>, data: bool) -> ComponentOutcome {
        let retirement = self.observe(cx).and_then(|seen| Component::retire(self, cx, &seen, data));
        make(self, cx, retirement.map(|retirement| retirement.changes))
    }
}

/// Makes the changes of a component, one after the other, up to the first that fails.
fn make<C: Component>(
    component: &C,
    cx: &Context<'_>,
    changes: Result<Vec<C::Change>, C::Error>,
) -> ComponentOutcome {
    let span = tracing::info_span!("apply", component = C::NAME);
    let _entered = span.enter();
    let mut outcome = ComponentOutcome { component: C::NAME.to_owned(), applied: Vec::new(), failure: None };
    let changes = match changes {
        Ok(changes) => changes,
        Err(fault) => {
            outcome.failure = Some(fault.into());
            return outcome;
        }
    };
    for change in changes {
        let words = planned::<C>(&change);
        cx.progress.report(&words.object, None);
        if let Err(fault) = component.apply(cx, &change) {
            outcome.failure = Some(fault.into());
            return outcome;
        }
        tracing::info!(action = ?words.action, object = words.object, "changed");
        outcome.applied.push(words);
    }
    outcome
}

/// What the given components see, by name.
pub fn show(stages: &[Box<dyn Stage>], cx: &Context<'_>) -> Result<Value, Report> {
    let mut all = Map::new();
    for stage in stages {
        all.insert(stage.name().to_owned(), stage.show(cx)?);
    }
    Ok(Value::Object(all))
}

/// What of the given components stays as it is unless somebody changes it, by name.
pub fn lasting(stages: &[Box<dyn Stage>], cx: &Context<'_>) -> Result<Map<String, Value>, Report> {
    stages.iter().map(|stage| Ok((stage.name().to_owned(), stage.lasting(cx)?))).collect()
}

/// What the given components would change. Changes nothing.
pub fn plan(stages: &[Box<dyn Stage>], cx: &Context<'_>) -> Result<Vec<PlannedChange>, Report> {
    let mut all = Vec::new();
    for stage in stages {
        stage.validate(cx)?;
        all.extend(stage.plan(cx)?);
    }
    Ok(all)
}

/// Validates all the given components and then converges them in order. The caller holds the [`super::Lock`].
/// The error is a failed validation: nothing was changed. A failure later is part of the outcome.
pub fn apply(stages: &[Box<dyn Stage>], cx: &Context<'_>) -> Result<Outcome, Report> {
    for stage in stages {
        stage.validate(cx)?;
    }
    let mut outcome = Outcome { components: Vec::new() };
    for stage in stages {
        let component = stage.converge(cx);
        let failed = component.failure.is_some();
        outcome.components.push(component);
        if failed {
            break;
        }
    }
    Ok(outcome)
}
