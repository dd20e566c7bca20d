//! The flow tables, as a pure function of the host spec and the containers there are.
//!
//! - Table 0 classifies: it drops what a container may not send (a MAC or an IP address that is not its own,
//!   anything but ARP and IPv4), answers ARP itself, sends what is for the containers' subnet to table 10 and
//!   the rest to table 30.
//! - Table 10, the socket network, lets a new connection pass only from a container to one it was granted,
//!   from the host, or to the gateway; it rewrites the MAC address and outputs to that port. Nothing is flooded.
//! - Table 20, the mesh, drops until the host is a member of one.
//! - Table 30 hands what leaves the subnet to the gateway, and switches normally for ports that are not ours.

use std::net::Ipv4Addr;

use crate::bridge::{ROUTER_MAC, SOCKET_MAC, SOCKET_OFPORT};
use crate::mac::MacAddr;
use crate::name::ContainerName;
use crate::spec::HostSpec;

/// What marks a flow as ours: "opdb" in the upper half of the cookie.
pub const COOKIE: u64 = 0x6f70_6462_0000_0000;
/// The conntrack zone of the socket network, so that ours and the host's own connections are told apart: "od".
const ZONE: u16 = 0x6f64;

/// A container as the flow tables see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name.
    pub name: ContainerName,
    /// Its interface on the host.
    pub interface: String,
    /// Its OpenFlow port number.
    pub ofport: u32,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its address.
    pub address: Ipv4Addr,
    /// The containers it was granted.
    pub connect: Vec<ContainerName>,
}

/// A flow, in the syntax of ovs-ofctl(8), without its cookie.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// The table.
    pub table: u8,
    /// The priority.
    pub priority: u16,
    /// What it matches; empty for everything.
    pub matches: String,
    /// What it does.
    pub actions: String,
}

impl Flow {
    fn new(table: u8, priority: u16, matches: impl Into<String>, actions: impl Into<String>) -> Self {
        Self { table, priority, matches: matches.into(), actions: actions.into() }
    }

    /// The flow as ovs-ofctl reads it, with our cookie.
    #[must_use]
    pub fn line(&self) -> String {
        let comma = if self.matches.is_empty() { "" } else { "," };
        format!(
            "cookie={COOKIE:#x},table={},priority={}{comma}{},actions={}",
            self.table, self.priority, self.matches, self.actions
        )
    }
}

/// The answer to "who has this address": the router. The requester's and the asked addresses change places.
fn answer_arp() -> String {
    format!(
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:{ROUTER_MAC}->eth_src,set_field:2->arp_op,\
         move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],set_field:{ROUTER_MAC}->arp_sha,\
         move:NXM_OF_ARP_TPA[]->NXM_NX_REG0[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],\
         move:NXM_NX_REG0[]->NXM_OF_ARP_SPA[],IN_PORT"
    )
}

/// The flows a host should have, sorted.
#[must_use]
pub fn desired(spec: &HostSpec, endpoints: &[Endpoint]) -> Vec<Flow> {
    let subnet = spec.ovs.subnet;
    let gateway = spec.ovs.gateway();
    let to = |mac: MacAddr, port: u32| format!("set_field:{mac}->eth_dst,output:{port}");
    let commit = format!("ct(commit,zone={ZONE})");
    let mut flows = vec![
        Flow::new(0, 300, format!("arp,in_port={SOCKET_OFPORT},arp_tpa={subnet},arp_op=1"), answer_arp()),
        Flow::new(0, 100, format!("ip,nw_dst={subnet}"), "goto_table:10"),
        Flow::new(0, 50, "", "goto_table:30"),
        Flow::new(10, 200, "ct_state=-trk,ip", format!("ct(table=10,zone={ZONE})")),
        Flow::new(10, 0, "", "drop"),
        Flow::new(20, 0, "", "drop"),
        Flow::new(30, 100, format!("dl_dst={ROUTER_MAC}"), to(SOCKET_MAC, SOCKET_OFPORT)),
        Flow::new(30, 50, "", "NORMAL"),
        // What a container may open to the host itself is for the host's packet filter to say.
        Flow::new(
            10,
            90,
            format!("ct_state=+new+trk,ip,nw_dst={gateway}"),
            format!("{commit},{}", to(SOCKET_MAC, SOCKET_OFPORT)),
        ),
    ];
    let mut answered = |address: Ipv4Addr, mac: MacAddr, port: u32| {
        for state in ["+est+trk", "+rel+trk"] {
            flows.push(Flow::new(10, 100, format!("ct_state={state},ip,nw_dst={address}"), to(mac, port)));
        }
    };
    answered(gateway, SOCKET_MAC, SOCKET_OFPORT);
    for endpoint in endpoints {
        answered(endpoint.address, endpoint.mac, endpoint.ofport);
    }
    for endpoint in endpoints {
        let Endpoint { ofport, mac, address, .. } = endpoint;
        let own = format!("in_port={ofport},dl_src={mac}");
        flows.push(Flow::new(
            0,
            300,
            format!("arp,{own},arp_spa={address},arp_tpa={subnet},arp_op=1,arp_sha={mac}"),
            answer_arp(),
        ));
        flows.push(Flow::new(0, 200, format!("ip,{own},nw_src={address},nw_dst={subnet}"), "goto_table:10"));
        flows.push(Flow::new(
            0,
            190,
            format!("ip,{own},dl_dst={ROUTER_MAC},nw_src={address}"),
            "goto_table:30",
        ));
        flows.push(Flow::new(0, 180, format!("in_port={ofport}"), "drop"));
        flows.push(Flow::new(
            10,
            90,
            format!("ct_state=+new+trk,ip,in_port={SOCKET_OFPORT},nw_dst={address}"),
            format!("{commit},{}", to(*mac, *ofport)),
        ));
        for granted in endpoints.iter().filter(|other| endpoint.connect.contains(&other.name)) {
            flows.push(Flow::new(
                10,
                90,
                format!("ct_state=+new+trk,ip,in_port={ofport},nw_src={address},nw_dst={}", granted.address),
                format!("{commit},{}", to(granted.mac, granted.ofport)),
            ));
        }
    }
    flows.sort();
    flows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, last: u8, connect: &[&str]) -> Endpoint {
        Endpoint {
            name: name.parse().unwrap(),
            interface: format!("oc-{name}"),
            ofport: 100 + u32::from(last),
            mac: MacAddr([2, 0, 0, 0, 0, last]),
            address: Ipv4Addr::new(10, 0, 0, last),
            connect: connect.iter().map(|c| c.parse().unwrap()).collect(),
        }
    }

    fn text(endpoints: &[Endpoint]) -> String {
        desired(&HostSpec::default(), endpoints).iter().map(|f| f.line() + "\n").collect()
    }

    #[test]
    fn the_tables_of_two_containers_of_which_one_was_granted_the_other() {
        insta::assert_snapshot!(text(&[endpoint("web-01", 2, &["web-02"]), endpoint("web-02", 3, &[])]));
    }

    #[test]
    fn a_grant_is_one_way_and_adds_one_flow() {
        let without = desired(&HostSpec::default(), &[endpoint("a", 2, &[]), endpoint("b", 3, &[])]);
        let with = desired(&HostSpec::default(), &[endpoint("a", 2, &["b"]), endpoint("b", 3, &[])]);
        let added: Vec<&Flow> = with.iter().filter(|f| !without.contains(f)).collect();
        assert_eq!(added.len(), 1);
        assert!(added[0].matches.contains("nw_src=10.0.0.2,nw_dst=10.0.0.3"), "{added:?}");
    }

    #[test]
    fn a_grant_of_a_container_that_is_not_there_adds_nothing() {
        assert_eq!(text(&[endpoint("a", 2, &["ghost"])]), text(&[endpoint("a", 2, &[])]));
    }

    #[test]
    fn the_order_of_containers_does_not_matter_and_no_two_flows_match_the_same() {
        let (a, b) = (endpoint("a", 2, &["b"]), endpoint("b", 3, &["a"]));
        let flows = desired(&HostSpec::default(), &[a.clone(), b.clone()]);
        assert_eq!(flows, desired(&HostSpec::default(), &[b, a]));
        let keys: std::collections::BTreeSet<_> =
            flows.iter().map(|f| (f.table, f.priority, &f.matches)).collect();
        assert_eq!(keys.len(), flows.len());
    }
}
