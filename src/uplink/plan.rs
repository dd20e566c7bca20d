//! What a move would do: a pure function of what is there.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::UplinkError;
use super::journal::Manager;
use super::kernel::{self, Address, Link, Route};
use super::observe::{Found, Places, Seen};
use super::{ifupdown, keyfile, networkd};
use crate::mac::MacAddr;

/// A file that is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// Where.
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// What; empty where only its name is told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Its mode where it is new.
    #[serde(skip)]
    pub mode: u32,
}

impl File {
    fn new(path: PathBuf, text: String) -> Self {
        Self { path, text, mode: 0o644 }
    }
}

/// A move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The interface.
    pub nic: String,
    /// The bridge.
    pub bridge: String,
    /// The interface's Ethernet address, which the bridge takes over.
    pub mac: MacAddr,
    /// Who configures it.
    pub manager: Manager,
    /// What is written.
    pub files: Vec<File>,
    /// A file that the next boot forgets, by which the manager has the interface.
    pub volatile: Option<File>,
    /// Whether the bridge's own interface is up already.
    pub bridge_up: bool,
    /// What is moved.
    pub addresses: Vec<Address>,
    /// What is moved.
    pub routes: Vec<Route>,
}

impl Plan {
    /// What `ip` is told.
    #[must_use]
    pub fn batch(&self) -> String {
        kernel::batch(&self.addresses, &self.routes, &self.nic, &self.bridge)
    }
}

/// Plans, or says why it cannot be done.
pub fn plan(seen: &Seen, places: &Places) -> Result<Plan, UplinkError> {
    let Seen { nic, bridge, .. } = seen;
    let Some(link) = &seen.link else { return Err(UplinkError::NoInterface(nic.clone())) };
    fit(seen, link)?;
    let Some(mac) = link.mac else { return Err(UplinkError::NoInterface(nic.clone())) };
    let refused = |why: String, next: &str| UplinkError::Manager { nic: nic.clone(), why, next: next.into() };
    let mut volatile = None;
    let (manager, files) = match &seen.found {
        Found::Networkd { name, text, iaid } => {
            let files = networkd::files(nic, bridge, name, text, *iaid).map_err(|why| {
                refused(why, "give it a configuration of addresses and routes alone, in a file of its own")
            })?;
            let file = |(name, text): (String, String)| File::new(places.networkd.join(name), text);
            (Manager::Networkd, vec![file(files.nic), file(files.bridge)])
        }
        Found::Ifupdown(sources) => {
            let next = "write it as plain stanzas (iface NIC inet static|dhcp), and try again";
            let rewritten = ifupdown::rewrite(sources, nic, bridge)
                .map_err(|why| refused(why, next))?
                .ok_or_else(|| refused("no file of ifupdown's configures it".into(), next))?;
            let files = rewritten.files.into_iter().map(|s| File::new(s.path, s.text)).collect();
            (Manager::Ifupdown { dhcp: rewritten.dhcp }, files)
        }
        Found::NetworkManager { plugin: true, .. } => {
            return Err(refused(
                "NetworkManager configures it, and its plugin for Open vSwitch wants the bridge for itself"
                    .into(),
                "remove the plugin (the package NetworkManager-ovs), and try again",
            ));
        }
        Found::NetworkManager { profile, file, text, metric, .. } => {
            if keyfile::is_generated(text) {
                volatile = Some(File { path: file.clone(), text: text.clone(), mode: 0o600 });
            }
            let both = keyfile::profiles((nic, bridge), profile, text, *metric, &link.addresses).map_err(|why| {
                refused(why, "give it a profile of addresses and routes alone (nmcli connection edit), and try again")
            })?;
            let secret = |one: keyfile::Profile| File {
                path: places.nm_profiles.join(one.name),
                text: one.text,
                mode: 0o600,
            };
            let configuration =
                File::new(places.nm_conf.join(keyfile::CONFIGURATION), keyfile::configuration(bridge));
            (
                Manager::NetworkManager { profile: profile.clone() },
                vec![secret(both.nic), secret(both.bridge), configuration],
            )
        }
        Found::Nobody => {
            return Err(refused(
                "nobody is known to configure it: neither systemd-networkd, NetworkManager nor ifupdown"
                    .into(),
                "configure it by one of these, and try again",
            ));
        }
    };
    let (addresses, routes) = (link.addresses.clone(), link.routes.clone());
    let bridge_up = seen.bridge_link.as_ref().is_some_and(|link| link.up);
    Ok(Plan {
        nic: nic.clone(),
        bridge: bridge.clone(),
        mac,
        manager,
        files,
        volatile,
        bridge_up,
        addresses,
        routes,
    })
}

/// Whether an interface can be an uplink at all.
fn fit(seen: &Seen, link: &Link) -> Result<(), UplinkError> {
    let nic = &seen.nic;
    let unfit = |why: String, next: String| Err(UplinkError::Unfit { nic: nic.clone(), why, next });
    if nic == &seen.bridge {
        return unfit("it is the bridge itself".into(), "name the interface that leads outside".into());
    }
    if let Some(other) = &seen.port_of {
        return unfit(
            format!("it is a port of the bridge {other} already"),
            format!("take it off first: ovs-vsctl del-port {other} {nic}"),
        );
    }
    if let Some(master) = &link.master {
        return unfit(
            format!("it is a part of {master}"),
            format!("take it off first, or move {master}'s traffic elsewhere"),
        );
    }
    if seen.wireless {
        return unfit(
            "it is a radio, and an access point takes no other addresses from it".into(),
            "use a wired interface, or address translation (ovs.nat)".into(),
        );
    }
    if let Some(kind) = link.kind.as_deref().filter(|kind| *kind != "veth") {
        return unfit(format!("it is no network card, it is a {kind}"), "name a network card".into());
    }
    if !link.ether {
        return unfit("it is no Ethernet".into(), "name a network card".into());
    }
    if !seen.uppers.is_empty() {
        return unfit(
            format!("there are interfaces on it: {}", seen.uppers.join(", ")),
            "the uplink carries what has no VLAN tag; put those on another card".into(),
        );
    }
    if let Some(there) = seen.bridge_link.as_ref().filter(|bridge| !bridge.addresses.is_empty()) {
        let nets: Vec<&str> = there.addresses.iter().map(|address| address.net.as_str()).collect();
        return unfit(
            format!("the bridge {} has addresses of its own: {}", seen.bridge, nets.join(", ")),
            format!("take them away: ip addr del ADDRESS dev {}", seen.bridge),
        );
    }
    if seen.userspace {
        return Err(UplinkError::Userspace { nic: nic.clone(), bridge: seen.bridge.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Kind};

    fn seen() -> Seen {
        Seen {
            nic: "eth0".into(),
            bridge: "ovsbr0".into(),
            link: Some(Link {
                ether: true,
                up: true,
                mac: "02:00:00:00:00:01".parse().ok(),
                ..Link::default()
            }),
            bridge_link: Some(Link::default()),
            wireless: false,
            uppers: Vec::new(),
            port_of: None,
            userspace: false,
            found: Found::Networkd {
                name: "10-lab.network".into(),
                text: "[Match]\nName=eth0\n[Network]\nDHCP=yes\n".into(),
                iaid: None,
            },
        }
    }

    #[test]
    fn every_file_that_is_written_is_in_the_plan() {
        let plan = plan(&seen(), &Places::default()).unwrap();
        let paths: Vec<_> = plan.files.iter().map(|file| file.path.to_str().unwrap()).collect();
        assert_eq!(
            paths,
            [
                "/etc/systemd/network/05-opdbus-uplink-nic.network",
                "/etc/systemd/network/05-opdbus-uplink-bridge.network"
            ]
        );
    }

    #[test]
    fn what_cannot_be_an_uplink_is_refused_with_the_reason_and_the_way_out() {
        let link = |change: fn(&mut Link)| {
            let mut seen = seen();
            change(seen.link.as_mut().unwrap());
            seen
        };
        let with = |change: fn(&mut Seen)| {
            let mut seen = seen();
            change(&mut seen);
            seen
        };
        for (seen, kind, says) in [
            (with(|s| s.link = None), Kind::NotFound, "no network interface eth0"),
            (with(|s| s.nic = "ovsbr0".into()), Kind::Conflict, "the bridge itself"),
            (with(|s| s.port_of = Some("br9".into())), Kind::Conflict, "port of the bridge br9"),
            (link(|l| l.master = Some("bond0".into())), Kind::Conflict, "part of bond0"),
            (with(|s| s.wireless = true), Kind::Conflict, "radio"),
            (link(|l| l.kind = Some("vlan".into())), Kind::Conflict, "a vlan"),
            (link(|l| l.ether = false), Kind::Conflict, "no Ethernet"),
            (with(|s| s.uppers = vec!["eth0.7".into()]), Kind::Conflict, "eth0.7"),
            (
                with(|s| {
                    let address = Address { net: "192.0.2.1/24".into(), words: Vec::new() };
                    s.bridge_link.as_mut().unwrap().addresses.push(address);
                }),
                Kind::Conflict,
                "192.0.2.1/24",
            ),
            (with(|s| s.userspace = true), Kind::Unavailable, "userspace"),
            (with(|s| s.found = Found::Nobody), Kind::Unavailable, "nobody"),
            (
                with(|s| {
                    s.found = Found::NetworkManager {
                        profile: "a".into(),
                        file: PathBuf::new(),
                        text: String::new(),
                        metric: None,
                        plugin: true,
                    };
                }),
                Kind::Unavailable,
                "plugin",
            ),
        ] {
            let error = plan(&seen, &Places::default()).unwrap_err();
            assert!(error.kind() == kind && error.to_string().contains(says), "{error}");
            assert!(error.next().is_some(), "{error}");
        }
    }
}
