//! What the kernel has on an interface, and how it is moved to another one: one batch for `ip`, so that it is over in
//! milliseconds and an open connection, whose address stays, does not notice.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::UplinkError;
use crate::mac::MacAddr;
use crate::run::{Invocation, RunError, Runner};

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// With its prefix: `192.0.2.7/24`.
    pub net: String,
    /// What `ip address` takes beside: broadcast address, scope, lifetimes.
    pub words: Vec<String>,
}

/// A route through an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Whether it is of IPv6.
    pub v6: bool,
    /// As `ip route` takes it, without the interface.
    pub words: Vec<String>,
}

/// What an interface is, and what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Whether it is Ethernet.
    pub ether: bool,
    /// Its Ethernet address.
    pub mac: Option<MacAddr>,
    /// Whether it is up.
    pub up: bool,
    /// What it is a part of.
    pub master: Option<String>,
    /// Its kind, where it is not a device's own: `bond`, `vlan`, `openvswitch`, …
    pub kind: Option<String>,
    /// Its addresses, those of the link apart.
    pub addresses: Vec<Address>,
    /// The routes through it, those that the kernel makes with an address apart.
    pub routes: Vec<Route>,
}

impl Link {
    /// The gateway of the IPv4 default route.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        let of = |r: &Route| r.words.get(r.words.iter().position(|w| w == "via")? + 1)?.parse().ok();
        self.routes.iter().filter(|r| r.is_default() && !r.v6).find_map(of)
    }
}

impl Route {
    /// Whether it is a default route of the main table.
    pub fn is_default(&self) -> bool {
        self.words.first().is_some_and(|dst| dst == "default") && !self.words.iter().any(|w| w == "table")
    }
}

fn json(run: &Runner, call: &Invocation) -> Result<Vec<Value>, UplinkError> {
    let output = run.run(call)?;
    if output.stdout.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| UplinkError::Answer { call: call.to_string(), why: error.to_string() })
}

/// Reads an interface; `None` where it is not there.
pub fn link(run: &Runner, name: &str) -> Result<Option<Link>, UplinkError> {
    let call = Invocation::new("ip").args(["-j", "-d", "addr", "show", "dev", name]);
    let found = match json(run, &call) {
        Ok(found) => found,
        Err(UplinkError::Run(RunError::Status { .. })) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(row) = found.into_iter().find(|row| row["ifname"] == name) else { return Ok(None) };
    let mut link = read_link(&row);
    for (family, v6) in [("-4", false), ("-6", true)] {
        let call = Invocation::new("ip").args(["-j", family, "route", "show", "table", "all", "dev", name]);
        link.routes.extend(json(run, &call)?.iter().filter_map(|row| read_route(row, v6, &link.addresses)));
    }
    // A route to a gateway needs the one to its network first.
    link.routes.sort_by_key(|route| route.words.iter().any(|word| word == "via"));
    Ok(Some(link))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn read_link(row: &Value) -> Link {
    let flags = row["flags"].as_array().cloned().unwrap_or_default();
    let addresses = row["addr_info"].as_array().cloned().unwrap_or_default();
    Link {
        index: row["ifindex"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        ether: row["link_type"] == "ether",
        mac: row["address"].as_str().and_then(|mac| mac.parse().ok()),
        up: flags.iter().any(|flag| flag == "UP"),
        master: text(&row["master"]),
        kind: text(&row["linkinfo"]["info_kind"]),
        addresses: addresses.iter().filter_map(read_address).collect(),
        routes: Vec::new(),
    }
}

/// The words of `ip address add` for an address; `None` for one of the link, which every interface has by itself, and for one
/// for privacy, which every interface chooses for a time.
fn read_address(row: &Value) -> Option<Address> {
    let scope = text(&row["scope"])?;
    if scope == "link" || scope == "host" || row["temporary"] == true {
        return None;
    }
    let net = format!("{}/{}", text(&row["local"])?, row["prefixlen"].as_u64()?);
    let mut words = Vec::new();
    if let Some(broadcast) = text(&row["broadcast"]) {
        words.extend(["broadcast".to_owned(), broadcast]);
    }
    words.extend(["scope".to_owned(), scope]);
    // That of the route to its network.
    if let Some(metric) = row["metric"].as_u64() {
        words.extend(["metric".to_owned(), metric.to_string()]);
    }
    // The kernel prints "forever" as the largest number.
    for (key, word) in [("valid_life_time", "valid_lft"), ("preferred_life_time", "preferred_lft")] {
        if let Some(seconds) = row[key].as_u64().filter(|n| *n < u64::from(u32::MAX)) {
            words.extend([word.to_owned(), seconds.to_string()]);
        }
    }
    if row["noprefixroute"] == true {
        words.push("noprefixroute".into());
    }
    // It was checked on this wire already.
    if row["family"] == "inet6" {
        words.push("nodad".into());
    }
    Some(Address { net, words })
}

/// The words of `ip route replace` for a route; `None` for one that comes with an address or the interface.
pub(super) fn read_route(row: &Value, v6: bool, addresses: &[Address]) -> Option<Route> {
    let destination = text(&row["dst"])?;
    let of_kind = text(&row["type"]).unwrap_or_else(|| "unicast".into());
    if of_kind != "unicast" || row["table"] == "local" || row["nexthops"].is_array() {
        return None;
    }
    if v6 && (destination.starts_with("fe80:") || destination.starts_with("ff00:")) {
        return None;
    }
    let made_with_address = row["protocol"] == "kernel"
        && !addresses
            .iter()
            .any(|a| a.net.contains(':') == v6 && a.words.iter().any(|word| word == "noprefixroute"));
    if made_with_address {
        return None;
    }
    let mut words = vec![destination];
    for (key, word) in [
        ("gateway", "via"),
        ("protocol", "proto"),
        ("scope", "scope"),
        ("prefsrc", "src"),
        ("metric", "metric"),
        ("table", "table"),
        ("pref", "pref"),
        ("expires", "expires"),
    ] {
        if let Some(value) = text(&row[key]).filter(|_| key != "scope" || !v6) {
            words.extend([word.to_owned(), value]);
        }
    }
    if row["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "onlink")) {
        words.push("onlink".into());
    }
    Some(Route { v6, words })
}

/// The batch that moves addresses and routes. The address is on the new interface before it leaves the old one.
#[must_use]
pub fn batch(addresses: &[Address], routes: &[Route], from: &str, to: &str) -> String {
    let mut lines = vec![format!("link set dev {to} up")];
    for address in addresses {
        lines.push(
            format!("address replace {} dev {to} {}", address.net, address.words.join(" "))
                .trim_end()
                .to_owned(),
        );
    }
    let route = |r: &Route| format!("route replace {} dev {to}", r.words.join(" "));
    lines.extend(routes.iter().map(route));
    lines.extend(addresses.iter().map(|address| format!("address del {} dev {from}", address.net)));
    // The last address took those with it that named it as their source.
    lines.extend(routes.iter().map(route));
    lines.join("\n") + "\n"
}

/// Runs a batch. A line that fails does not stop it: what came of it is looked at afterwards.
pub fn run_batch(run: &Runner, lines: &str) -> Result<(), UplinkError> {
    match run.run(&Invocation::new("ip").args(["-force", "-batch", "-"]).stdin(lines)) {
        Ok(_) => Ok(()),
        Err(RunError::Status { stderr, .. }) => {
            tracing::info!("ip: {stderr}");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether somebody answers ARP for an address at an interface, within a time.
pub fn answers(run: &Runner, gateway: Ipv4Addr, dev: &str, limit: Duration) -> Result<bool, UplinkError> {
    let end = Instant::now() + limit;
    loop {
        // Any packet makes the kernel ask. The discard port: whether it is heard does not matter.
        if let Ok(socket) = UdpSocket::bind("0.0.0.0:0") {
            let _ = socket.send_to(&[0], (IpAddr::from(gateway), 9));
        }
        let call = Invocation::new("ip").args(["-j", "neigh", "show", &gateway.to_string(), "dev", dev]);
        let known = json(run, &call)?.iter().any(|row| {
            let failed = |state: &Value| state == "FAILED" || state == "INCOMPLETE";
            row["lladdr"].is_string()
                && !row["state"].as_array().is_some_and(|states| states.iter().any(failed))
        });
        if known || Instant::now() >= end {
            return Ok(known);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Output;
    use crate::run::recorded::Recorded;

    const ADDR: &str = r#"[{},{"ifindex":2,"ifname":"eth0","flags":["BROADCAST","UP","LOWER_UP"],"link_type":"ether",
        "address":"52:54:00:12:34:56","addr_info":[
        {"family":"inet","local":"10.0.2.15","prefixlen":24,"metric":1024,"broadcast":"10.0.2.255","scope":"global","label":"eth0",
         "valid_life_time":4294967295,"preferred_life_time":4294967295},
        {"family":"inet6","local":"2001:db8::7","prefixlen":64,"scope":"global","dynamic":true,"noprefixroute":true,
         "valid_life_time":86300,"preferred_life_time":14300},
        {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link","valid_life_time":4294967295,"preferred_life_time":4294967295}]}]"#;
    const V4: &str = r#"[{"dst":"default","gateway":"10.0.2.2","protocol":"static","flags":[]},
        {"dst":"10.0.2.0/24","protocol":"kernel","scope":"link","prefsrc":"10.0.2.15","flags":[]},
        {"dst":"198.51.100.0/24","gateway":"10.0.2.9","protocol":"static","metric":7,"table":"200","flags":["onlink"]},
        {"type":"local","dst":"10.0.2.15","table":"local","protocol":"kernel","scope":"host","prefsrc":"10.0.2.15","flags":[]}]"#;
    const V6: &str = r#"[{"dst":"2001:db8::/64","protocol":"ra","metric":1024,"expires":1799,"pref":"medium","flags":[]},
        {"dst":"fe80::/64","protocol":"kernel","metric":256,"flags":[]},
        {"type":"multicast","dst":"ff00::/8","table":"local","flags":[]}]"#;

    fn eth0() -> Link {
        let recorded = Recorded::new(|call| {
            let text = call.to_string();
            let answer = if text.contains("addr") {
                ADDR
            } else if text.contains("-4") {
                V4
            } else {
                V6
            };
            Ok(Output { stdout: answer.into(), ..Output::default() })
        });
        link(&Runner::new(recorded), "eth0").unwrap().unwrap()
    }

    #[test]
    fn what_an_interface_has_is_read_without_what_the_kernel_makes_itself() {
        let link = eth0();
        assert_eq!(
            link.addresses.iter().map(|a| a.net.as_str()).collect::<Vec<_>>(),
            ["10.0.2.15/24", "2001:db8::7/64"]
        );
        assert_eq!(link.gateway(), Some(Ipv4Addr::new(10, 0, 2, 2)));
        assert!(link.up && link.ether && link.master.is_none() && link.mac.is_some());
    }

    #[test]
    fn it_is_moved_in_one_batch_and_never_on_neither() {
        let link = eth0();
        insta::assert_snapshot!(batch(&link.addresses, &link.routes, "eth0", "ovsbr0"), @r#"
        link set dev ovsbr0 up
        address replace 10.0.2.15/24 dev ovsbr0 broadcast 10.0.2.255 scope global metric 1024
        address replace 2001:db8::7/64 dev ovsbr0 scope global valid_lft 86300 preferred_lft 14300 noprefixroute nodad
        route replace 2001:db8::/64 proto ra metric 1024 pref medium expires 1799 dev ovsbr0
        route replace default via 10.0.2.2 proto static dev ovsbr0
        route replace 198.51.100.0/24 via 10.0.2.9 proto static metric 7 table 200 onlink dev ovsbr0
        address del 10.0.2.15/24 dev eth0
        address del 2001:db8::7/64 dev eth0
        route replace 2001:db8::/64 proto ra metric 1024 pref medium expires 1799 dev ovsbr0
        route replace default via 10.0.2.2 proto static dev ovsbr0
        route replace 198.51.100.0/24 via 10.0.2.9 proto static metric 7 table 200 onlink dev ovsbr0
        "#);
    }
}
