//! The flows that the host spec and its containers ask for: a pure function, so that what the bridge
//! does can be read and tested without one.
//!
//! Nothing is flooded to a container, nothing passes from one under an address that is not its own,
//! and a container reaches another only where it was granted.
//!
//! | table | what for |
//! |---|---|
//! | 0 | who is it from, and is it for the containers' subnet: to 10, else to 30 |
//! | 10 | the socket network: granted connections, by connection tracking |
//! | 20 | the mesh; drops until the host has one |
//! | 30 | the way out: through the host for containers, a normal switch for ports that are not ours |

use std::cmp::Reverse;
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::bridge::{SOCKET_MAC, SOCKET_OFPORT};
use crate::mac::MacAddr;
use crate::name::ContainerName;
use crate::spec::HostSpec;

/// The cookie of our flows: "opdb" in the upper half, which is what tells ours from others'.
pub const COOKIE: u64 = 0x6f70_6462_0000_0000;

/// The part of a cookie that marks a flow as ours.
pub const COOKIE_MASK: u64 = 0xffff_ffff_0000_0000;

/// The address under which the bridge answers for every container and for the gateway.
pub const ROUTER_MAC: MacAddr = MacAddr([0x02, 0x6f, 0x70, 0x64, 0x62, 0x00]);

/// The connection tracking zone of the socket network: apart from the host's own (0) and "op" in ASCII.
const ZONE: u16 = 0x6f70;

/// Where a container is plugged in, and whom it may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The container.
    pub name: ContainerName,
    /// The host's end of its interface.
    pub interface: String,
    /// The number of its port on the bridge.
    pub ofport: u32,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Its address.
    pub address: Ipv4Addr,
    /// The containers it may open connections to. One that does not exist is passed over: the grant
    /// takes effect when it does.
    pub connect: Vec<ContainerName>,
}

/// One flow of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// The table it is in.
    pub table: u8,
    /// Its priority in the table.
    pub priority: u16,
    /// What it matches; empty for everything.
    pub matches: String,
    /// What it does.
    pub actions: String,
}

impl fmt::Display for Flow {
    /// As `ovs-ofctl` reads it, without the cookie.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table={},priority={}", self.table, self.priority)?;
        if !self.matches.is_empty() {
            write!(f, ",{}", self.matches)?;
        }
        write!(f, " actions={}", self.actions)
    }
}

impl Flow {
    /// As `ovs-ofctl` reads it, with our cookie.
    #[must_use]
    pub fn line(&self) -> String {
        format!("cookie={COOKIE:#x},{self}")
    }
}

/// Collects flows, so that the model below reads like the table in the documentation.
struct Tables(Vec<Flow>);

impl Tables {
    fn add(&mut self, table: u8, priority: u16, matches: impl Into<String>, actions: impl Into<String>) {
        self.0.push(Flow { table, priority, matches: matches.into(), actions: actions.into() });
    }
}

/// Turns an ARP request into the answer "it is at the router's address" and sends it back.
/// The two protocol addresses are swapped by way of a register.
fn arp_responder() -> String {
    [
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]".to_owned(),
        format!("set_field:{ROUTER_MAC}->eth_src"),
        "set_field:2->arp_op".to_owned(),
        "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]".to_owned(),
        format!("set_field:{ROUTER_MAC}->arp_sha"),
        "move:NXM_OF_ARP_SPA[]->NXM_NX_REG0[]".to_owned(),
        "move:NXM_OF_ARP_TPA[]->NXM_OF_ARP_SPA[]".to_owned(),
        "move:NXM_NX_REG0[]->NXM_OF_ARP_TPA[]".to_owned(),
        "IN_PORT".to_owned(),
    ]
    .join(",")
}

fn deliver(mac: MacAddr, port: u32) -> String {
    format!("set_field:{mac}->eth_dst,output:{port}")
}

/// Every flow that shall be on the bridge, sorted by table, then from the highest priority down.
#[must_use]
pub fn desired(spec: &HostSpec, endpoints: &[Endpoint]) -> Vec<Flow> {
    let mut tables = Tables(Vec::new());
    classify(&mut tables, spec, endpoints);
    socket_network(&mut tables, spec, endpoints);
    tables.add(20, 0, "", "drop");
    way_out(&mut tables);
    let mut flows = tables.0;
    flows.sort_by(|a, b| {
        (a.table, Reverse(a.priority), &a.matches).cmp(&(b.table, Reverse(b.priority), &b.matches))
    });
    flows.dedup_by(|a, b| (a.table, a.priority, &a.matches) == (b.table, b.priority, &b.matches));
    flows
}

fn classify(tables: &mut Tables, spec: &HostSpec, endpoints: &[Endpoint]) {
    let subnet = spec.ovs.subnet;
    let gateway = spec.ovs.gateway();
    for Endpoint { ofport, mac, address, .. } in endpoints {
        // Announcing one's own address must not be answered: to whoever checks for duplicates, an
        // answer means that the address is taken.
        tables.add(0, 310, format!("arp,in_port={ofport},arp_tpa={address}"), "drop");
        tables.add(
            0,
            300,
            format!(
                "arp,in_port={ofport},dl_src={mac},arp_op=1,arp_sha={mac},arp_spa={address},arp_tpa={subnet}"
            ),
            arp_responder(),
        );
        tables.add(
            0,
            200,
            format!("ip,in_port={ofport},dl_src={mac},nw_src={address},nw_dst={subnet}"),
            "goto_table:10",
        );
        tables.add(
            0,
            190,
            format!("ip,in_port={ofport},dl_src={mac},dl_dst={ROUTER_MAC},nw_src={address}"),
            "goto_table:30",
        );
        tables.add(0, 180, format!("in_port={ofport}"), "drop");
    }
    tables.add(0, 310, format!("arp,in_port={SOCKET_OFPORT},arp_tpa={gateway}"), "drop");
    tables.add(0, 300, format!("arp,in_port={SOCKET_OFPORT},arp_op=1,arp_tpa={subnet}"), arp_responder());
    tables.add(0, 100, format!("ip,nw_dst={subnet}"), "goto_table:10");
    // What else the host sends into the port (IPv6, multicast) is for nobody here, and must not be flooded.
    tables.add(0, 90, format!("in_port={SOCKET_OFPORT}"), "drop");
    tables.add(0, 50, "", "goto_table:30");
}

fn socket_network(tables: &mut Tables, spec: &HostSpec, endpoints: &[Endpoint]) {
    let gateway = spec.ovs.gateway();
    let commit = |then: String| format!("ct(commit,zone={ZONE}),{then}");
    let to_host = deliver(SOCKET_MAC, SOCKET_OFPORT);
    tables.add(10, 200, "ct_state=-trk,ip", format!("ct(table=10,zone={ZONE})"));
    for state in ["est", "rel"] {
        tables.add(10, 100, format!("ct_state=+trk+{state},ip,nw_dst={gateway}"), to_host.clone());
    }
    tables.add(10, 90, format!("ct_state=+trk+new,ip,nw_dst={gateway}"), commit(to_host));
    for to in endpoints {
        let host = format!("in_port={SOCKET_OFPORT},nw_dst={}", to.address);
        let there = deliver(to.mac, to.ofport);
        for state in ["est", "rel"] {
            tables.add(10, 100, format!("ct_state=+trk+{state},ip,{host}"), there.clone());
        }
        tables.add(10, 90, format!("ct_state=+trk+new,ip,{host}"), commit(there));
    }
    for from in endpoints {
        for to in endpoints.iter().filter(|to| to.name != from.name && from.connect.contains(&to.name)) {
            let there = deliver(to.mac, to.ofport);
            let back = deliver(from.mac, from.ofport);
            let going = format!("in_port={},nw_dst={}", from.ofport, to.address);
            let coming = format!("in_port={},nw_dst={}", to.ofport, from.address);
            // Established connections pass by pair, not by destination: a grant taken away cuts those
            // that are open, and an address given to a new container inherits none.
            for state in ["est", "rel"] {
                tables.add(10, 100, format!("ct_state=+trk+{state},ip,{going}"), there.clone());
                tables.add(10, 100, format!("ct_state=+trk+{state},ip,{coming}"), back.clone());
            }
            tables.add(10, 90, format!("ct_state=+trk+new,ip,{going}"), commit(there));
        }
    }
    tables.add(10, 0, "", "drop");
}

fn way_out(tables: &mut Tables) {
    // Committed here, so that what comes back (a TCP SYN+ACK first) is known in table 10: connection
    // tracking takes an answer without a question for invalid.
    tables.add(
        30,
        100,
        format!("ip,dl_dst={ROUTER_MAC}"),
        format!("ct(commit,zone={ZONE}),{}", deliver(SOCKET_MAC, SOCKET_OFPORT)),
    );
    tables.add(30, 50, "", "NORMAL");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, slot: u8, connect: &[&str]) -> Endpoint {
        Endpoint {
            name: name.parse().unwrap(),
            interface: format!("oc-{name}"),
            ofport: 100 + u32::from(slot),
            mac: MacAddr([2, 0, 0, 0, 0, slot]),
            address: Ipv4Addr::new(10, 0, 0, 2 + slot),
            connect: connect.iter().map(|n| n.parse().unwrap()).collect(),
        }
    }

    fn text(endpoints: &[Endpoint]) -> String {
        let responder = arp_responder();
        desired(&HostSpec::default(), endpoints)
            .iter()
            .map(|f| f.to_string().replace(&responder, "RESPONDER") + "\n")
            .collect()
    }

    #[test]
    fn without_containers_only_the_host_is_served() {
        insta::assert_snapshot!(text(&[]), @r#"
        table=0,priority=310,arp,in_port=10,arp_tpa=10.0.0.1 actions=drop
        table=0,priority=300,arp,in_port=10,arp_op=1,arp_tpa=10.0.0.0/24 actions=RESPONDER
        table=0,priority=100,ip,nw_dst=10.0.0.0/24 actions=goto_table:10
        table=0,priority=90,in_port=10 actions=drop
        table=0,priority=50 actions=goto_table:30
        table=10,priority=200,ct_state=-trk,ip actions=ct(table=10,zone=28528)
        table=10,priority=100,ct_state=+trk+est,ip,nw_dst=10.0.0.1 actions=set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=10,priority=100,ct_state=+trk+rel,ip,nw_dst=10.0.0.1 actions=set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=10,priority=90,ct_state=+trk+new,ip,nw_dst=10.0.0.1 actions=ct(commit,zone=28528),set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=10,priority=0 actions=drop
        table=20,priority=0 actions=drop
        table=30,priority=100,ip,dl_dst=02:6f:70:64:62:00 actions=ct(commit,zone=28528),set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=30,priority=50 actions=NORMAL
        "#);
    }

    #[test]
    fn two_containers_and_one_grant() {
        insta::assert_snapshot!(text(&[endpoint("a", 0, &["b", "later"]), endpoint("b", 1, &[])]), @r#"
        table=0,priority=310,arp,in_port=10,arp_tpa=10.0.0.1 actions=drop
        table=0,priority=310,arp,in_port=100,arp_tpa=10.0.0.2 actions=drop
        table=0,priority=310,arp,in_port=101,arp_tpa=10.0.0.3 actions=drop
        table=0,priority=300,arp,in_port=10,arp_op=1,arp_tpa=10.0.0.0/24 actions=RESPONDER
        table=0,priority=300,arp,in_port=100,dl_src=02:00:00:00:00:00,arp_op=1,arp_sha=02:00:00:00:00:00,arp_spa=10.0.0.2,arp_tpa=10.0.0.0/24 actions=RESPONDER
        table=0,priority=300,arp,in_port=101,dl_src=02:00:00:00:00:01,arp_op=1,arp_sha=02:00:00:00:00:01,arp_spa=10.0.0.3,arp_tpa=10.0.0.0/24 actions=RESPONDER
        table=0,priority=200,ip,in_port=100,dl_src=02:00:00:00:00:00,nw_src=10.0.0.2,nw_dst=10.0.0.0/24 actions=goto_table:10
        table=0,priority=200,ip,in_port=101,dl_src=02:00:00:00:00:01,nw_src=10.0.0.3,nw_dst=10.0.0.0/24 actions=goto_table:10
        table=0,priority=190,ip,in_port=100,dl_src=02:00:00:00:00:00,dl_dst=02:6f:70:64:62:00,nw_src=10.0.0.2 actions=goto_table:30
        table=0,priority=190,ip,in_port=101,dl_src=02:00:00:00:00:01,dl_dst=02:6f:70:64:62:00,nw_src=10.0.0.3 actions=goto_table:30
        table=0,priority=180,in_port=100 actions=drop
        table=0,priority=180,in_port=101 actions=drop
        table=0,priority=100,ip,nw_dst=10.0.0.0/24 actions=goto_table:10
        table=0,priority=90,in_port=10 actions=drop
        table=0,priority=50 actions=goto_table:30
        table=10,priority=200,ct_state=-trk,ip actions=ct(table=10,zone=28528)
        table=10,priority=100,ct_state=+trk+est,ip,in_port=10,nw_dst=10.0.0.2 actions=set_field:02:00:00:00:00:00->eth_dst,output:100
        table=10,priority=100,ct_state=+trk+est,ip,in_port=10,nw_dst=10.0.0.3 actions=set_field:02:00:00:00:00:01->eth_dst,output:101
        table=10,priority=100,ct_state=+trk+est,ip,in_port=100,nw_dst=10.0.0.3 actions=set_field:02:00:00:00:00:01->eth_dst,output:101
        table=10,priority=100,ct_state=+trk+est,ip,in_port=101,nw_dst=10.0.0.2 actions=set_field:02:00:00:00:00:00->eth_dst,output:100
        table=10,priority=100,ct_state=+trk+est,ip,nw_dst=10.0.0.1 actions=set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=10,priority=100,ct_state=+trk+rel,ip,in_port=10,nw_dst=10.0.0.2 actions=set_field:02:00:00:00:00:00->eth_dst,output:100
        table=10,priority=100,ct_state=+trk+rel,ip,in_port=10,nw_dst=10.0.0.3 actions=set_field:02:00:00:00:00:01->eth_dst,output:101
        table=10,priority=100,ct_state=+trk+rel,ip,in_port=100,nw_dst=10.0.0.3 actions=set_field:02:00:00:00:00:01->eth_dst,output:101
        table=10,priority=100,ct_state=+trk+rel,ip,in_port=101,nw_dst=10.0.0.2 actions=set_field:02:00:00:00:00:00->eth_dst,output:100
        table=10,priority=100,ct_state=+trk+rel,ip,nw_dst=10.0.0.1 actions=set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=10,priority=90,ct_state=+trk+new,ip,in_port=10,nw_dst=10.0.0.2 actions=ct(commit,zone=28528),set_field:02:00:00:00:00:00->eth_dst,output:100
        table=10,priority=90,ct_state=+trk+new,ip,in_port=10,nw_dst=10.0.0.3 actions=ct(commit,zone=28528),set_field:02:00:00:00:00:01->eth_dst,output:101
        table=10,priority=90,ct_state=+trk+new,ip,in_port=100,nw_dst=10.0.0.3 actions=ct(commit,zone=28528),set_field:02:00:00:00:00:01->eth_dst,output:101
        table=10,priority=90,ct_state=+trk+new,ip,nw_dst=10.0.0.1 actions=ct(commit,zone=28528),set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=10,priority=0 actions=drop
        table=20,priority=0 actions=drop
        table=30,priority=100,ip,dl_dst=02:6f:70:64:62:00 actions=ct(commit,zone=28528),set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=30,priority=50 actions=NORMAL
        "#);
    }

    #[test]
    fn the_order_of_the_containers_does_not_matter() {
        let (a, b) = (endpoint("a", 0, &["b"]), endpoint("b", 1, &["a"]));
        assert_eq!(text(&[a.clone(), b.clone()]), text(&[b, a]));
    }

    #[test]
    fn mutual_grants_make_each_flow_once() {
        let flows = desired(&HostSpec::default(), &[endpoint("a", 0, &["b"]), endpoint("b", 1, &["a"])]);
        let keys: std::collections::BTreeSet<_> =
            flows.iter().map(|f| (f.table, f.priority, &f.matches)).collect();
        assert_eq!(keys.len(), flows.len());
    }

    #[test]
    fn every_flow_carries_our_cookie() {
        for flow in desired(&HostSpec::default(), &[endpoint("a", 0, &[])]) {
            assert!(flow.line().starts_with("cookie=0x6f70646200000000,table="), "{}", flow.line());
        }
    }
}
