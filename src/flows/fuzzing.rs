//! What Open vSwitch and its tools say of flows, from any bytes.

use super::printed::{Printed, missing};

/// What a switch says over OpenFlow.
pub(crate) fn messages(data: &[u8]) {
    super::openflow::fuzzing::messages(data);
}

/// What `ovs-ofctl` prints: a line is a flow, the same when it is read again, or none; and what is said to be missing is
/// wanted, with nothing in its place.
pub(crate) fn printed(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.lines() {
        let Some(flow) = Printed::read(line) else { continue };
        assert_eq!(Printed::read(&flow.text).as_ref(), Some(&flow));
        assert!(!flow.matches.contains([' ', '\n']));
    }
    let taken: Vec<_> = text.lines().filter_map(|l| Printed::read(l.strip_prefix('-')?)).collect();
    for flow in missing(&text) {
        assert!(text.lines().any(|l| l.starts_with('+') && l.contains(&flow.text)), "{}", flow.text);
        assert!(!taken.iter().any(|t| (t.table, &t.matches) == (flow.table, &flow.matches)));
    }
}
