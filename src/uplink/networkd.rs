//! systemd-networkd: what it has read for an interface is said a second time, for the bridge. Two files of our own that sort
//! before it do that, and the file itself stays as it is; so this is right for what netplan writes, too.

/// What is put before the names of our two files: they have to be read before the interface's own.
const PREFIXES: [&str; 2] = ["05-opdbus-uplink", "00-opdbus-uplink"];

/// Stacked on the interface, or a part of another: what we would have to move along.
const STACKED: [&str; 15] = [
    "bridge",
    "bond",
    "vrf",
    "vlan",
    "macvlan",
    "macvtap",
    "ipvlan",
    "ipvtap",
    "vxlan",
    "tunnel",
    "xfrm",
    "macsec",
    "ipoib",
    "batmanadvanced",
    "activeslave",
];

/// What is written: the names of the files and their texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// For the interface.
    pub nic: (String, String),
    /// For the bridge.
    pub bridge: (String, String),
}

/// The files for an interface whose own file has this name and text (with its drop-ins after it). `iaid` is the identity
/// under which its DHCP client has its lease, where that follows from the interface. The error is why it cannot be done.
pub fn files(nic: &str, bridge: &str, name: &str, text: &str, iaid: Option<u32>) -> Result<Files, String> {
    let prefix = PREFIXES
        .into_iter()
        .find(|prefix| format!("{prefix}-nic.network").as_str() < name)
        .ok_or_else(|| format!("{name} is read before any file of ours"))?;
    let note = format!(
        "# Written by operation-dbus: {nic} is a port of {bridge}, which has what {name} says for it.\n\
         # `op-dbus bridge uplink revert` removes this file; until then changes of {name} have no effect.\n"
    );
    let mut body = String::new();
    let mut mtu = None;
    let mut section = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with('[') && trimmed.ends_with(']') {
            section = trimmed.to_ascii_lowercase();
        }
        if section == "[match]" {
            continue;
        }
        if let Some((key, value)) = trimmed.split_once('=').filter(|_| !trimmed.starts_with(['#', ';'])) {
            let key = key.trim().to_ascii_lowercase();
            match section.as_str() {
                "[network]" if STACKED.contains(&key.as_str()) => {
                    return Err(format!("{name} has {trimmed}, which stands on {nic} itself"));
                }
                // The bridge has that of the interface.
                "[link]" if key == "macaddress" => continue,
                "[link]" if key == "mtubytes" => mtu = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        body.push_str(line);
        body.push('\n');
    }
    let iaid = iaid.map_or(String::new(), |iaid| {
        format!("\n# That of {nic}, whose lease it is.\n[DHCPv4]\nIAID={iaid}\n")
    });
    let mtu = mtu.map_or(String::new(), |mtu| format!("MTUBytes={mtu}\n"));
    Ok(Files {
        nic: (
            format!("{prefix}-nic.network"),
            format!(
                "{note}[Match]\nName={nic}\n\n[Link]\nRequiredForOnline=no\n{mtu}\n[Network]\nLinkLocalAddressing=no\n\
                 IPv6AcceptRA=no\nDHCP=no\n"
            ),
        ),
        bridge: (
            format!("{prefix}-bridge.network"),
            format!("{note}[Match]\nName={bridge}\n\n{}{iaid}", body.trim_start()),
        ),
    })
}

/// The identity of a DHCP client in the file of its lease: `CLIENTID=ff` and the IAID, where it is one of RFC 4361.
pub fn iaid(lease: &str) -> Option<u32> {
    let id = lease.lines().find_map(|line| line.strip_prefix("CLIENTID="))?;
    u32::from_str_radix(id.strip_prefix("ff")?.get(..8)?, 16).ok()
}

/// A value in networkd's file of a link.
pub fn field<'a>(state: &'a str, key: &str) -> Option<&'a str> {
    state.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATIC: &str = "[Match]\nDriver=virtio_net\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\nDNS=10.0.2.3\n\n[Route]\nDestination=198.51.100.0/24\nGateway=10.0.2.9\n";

    #[test]
    fn a_static_configuration_goes_to_the_bridge_as_it_is() {
        let files = files("eth0", "ovsbr0", "10-lab.network", STATIC, None).unwrap();
        assert_eq!(files.nic.0, "05-opdbus-uplink-nic.network");
        insta::assert_snapshot!(files.bridge.1, @r#"
        # Written by operation-dbus: eth0 is a port of ovsbr0, which has what 10-lab.network says for it.
        # `op-dbus bridge uplink revert` removes this file; until then changes of 10-lab.network have no effect.
        [Match]
        Name=ovsbr0

        [Network]
        Address=10.0.2.15/24
        Gateway=10.0.2.2
        DNS=10.0.2.3

        [Route]
        Destination=198.51.100.0/24
        Gateway=10.0.2.9
        "#);
        insta::assert_snapshot!(files.nic.1, @r#"
        # Written by operation-dbus: eth0 is a port of ovsbr0, which has what 10-lab.network says for it.
        # `op-dbus bridge uplink revert` removes this file; until then changes of 10-lab.network have no effect.
        [Match]
        Name=eth0

        [Link]
        RequiredForOnline=no

        [Network]
        LinkLocalAddressing=no
        IPv6AcceptRA=no
        DHCP=no
        "#);
    }

    #[test]
    fn what_netplan_writes_goes_the_same_way_and_the_lease_stays_the_client_s() {
        let text = "[Match]\nPermanentMACAddress=52:54:00:12:34:56\nName=enp1s0\n\n[Link]\nMTUBytes=1400\nMACAddress=02:00:00:00:00:09\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=ipv6\n\n[DHCP]\nRouteMetric=100\nUseMTU=true\n";
        let files = files(
            "enp1s0",
            "ovsbr0",
            "10-netplan-enp1s0.network",
            text,
            iaid("ADDRESS=1\nCLIENTID=ffb6220feb0002\n"),
        )
        .unwrap();
        insta::assert_snapshot!(files.bridge.1, @r#"
        # Written by operation-dbus: enp1s0 is a port of ovsbr0, which has what 10-netplan-enp1s0.network says for it.
        # `op-dbus bridge uplink revert` removes this file; until then changes of 10-netplan-enp1s0.network have no effect.
        [Match]
        Name=ovsbr0

        [Link]
        MTUBytes=1400

        [Network]
        DHCP=ipv4
        LinkLocalAddressing=ipv6

        [DHCP]
        RouteMetric=100
        UseMTU=true

        # That of enp1s0, whose lease it is.
        [DHCPv4]
        IAID=3055685611
        "#);
        assert!(files.nic.1.contains("MTUBytes=1400"), "{}", files.nic.1);
    }

    #[test]
    fn what_stands_on_the_interface_is_refused_and_so_is_a_file_that_is_read_before_ours() {
        let error =
            files("eth0", "ovsbr0", "10-x.network", "[Match]\nName=eth0\n[Network]\nVLAN=eth0.7\n", None)
                .unwrap_err();
        assert!(error.contains("VLAN=eth0.7"), "{error}");
        assert!(files("eth0", "ovsbr0", "00-first.network", STATIC, None).is_err());
        assert!(
            files("eth0", "ovsbr0", "01-x.network", STATIC, None).unwrap().nic.0.starts_with("00-opdbus")
        );
    }

    #[test]
    fn a_client_that_goes_by_its_address_needs_no_identity() {
        assert_eq!(iaid("CLIENTID=01525400123456\n"), None);
        assert_eq!(iaid("CLIENTID=ffb6220feb000200\n"), Some(0xb622_0feb));
        assert_eq!(field("ADMIN_STATE=configured\nDNS=\n", "ADMIN_STATE"), Some("configured"));
        assert_eq!(field("ADMIN_STATE=configured\nDNS=\n", "DNS"), None);
    }
}
