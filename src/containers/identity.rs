//! What makes a clone itself: host name, machine id, name servers, the service it offers.

use std::io;
use std::net::IpAddr;

use super::lxc::SOCKETS_INSIDE;
use super::record::Record;
use crate::files::RootDir;
use crate::hex::hex;
use crate::mac::MacAddr;

/// Random bytes from the operating system.
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(bytes)
}

/// A MAC address nobody has: random, locally administered, for one station.
pub fn random_mac() -> io::Result<MacAddr> {
    let mut octets: [u8; 6] = random()?;
    octets[0] = 0x02;
    Ok(MacAddr(octets))
}

/// Makes sure, before a container starts, that it has an identity of its own. A fresh clone has none, and one that a
/// power cut took from it is given anew; one that it has is its own, whatever was made of it inside.
pub fn ensure(root: &RootDir, record: &Record) -> io::Result<()> {
    // Template and clone have the file, empty (machine-id(5)).
    if root.read("etc/machine-id")?.is_some_and(|id| id.trim_ascii().len() == 32) {
        return Ok(());
    }
    let name = record.name.as_str();
    root.write("etc/hostname", format!("{name}\n").as_bytes(), 0o644)?;
    if !record.dns.is_empty() {
        root.write("etc/resolv.conf", resolv_conf(&record.dns).as_bytes(), 0o644)?;
    }
    refresh(root, record)?;
    // Version 4, variant 1, as machine-id(5) recommends for one that may be used as a UUID. Last: it says that the
    // rest is there.
    let mut id: [u8; 16] = random()?;
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    root.write("etc/machine-id", format!("{}\n", hex(&id)).as_bytes(), 0o444)
}

/// Writes what depends on the declaration and may change later: the address, and the service that is offered.
pub fn refresh(root: &RootDir, record: &Record) -> io::Result<()> {
    let name = record.name.as_str();
    let hosts = format!(
        "127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost ip6-loopback\n{}\t{name}\n",
        record.address
    );
    root.write("etc/hosts", hosts.as_bytes(), 0o644)?;
    root.create_dir_all("etc/opdbus")?;
    match &record.spec.service {
        Some(address) => {
            root.write("etc/opdbus/service.env", format!("OPDBUS_SERVICE={address}\n").as_bytes(), 0o644)?;
        }
        None => root.remove("etc/opdbus/service.env")?,
    }
    root.create_dir_all(SOCKETS_INSIDE)
}

pub(super) fn resolv_conf(servers: &[IpAddr]) -> String {
    servers.iter().map(|server| format!("nameserver {server}\n")).collect()
}

/// The host's own name servers, without those that only the host itself can reach.
#[must_use]
pub fn host_name_servers() -> Vec<IpAddr> {
    // systemd-resolved keeps the real ones here; /etc/resolv.conf then names only its stub.
    for path in ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"] {
        let servers = name_servers(&std::fs::read_to_string(path).unwrap_or_default());
        if !servers.is_empty() {
            return servers;
        }
    }
    Vec::new()
}

pub(super) fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok())
        .filter(|server| !server.is_loopback())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clones_of_one_template_share_no_identity() {
        assert_ne!(random_mac().unwrap(), random_mac().unwrap());
        let mac = random_mac().unwrap();
        assert_eq!(mac.0[0], 0x02, "locally administered, not a group");
    }

    #[test]
    fn name_servers_on_the_hosts_loopback_are_left_out() {
        assert_eq!(
            name_servers(
                "search x\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver bad\nnameserver 2001:db8::1\n"
            ),
            ["192.0.2.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]
        );
    }
}
