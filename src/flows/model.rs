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
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::rule::{Action, CtState, Flow, Key, LOCAL, Match, Place, any, arp, ip};
use crate::bridge::{SOCKET_MAC, SOCKET_OFPORT, UPLINK_OFPORT};
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

/// Collects flows, so that the model below reads like the table in the documentation.
struct Tables(Vec<Flow>);

impl Tables {
    fn add(&mut self, table: u8, priority: u16, matches: Match, actions: impl Into<Vec<Action>>) {
        self.0.push(Flow { key: Key { table, priority, matches }, actions: actions.into() });
    }
}

/// What drops a packet.
const DROP: [Action; 0] = [];

/// Turns an ARP request into the answer "it is at the router's address" and sends it back.
/// The two protocol addresses are swapped by way of a register.
fn arp_responder() -> [Action; 9] {
    [
        Action::Move(Place::EthSrc, Place::EthDst),
        Action::SetEthSrc(ROUTER_MAC),
        Action::SetArpOp(2),
        Action::Move(Place::ArpSha, Place::ArpTha),
        Action::SetArpSha(ROUTER_MAC),
        Action::Move(Place::ArpSpa, Place::Reg0),
        Action::Move(Place::ArpTpa, Place::ArpSpa),
        Action::Move(Place::Reg0, Place::ArpTpa),
        Action::InPort,
    ]
}

fn deliver(mac: MacAddr, port: u32) -> [Action; 2] {
    [Action::SetEthDst(mac), Action::Output(port)]
}

fn commit([first, second]: [Action; 2]) -> [Action; 3] {
    [Action::Track { zone: ZONE, commit: true, table: None }, first, second]
}

/// The flows of an uplink: what comes from outside and what the host sends there is switched as without us, before any
/// other rule. So nothing from outside gets into the containers' tables, whatever address it is for; and nothing of a
/// container's gets here, as its own rules end before.
#[must_use]
pub fn uplink_flows() -> Vec<Flow> {
    let mut tables = Tables(Vec::new());
    for port in [UPLINK_OFPORT, LOCAL] {
        tables.add(0, 400, any().on_port(port), [Action::Normal]);
    }
    tables.0
}

/// Every flow that shall be on the bridge without an uplink, sorted by table, then from the highest priority down.
#[must_use]
pub fn desired(spec: &HostSpec, endpoints: &[Endpoint]) -> Vec<Flow> {
    let mut tables = Tables(Vec::new());
    classify(&mut tables, spec, endpoints);
    socket_network(&mut tables, spec, endpoints);
    tables.add(20, 0, any(), DROP);
    way_out(&mut tables);
    sorted(tables.0)
}

pub(super) fn sorted(mut flows: Vec<Flow>) -> Vec<Flow> {
    let order = |key: &Key| (key.table, Reverse(key.priority));
    flows.sort_by(|a, b| order(&a.key).cmp(&order(&b.key)).then_with(|| a.key.matches.cmp(&b.key.matches)));
    flows.dedup_by(|a, b| a.key == b.key);
    flows
}

fn classify(tables: &mut Tables, spec: &HostSpec, endpoints: &[Endpoint]) {
    let subnet = spec.ovs.subnet;
    let gateway = spec.ovs.gateway();
    for &Endpoint { ofport, mac, address, .. } in endpoints {
        let arp = || arp().on_port(ofport);
        let ip = || ip().on_port(ofport).eth_src(mac).source(address);
        // Announcing one's own address must not be answered: to whoever checks for duplicates, an
        // answer means that the address is taken.
        tables.add(0, 310, arp().arp_target(address), DROP);
        let asks = arp().eth_src(mac).arp_request().arp_sender(mac, address).arp_target(subnet);
        tables.add(0, 300, asks, arp_responder());
        tables.add(0, 200, ip().to(subnet), [Action::Goto(10)]);
        tables.add(0, 190, ip().eth_dst(ROUTER_MAC), [Action::Goto(30)]);
        tables.add(0, 180, any().on_port(ofport), DROP);
    }
    let arp = || arp().on_port(SOCKET_OFPORT);
    tables.add(0, 310, arp().arp_target(gateway), DROP);
    tables.add(0, 300, arp().arp_request().arp_target(subnet), arp_responder());
    tables.add(0, 100, ip().to(subnet), [Action::Goto(10)]);
    // What else the host sends into the port (IPv6, multicast) is for nobody here, and must not be flooded.
    tables.add(0, 90, any().on_port(SOCKET_OFPORT), DROP);
    tables.add(0, 50, any(), [Action::Goto(30)]);
}

fn socket_network(tables: &mut Tables, spec: &HostSpec, endpoints: &[Endpoint]) {
    let gateway = spec.ovs.gateway();
    let known = [CtState::ESTABLISHED, CtState::RELATED];
    let to_host = deliver(SOCKET_MAC, SOCKET_OFPORT);
    let track = Action::Track { zone: ZONE, commit: false, table: Some(10) };
    tables.add(10, 200, ip().state(CtState::UNTRACKED), [track]);
    for state in known {
        tables.add(10, 100, ip().state(state).to(gateway), to_host.clone());
    }
    tables.add(10, 90, ip().state(CtState::NEW).to(gateway), commit(to_host));
    for to in endpoints {
        let host = || ip().on_port(SOCKET_OFPORT).to(to.address);
        let there = deliver(to.mac, to.ofport);
        for state in known {
            tables.add(10, 100, host().state(state), there.clone());
        }
        tables.add(10, 90, host().state(CtState::NEW), commit(there));
    }
    let by_name: BTreeMap<&ContainerName, &Endpoint> = endpoints.iter().map(|e| (&e.name, e)).collect();
    for from in endpoints {
        for to in from.connect.iter().filter_map(|name| by_name.get(name)) {
            if to.name == from.name {
                continue;
            }
            let there = deliver(to.mac, to.ofport);
            let back = deliver(from.mac, from.ofport);
            let going = || ip().on_port(from.ofport).to(to.address);
            let coming = || ip().on_port(to.ofport).to(from.address);
            // Established connections pass by pair, not by destination: a grant taken away cuts those
            // that are open, and an address given to a new container inherits none.
            for state in known {
                tables.add(10, 100, going().state(state), there.clone());
                tables.add(10, 100, coming().state(state), back.clone());
            }
            tables.add(10, 90, going().state(CtState::NEW), commit(there));
        }
    }
    tables.add(10, 0, any(), DROP);
}

fn way_out(tables: &mut Tables) {
    // Committed here, so that what comes back (a TCP SYN+ACK first) is known in table 10: connection
    // tracking takes an answer without a question for invalid.
    tables.add(30, 100, ip().eth_dst(ROUTER_MAC), commit(deliver(SOCKET_MAC, SOCKET_OFPORT)));
    tables.add(30, 50, any(), [Action::Normal]);
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
        let responder = arp_responder().map(|action| action.to_string()).join(",");
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
        table=10,priority=100,ct_state=+est+trk,ip,nw_dst=10.0.0.1 actions=set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=10,priority=100,ct_state=+rel+trk,ip,nw_dst=10.0.0.1 actions=set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=10,priority=90,ct_state=+new+trk,ip,nw_dst=10.0.0.1 actions=ct(commit,zone=28528),set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=10,priority=0 actions=drop
        table=20,priority=0 actions=drop
        table=30,priority=100,ip,dl_dst=02:6f:70:64:62:00 actions=ct(commit,zone=28528),set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=30,priority=50 actions=NORMAL
        "#);
    }

    #[test]
    fn an_uplink_is_switched_and_outranks_every_rule_of_the_containers() {
        let flows = uplink_flows();
        let text: Vec<String> = flows.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "table=0,priority=400,in_port=30 actions=NORMAL",
                "table=0,priority=400,in_port=LOCAL actions=NORMAL"
            ]
        );
        let all = desired(&HostSpec::default(), &[endpoint("a", 0, &["b"]), endpoint("b", 1, &["a"])]);
        assert!(all.iter().all(|flow| flow.key.table != 0 || flow.key.priority < 400));
        // What a container says is never switched: each of its rules ends in a table without NORMAL, or at a port.
        for flow in all.iter().filter(|flow| flow.key.matches.in_port.is_some_and(|port| port >= 100)) {
            let switched = flow.actions.iter().any(|a| matches!(a, Action::Normal | Action::Goto(30)));
            assert!(!switched || flow.key.matches.eth_dst == Some(ROUTER_MAC), "{flow}");
        }
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
        table=10,priority=100,ct_state=+est+trk,ip,nw_dst=10.0.0.1 actions=set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=10,priority=100,ct_state=+est+trk,ip,in_port=10,nw_dst=10.0.0.2 actions=set_field:02:00:00:00:00:00->eth_dst,output:100
        table=10,priority=100,ct_state=+est+trk,ip,in_port=10,nw_dst=10.0.0.3 actions=set_field:02:00:00:00:00:01->eth_dst,output:101
        table=10,priority=100,ct_state=+est+trk,ip,in_port=100,nw_dst=10.0.0.3 actions=set_field:02:00:00:00:00:01->eth_dst,output:101
        table=10,priority=100,ct_state=+est+trk,ip,in_port=101,nw_dst=10.0.0.2 actions=set_field:02:00:00:00:00:00->eth_dst,output:100
        table=10,priority=100,ct_state=+rel+trk,ip,nw_dst=10.0.0.1 actions=set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=10,priority=100,ct_state=+rel+trk,ip,in_port=10,nw_dst=10.0.0.2 actions=set_field:02:00:00:00:00:00->eth_dst,output:100
        table=10,priority=100,ct_state=+rel+trk,ip,in_port=10,nw_dst=10.0.0.3 actions=set_field:02:00:00:00:00:01->eth_dst,output:101
        table=10,priority=100,ct_state=+rel+trk,ip,in_port=100,nw_dst=10.0.0.3 actions=set_field:02:00:00:00:00:01->eth_dst,output:101
        table=10,priority=100,ct_state=+rel+trk,ip,in_port=101,nw_dst=10.0.0.2 actions=set_field:02:00:00:00:00:00->eth_dst,output:100
        table=10,priority=90,ct_state=+new+trk,ip,nw_dst=10.0.0.1 actions=ct(commit,zone=28528),set_field:02:6f:70:64:62:01->eth_dst,output:10
        table=10,priority=90,ct_state=+new+trk,ip,in_port=10,nw_dst=10.0.0.2 actions=ct(commit,zone=28528),set_field:02:00:00:00:00:00->eth_dst,output:100
        table=10,priority=90,ct_state=+new+trk,ip,in_port=10,nw_dst=10.0.0.3 actions=ct(commit,zone=28528),set_field:02:00:00:00:00:01->eth_dst,output:101
        table=10,priority=90,ct_state=+new+trk,ip,in_port=100,nw_dst=10.0.0.3 actions=ct(commit,zone=28528),set_field:02:00:00:00:00:01->eth_dst,output:101
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
        let keys: std::collections::BTreeSet<_> = flows.iter().map(|f| &f.key).collect();
        assert_eq!(keys.len(), flows.len());
    }

    #[test]
    fn the_flows_of_a_container_follow_from_those_it_has_grants_with_alone() {
        // What `flows::shift` rests on.
        let all = [
            endpoint("a", 0, &["b"]),
            endpoint("b", 1, &["a"]),
            endpoint("c", 2, &["a"]),
            endpoint("d", 3, &["c"]),
        ];
        let (near, without_a) = (&all[..3], &all[1..]);
        let spec = HostSpec::default();
        let change = |before: &[Endpoint], after: &[Endpoint]| {
            let before = desired(&spec, before);
            desired(&spec, after).into_iter().filter(|f| !before.contains(f)).collect::<Vec<_>>()
        };
        assert_eq!(change(&near[1..], near), change(without_a, &all));
    }
}
