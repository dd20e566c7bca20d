//! `NetworkManager`: what the card's profile says is said a second time, for the bridge, and a profile of ours has the card
//! be nothing but a port. The profile itself stays as it is: ours come first. They are keyfiles (nm-settings-keyfile(5)).
//!
//! The bridge's own interface is to `NetworkManager` a device of type `generic`, which takes addresses as a card does, as long
//! as its plugin for Open vSwitch is not installed: with it, it would want to make the bridge and its ports itself.

use sha2::{Digest, Sha256};

use super::kernel::Address;

/// What of a profile belongs to the addresses, and so to the bridge.
const ADDRESSING: [&str; 5] = ["ipv4", "ipv6", "proxy", "hostname", "user"];

/// What of the section `[connection]` is ours to say.
const OURS: [&str; 10] = [
    "id",
    "uuid",
    "type",
    "interface-name",
    "timestamp",
    "autoconnect",
    "autoconnect-priority",
    "autoconnect-slaves",
    "autoconnect-ports",
    "lldp",
];

/// What makes the card a part of something else.
const PART_OF: [&str; 4] = ["master", "controller", "slave-type", "port-type"];

/// What is done on the card itself, and cannot be done on a port of Open vSwitch: it takes each packet first.
const ON_THE_CARD: [&str; 4] = ["802-1x", "pppoe", "ppp", "macsec"];

/// A profile that is written: its name as a file, its identity, its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The file's name.
    pub name: &'static str,
    /// Its identity.
    pub uuid: String,
    /// Its text.
    pub text: String,
}

/// The two that are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profiles {
    /// For the card.
    pub nic: Profile,
    /// For the bridge.
    pub bridge: Profile,
}

/// The name of the file that has `NetworkManager` look after the bridge before it is up.
pub const CONFIGURATION: &str = "05-opdbus-uplink.conf";

/// That file.
pub fn configuration(bridge: &str) -> String {
    format!(
        "# Written by operation-dbus, with the profiles opdbus-uplink-*.nmconnection.\n\
         [device-opdbus-uplink]\nmatch-device=interface-name:={bridge}\nmanaged=1\n"
    )
}

/// The identity of a profile of ours that stands for another: the same for the same (a UUID of version 8, RFC 9562).
pub fn uuid(of: &str, part: &str) -> String {
    let mut hash: [u8; 32] = Sha256::digest(format!("operation-dbus uplink {part} {of}")).into();
    hash[6] = hash[6] & 0x0f | 0x80;
    hash[8] = hash[8] & 0x3f | 0x80;
    let hex = crate::hex::hex(&hash[..16]);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Whether `NetworkManager` made the profile by itself, for a card that has none: the next boot forgets it.
pub fn is_generated(text: &str) -> bool {
    value(text, ".nmmeta", "nm-generated") == Some("true")
}

/// Whether `NetworkManager` only shows the interface by this profile, and somebody else configures it.
pub fn is_external(text: &str) -> bool {
    value(text, ".nmmeta", "external") == Some("true")
}

struct Line<'a> {
    section: &'a str,
    whole: &'a str,
    pair: Option<(&'a str, &'a str)>,
}

/// The lines of a keyfile but for headings, comments and empty ones.
fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut section = "";
    text.lines().filter_map(move |line| {
        let whole = line.trim();
        if let Some(name) = whole.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            // The first name of the setting.
            section = if name == "802-3-ethernet" { "ethernet" } else { name };
            return None;
        }
        if whole.is_empty() || whole.starts_with('#') {
            return None;
        }
        let pair = whole.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        Some(Line { section, whole, pair })
    })
}

/// All values that a key has in a section.
pub fn values<'a>(text: &'a str, section: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    lines(text)
        .filter(move |line| line.section == section)
        .filter_map(move |line| line.pair.filter(|pair| pair.0 == key))
        .map(|pair| pair.1)
}

fn value<'a>(text: &'a str, section: &'a str, key: &'a str) -> Option<&'a str> {
    values(text, section, key).next()
}

/// The end of the addresses that routers announced, as `NetworkManager` takes it (`ipv6.token`), so that the bridge has the
/// same: its own way to choose one goes by the interface's name. `Err` with two of them where there are several.
fn token(addresses: &[Address]) -> Result<Option<String>, [String; 2]> {
    let mut found: Option<String> = None;
    for address in addresses.iter().filter(|address| address.words.iter().any(|word| word == "valid_lft")) {
        let Some((ip, "64")) = address.net.split_once('/') else { continue };
        let Ok(ip) = ip.parse::<std::net::Ipv6Addr>() else { continue };
        let end = std::net::Ipv6Addr::from(u128::from(ip) & u128::from(u64::MAX)).to_string();
        match &found {
            Some(other) if *other != end => return Err([other.clone(), end]),
            _ => found = Some(end),
        }
    }
    Ok(found)
}

/// The profiles for a card whose own has this identity and text. `metric` is what routes have that it gives no other, as that
/// goes by the kind of device; `addresses` are those of the card. The error is why it cannot be done.
pub fn profiles(
    (nic, bridge): (&str, &str),
    of: &str,
    text: &str,
    metric: Option<u32>,
    addresses: &[Address],
) -> Result<Profiles, String> {
    let id = value(text, "connection", "id").unwrap_or(of);
    if let Some(kind) =
        value(text, "connection", "type").filter(|kind| !["ethernet", "802-3-ethernet"].contains(kind))
    {
        return Err(format!("its profile {id} is of type {kind}"));
    }
    for line in lines(text) {
        if line.section == "connection"
            && line.pair.is_some_and(|(key, value)| PART_OF.contains(&key) && !value.is_empty())
        {
            return Err(format!("its profile {id} has {}", line.whole));
        }
        if ON_THE_CARD.contains(&line.section) {
            return Err(format!(
                "its profile {id} has [{}], which a port of a bridge cannot do",
                line.section
            ));
        }
    }
    let note = format!(
        "# Written by operation-dbus: {nic} is a port of {bridge}, which has what the profile {id} says for it.\n\
         # `op-dbus bridge uplink revert` removes this file; until then changes of {id} have no effect.\n"
    );
    let head = |id: &str, uuid: &str, kind: &str, interface: &str| {
        format!(
            "{note}[connection]\nid={id}\nuuid={uuid}\ntype={kind}\ninterface-name={interface}\nautoconnect-priority=999\n"
        )
    };
    let (nic_uuid, bridge_uuid) = (uuid(of, "nic"), uuid(of, "bridge"));
    let mut on_nic = head(&format!("{nic} as a port of {bridge}"), &nic_uuid, "ethernet", nic);
    let mut on_bridge = head(&format!("{id} on {bridge}"), &bridge_uuid, "generic", bridge);
    for line in lines(text).filter(|line| line.section == "connection") {
        if !line.pair.is_some_and(|(key, _)| OURS.contains(&key)) {
            on_bridge.push_str(line.whole);
            on_bridge.push('\n');
        }
    }
    on_bridge.push_str("\n[generic]\n");
    let own = lines(text).filter(|line| line.section == "ethernet" || line.section == "ethtool");
    section_by_section(own, &mut on_nic);
    on_nic.push_str("\n[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=disabled\n");

    let mut extra: Vec<(&str, String)> = Vec::new();
    for section in ["ipv4", "ipv6"] {
        // What is not said is by DHCP and by what routers announce.
        let method = value(text, section, "method");
        if method.is_none() {
            extra.push((section, "method=auto".into()));
        }
        let off = matches!(method, Some("disabled" | "ignore" | "link-local"));
        if let Some(metric) = metric.filter(|_| !off && value(text, section, "route-metric").is_none()) {
            extra.push((section, format!("route-metric={metric}")));
        }
    }
    let announced = matches!(value(text, "ipv6", "method"), None | Some("auto"));
    if announced && value(text, "ipv6", "token").is_none() {
        let token = token(addresses).map_err(|[one, other]| {
            format!("its addresses of IPv6 end differently ({one}, {other}), and would be others on {bridge}; ipv6.addr-gen-mode eui64 keeps them")
        })?;
        if let Some(token) = token {
            extra.extend([("ipv6", "addr-gen-mode=eui64".into()), ("ipv6", format!("token={token}"))]);
        }
    }
    let replaced = |line: &Line<'_>| {
        line.section == "ipv6"
            && extra.iter().any(|(_, extra)| extra.starts_with("token="))
            && line.pair.is_some_and(|(key, _)| key == "addr-gen-mode")
    };
    for section in ADDRESSING {
        let its: Vec<Line<'_>> =
            lines(text).filter(|line| line.section == section && !replaced(line)).collect();
        let ours: Vec<&str> =
            extra.iter().filter(|(of, _)| *of == section).map(|(_, text)| text.as_str()).collect();
        if its.is_empty() && ours.is_empty() {
            continue;
        }
        on_bridge.push_str(&format!("\n[{section}]\n"));
        for line in its.iter().map(|line| line.whole).chain(ours) {
            on_bridge.push_str(line);
            on_bridge.push('\n');
        }
    }
    Ok(Profiles {
        nic: Profile { name: "opdbus-uplink-nic.nmconnection", uuid: nic_uuid, text: on_nic },
        bridge: Profile { name: "opdbus-uplink-bridge.nmconnection", uuid: bridge_uuid, text: on_bridge },
    })
}

fn section_by_section<'a>(lines: impl Iterator<Item = Line<'a>>, to: &mut String) {
    let mut section = "";
    for line in lines {
        if line.section != section {
            section = line.section;
            to.push_str(&format!("\n[{section}]\n"));
        }
        to.push_str(line.whole);
        to.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATIC: &str = "[connection]\nid=Office\nuuid=6f9c1f6e-0d2b-4b7c-9b56-0f6f2f9d7a11\ntype=ethernet\ninterface-name=eth0\ntimestamp=1795468293\nzone=work\n\n[ethernet]\nmtu=1400\n\n[ipv4]\naddress1=192.0.2.7/24,192.0.2.1\ndns=192.0.2.3;\nmethod=manual\n\n[ipv6]\nmethod=disabled\n\n[proxy]\n\n[.nmmeta]\nnm-generated=true\n";
    const UUID: &str = "6f9c1f6e-0d2b-4b7c-9b56-0f6f2f9d7a11";

    fn of(text: &str, addresses: &[Address]) -> Result<Profiles, String> {
        profiles(("eth0", "ovsbr0"), UUID, text, Some(100), addresses)
    }

    fn announced(net: &str) -> Address {
        Address { net: net.into(), words: vec!["valid_lft".into(), "86000".into()] }
    }

    #[test]
    fn the_addresses_go_to_the_bridge_and_what_is_the_card_s_stays_with_it() {
        let profiles = of(STATIC, &[]).unwrap();
        insta::assert_snapshot!(profiles.bridge.text, @r#"
        # Written by operation-dbus: eth0 is a port of ovsbr0, which has what the profile Office says for it.
        # `op-dbus bridge uplink revert` removes this file; until then changes of Office have no effect.
        [connection]
        id=Office on ovsbr0
        uuid=84f373d6-ac28-8998-9fe1-9fc140d88cc3
        type=generic
        interface-name=ovsbr0
        autoconnect-priority=999
        zone=work

        [generic]

        [ipv4]
        address1=192.0.2.7/24,192.0.2.1
        dns=192.0.2.3;
        method=manual
        route-metric=100

        [ipv6]
        method=disabled
        "#);
        insta::assert_snapshot!(profiles.nic.text, @r#"
        # Written by operation-dbus: eth0 is a port of ovsbr0, which has what the profile Office says for it.
        # `op-dbus bridge uplink revert` removes this file; until then changes of Office have no effect.
        [connection]
        id=eth0 as a port of ovsbr0
        uuid=86ad652f-91ee-8b02-b571-be8cb916086c
        type=ethernet
        interface-name=eth0
        autoconnect-priority=999

        [ethernet]
        mtu=1400

        [ipv4]
        method=disabled

        [ipv6]
        method=disabled
        "#);
        insta::assert_snapshot!(configuration("ovsbr0"), @r#"
        # Written by operation-dbus, with the profiles opdbus-uplink-*.nmconnection.
        [device-opdbus-uplink]
        match-device=interface-name:=ovsbr0
        managed=1
        "#);
    }

    #[test]
    fn what_is_not_said_is_by_dhcp_and_routers_and_an_announced_address_stays_the_same() {
        let profiles = of(
            "[connection]\nid=x\n[ipv6]\naddr-gen-mode=stable-privacy\nmethod=auto\n",
            &[
                announced("2001:db8::a11:22ff:fe33:4455/64"),
                announced("fd00::a11:22ff:fe33:4455/64"),
                announced("192.0.2.7/24"),
                announced("2001:db8::7/128"),
            ],
        )
        .unwrap();
        insta::assert_snapshot!(profiles.bridge.text, @r#"
        # Written by operation-dbus: eth0 is a port of ovsbr0, which has what the profile x says for it.
        # `op-dbus bridge uplink revert` removes this file; until then changes of x have no effect.
        [connection]
        id=x on ovsbr0
        uuid=84f373d6-ac28-8998-9fe1-9fc140d88cc3
        type=generic
        interface-name=ovsbr0
        autoconnect-priority=999

        [generic]

        [ipv4]
        method=auto
        route-metric=100

        [ipv6]
        method=auto
        route-metric=100
        addr-gen-mode=eui64
        token=::a11:22ff:fe33:4455
        "#);
    }

    #[test]
    fn what_cannot_be_moved_is_refused_with_the_reason() {
        let error =
            of("[ipv6]\nmethod=auto\n", &[announced("2001:db8::1/64"), announced("fd00::2/64")]).unwrap_err();
        assert!(error.contains("eui64"), "{error}");
        for (text, says) in [
            ("[connection]\nid=Home\ntype=wifi\n", "wifi"),
            ("[connection]\nid=Home\nmaster=bond0\n", "master=bond0"),
            ("[connection]\nid=Home\n[802-1x]\neap=tls;\n", "802-1x"),
        ] {
            let error = of(text, &[]).unwrap_err();
            assert!(error.contains("Home") && error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_profile_by_which_it_only_shows_an_interface_is_told_and_ours_are_the_same_each_time() {
        assert!(is_external("[connection]\nid=eth0\n[.nmmeta]\nnm-generated=true\nexternal=true\n"));
        assert!(!is_external(STATIC) && is_generated(STATIC));
        assert_eq!(uuid(UUID, "nic"), uuid(UUID, "nic"));
        assert_ne!(uuid(UUID, "nic"), uuid(UUID, "bridge"));
        assert_eq!((uuid(UUID, "nic").len(), &uuid(UUID, "nic")[14..15]), (36, "8"));
    }
}
