//! Flows as OpenFlow 1.4 has them on the wire (ONF TS-012), with Nicira's extensions that Open vSwitch adds to
//! it (`nicira-ext.h`; ovs-fields(7), ovs-actions(7)).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::bytes::{Reader, Writer};
use crate::flows::rule::{Action, CtState, Match, Place, Protocol};
use crate::mac::MacAddr;

/// `OFPP_ANY`, `OFPG_ANY`: whatever the port or group.
pub(super) const ANY: u32 = 0xffff_ffff;
const OFPP_IN_PORT: u32 = 0xffff_fff8;
const OFPP_NORMAL: u32 = 0xffff_fffa;
/// Ports from here on are names for something else than a port.
const OFPP_MAX: u32 = 0xffff_ff00;
/// `NX_VENDOR_ID`.
const NICIRA: u32 = 0x0000_2320;

const OFPIT_GOTO_TABLE: u16 = 1;
const OFPIT_APPLY_ACTIONS: u16 = 4;
const OFPAT_OUTPUT: u16 = 0;
const OFPAT_SET_FIELD: u16 = 25;
const OFPAT_EXPERIMENTER: u16 = 0xffff;
const NXAST_REG_MOVE: u16 = 6;
const NXAST_CT: u16 = 35;
/// No table in `NXAST_CT`: the packet is not looked at again.
const NO_TABLE: u8 = 0xff;

/// The header of a field: its class, number, whether a mask follows, and its length in bytes.
const fn oxm(class: u16, field: u8, length: u8) -> u32 {
    ((class as u32) << 16) | ((field as u32) << 9) | length as u32
}

const MASKED: u32 = 1 << 8;
const BASIC: u16 = 0x8000;
const IN_PORT: u32 = oxm(BASIC, 0, 4);
const ETH_DST: u32 = oxm(BASIC, 3, 6);
const ETH_SRC: u32 = oxm(BASIC, 4, 6);
const ETH_TYPE: u32 = oxm(BASIC, 5, 2);
const IPV4_SRC: u32 = oxm(BASIC, 11, 4);
const IPV4_DST: u32 = oxm(BASIC, 12, 4);
const ARP_OP: u32 = oxm(BASIC, 21, 2);
const ARP_SPA: u32 = oxm(BASIC, 22, 4);
const ARP_TPA: u32 = oxm(BASIC, 23, 4);
const ARP_SHA: u32 = oxm(BASIC, 24, 6);
const CT_STATE: u32 = oxm(1, 105, 4);

impl Place {
    /// Its header in a move, and its width in bits. Open vSwitch itself writes these by their older names.
    const fn header(self) -> (u32, u16) {
        match self {
            Self::EthDst => (oxm(0, 1, 6), 48),
            Self::EthSrc => (oxm(0, 2, 6), 48),
            Self::ArpSpa => (oxm(0, 16, 4), 32),
            Self::ArpTpa => (oxm(0, 17, 4), 32),
            Self::ArpSha => (oxm(1, 17, 6), 48),
            Self::ArpTha => (oxm(1, 18, 6), 48),
            Self::Reg0 => (oxm(1, 0, 4), 32),
        }
    }
}

fn write_net(to: &mut Writer, header: u32, net: Option<Ipv4Net>) {
    let Some(net) = net else { return };
    if net.prefix_len() == 32 {
        to.u32(header).bytes(&net.addr().octets());
    } else {
        // The mask doubles the length.
        to.u32((header | MASKED) + 4).bytes(&net.addr().octets()).bytes(&net.netmask().octets());
    }
}

/// Writes a match: `struct ofp_match`, padded. Fields come after those that they presuppose.
pub(super) fn write_match(to: &mut Writer, matches: &Match) {
    let start = to.0.len();
    to.u16(1).u16(0);
    if let Some(port) = matches.in_port {
        to.u32(IN_PORT).u32(port);
    }
    for (header, mac) in [(ETH_DST, matches.eth_dst), (ETH_SRC, matches.eth_src)] {
        if let Some(mac) = mac {
            to.u32(header).bytes(&mac.0);
        }
    }
    if let Some(protocol) = matches.protocol {
        to.u32(ETH_TYPE).u16(if protocol == Protocol::Arp { 0x0806 } else { 0x0800 });
    }
    write_net(to, IPV4_SRC, matches.nw_src);
    write_net(to, IPV4_DST, matches.nw_dst);
    if let Some(op) = matches.arp_op {
        to.u32(ARP_OP).u16(op);
    }
    write_net(to, ARP_SPA, matches.arp_spa);
    write_net(to, ARP_TPA, matches.arp_tpa);
    if let Some(mac) = matches.arp_sha {
        to.u32(ARP_SHA).bytes(&mac.0);
    }
    if let Some(CtState { value, mask }) = matches.ct_state {
        to.u32((CT_STATE | MASKED) + 4).u32(value).u32(mask);
    }
    to.close(start, start + 2).pad(start);
}

fn address(bytes: [u8; 4]) -> Ipv4Addr {
    Ipv4Addr::from(bytes)
}

fn read_net(from: &mut Reader<'_>, masked: bool) -> Option<Ipv4Net> {
    let addr = address(from.array()?);
    if masked { Ipv4Net::with_netmask(addr, address(from.array()?)).ok() } else { Some(addr.into()) }
}

/// Reads the fields of a match; `None` where one of them is none that our own flows have.
pub(super) fn read_match(fields: &[u8]) -> Option<Match> {
    let mut from = Reader(fields);
    let mut found = Match::default();
    while !from.is_empty() {
        let header = from.u32()?;
        let masked = header & MASKED != 0;
        let plain = if masked { (header & !0xff & !MASKED) | ((header & 0xff) / 2) } else { header };
        match plain {
            CT_STATE if masked => found.ct_state = Some(CtState { value: from.u32()?, mask: from.u32()? }),
            IPV4_SRC => found.nw_src = Some(read_net(&mut from, masked)?),
            IPV4_DST => found.nw_dst = Some(read_net(&mut from, masked)?),
            ARP_SPA => found.arp_spa = Some(read_net(&mut from, masked)?),
            ARP_TPA => found.arp_tpa = Some(read_net(&mut from, masked)?),
            _ if masked => return None,
            IN_PORT => found.in_port = Some(from.u32()?),
            ETH_DST => found.eth_dst = Some(MacAddr(from.array()?)),
            ETH_SRC => found.eth_src = Some(MacAddr(from.array()?)),
            ARP_OP => found.arp_op = Some(from.u16()?),
            ARP_SHA => found.arp_sha = Some(MacAddr(from.array()?)),
            ETH_TYPE => {
                found.protocol = Some(match from.u16()? {
                    0x0806 => Protocol::Arp,
                    0x0800 => Protocol::Ip,
                    _ => return None,
                });
            }
            _ => return None,
        }
    }
    Some(found)
}

/// Writes what a flow does, as instructions.
pub(super) fn write_instructions(to: &mut Writer, actions: &[Action]) {
    let (gotos, applied): (Vec<&Action>, Vec<&Action>) =
        actions.iter().partition(|action| matches!(action, Action::Goto(_)));
    if !applied.is_empty() {
        let start = to.0.len();
        to.u16(OFPIT_APPLY_ACTIONS).u16(0).zeros(4);
        for action in applied {
            write_action(to, action);
        }
        to.close(start, start + 2);
    }
    for action in gotos {
        if let Action::Goto(table) = action {
            to.u16(OFPIT_GOTO_TABLE).u16(8).u8(*table).zeros(3);
        }
    }
}

fn write_action(to: &mut Writer, action: &Action) {
    let start = to.0.len();
    let set_field = |to: &mut Writer, header: u32, value: &[u8]| {
        to.u16(OFPAT_SET_FIELD).u16(0).u32(header).bytes(value).pad(start).close(start, start + 2);
    };
    let output = |to: &mut Writer, port: u32| {
        to.u16(OFPAT_OUTPUT).u16(16).u32(port).u16(0).zeros(6);
    };
    match action {
        Action::SetEthSrc(mac) => set_field(to, ETH_SRC, &mac.0),
        Action::SetEthDst(mac) => set_field(to, ETH_DST, &mac.0),
        Action::SetArpOp(op) => set_field(to, ARP_OP, &op.to_be_bytes()),
        Action::SetArpSha(mac) => set_field(to, ARP_SHA, &mac.0),
        Action::Output(port) => output(to, *port),
        Action::InPort => output(to, OFPP_IN_PORT),
        Action::Normal => output(to, OFPP_NORMAL),
        Action::Move(source, target) => {
            let ((source, bits), (target, _)) = (source.header(), target.header());
            to.u16(OFPAT_EXPERIMENTER).u16(24).u32(NICIRA).u16(NXAST_REG_MOVE);
            // From bit 0 to bit 0.
            to.u16(bits).u16(0).u16(0).u32(source).u32(target);
        }
        Action::Track { zone, commit, table } => {
            to.u16(OFPAT_EXPERIMENTER).u16(24).u32(NICIRA).u16(NXAST_CT);
            // No field that the zone is read from, no helper for a protocol.
            to.u16(u16::from(*commit)).u32(0).u16(*zone).u8(table.unwrap_or(NO_TABLE)).zeros(3).u16(0);
        }
        // An instruction of its own.
        Action::Goto(_) => {}
    }
}

/// Reads what a flow does; `None` where any of it is nothing that our own flows do.
pub(super) fn read_instructions(bytes: &[u8]) -> Option<Vec<Action>> {
    let mut from = Reader(bytes);
    let mut actions = Vec::new();
    while !from.is_empty() {
        let (kind, length) = (from.u16()?, from.u16()?);
        let mut body = Reader(from.take(usize::from(length).checked_sub(4)?)?);
        match kind {
            OFPIT_GOTO_TABLE => actions.push(Action::Goto(body.u8()?)),
            OFPIT_APPLY_ACTIONS => {
                body.take(4)?;
                while !body.is_empty() {
                    actions.push(read_action(&mut body)?);
                }
            }
            _ => return None,
        }
    }
    Some(actions)
}

fn read_action(from: &mut Reader<'_>) -> Option<Action> {
    let (kind, length) = (from.u16()?, from.u16()?);
    let mut body = Reader(from.take(usize::from(length).checked_sub(4)?)?);
    Some(match kind {
        OFPAT_OUTPUT => match body.u32()? {
            OFPP_IN_PORT => Action::InPort,
            OFPP_NORMAL => Action::Normal,
            port if port < OFPP_MAX => Action::Output(port),
            _ => return None,
        },
        OFPAT_SET_FIELD => match body.u32()? {
            ETH_SRC => Action::SetEthSrc(MacAddr(body.array()?)),
            ETH_DST => Action::SetEthDst(MacAddr(body.array()?)),
            ARP_OP => Action::SetArpOp(body.u16()?),
            ARP_SHA => Action::SetArpSha(MacAddr(body.array()?)),
            _ => return None,
        },
        OFPAT_EXPERIMENTER if body.u32()? == NICIRA => match body.u16()? {
            NXAST_REG_MOVE => {
                let (bits, offsets) = (body.u16()?, body.u32()?);
                let (source, target) = (body.u32()?, body.u32()?);
                let place = |header: u32| Place::ALL.into_iter().find(|p| p.header() == (header, bits));
                if offsets != 0 {
                    return None;
                }
                Action::Move(place(source)?, place(target)?)
            }
            NXAST_CT => {
                let (flags, source, zone, table) = (body.u16()?, body.u32()?, body.u16()?, body.u8()?);
                body.take(3)?;
                let helper = body.u16()?;
                if flags > 1 || source != 0 || helper != 0 || !body.is_empty() {
                    return None;
                }
                Action::Track { zone, commit: flags == 1, table: (table != NO_TABLE).then_some(table) }
            }
            _ => return None,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::model::{Endpoint, desired};
    use super::*;
    use crate::spec::HostSpec;

    fn fields(matches: &Match) -> Vec<u8> {
        let mut to = Writer::default();
        write_match(&mut to, matches);
        assert_eq!(to.0.len() % 8, 0);
        let length = usize::from(u16::from_be_bytes([to.0[2], to.0[3]]));
        to.0[4..length].to_vec()
    }

    #[test]
    fn every_flow_of_ours_is_read_back_as_it_was_written() {
        let endpoint = |name: &str, slot: u8, connect: &[&str]| Endpoint {
            name: name.parse().unwrap(),
            interface: format!("oc-{name}"),
            ofport: 100 + u32::from(slot),
            mac: MacAddr([2, 0, 0, 0, 0, slot]),
            address: Ipv4Addr::new(10, 0, 0, 2 + slot),
            connect: connect.iter().map(|n| n.parse().unwrap()).collect(),
        };
        for flow in desired(&HostSpec::default(), &[endpoint("a", 0, &["b"]), endpoint("b", 1, &[])]) {
            assert_eq!(read_match(&fields(&flow.key.matches)).as_ref(), Some(&flow.key.matches), "{flow}");
            let mut to = Writer::default();
            write_instructions(&mut to, &flow.actions);
            assert_eq!(to.0.len() % 8, 0, "{flow}");
            assert_eq!(read_instructions(&to.0).as_ref(), Some(&flow.actions), "{flow}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(found) = read_match(&bytes) {
                // Equal fields may have come twice; what was read says the same.
                prop_assert_eq!(read_match(&fields(&found)), Some(found));
            }
            let _ = read_instructions(&bytes);
        }
    }
}
