//! Drift for a person.

use serde_json::Value;

use super::Drift;
use super::diff::How;

/// How much of a value is shown, in characters.
const WIDTH: usize = 100;

/// A line for each difference.
#[must_use]
pub fn text(drift: &Drift) -> String {
    let mut text = String::new();
    for difference in &drift.differences {
        let was = difference.before.as_ref().map(short).unwrap_or_default();
        let is = difference.after.as_ref().map(short).unwrap_or_default();
        let (how, what) = match difference.change {
            How::Added => ("added  ", is),
            How::Removed => ("removed", was),
            How::Changed => ("changed", format!("{was} → {is}")),
        };
        text.push_str(&format!("{how}  {}\n           {what}\n", difference.path));
    }
    let since = match (&drift.time, &drift.version) {
        (Some(time), Some(version)) => format!("{time} (version {version})"),
        _ => "the state that was kept".to_owned(),
    };
    let count = match drift.differences.len() {
        0 => "Nothing differs from".to_owned(),
        1 => "One thing differs from".to_owned(),
        n => format!("{n} things differ from"),
    };
    if drift.saved {
        text.push_str(&match drift.differences.len() {
            0 => "What is there is kept from now on.".to_owned(),
            n => {
                format!("What is there is kept from now on, with {n} differences from what was kept before.")
            }
        });
        return text;
    }
    text.push_str(&format!("{count} what was applied, as of {since}."));
    if drift.drifted {
        text.push_str("\n  next: `op-dbus plan` shows what `apply` would undo; `op-dbus drift --save` takes all of it as it is");
    }
    if drift.spec_changed {
        text.push_str("\nThe host spec was changed since, and not applied: op-dbus plan");
    }
    text
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= WIDTH {
        return text;
    }
    text.chars().take(WIDTH).chain(['…']).collect()
}
