//! Bridge, packet filter and flows on a real Open vSwitch, in a network namespace of each test's own.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod support;

#[path = "support/ovs.rs"]
mod ovs;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use opdbus::bridge::{self, BridgeComponent, Port};
use opdbus::engine::{self, Context, Outcome, Silent, Stage};
use opdbus::fault::{Kind, Report};
use opdbus::flows::{self, Endpoint, FlowsComponent};
use opdbus::mac::MacAddr;
use opdbus::nat::NatComponent;
use opdbus::spec::HostSpec;
use ovs::{Machine, Ovs, eventually, tool};
use support::Need;

/// What the room of containers will answer.
#[allow(clippy::unnecessary_wraps, reason = "the shape of an endpoint source")]
fn endpoints(cx: &Context<'_>) -> Result<Vec<Endpoint>, Report> {
    match std::fs::read(cx.host.paths.run.join("endpoints.json")) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap()),
        Err(_) => Ok(Vec::new()),
    }
}

fn stages() -> Vec<Box<dyn Stage>> {
    let bridge = BridgeComponent { patience: Duration::from_secs(5), ..opdbus::system::bridge() };
    let flows = FlowsComponent { endpoints, patience: Duration::from_secs(3) };
    vec![Box::new(bridge), Box::<NatComponent>::default(), Box::new(flows)]
}

fn plan(ovs: &Ovs, spec: &HostSpec) -> Vec<String> {
    let cx = Context { host: &ovs.host, spec, progress: &Silent };
    let changes = engine::plan(&stages(), &cx).unwrap();
    changes.iter().map(|c| format!("{:?} {}: {}", c.action, c.object, c.detail)).collect()
}

fn try_apply(ovs: &Ovs, spec: &HostSpec) -> Result<Outcome, Report> {
    let cx = Context { host: &ovs.host, spec, progress: &Silent };
    let outcome = engine::apply(&stages(), &cx)?;
    match outcome.failure() {
        Some(failure) => Err(failure.clone()),
        None => Ok(outcome),
    }
}

/// Applies, and checks that there is nothing left to do. Gives the number of changes.
fn apply(ovs: &Ovs, spec: &HostSpec) -> usize {
    let outcome = try_apply(ovs, spec).unwrap();
    assert_eq!(plan(ovs, spec), [""; 0], "after apply nothing is left to change");
    outcome.changes()
}

/// A container as the bridge sees one.
struct Container {
    machine: Machine,
    endpoint: Endpoint,
}

impl Container {
    fn create(ovs: &Ovs, spec: &HostSpec, name: &str, slot: u8, connect: &[&str]) -> Self {
        let endpoint = Endpoint {
            name: name.parse().unwrap(),
            interface: format!("oc-{name}"),
            ofport: 100 + u32::from(slot),
            mac: MacAddr([2, 0, 0, 0, 1, slot]),
            address: Ipv4Addr::new(10, 0, 0, 10 + slot),
            connect: connect.iter().map(|n| n.parse().unwrap()).collect(),
        };
        let port = Port {
            interface: endpoint.interface.clone(),
            ofport: endpoint.ofport,
            container: endpoint.name.clone(),
        };
        let cx = Context { host: &ovs.host, spec, progress: &Silent };
        bridge::add_port(&cx, &port).unwrap();
        // The device comes after the port, as when LXC starts a container that exists.
        let machine = Machine::plug(&endpoint.interface, endpoint.mac);
        machine.run("ip", &["addr", "add", &format!("{}/24", endpoint.address), "dev", "eth0"]);
        machine.run("ip", &["route", "add", "default", "via", "10.0.0.1"]);
        eventually("the container's port", || {
            bridge::container_ports(&cx).unwrap()[&port.interface].ofport == Some(port.ofport.into())
        });
        machine.whole_checksums();
        Self { machine, endpoint }
    }

    fn address(&self) -> Ipv4Addr {
        self.endpoint.address
    }
}

fn tell(ovs: &Ovs, containers: &[&Container]) {
    let endpoints: Vec<&Endpoint> = containers.iter().map(|c| &c.endpoint).collect();
    std::fs::create_dir_all(&ovs.host.paths.run).unwrap();
    std::fs::write(ovs.host.paths.run.join("endpoints.json"), serde_json::to_vec(&endpoints).unwrap())
        .unwrap();
}

/// The lines in an order of their own: Open vSwitch has none among flows of one priority.
fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}

/// Whether an echo request is answered. In the namespace of the calling thread.
fn ping(to: Ipv4Addr) -> bool {
    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrV4, SocketType, ipproto, recv, sendto, socket, sockopt,
    };
    let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).unwrap();
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_millis(300))).unwrap();
    let address = SocketAddrV4::new(to, 0);
    (0..3).any(|_| {
        // Type 8, code 0, checksum, identifier 1, sequence 1.
        let request = [8, 0, 0xf7, 0xfd, 0, 1, 0, 1];
        if sendto(&socket, &request, SendFlags::empty(), &address).is_err() {
            return false;
        }
        let mut buffer = [0; 256];
        while let Ok((length, _)) = recv(&socket, &mut buffer, RecvFlags::empty()) {
            if length >= 28 && buffer[12..16] == to.octets() && buffer[20] == 0 {
                return true;
            }
        }
        false
    })
}

/// Whether a datagram to port 7 is answered. In the namespace of the calling thread.
fn asks(from: Ipv4Addr, to: Ipv4Addr) -> bool {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    (0..3).any(|_| {
        let mut answer = [0; 16];
        socket.send_to(b"?", (to, 7)).is_ok() && socket.recv(&mut answer).is_ok_and(|n| &answer[..n] == b"?")
    })
}

/// Answers datagrams on port 7 of a machine until dropped.
struct Echo(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Echo {
    fn on(machine: &Machine) -> Self {
        let socket = machine.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 7)).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = stop.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 16];
            while !seen.load(std::sync::atomic::Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
        });
        Self(stop)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_bare_host_is_converged_once_and_a_second_run_changes_nothing() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"));
    let ovs = Ovs::start();
    let spec = HostSpec::default();
    assert!(
        plan(&ovs, &spec)[0].contains("userspace datapath")
            || std::path::Path::new("/sys/module/openvswitch").exists()
    );
    assert!(apply(&ovs, &spec) >= 8);
    assert_eq!(apply(&ovs, &spec), 0);

    assert!(ping(Ipv4Addr::new(10, 0, 0, 1)), "the gateway address is up");
    let gateway = tool("ip", &["-br", "addr", "show", "veth-socket"]);
    assert!(gateway.contains("10.0.0.1/24"), "{gateway}");
    let link = tool("ip", &["-br", "link", "show", "veth-socket"]);
    assert!(link.contains("02:6f:70:64:62:01"), "{link}");
}

#[test]
fn what_is_not_ours_is_left_as_it_is() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"));
    let ovs = Ovs::start();
    let spec = HostSpec::default();
    ovs.vsctl(&["add-br", "br-admin", "--", "set", "bridge", "br-admin", "datapath_type=netdev"]);
    ovs.vsctl(&["add-port", "br-admin", "p0", "--", "set", "interface", "p0", "type=internal"]);
    ovs.ofctl("add-flow", "br-admin", &["table=3,priority=5,tcp,tp_dst=80 actions=drop"]);
    tool("nft", &["add", "table", "inet", "admin"]);
    tool("nft", &["add", "chain", "inet", "admin", "input", "{ type filter hook input priority 0; }"]);
    tool("nft", &["add", "rule", "inet", "admin", "input", "tcp", "dport", "81", "drop"]);
    let look = || {
        [
            ovs.describe("br-admin"),
            ovs.ofctl("dump-flows", "br-admin", &[]),
            tool("nft", &["-a", "list", "table", "inet", "admin"]),
        ]
    };
    let before = look();
    apply(&ovs, &spec);

    // Now also on our own bridge: a port and flows of the admin's, with a cookie and without.
    ovs.vsctl(&["add-port", "ovsbr0", "p1", "--", "set", "interface", "p1", "type=internal"]);
    ovs.ofctl("add-flow", "ovsbr0", &["table=5,priority=7,udp,tp_dst=53 actions=drop"]);
    ovs.ofctl("add-flow", "ovsbr0", &["cookie=0x7,table=0,priority=400,icmp6 actions=NORMAL"]);
    let foreign = || {
        let flows = ovs.ofctl("dump-flows", "ovsbr0", &[]);
        sorted(&flows).lines().filter(|l| !l.contains("0x6f706462")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (described, theirs) = (ovs.describe("ovsbr0"), foreign());
    assert_eq!(theirs.len(), 2);

    let mut other = spec.clone();
    other.ovs.host_access = true;
    other.ovs.subnet = "10.9.0.0/24".parse().unwrap();
    assert_eq!(apply(&ovs, &spec), 0);
    assert!(apply(&ovs, &other) > 0);
    assert!(apply(&ovs, &spec) > 0);
    assert_eq!(look(), before);
    assert_eq!(foreign(), theirs);
    assert_eq!(ovs.describe("ovsbr0"), described);
    let gateway = tool("ip", &["-br", "addr", "show", "veth-socket"]);
    assert!(gateway.contains("10.0.0.1/24") && !gateway.contains("10.9.0.1"), "{gateway}");
}

#[test]
fn a_foreign_bridge_of_our_name_is_refused_and_left() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"));
    let ovs = Ovs::start();
    ovs.vsctl(&["add-br", "ovsbr0", "--", "set", "bridge", "ovsbr0", "datapath_type=netdev"]);
    let before = (ovs.describe("ovsbr0"), ovs.ofctl("dump-flows", "ovsbr0", &[]));
    let spec = HostSpec::default();
    let failure = try_apply(&ovs, &spec).unwrap_err();
    assert_eq!(failure.kind, Kind::Conflict);
    assert!(failure.next.unwrap().contains("ovs.bridge"));
    assert_eq!((ovs.describe("ovsbr0"), ovs.ofctl("dump-flows", "ovsbr0", &[])), before);

    // Nor does any single piece touch it.
    let cx = Context { host: &ovs.host, spec: &spec, progress: &Silent };
    let port = Port { interface: "oc-a".into(), ofport: 100, container: "a".parse().unwrap() };
    assert_eq!(Report::from(bridge::add_port(&cx, &port).unwrap_err()).kind, Kind::Conflict);
    assert_eq!(Report::from(flows::converge(&cx, &[]).unwrap_err()).kind, Kind::Conflict);
    assert_eq!(Report::from(flows::save(&cx).unwrap_err()).kind, Kind::Conflict);
    assert_eq!((ovs.describe("ovsbr0"), ovs.ofctl("dump-flows", "ovsbr0", &[])), before);
}

#[test]
fn interfaces_and_networks_in_the_way_are_refused_before_anything_is_made() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"));
    let ovs = Ovs::start();
    let spec = HostSpec::default();
    let refused = |why: &str| {
        let failure = try_apply(&ovs, &spec).unwrap_err();
        assert_eq!(failure.kind, Kind::Conflict, "{failure}");
        assert!(failure.message.contains(why), "{failure}");
        assert_eq!(ovs.vsctl(&["list-br"]).replace("br-admin\n", ""), "", "nothing was made");
    };
    tool("ip", &["link", "add", "veth-socket", "type", "veth", "peer", "name", "x0"]);
    refused("interface named veth-socket");
    tool("ip", &["link", "del", "veth-socket"]);

    ovs.vsctl(&["add-br", "br-admin", "--", "set", "bridge", "br-admin", "datapath_type=netdev"]);
    ovs.vsctl(&[
        "add-port",
        "br-admin",
        "veth-socket",
        "--",
        "set",
        "interface",
        "veth-socket",
        "type=internal",
    ]);
    refused("port named veth-socket");
    ovs.vsctl(&["del-port", "veth-socket"]);
    eventually("the port is gone", || !tool("ip", &["link"]).contains("veth-socket"));

    tool("ip", &["link", "add", "lan", "type", "veth", "peer", "name", "x0"]);
    tool("ip", &["link", "set", "lan", "up"]);
    tool("ip", &["route", "add", "10.0.0.0/16", "dev", "lan"]);
    refused("10.0.0.0/16, which this host reaches through lan");
    tool("ip", &["route", "del", "10.0.0.0/16", "dev", "lan"]);
    apply(&ovs, &spec);
}

#[test]
fn a_container_reaches_what_it_was_granted_and_nothing_else() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"), Need::Program("python3"));
    let ovs = Ovs::start();
    let spec = HostSpec::default();
    apply(&ovs, &spec);
    let mut a = Container::create(&ovs, &spec, "a", 1, &["b"]);
    let b = Container::create(&ovs, &spec, "b", 2, &[]);
    let c = Container::create(&ovs, &spec, "c", 3, &[]);
    tell(&ovs, &[&a, &b, &c]);
    apply(&ovs, &spec);
    let (echo_a, echo_b) = (Echo::on(&a.machine), Echo::on(&b.machine));
    let gateway = spec.ovs.gateway();

    assert!(a.machine.inside(|| ping(b.address())), "a was granted b");
    assert!(a.machine.inside(|| asks(a.address(), b.address())));
    assert!(!b.machine.inside(|| ping(a.address())), "b was not granted a");
    assert!(!b.machine.inside(|| asks(b.address(), a.address())));
    let heard = c.machine.received();
    assert!(!c.machine.inside(|| ping(b.address())), "c was granted nothing");
    assert!(!c.machine.inside(|| asks(c.address(), b.address())));
    // Two answers to its own ARP requests at most; nothing of the talk between a and b.
    assert!(c.machine.received() <= heard + 2);

    // The host: pings yes, connections no, unless the host spec opens it.
    let socket = UdpSocket::bind((gateway, 7)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(c.machine.inside(|| ping(gateway)));
    assert!(ping(c.address()), "the host reaches its containers");
    assert!(!c.machine.inside(|| asks(c.address(), gateway)));
    assert!(socket.recv(&mut [0; 16]).is_err(), "nothing arrived");
    // Nor past the bridge: with the userspace datapath the kernel, too, gets what comes in at the host's end.
    let links: serde_json::Value =
        serde_json::from_str(&tool("ip", &["-j", "link", "show", "oc-c"])).unwrap();
    let near_end = links[0]["address"].as_str().unwrap();
    c.machine.run("ip", &["neigh", "replace", "10.0.0.1", "lladdr", near_end, "dev", "eth0"]);
    assert!(!c.machine.inside(|| asks(c.address(), gateway)));
    assert!(socket.recv(&mut [0; 16]).is_err(), "nothing arrived");
    c.machine.run("ip", &["neigh", "del", "10.0.0.1", "dev", "eth0"]);
    let mut open = spec.clone();
    open.ovs.host_access = true;
    apply(&ovs, &open);
    assert!(!c.machine.inside(|| asks(c.address(), gateway)), "nobody answers");
    assert!(socket.recv(&mut [0; 16]).is_ok(), "and yet it arrived");
    apply(&ovs, &spec);

    // Under the address of another, c gets nowhere: neither by IP, nor by Ethernet, nor by both.
    let heard = b.machine.received();
    c.machine.run("ip", &["addr", "add", &format!("{}/32", a.address()), "dev", "eth0"]);
    assert!(!c.machine.inside(|| asks(a.address(), b.address())));
    c.machine.run("ip", &["link", "set", "eth0", "address", &a.endpoint.mac.to_string()]);
    c.machine.run("ip", &["neigh", "replace", "10.0.0.12", "lladdr", "02:6f:70:64:62:00", "dev", "eth0"]);
    assert!(!c.machine.inside(|| asks(a.address(), b.address())));
    assert!(!c.machine.inside(|| asks(c.address(), b.address())));
    assert_eq!(b.machine.received(), heard, "b heard none of it");

    // Broadcasts reach nobody, nor does what a port of the admin's floods.
    let heard = (b.machine.received(), c.machine.received());
    a.machine.inside(|| {
        let socket = UdpSocket::bind((a.address(), 0)).unwrap();
        socket.set_broadcast(true).unwrap();
        for to in [Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::new(224, 0, 0, 251)] {
            socket.send_to(b"?", (to, 7)).unwrap();
        }
    });
    let admin = Machine::plug("admin0", MacAddr([2, 0, 0, 0, 9, 1]));
    let other = Machine::plug("admin1", MacAddr([2, 0, 0, 0, 9, 2]));
    ovs.vsctl(&["add-port", "ovsbr0", "admin0", "--", "add-port", "ovsbr0", "admin1"]);
    for (machine, address) in [(&admin, "10.0.0.200/24"), (&other, "10.0.0.201/24")] {
        machine.run("ip", &["addr", "add", address, "dev", "eth0"]);
    }
    admin.inside(|| ping(Ipv4Addr::new(10, 0, 0, 201)));
    assert!(other.received() > 0, "the admin's ports are switched as ever");
    assert!(!admin.inside(|| ping(b.address())), "and have no way to a container");
    admin.run("ip", &["neigh", "replace", "10.0.0.12", "lladdr", &b.endpoint.mac.to_string(), "dev", "eth0"]);
    assert!(!admin.inside(|| ping(b.address())));
    assert_eq!((b.machine.received(), c.machine.received()), heard, "nothing was flooded");

    // A grant that is taken away ends at once, also for those who are talking.
    a.endpoint.connect.clear();
    tell(&ovs, &[&a, &b, &c]);
    apply(&ovs, &spec);
    assert!(!a.machine.inside(|| asks(a.address(), b.address())));
    drop((echo_a, echo_b));
}

#[test]
fn the_outside_is_reached_by_translation_and_does_not_reach_in() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"), Need::Program("python3"));
    let ovs = Ovs::start();
    let spec = HostSpec::default();
    apply(&ovs, &spec);
    let a = Container::create(&ovs, &spec, "a", 1, &[]);
    tell(&ovs, &[&a]);
    apply(&ovs, &spec);
    let outside = Machine::plug("uplink", MacAddr([2, 0, 0, 0, 8, 1]));
    tool("ip", &["addr", "add", "192.0.2.1/24", "dev", "uplink"]);
    outside.run("ip", &["addr", "add", "192.0.2.2/24", "dev", "eth0"]);
    outside.run("ip", &["route", "add", "10.0.0.0/24", "via", "192.0.2.1"]);

    let listener = outside.inside(|| TcpListener::bind(("192.0.2.2", 80)).unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            let _ = stream.write_all(from.ip().to_string().as_bytes());
        }
    });
    let from = a.machine.inside(|| {
        let to = "192.0.2.2:80".parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(from, "192.0.2.1", "the container came under the host's address");

    let socket = a.machine.inside(|| UdpSocket::bind((a.address(), 7)).unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(!outside.inside(|| asks(Ipv4Addr::new(192, 0, 2, 2), a.address())));
    assert!(socket.recv(&mut [0; 16]).is_err(), "nothing came in");
    assert!(!asks(spec.ovs.gateway(), a.address()), "nobody answers");
    assert!(socket.recv(&mut [0; 16]).is_ok(), "and yet what the host sends comes in");
}

#[test]
fn tampering_with_what_is_ours_is_found_and_repaired() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"));
    let ovs = Ovs::start();
    let spec = HostSpec::default();
    apply(&ovs, &spec);
    ovs.ofctl("mod-flows", "ovsbr0", &["table=30,priority=50 actions=drop"]);
    ovs.ofctl("add-flow", "ovsbr0", &["cookie=0x6f70646200000000,table=10,priority=999,ip actions=NORMAL"]);
    ovs.ofctl("del-flows", "ovsbr0", &["table=20,priority=0"]);
    assert_eq!(plan(&ovs, &spec), ["Update flows on ovsbr0: 1 to add, 1 to repair, 1 to remove"]);
    apply(&ovs, &spec);

    for tampering in [
        &["flush", "chain", "inet", "opdbus", "forward"][..],
        &["insert", "rule", "inet", "opdbus", "input", "accept"],
        &["add", "chain", "inet", "opdbus", "mine"],
        &["add", "rule", "inet", "opdbus", "seal", "accept"],
        &["delete", "table", "inet", "opdbus"],
        &["delete", "table", "arp", "opdbus"],
    ] {
        tool("nft", tampering);
        assert_eq!(plan(&ovs, &spec).len(), 1, "{tampering:?}");
        apply(&ovs, &spec);
    }

    ovs.vsctl(&["set-fail-mode", "ovsbr0", "standalone"]);
    ovs.vsctl(&["clear", "port", "veth-socket", "tag"]);
    tool("ip", &["link", "set", "veth-socket", "down"]);
    assert_eq!(plan(&ovs, &spec).len(), 4, "flows, too: a change of the fail mode drops them");
    apply(&ovs, &spec);
}

#[test]
fn the_flows_on_the_wire_are_those_that_are_written_down() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"));
    let ovs = Ovs::start();
    let spec = HostSpec::default();
    apply(&ovs, &spec);
    let endpoint = |name: &str, slot: u8, connect: &[&str]| Endpoint {
        name: name.parse().unwrap(),
        interface: format!("oc-{name}"),
        ofport: 100 + u32::from(slot),
        mac: MacAddr([2, 0, 0, 0, 0, slot]),
        address: Ipv4Addr::new(10, 0, 0, 2 + slot),
        connect: connect.iter().map(|n| n.parse().unwrap()).collect(),
    };
    // What we send as OpenFlow and what ovs-ofctl makes of the same flows' text are the same flows.
    let agree = |endpoints: &[Endpoint]| {
        let file = ovs.dir.path().join("flows");
        let lines = flows::desired(&spec, endpoints);
        let lines: String = lines.iter().map(|f| format!("cookie={:#x},{f}\n", flows::COOKIE)).collect();
        std::fs::write(&file, lines).unwrap();
        ovs.ofctl("diff-flows", "ovsbr0", &[file.to_str().unwrap()]);
    };
    let all = [endpoint("a", 1, &["b"]), endpoint("b", 2, &["a", "c"]), endpoint("c", 3, &[])];
    let cx = Context { host: &ovs.host, spec: &spec, progress: &Silent };
    agree(&[]);
    assert!(flows::converge(&cx, &all).unwrap() > 20);
    agree(&all);
    assert_eq!(flows::converge(&cx, &all).unwrap(), 0);

    // One goes, comes back, and changes its grants: the same flows as from the whole.
    flows::shift(&cx, &all, &all[..2]).unwrap();
    agree(&all[..2]);
    flows::shift(&cx, &all[1..2], &all[1..]).unwrap();
    agree(&all);
    let other = [all[0].clone(), endpoint("b", 2, &[]), all[2].clone()];
    flows::shift(&cx, &all, &other).unwrap();
    agree(&other);

    // A flow of somebody else's in the place of one to come is refused, and nothing is changed.
    let theirs = "cookie=0x9,table=0,priority=180,in_port=104 actions=drop";
    ovs.ofctl("add-flow", "ovsbr0", &[theirs]);
    let failure = Report::from(flows::shift(&cx, &[], &[endpoint("d", 4, &[])]).unwrap_err());
    assert_eq!(failure.kind, Kind::Conflict);
    assert!(failure.message.contains("cookie=0x9,table=0,priority=180,in_port=104"), "{failure}");
    ovs.ofctl("del-flows", "ovsbr0", &["table=0,priority=180,in_port=104"]);
    agree(&other);
}

#[test]
fn a_foreign_flow_where_ours_belongs_is_a_conflict_that_names_it() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"));
    let ovs = Ovs::start();
    let spec = HostSpec::default();
    apply(&ovs, &spec);
    ovs.ofctl("del-flows", "ovsbr0", &["table=30,priority=50"]);
    ovs.ofctl("add-flow", "ovsbr0", &["cookie=0x9,table=30,priority=50 actions=drop"]);
    let failure = try_apply(&ovs, &spec).unwrap_err();
    assert_eq!(failure.kind, Kind::Conflict);
    assert!(failure.message.contains("cookie=0x9"), "{failure}");
    assert!(failure.next.unwrap().contains("--strict del-flows ovsbr0 'table=30,priority=50'"));
    assert!(ovs.ofctl("dump-flows", "ovsbr0", &["table=30"]).contains("cookie=0x9"));
}

#[test]
fn a_restart_of_the_switch_is_healed_and_the_flows_of_others_come_back() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"), Need::Program("python3"));
    let mut ovs = Ovs::start();
    let spec = HostSpec::default();
    apply(&ovs, &spec);
    let a = Container::create(&ovs, &spec, "a", 1, &["b"]);
    let b = Container::create(&ovs, &spec, "b", 2, &[]);
    tell(&ovs, &[&a, &b]);
    apply(&ovs, &spec);
    ovs.ofctl("add-flow", "ovsbr0", &["cookie=0x7,table=5,priority=7,udp,tp_dst=53 actions=resubmit(,6)"]);
    ovs.ofctl("add-flow", "ovsbr0", &["table=5,priority=8,tcp actions=drop"]);
    ovs.ofctl("add-flow", "ovsbr0", &["table=5,priority=9,idle_timeout=60,icmp actions=drop"]);
    let flows = |ovs: &Ovs| sorted(&ovs.ofctl("dump-flows", "ovsbr0", &[]));
    let before = flows(&ovs);

    // Through the program, as the unit does it.
    let config = ovs.dir.path().join("config.json");
    std::fs::write(&config, opdbus::spec::render(&spec)).unwrap();
    let helper = |ovs: &Ovs, verb: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_opdbus-flows"))
            .args([verb, "--json", "--config", config.to_str().unwrap()])
            .env("OPDBUS_OVSDB", &ovs.host.paths.ovsdb)
            .env("OPDBUS_OVS_RUN", &ovs.host.paths.ovs_run)
            .env("OPDBUS_RUN", &ovs.host.paths.run)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    assert_eq!(helper(&ovs, "save")["flows"], 2);
    ovs.kill_switch();
    let failure = try_apply(&ovs, &spec).unwrap_err();
    assert_eq!(failure.kind, Kind::Unavailable, "{failure}");
    assert!(failure.message.contains("ovs-vswitchd") && failure.next.is_some(), "{failure:?}");

    ovs.start_switch();
    apply(&ovs, &spec);
    assert_eq!(helper(&ovs, "restore")["restored"], 2);
    assert_eq!(helper(&ovs, "restore")["restored"], 0, "what was put back is not put back twice");
    let kept: String = before.split_inclusive('\n').filter(|l| !l.contains("idle_timeout")).collect();
    assert_eq!(flows(&ovs), kept);
    assert!(a.machine.inside(|| ping(b.address())), "containers reach each other again");

    // What is there stays as it is, and what was removed on purpose after a restore stays away.
    assert_eq!(helper(&ovs, "save")["flows"], 2);
    ovs.ofctl("mod-flows", "ovsbr0", &["table=5,priority=8,tcp actions=NORMAL"]);
    ovs.ofctl("del-flows", "ovsbr0", &["table=5,priority=7,udp,tp_dst=53"]);
    assert_eq!(helper(&ovs, "restore")["restored"], 1);
    assert!(flows(&ovs).contains("priority=8,tcp actions=NORMAL"));
    ovs.ofctl("del-flows", "ovsbr0", &["table=5,priority=7,udp,tp_dst=53"]);
    assert_eq!(helper(&ovs, "restore")["restored"], 0);
}

#[test]
fn without_open_vswitch_a_plan_is_shown_and_apply_says_what_to_do() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"));
    let mut ovs = Ovs::bare();
    let spec = HostSpec::default();
    assert_eq!(plan(&ovs, &spec).len(), 8);
    let failure = try_apply(&ovs, &spec).unwrap_err();
    assert_eq!(failure.kind, Kind::Unavailable);
    assert!(failure.next.unwrap().contains("openvswitch-switch"));

    ovs.start_database();
    ovs.start_switch();
    apply(&ovs, &spec);
    ovs.kill_database();
    let failure = try_apply(&ovs, &spec).unwrap_err();
    assert_eq!(failure.kind, Kind::Unavailable, "{failure}");
    assert!(failure.message.contains("db.sock") && failure.next.is_some(), "{failure}");
}

#[test]
fn a_containers_port_is_added_and_removed_once_and_never_takes_one_of_others() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"));
    let ovs = Ovs::start();
    let spec = HostSpec::default();
    let cx = Context { host: &ovs.host, spec: &spec, progress: &Silent };
    let port = |interface: &str, ofport, container: &str| Port {
        interface: interface.into(),
        ofport,
        container: container.parse().unwrap(),
    };
    let kind = |result: Result<(), bridge::BridgeError>| Report::from(result.unwrap_err()).kind;
    assert_eq!(kind(bridge::add_port(&cx, &port("oc-a", 101, "a"))), Kind::NotFound);
    apply(&ovs, &spec);

    bridge::add_port(&cx, &port("oc-a", 101, "a")).unwrap();
    bridge::add_port(&cx, &port("oc-a", 101, "a")).unwrap();
    bridge::add_port(&cx, &port("oc-a", 107, "a")).unwrap();
    let ports = bridge::container_ports(&cx).unwrap();
    assert_eq!(ports.len(), 1);
    assert_eq!((ports["oc-a"].container.as_str(), ports["oc-a"].requested), ("a", Some(107)));
    assert_eq!(kind(bridge::add_port(&cx, &port("oc-a", 102, "b"))), Kind::Conflict, "another container's");

    ovs.vsctl(&["add-port", "ovsbr0", "p1", "--", "set", "interface", "p1", "type=internal"]);
    let before = ovs.describe("ovsbr0");
    assert_eq!(kind(bridge::add_port(&cx, &port("p1", 103, "c"))), Kind::Conflict);
    assert_eq!(kind(bridge::remove_port(&cx, "p1")), Kind::Conflict);
    assert_eq!(kind(bridge::remove_port(&cx, "veth-socket")), Kind::Conflict);
    assert_eq!(ovs.describe("ovsbr0"), before);

    bridge::remove_port(&cx, "oc-a").unwrap();
    bridge::remove_port(&cx, "oc-a").unwrap();
    assert!(bridge::container_ports(&cx).unwrap().is_empty());
    assert!(!ovs.vsctl(&["list", "interface"]).contains("oc-a"), "its interface is gone, too");
}

/// What a retirement would take away, and what would stay, of the components in the order of an uninstall.
fn plan_retirement(ovs: &Ovs, spec: &HostSpec) -> Result<(Vec<String>, Vec<String>), Report> {
    let cx = Context { host: &ovs.host, spec, progress: &Silent };
    let mut stages = stages();
    stages.reverse();
    let all = engine::plan_retirement(&stages, &cx, false)?;
    let changes = all.changes.iter().map(|c| format!("{:?} {}: {}", c.action, c.object, c.detail)).collect();
    Ok((changes, all.kept.iter().map(|k| format!("{}: {}", k.object, k.why)).collect()))
}

fn retire(ovs: &Ovs, spec: &HostSpec) {
    let cx = Context { host: &ovs.host, spec, progress: &Silent };
    for stage in stages().into_iter().rev() {
        let outcome = stage.retire(&cx, false);
        assert_eq!(outcome.failure, None);
    }
    assert_eq!(plan_retirement(ovs, spec).unwrap().0, [""; 0], "nothing is left to take away");
}

#[test]
fn a_retirement_leaves_the_network_as_it_was_before() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"));
    let ovs = Ovs::start();
    let spec = HostSpec::default();
    ovs.vsctl(&["add-br", "br-admin", "--", "set", "bridge", "br-admin", "datapath_type=netdev"]);
    ovs.ofctl("add-flow", "br-admin", &["table=3,priority=5,tcp,tp_dst=80 actions=drop"]);
    tool("nft", &["add", "table", "inet", "admin"]);
    let look = || {
        [
            ovs.describe("br-admin"),
            ovs.ofctl("dump-flows", "br-admin", &[]),
            ovs.vsctl(&["--columns=name", "list", "interface"]),
            tool("nft", &["list", "ruleset"]),
            tool("ip", &["-br", "link"]),
        ]
        .map(|text| sorted(&text))
    };
    assert_eq!(plan_retirement(&ovs, &spec).unwrap(), (vec![], vec![]), "there is nothing of ours yet");
    let before = look();
    apply(&ovs, &spec);
    let web = Container::create(&ovs, &spec, "web", 1, &[]);
    tell(&ovs, &[&web]);
    apply(&ovs, &spec);

    let (changes, kept) = plan_retirement(&ovs, &spec).unwrap();
    assert!(changes[0].starts_with("Remove flows on ovsbr0: "), "{changes:?}");
    assert_eq!(
        changes[1..],
        [
            "Remove nftables table inet opdbus, table arp opdbus: ",
            "Remove bridge ovsbr0: with our 3 ports on it"
        ]
    );
    assert!(kept.iter().all(|k| k.starts_with("net.ipv4.ip_forward")), "{kept:?}");
    assert_eq!(plan(&ovs, &spec), [""; 0], "a plan changes nothing");

    drop(web);
    retire(&ovs, &spec);
    assert_eq!(look(), before);
    assert!(apply(&ovs, &spec) >= 7, "and it can be made again");
}

#[test]
fn a_bridge_with_a_port_or_a_flow_of_others_stays_with_them() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"));
    let ovs = Ovs::start();
    let spec = HostSpec::default();
    apply(&ovs, &spec);
    // Each of these alone keeps the bridge.
    let nobody: &[&str] = &["--if-exists", "del-port", "nobody"];
    for (put, take, says) in [
        (
            &["add-port", "ovsbr0", "p1", "--", "set", "interface", "p1", "type=internal"][..],
            &["del-port", "p1"][..],
            "the port p1",
        ),
        (&["set-controller", "ovsbr0", "ptcp:0:127.0.0.1"], &["del-controller", "ovsbr0"], "its controller"),
        (
            &["set", "bridge", "ovsbr0", "external_ids:owner=me"],
            &["remove", "bridge", "ovsbr0", "external_ids", "owner"],
            "its external_ids:owner",
        ),
        (
            &["set", "bridge", "ovsbr0", "mcast_snooping_enable=true"],
            &["set", "bridge", "ovsbr0", "mcast_snooping_enable=false"],
            "its mcast_snooping_enable",
        ),
        (nobody, nobody, ""),
    ] {
        ovs.vsctl(put);
        let (changes, kept) = plan_retirement(&ovs, &spec).unwrap();
        ovs.vsctl(take);
        let goes = changes.iter().any(|c| c.starts_with("Remove bridge ovsbr0"));
        assert_eq!(goes, says.is_empty(), "{says}: {changes:?}");
        assert!(kept.iter().any(|k| k.contains("yours from now on") && k.contains(says)) != goes, "{kept:?}");
    }
    ovs.ofctl("add-flow", "ovsbr0", &["cookie=0x7,table=0,priority=400,icmp6 actions=NORMAL"]);
    ovs.vsctl(&["add-port", "ovsbr0", "p1", "--", "set", "interface", "p1", "type=internal"]);
    let theirs = ovs.vsctl(&["list", "port", "p1"]);
    retire(&ovs, &spec);
    assert_eq!(ovs.vsctl(&["list-ports", "ovsbr0"]).trim(), "p1");
    assert_eq!(ovs.vsctl(&["list", "port", "p1"]), theirs);
    let flows = ovs.ofctl("dump-flows", "ovsbr0", &[]);
    assert!(flows.contains("cookie=0x7") && !flows.contains("0x6f706462"), "{flows}");
    assert!(!ovs.vsctl(&["list", "bridge", "ovsbr0"]).contains("opdbus"));
    // It is someone else's now; one who wants it back does as was said.
    assert_eq!(try_apply(&ovs, &spec).unwrap_err().kind, Kind::Conflict);
    ovs.vsctl(&["set", "bridge", "ovsbr0", "external_ids:opdbus=bridge"]);
    ovs.vsctl(&["set", "port", "ovsbr0", "external_ids:opdbus=bridge"]);
    assert!(apply(&ovs, &spec) >= 5);
}

#[test]
fn a_foreign_bridge_of_our_name_and_one_that_is_not_served_are_not_touched_by_a_retirement() {
    host_test!(Need::Root, Need::Ovs, Need::Program("nft"));
    let mut ovs = Ovs::start();
    let spec = HostSpec::default();
    ovs.vsctl(&["add-br", "ovsbr0", "--", "set", "bridge", "ovsbr0", "datapath_type=netdev"]);
    let before = ovs.describe("ovsbr0");
    retire(&ovs, &spec);
    assert_eq!(ovs.describe("ovsbr0"), before);
    ovs.vsctl(&["del-br", "ovsbr0"]);

    apply(&ovs, &spec);
    ovs.kill_switch();
    // Whose the flows on it are, nobody can say now.
    assert_eq!(plan_retirement(&ovs, &spec).unwrap_err().kind, Kind::Unavailable);
    assert_eq!(ovs.vsctl(&["--no-wait", "list-br"]).trim(), "ovsbr0");
}
