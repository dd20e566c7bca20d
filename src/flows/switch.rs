//! The flows of the bridge, seen and changed through ovs-ofctl. It is Open vSwitch itself that compares
//! (`diff-flows`), so that no formatting of ours or of another version can make equal flows look different;
//! and one bundle changes them, so that the tables are never half one thing and half another.

use std::collections::BTreeSet;

use super::FlowsError;
use super::model::{COOKIE, Flow};
use crate::engine::Context;
use crate::run::{Invocation, RunError};

/// `bundle` needs OpenFlow 1.4.
const PROTOCOL: [&str; 2] = ["-O", "OpenFlow14"];

/// How the flows on the bridge differ from ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Those that are missing or are not what they should be, as `diff-flows` has them.
    pub(super) add: Vec<DiffLine>,
    /// Those with our cookie that should not be there.
    pub(super) remove: Vec<DiffLine>,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

/// A line of `ovs-ofctl diff-flows`: `[table=N ]priority=P[,match][ cookie=0x…][ …] actions=…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DiffLine {
    /// Table, priority and match: what makes two flows the same entry.
    pub(super) key: String,
    pub(super) cookie: u64,
    pub(super) actions: String,
}

fn bridge(cx: &Context<'_>) -> String {
    format!("unix:{}", cx.host.paths.ovs_run.join(format!("{}.mgmt", cx.spec.ovs.bridge)).display())
}

fn ofctl(cx: &Context<'_>, command: &str) -> Invocation {
    // Numbers, not names: a port whose device is not there yet has no name to OpenFlow.
    Invocation::new("ovs-ofctl").args(PROTOCOL).arg("--no-names").arg(command).arg(bridge(cx))
}

/// Whether the bridge answers OpenFlow.
pub(super) fn answers(cx: &Context<'_>) -> bool {
    cx.host.paths.ovs_run.join(format!("{}.mgmt", cx.spec.ovs.bridge)).exists()
}

/// Compares the bridge's flows with ours. A foreign flow of the same table, priority and match as one of ours
/// would be overwritten: that is an error.
pub(super) fn difference(cx: &Context<'_>, desired: &[Flow]) -> Result<Difference, FlowsError> {
    let file: String = desired.iter().map(|flow| flow.line() + "\n").collect();
    // By a path: only then is it taken for a file.
    let call = ofctl(cx, "diff-flows").arg("/dev/stdin").stdin(file);
    let output = cx.host.run.output(&call)?;
    // 2: they differ (ovs-ofctl(8)).
    if output.status != 0 && output.status != 2 {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(RunError::Status { call: call.to_string(), status: output.status, stderr }.into());
    }
    split(&output.text())
}

fn split(text: &str) -> Result<Difference, FlowsError> {
    let mut difference = Difference::default();
    let mut foreign = BTreeSet::new();
    for line in text.lines() {
        let not_understood = || FlowsError::Line(line.to_owned());
        let (sign, rest) = line.split_at_checked(1).ok_or_else(not_understood)?;
        let parsed = parse(rest).ok_or_else(not_understood)?;
        match sign {
            "+" => difference.add.push(parsed),
            "-" if parsed.cookie == COOKIE => difference.remove.push(parsed),
            "-" => drop(foreign.insert(parsed.key)),
            _ => return Err(not_understood()),
        }
    }
    if let Some(taken) = difference.add.iter().find(|line| foreign.contains(&line.key)) {
        return Err(FlowsError::Foreign(taken.key.clone()));
    }
    // An entry that is added replaces the one of ours with the same key.
    let added: BTreeSet<&String> = difference.add.iter().map(|line| &line.key).collect();
    difference.remove.retain(|line| !added.contains(&line.key));
    Ok(difference)
}

fn parse(line: &str) -> Option<DiffLine> {
    let (head, actions) = line.split_once("actions=")?;
    let (mut key, mut cookie, mut table) = (String::new(), 0, "0");
    for word in head.split_whitespace() {
        if let Some(value) = word.strip_prefix("cookie=") {
            cookie = u64::from_str_radix(value.trim_end_matches(',').strip_prefix("0x")?, 16).ok()?;
        } else if let Some(value) = word.strip_prefix("table=") {
            table = value.trim_end_matches(',');
        } else if word.starts_with("priority=") || key.is_empty() && !word.contains("timeout=") {
            word.trim_end_matches(',').clone_into(&mut key);
        }
    }
    // Without a priority word the default one, 32768, is meant (ovs-ofctl(8)).
    if !key.starts_with("priority=") {
        key = format!("priority=32768{}{key}", if key.is_empty() { "" } else { "," });
    }
    Some(DiffLine { key: format!("table={table},{key}"), cookie, actions: actions.trim().to_owned() })
}

/// Makes the changes of a difference as one atomic bundle.
pub(super) fn change(cx: &Context<'_>, difference: &Difference) -> Result<(), FlowsError> {
    if difference.is_empty() {
        return Ok(());
    }
    let mut bundle = String::new();
    for line in &difference.remove {
        bundle.push_str(&format!("flow delete_strict cookie={COOKIE:#x}/-1,{}\n", line.key));
    }
    for line in &difference.add {
        bundle.push_str(&format!("flow add cookie={COOKIE:#x},{},actions={}\n", line.key, line.actions));
    }
    cx.host.run.run(&ofctl(cx, "bundle").arg("-").stdin(bundle))?;
    Ok(())
}

/// All flows of the bridge, as lines that `add-flow` reads back.
pub(super) fn dump(cx: &Context<'_>) -> Result<Vec<String>, FlowsError> {
    let output = cx.host.run.run(&ofctl(cx, "dump-flows").arg("--no-stats"))?.text();
    Ok(output.lines().map(str::trim).filter(|line| line.contains("actions=")).map(str::to_owned).collect())
}

/// Whether a dumped flow is ours.
pub(super) fn is_ours(line: &str) -> bool {
    line.contains(&format!("cookie={COOKIE:#x},"))
}

/// Adds flows as they were dumped, where none of the same table, priority and match is there.
pub(super) fn add_missing(cx: &Context<'_>, lines: &[String]) -> Result<usize, FlowsError> {
    let there: BTreeSet<String> = dump(cx)?.iter().filter_map(|line| key_of_dump(line)).collect();
    let missing: Vec<&String> =
        lines.iter().filter(|line| key_of_dump(line).is_some_and(|key| !there.contains(&key))).collect();
    if missing.is_empty() {
        return Ok(0);
    }
    let bundle: String = missing.iter().map(|line| format!("flow add {line}\n")).collect();
    cx.host.run.run(&ofctl(cx, "bundle").arg("-").stdin(bundle))?;
    Ok(missing.len())
}

fn key_of_dump(line: &str) -> Option<String> {
    parse(&line.replace(", ", " ")).map(|parsed| parsed.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    // As printed by Open vSwitch 3.1.
    const FOREIGN: &str = "-priority=7,tcp actions=drop\n";

    #[test]
    fn foreign_flows_are_left_alone() {
        assert_eq!(split(FOREIGN).unwrap(), Difference::default());
    }

    #[test]
    fn a_tampered_flow_is_put_right_and_a_stale_one_removed() {
        let text = "-priority=100,ip,nw_dst=10.0.0.0/24 cookie=0x6f70646200000000 actions=drop\n\
                    +priority=100,ip,nw_dst=10.0.0.0/24 cookie=0x6f70646200000000 actions=goto_table:10\n\
                    -table=10 priority=90,ct_state=+new+trk,ip cookie=0x6f70646200000000 actions=output:101\n";
        let difference = split(text).unwrap();
        assert_eq!(difference.add.len(), 1);
        assert_eq!(difference.remove.len(), 1);
        assert_eq!(difference.remove[0].key, "table=10,priority=90,ct_state=+new+trk,ip");
    }

    #[test]
    fn a_foreign_flow_where_one_of_ours_belongs_is_a_conflict() {
        let text = "-table=30 priority=50 cookie=0x1 actions=drop\n+table=30 priority=50 cookie=0x6f70646200000000 actions=NORMAL\n";
        let error = split(text).unwrap_err().to_string();
        assert!(error.contains("table=30,priority=50"), "{error}");
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error_and_not_ignored() {
        assert!(split("?x").is_err() && split("+x").is_err());
    }

    #[test]
    fn flows_without_a_priority_or_with_a_timeout_have_a_key() {
        assert_eq!(parse("tcp actions=drop").unwrap().key, "table=0,priority=32768,tcp");
        assert_eq!(
            parse("priority=7,tcp idle_timeout=5 actions=drop").unwrap().key,
            "table=0,priority=7,tcp"
        );
        assert_eq!(
            key_of_dump("cookie=0x1, table=30, priority=50 actions=drop").unwrap(),
            "table=30,priority=50"
        );
        assert_eq!(
            key_of_dump("reset_counts priority=7,tcp actions=drop").unwrap(),
            "table=0,priority=7,tcp"
        );
    }
}
