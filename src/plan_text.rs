//! Plans and their results, for a person.

use crate::engine::{Action, PlannedChange};

/// One change, in a line.
#[must_use]
pub fn sentence(change: &PlannedChange) -> String {
    let sign = match change.action {
        Action::Create => '+',
        Action::Update => '~',
        Action::Remove => '-',
    };
    let detail = if change.detail.is_empty() { String::new() } else { format!(": {}", change.detail) };
    format!("{sign} {}{detail}", change.object)
}

fn text(changes: &[PlannedChange], what: &str) -> String {
    if changes.is_empty() {
        return "nothing to change".into();
    }
    let mut text: String = changes.iter().map(|change| sentence(change) + "\n").collect();
    let noun = if changes.len() == 1 { "change" } else { "changes" };
    text.push_str(&format!("{} {noun} {what}", changes.len()));
    text
}

/// A plan.
#[must_use]
pub fn planned(changes: &[PlannedChange]) -> String {
    text(changes, "to make")
}

/// What was applied.
#[must_use]
pub fn applied(changes: &[PlannedChange]) -> String {
    text(changes, "made")
}
