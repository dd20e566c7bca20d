//! What differs between the flows on the bridge and those that shall be there, as `ovs-ofctl diff-flows`
//! tells it. Open vSwitch normalises both sides itself, so nothing here depends on how a version of
//! it formats a match or an action: the two sides of a change are printed by the same program.

use std::collections::BTreeMap;

use super::model::{COOKIE, COOKIE_MASK};

/// One flow as `ovs-ofctl` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Printed {
    /// The table.
    pub(super) table: u8,
    /// Priority and match: what makes it the same flow.
    pub(super) matches: String,
    /// Its cookie.
    pub(super) cookie: u64,
    /// Whether it goes away by itself.
    pub(super) timeout: bool,
    /// All of it.
    pub(super) text: String,
}

impl Printed {
    /// Reads a line of `diff-flows` (without its sign) or of `dump-flows --no-stats`; `None` where it is neither.
    pub(super) fn read(line: &str) -> Option<Self> {
        let (head, _actions) = line.split_once("actions=")?;
        let mut flow = Self {
            table: 0,
            matches: String::new(),
            cookie: 0,
            timeout: false,
            text: line.trim().to_owned(),
        };
        let mut matches = Vec::new();
        for word in head.split([' ', ',']).filter(|w| !w.is_empty()) {
            match word.split_once('=') {
                Some(("table", table)) => flow.table = table.parse().ok()?,
                Some(("cookie", cookie)) => {
                    flow.cookie = u64::from_str_radix(cookie.trim_start_matches("0x"), 16).ok()?;
                }
                Some(("idle_timeout" | "hard_timeout", _)) => flow.timeout = true,
                Some(("importance", _)) => {}
                None if [
                    "send_flow_rem",
                    "check_overlap",
                    "reset_counts",
                    "no_packet_counts",
                    "no_byte_counts",
                ]
                .contains(&word) => {}
                _ => matches.push(word),
            }
        }
        flow.matches = matches.join(",");
        Some(flow)
    }

    /// Whether it is one of ours.
    pub(super) fn is_ours(&self) -> bool {
        self.cookie & COOKIE_MASK == COOKIE & COOKIE_MASK
    }

    fn key(&self) -> (u8, String) {
        (self.table, self.matches.clone())
    }

    /// Table, priority and match, as `ovs-ofctl --strict del-flows` takes them.
    pub(super) fn strict(&self) -> String {
        let comma = if self.matches.is_empty() { "" } else { "," };
        format!("table={}{comma}{}", self.table, self.matches)
    }
}

/// What differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Wanted, and not there.
    pub(super) missing: Vec<Printed>,
    /// Wanted, and there with other actions.
    pub(super) altered: Vec<Printed>,
    /// Ours, and no longer wanted.
    pub(super) surplus: Vec<Printed>,
    /// Not ours, in a place that we want.
    pub(super) collisions: Vec<Printed>,
}

impl Difference {
    /// Reads what `diff-flows BRIDGE WANTED` prints: `-` is on the bridge, `+` is wanted.
    pub(super) fn read(output: &str) -> Self {
        let mut there = BTreeMap::new();
        let mut wanted = Vec::new();
        for line in output.lines() {
            if let Some(flow) = line.strip_prefix('-').and_then(Printed::read) {
                there.insert(flow.key(), flow);
            } else if let Some(flow) = line.strip_prefix('+').and_then(Printed::read) {
                wanted.push(flow);
            }
        }
        let mut difference = Self::default();
        for flow in wanted {
            match there.remove(&flow.key()) {
                None => difference.missing.push(flow),
                Some(old) if old.is_ours() => difference.altered.push(flow),
                Some(old) => difference.collisions.push(old),
            }
        }
        difference.surplus = there.into_values().filter(Printed::is_ours).collect();
        difference
    }

    /// The bundle that makes the bridge what it should be. Empty where it is.
    pub(super) fn bundle(&self) -> Vec<String> {
        let removals = self
            .surplus
            .iter()
            .map(|f| format!("flow delete_strict cookie={COOKIE:#x}/{COOKIE_MASK:#x},{}", f.strict()));
        let additions = self.missing.iter().chain(&self.altered).map(|f| format!("flow add {}", f.text));
        removals.chain(additions).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "cookie=0x6f70646200000000";

    #[test]
    fn a_line_is_read_as_open_vswitch_prints_it() {
        let dumped = Printed::read(&format!(
            " {OURS}, table=10, priority=90,ct_state=+new+trk,ip,in_port=10,nw_dst=10.0.0.5 actions=ct(commit,zone=1),output:100"
        ))
        .unwrap();
        let diffed = Printed::read(&format!(
            "table=10 priority=90,ct_state=+new+trk,ip,in_port=10,nw_dst=10.0.0.5 {OURS} actions=drop"
        ))
        .unwrap();
        assert_eq!(dumped.key(), diffed.key());
        assert!(dumped.is_ours() && !dumped.timeout);
        let bare = Printed::read(" actions=NORMAL").unwrap();
        assert_eq!((bare.strict().as_str(), bare.cookie, bare.is_ours()), ("table=0", 0, false));
        let fading =
            Printed::read(" cookie=0x1, idle_timeout=60, priority=7,tcp,tp_dst=80 actions=drop").unwrap();
        assert!(fading.timeout);
        assert_eq!(fading.strict(), "table=0,priority=7,tcp,tp_dst=80");
        assert_eq!(Printed::read("OFPST_FLOW reply (OF1.4) (xid=0x2):"), None);
    }

    #[test]
    fn differences_are_told_apart_and_foreign_flows_are_left() {
        let difference = Difference::read(&format!(
            "+priority=50 {OURS} actions=goto_table:30\n\
             -table=5 priority=7,tcp,tp_dst=80 actions=drop\n\
             -table=10 priority=91,ip {OURS} actions=drop\n\
             -table=30 priority=50 {OURS} actions=drop\n\
             +table=30 priority=50 {OURS} actions=NORMAL\n"
        ));
        assert!(difference.collisions.is_empty());
        assert_eq!(
            difference.bundle(),
            [
                format!("flow delete_strict {OURS}/0xffffffff00000000,table=10,priority=91,ip"),
                format!("flow add priority=50 {OURS} actions=goto_table:30"),
                format!("flow add table=30 priority=50 {OURS} actions=NORMAL"),
            ]
        );
    }

    #[test]
    fn a_foreign_flow_in_our_place_is_a_collision() {
        let difference = Difference::read(&format!(
            "-priority=50 cookie=0x1 actions=goto_table:30\n+priority=50 {OURS} actions=goto_table:30\n"
        ));
        assert_eq!(difference.collisions.len(), 1);
        assert!(difference.bundle().is_empty());
    }
}
