//! A flow, as data: what it matches and what it does. Only what our own flows are made of; what Open vSwitch
//! has beyond that is other people's.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Serialize, Serializer};

use crate::mac::MacAddr;

/// The state that connection tracking gives a packet: the bits that are looked at, and what they shall be.
/// Numbered as `ct_state` is in ovs-fields(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CtState {
    pub(super) value: u32,
    pub(super) mask: u32,
}

impl CtState {
    const NAMES: [(&'static str, u32); 6] =
        [("new", 0x01), ("est", 0x02), ("rel", 0x04), ("rpl", 0x08), ("inv", 0x10), ("trk", 0x20)];
    /// Not yet tracked.
    pub const UNTRACKED: Self = Self { value: 0, mask: 0x20 };
    /// The first packet of a connection.
    pub const NEW: Self = Self { value: 0x21, mask: 0x21 };
    /// Of a connection that passed before.
    pub const ESTABLISHED: Self = Self { value: 0x22, mask: 0x22 };
    /// Of one that belongs to a connection that passed before: an ICMP error.
    pub const RELATED: Self = Self { value: 0x24, mask: 0x24 };
}

impl fmt::Display for CtState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ct_state=")?;
        for (name, bit) in Self::NAMES.into_iter().filter(|(_, bit)| self.mask & bit != 0) {
            write!(f, "{}{name}", if self.value & bit == 0 { '-' } else { '+' })?;
        }
        Ok(())
    }
}

/// The protocol above Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// ARP.
    Arp,
    /// IPv4.
    Ip,
}

/// What a flow matches; the default matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    pub(super) ct_state: Option<CtState>,
    pub(super) protocol: Option<Protocol>,
    pub(super) in_port: Option<u32>,
    pub(super) eth_src: Option<MacAddr>,
    pub(super) eth_dst: Option<MacAddr>,
    pub(super) arp_op: Option<u16>,
    pub(super) arp_sha: Option<MacAddr>,
    pub(super) arp_spa: Option<Ipv4Net>,
    pub(super) arp_tpa: Option<Ipv4Net>,
    pub(super) nw_src: Option<Ipv4Net>,
    pub(super) nw_dst: Option<Ipv4Net>,
}

/// The number of the bridge's own port (`OFPP_LOCAL`): what the host says and hears under the bridge's name.
pub(super) const LOCAL: u32 = 0xffff_fffe;

/// Starts a match of ARP.
pub(super) fn arp() -> Match {
    Match { protocol: Some(Protocol::Arp), ..Match::default() }
}

/// Starts a match of IPv4.
pub(super) fn ip() -> Match {
    Match { protocol: Some(Protocol::Ip), ..Match::default() }
}

/// Matches everything.
pub(super) fn any() -> Match {
    Match::default()
}

/// The ways a match is narrowed.
impl Match {
    pub(super) fn state(self, state: CtState) -> Self {
        Self { ct_state: Some(state), ..self }
    }
    pub(super) fn on_port(self, port: u32) -> Self {
        Self { in_port: Some(port), ..self }
    }
    pub(super) fn eth_src(self, mac: MacAddr) -> Self {
        Self { eth_src: Some(mac), ..self }
    }
    pub(super) fn eth_dst(self, mac: MacAddr) -> Self {
        Self { eth_dst: Some(mac), ..self }
    }
    pub(super) fn arp_request(self) -> Self {
        Self { arp_op: Some(1), ..self }
    }
    pub(super) fn arp_sender(self, mac: MacAddr, address: Ipv4Addr) -> Self {
        Self { arp_sha: Some(mac), arp_spa: Some(address.into()), ..self }
    }
    pub(super) fn arp_target(self, net: impl Into<Ipv4Net>) -> Self {
        Self { arp_tpa: Some(net.into().trunc()), ..self }
    }
    pub(super) fn source(self, net: impl Into<Ipv4Net>) -> Self {
        Self { nw_src: Some(net.into().trunc()), ..self }
    }
    pub(super) fn to(self, net: impl Into<Ipv4Net>) -> Self {
        Self { nw_dst: Some(net.into().trunc()), ..self }
    }
}

/// An address without its prefix length where that says nothing.
struct Net(Ipv4Net);

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == 32 { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// How an Ethernet address is written.
type MacText<'a> = &'a dyn Fn(MacAddr) -> String;

impl Match {
    fn text(&self, mac_text: MacText<'_>) -> String {
        let protocol = self.protocol.map(|p| if p == Protocol::Arp { "arp" } else { "ip" });
        let net = |key: &str, net: Option<Ipv4Net>| net.map(|net| format!("{key}={}", Net(net)));
        let mac = |key: &str, mac: Option<MacAddr>| mac.map(|mac| format!("{key}={}", mac_text(mac)));
        let parts = [
            self.ct_state.map(|state| state.to_string()),
            protocol.map(str::to_owned),
            self.in_port.map(|port| match port {
                LOCAL => "in_port=LOCAL".to_owned(),
                port => format!("in_port={port}"),
            }),
            mac("dl_src", self.eth_src),
            mac("dl_dst", self.eth_dst),
            self.arp_op.map(|op| format!("arp_op={op}")),
            mac("arp_sha", self.arp_sha),
            net("arp_spa", self.arp_spa),
            net("arp_tpa", self.arp_tpa),
            net("nw_src", self.nw_src),
            net("nw_dst", self.nw_dst),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Match {
    /// As `ovs-ofctl` reads it; empty for everything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&|mac| mac.to_string()))
    }
}

/// A field that is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The Ethernet address a packet is from.
    EthSrc,
    /// The Ethernet address a packet is for.
    EthDst,
    /// The Ethernet address of an ARP packet's sender.
    ArpSha,
    /// The Ethernet address of an ARP packet's target.
    ArpTha,
    /// The address of an ARP packet's sender.
    ArpSpa,
    /// The address of an ARP packet's target.
    ArpTpa,
    /// A register, to keep a value in.
    Reg0,
}

impl Place {
    pub(super) const ALL: [Self; 7] =
        [Self::EthSrc, Self::EthDst, Self::ArpSha, Self::ArpTha, Self::ArpSpa, Self::ArpTpa, Self::Reg0];

    fn name(self) -> &'static str {
        match self {
            Self::EthSrc => "NXM_OF_ETH_SRC[]",
            Self::EthDst => "NXM_OF_ETH_DST[]",
            Self::ArpSha => "NXM_NX_ARP_SHA[]",
            Self::ArpTha => "NXM_NX_ARP_THA[]",
            Self::ArpSpa => "NXM_OF_ARP_SPA[]",
            Self::ArpTpa => "NXM_OF_ARP_TPA[]",
            Self::Reg0 => "NXM_NX_REG0[]",
        }
    }
}

/// One thing that a flow does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Copies one field into another.
    Move(Place, Place),
    /// Sets the Ethernet address a packet is from.
    SetEthSrc(MacAddr),
    /// Sets the Ethernet address a packet is for.
    SetEthDst(MacAddr),
    /// Sets an ARP packet's operation: 2 is an answer.
    SetArpOp(u16),
    /// Sets the Ethernet address of an ARP packet's sender.
    SetArpSha(MacAddr),
    /// Has connection tracking look at the packet, in a zone.
    Track {
        /// The zone.
        zone: u16,
        /// Whether the connection is remembered.
        commit: bool,
        /// The table that goes on with the tracked packet.
        table: Option<u8>,
    },
    /// Sends the packet out of a port.
    Output(u32),
    /// Sends the packet back where it came from.
    InPort,
    /// Switches as a bridge that learns.
    Normal,
    /// Goes on in another table.
    Goto(u8),
}

impl Action {
    fn text(&self, mac_text: MacText<'_>) -> String {
        match self {
            Self::Move(from, to) => format!("move:{}->{}", from.name(), to.name()),
            Self::SetEthSrc(mac) => format!("set_field:{}->eth_src", mac_text(*mac)),
            Self::SetEthDst(mac) => format!("set_field:{}->eth_dst", mac_text(*mac)),
            Self::SetArpOp(op) => format!("set_field:{op}->arp_op"),
            Self::SetArpSha(mac) => format!("set_field:{}->arp_sha", mac_text(*mac)),
            Self::Track { zone, commit, table } => {
                let commit = if *commit { "commit," } else { "" };
                let table = table.map(|table| format!("table={table},")).unwrap_or_default();
                format!("ct({commit}{table}zone={zone})")
            }
            Self::Output(port) => format!("output:{port}"),
            Self::InPort => "IN_PORT".into(),
            Self::Normal => "NORMAL".into(),
            Self::Goto(table) => format!("goto_table:{table}"),
        }
    }
}

impl fmt::Display for Action {
    /// As `ovs-ofctl` reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&|mac| mac.to_string()))
    }
}

/// Where a flow is: two flows that are equal in this cannot both be there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The table it is in.
    pub table: u8,
    /// Its priority in the table.
    pub priority: u16,
    /// What it matches.
    pub matches: Match,
}

impl Key {
    pub(super) fn text(&self, mac_text: MacText<'_>) -> String {
        let matches = self.matches.text(mac_text);
        let comma = if matches.is_empty() { "" } else { "," };
        format!("table={},priority={}{comma}{matches}", self.table, self.priority)
    }
}

impl fmt::Display for Key {
    /// As `ovs-ofctl --strict del-flows` reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&|mac| mac.to_string()))
    }
}

/// One flow of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Where it is.
    pub key: Key,
    /// What it does, in this order; nothing drops the packet.
    pub actions: Vec<Action>,
}

impl Flow {
    /// The flow as it is shown, with Ethernet addresses written as the caller would have them.
    pub(super) fn text(&self, mac_text: MacText<'_>) -> String {
        let actions: Vec<String> = self.actions.iter().map(|action| action.text(mac_text)).collect();
        let actions = if actions.is_empty() { "drop".to_owned() } else { actions.join(",") };
        format!("{} actions={actions}", self.key.text(mac_text))
    }
}

impl fmt::Display for Flow {
    /// As `ovs-ofctl` reads it, without the cookie.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&|mac| mac.to_string()))
    }
}

impl Serialize for Flow {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
