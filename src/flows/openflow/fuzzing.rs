//! What a switch says, from any bytes.

use super::bytes::Writer;
use super::{codec, read_flows};
use crate::flows::printed::Printed;
use crate::flows::rule::{Action, Flow, Key, Match};

/// Matches, instructions and whole answers: whatever is understood is, written and read, what it was.
pub(in crate::flows) fn messages(data: &[u8]) {
    if let Some(matches) = codec::read_match(data) {
        written(&matches);
    }
    if let Some(actions) = codec::read_instructions(data) {
        carried_out(&actions);
    }
    let mut flows = Vec::new();
    let _ = read_flows(data, &mut flows);
    for found in flows {
        assert!(found.raw.len().is_multiple_of(8) && found.raw.len() <= data.len());
        let (Some(key), Some(actions)) = (found.key(), found.actions.clone()) else { continue };
        written(&key.matches);
        carried_out(&actions);
        printed(&Flow { key, actions });
    }
}

fn written(matches: &Match) {
    let mut to = Writer::default();
    codec::write_match(&mut to, matches);
    assert_eq!(to.0.len() % 8, 0);
    let length = usize::from(u16::from_be_bytes([to.0[2], to.0[3]]));
    assert!(to.0.len() - length < 8 && to.0[length..].iter().all(|b| *b == 0), "padded with zeros");
    assert_eq!(codec::read_match(&to.0[4..length]).as_ref(), Some(matches));
}

fn carried_out(actions: &[Action]) {
    let mut to = Writer::default();
    codec::write_instructions(&mut to, actions);
    assert_eq!(to.0.len() % 8, 0);
    // A switch carries instructions out in the order of their kinds, whichever they came in: another table is last.
    let (gotos, mut ordered): (Vec<_>, Vec<_>) =
        actions.iter().cloned().partition(|action| matches!(action, Action::Goto(_)));
    ordered.extend(gotos);
    assert_eq!(codec::read_instructions(&to.0), Some(ordered));
}

/// A flow as `ovs-ofctl` reads it is read back with the same table and match.
fn printed(flow: &Flow) {
    let text = flow.to_string();
    let Key { table, .. } = flow.key;
    let read = Printed::read(&text);
    assert_eq!(read.as_ref().map(|r| r.table), Some(table), "{text}");
    let matches = read.map(|r| format!("table={table},{}", r.matches));
    assert_eq!(matches, Some(flow.key.to_string()));
}
