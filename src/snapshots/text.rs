//! Snapshots for a person.

use super::diff::{Differences, What};
use super::record::Record;
use super::schedule::Round;
use super::store::{Listed, State};

/// A name from inside a tree, on one line.
fn line(path: &str) -> String {
    path.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect()
}

/// The list.
#[must_use]
pub fn table(all: &[Listed]) -> String {
    if all.is_empty() {
        return "no snapshots; `op-dbus snapshot create` takes one".into();
    }
    let rows = all.iter().map(|listed| {
        let record = &listed.record;
        let note = match listed.state {
            State::Whole => record.why.as_deref().map(line).unwrap_or_default(),
            State::Writable => "can be written to; `op-dbus apply` closes it".into(),
            State::Gone => "its subvolume has been removed by hand".into(),
            State::Foreign => "something else is there under its name".into(),
        };
        [
            record.name.to_string(),
            record.subject.to_string(),
            record.label.as_ref().map_or_else(|| "-".into(), ToString::to_string),
            record.reason.to_string(),
            if record.kept { "kept".into() } else { "-".into() },
            record.by.clone(),
            note,
        ]
    });
    crate::table::render(["NAME", "OF", "LABEL", "REASON", "KEPT", "BY", "NOTE"], rows)
}

/// What was taken.
#[must_use]
pub fn taken(records: &[Record]) -> String {
    records.iter().map(|r| format!("took {} of {}\n", r.name, r.subject)).collect()
}

/// The differences, one a line, as `git` and `btrfs` users know them.
#[must_use]
pub fn differences(all: &Differences) -> String {
    let mut text = String::new();
    for change in &all.changes {
        let how = if change.how.is_empty() { String::new() } else { format!(" ({})", change.how.join(", ")) };
        let path = line(&change.path);
        text.push_str(&match (&change.what, &change.from) {
            (What::Added, _) => format!("+ {path}\n"),
            (What::Removed, _) => format!("- {path}\n"),
            (What::Changed, _) => format!("~ {path}{how}\n"),
            (What::Renamed, from) => {
                format!("> {} -> {path}{how}\n", line(from.as_deref().unwrap_or_default()))
            }
        });
    }
    if all.left_out > 0 {
        text.push_str(&format!("… and {} more\n", all.left_out));
    }
    for unread in &all.unread {
        text.push_str(&format!("! not looked at: {}\n", line(unread)));
    }
    let Differences { added, removed, changed, renamed, .. } = all;
    if added + removed + changed + renamed == 0 {
        text.push_str("no differences");
    } else {
        text.push_str(&format!("{added} added, {removed} removed, {changed} changed, {renamed} renamed"));
    }
    text
}

/// What a round of the timer did.
#[must_use]
pub fn round(round: &Round) -> String {
    let mut text = String::new();
    for done in &round.subjects {
        if let Some(name) = &done.taken {
            text.push_str(&format!("+ {name}\n"));
        }
        text.extend(done.removed.iter().map(|name| format!("- {name}\n")));
        if let Some(report) = &done.failed {
            text.push_str(&format!("! {}: {}\n", done.subject, report.message));
        }
    }
    if text.is_empty() { "nothing is due".into() } else { text }
}
