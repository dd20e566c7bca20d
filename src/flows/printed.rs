//! Flows of others, which may be made of anything that Open vSwitch has: as `ovs-ofctl` prints and reads them. It
//! normalises both sides of a comparison itself, so nothing here depends on how a version of it writes a match.

use std::collections::BTreeSet;

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
        let line = line.trim();
        let (head, _actions) = line.split_once("actions=")?;
        let mut flow =
            Self { table: 0, matches: String::new(), cookie: 0, timeout: false, text: line.to_owned() };
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

    /// Table, priority and match.
    #[cfg(test)]
    fn strict(&self) -> String {
        let comma = if self.matches.is_empty() { "" } else { "," };
        format!("table={}{comma}{}", self.table, self.matches)
    }
}

/// The flows that `diff-flows BRIDGE WANTED` says are wanted (`+`) and of which there is none on the bridge (`-`).
pub(super) fn missing(output: &str) -> Vec<Printed> {
    let sign = |sign: char| output.lines().filter_map(move |l| l.strip_prefix(sign).and_then(Printed::read));
    let there: BTreeSet<_> = sign('-').map(|flow| flow.key()).collect();
    sign('+').filter(|flow| !there.contains(&flow.key())).collect()
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
        let indented = Printed::read("\tpriority=7,tcp actions=drop").unwrap();
        assert_eq!(indented.strict(), "table=0,priority=7,tcp");
        assert_eq!(Printed::read("OFPST_FLOW reply (OF1.4) (xid=0x2):"), None);
    }

    #[test]
    fn a_flow_is_missing_where_nothing_is_in_its_place() {
        let missing = missing(
            "+priority=50 cookie=0x1 actions=goto_table:30\n\
             -table=5 priority=7,tcp,tp_dst=80 actions=drop\n\
             -table=30 priority=50 actions=drop\n\
             +table=30 priority=50 actions=NORMAL\n",
        );
        assert_eq!(missing.iter().map(Printed::strict).collect::<Vec<_>>(), ["table=0,priority=50"]);
    }
}
