//! What is there: the interface, the bridge, and who configures the interface.

use std::path::{Path, PathBuf};

use super::UplinkError;
use super::ifupdown::{self, Source};
use super::kernel::{self, Link};
use super::{keyfile, networkd};
use crate::bridge;
use crate::engine::Context;
use crate::files;
use crate::run::{Invocation, RunError, Runner};

/// Where the host says who configures what. Tests put them elsewhere.
#[derive(Debug, Clone)]
pub struct Places {
    /// The kernel's interfaces.
    pub sys: PathBuf,
    /// What systemd-networkd says of its links.
    pub netif: PathBuf,
    /// Where its files are written.
    pub networkd: PathBuf,
    /// What `NetworkManager` says of its devices.
    pub nm: PathBuf,
    /// Where its profiles are written.
    pub nm_profiles: PathBuf,
    /// Where its configuration is written.
    pub nm_conf: PathBuf,
    /// ifupdown's file.
    pub interfaces: PathBuf,
    /// What it says is up.
    pub ifstate: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            sys: "/sys/class/net".into(),
            netif: "/run/systemd/netif".into(),
            networkd: "/etc/systemd/network".into(),
            nm: "/run/NetworkManager/devices".into(),
            nm_profiles: "/etc/NetworkManager/system-connections".into(),
            nm_conf: "/etc/NetworkManager/conf.d".into(),
            interfaces: "/etc/network/interfaces".into(),
            ifstate: "/run/network/ifstate".into(),
        }
    }
}

/// Who was found to configure an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// systemd-networkd, by a file of this name and text; with the identity of a DHCP client that has a lease.
    Networkd {
        /// The file's name.
        name: String,
        /// Its text, with that of its drop-ins.
        text: String,
        /// The identity.
        iaid: Option<u32>,
    },
    /// ifupdown, in these files.
    Ifupdown(Vec<Source>),
    /// `NetworkManager`.
    NetworkManager {
        /// The identity of the profile.
        profile: String,
        /// Its file.
        file: PathBuf,
        /// Its text.
        text: String,
        /// The metric of the routes for which it says none.
        metric: Option<u32>,
        /// Whether its plugin for Open vSwitch has the bridge.
        plugin: bool,
    },
    /// Nobody that is known.
    Nobody,
}

/// What is there.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The interface's name.
    pub nic: String,
    /// The bridge's name.
    pub bridge: String,
    /// The interface.
    pub link: Option<Link>,
    /// The bridge's own interface.
    pub bridge_link: Option<Link>,
    /// Whether the interface is a radio.
    pub wireless: bool,
    /// The interfaces that stand on it: VLANs and such.
    pub uppers: Vec<String>,
    /// The bridge of Open vSwitch that has it as a port.
    pub port_of: Option<String>,
    /// Whether our bridge switches in userspace.
    pub userspace: bool,
    /// Who configures it.
    pub found: Found,
}

fn read(path: &Path) -> Result<String, UplinkError> {
    let bytes = files::read_optional(path).map_err(|source| UplinkError::File {
        verb: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

/// Looks. Changes nothing. Open vSwitch has to run, and the bridge to be ours.
pub fn observe(cx: &Context<'_>, places: &Places, nic: &str) -> Result<Seen, UplinkError> {
    let bridge = cx.spec.ovs.bridge.clone();
    let userspace = bridge::userspace(cx)?;
    if bridge::ownership(cx)? == bridge::Ownership::Foreign {
        return Err(bridge::foreign_bridge(&bridge).into());
    }
    let link =
        if nic.is_empty() || nic.contains(['/', ' ']) { None } else { kernel::link(&cx.host.run, nic)? };
    let device = places.sys.join(nic);
    let mut uppers: Vec<String> = std::fs::read_dir(&device)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("upper_")?.to_owned()))
        .collect();
    uppers.sort();
    Ok(Seen {
        nic: nic.to_owned(),
        bridge_link: kernel::link(&cx.host.run, &bridge)?,
        wireless: device.join("wireless").exists() || device.join("phy80211").exists(),
        uppers,
        port_of: bridge::bridge_with_port(cx, nic)?,
        userspace,
        found: match &link {
            Some(link) => manager(&cx.host.run, places, (nic, &bridge), link.index)?,
            None => Found::Nobody,
        },
        link,
        bridge,
    })
}

/// Who configures it. Who runs and says that it does so comes before a file that only could.
fn manager(
    run: &Runner,
    places: &Places,
    (nic, bridge): (&str, &str),
    index: u32,
) -> Result<Found, UplinkError> {
    let state = read(&places.netif.join("links").join(index.to_string()))?;
    let managed = networkd::field(&state, "ADMIN_STATE").is_some_and(|state| state != "unmanaged");
    if let Some(file) = networkd::field(&state, "NETWORK_FILE").filter(|_| managed) {
        let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let mut text = read(Path::new(file))?;
        for extra in drop_ins(places, &name) {
            text.push('\n');
            text.push_str(&read(&extra)?);
        }
        let lease = read(&places.netif.join("leases").join(index.to_string()))?;
        return Ok(Found::Networkd { name, text, iaid: networkd::iaid(&lease) });
    }
    let device = read(&places.nm.join(index.to_string()))?;
    if let Some(profile) = networkd::field(&device, "connection-uuid") {
        let file = profile_file(run, profile)?;
        let text = read(&file)?;
        if !keyfile::is_external(&text) {
            let metric = networkd::field(&device, "route-metric-default-effective");
            return Ok(Found::NetworkManager {
                profile: profile.to_owned(),
                file,
                text,
                metric: metric.and_then(|metric| metric.parse().ok()),
                plugin: is_of_the_plugin(run, bridge)?,
            });
        }
    }
    let sources = ifupdown::read(&places.interfaces).map_err(|source| UplinkError::File {
        verb: "read",
        path: places.interfaces.clone(),
        source,
    })?;
    // An error is said by the plan.
    match ifupdown::rewrite(&sources, nic, "") {
        Ok(None) => Ok(Found::Nobody),
        _ => Ok(Found::Ifupdown(sources)),
    }
}

/// The file of one of `NetworkManager`'s profiles.
fn profile_file(run: &Runner, profile: &str) -> Result<PathBuf, UplinkError> {
    let call = Invocation::new("nmcli").args([
        "--terse",
        "--escape",
        "no",
        "--fields",
        "UUID,FILENAME",
        "connection",
        "show",
    ]);
    let shown = run.run(&call)?.text();
    let file = shown.lines().find_map(|line| line.strip_prefix(profile)?.strip_prefix(':'));
    file.filter(|file| !file.is_empty()).map(PathBuf::from).ok_or_else(|| UplinkError::Answer {
        call: call.to_string(),
        why: format!("it names no file of the profile {profile}"),
    })
}

/// Whether the bridge is to `NetworkManager` one of its plugin for Open vSwitch.
fn is_of_the_plugin(run: &Runner, bridge: &str) -> Result<bool, UplinkError> {
    let call =
        Invocation::new("nmcli").args(["--terse", "--get-values", "GENERAL.TYPE", "device", "show", bridge]);
    match run.run(&call) {
        Ok(shown) => Ok(shown.text().trim().starts_with("ovs-")),
        // It does not know the bridge.
        Err(RunError::Status { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The drop-ins of a file, in the order in which they are read: by name, the admin's before those of the same name.
fn drop_ins(places: &Places, name: &str) -> Vec<PathBuf> {
    let directories =
        [Path::new("/usr/lib/systemd/network"), Path::new("/run/systemd/network"), &places.networkd];
    let mut found = std::collections::BTreeMap::new();
    for directory in directories {
        for entry in std::fs::read_dir(directory.join(format!("{name}.d"))).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|ext| ext == "conf") {
                found.insert(entry.file_name(), entry.path());
            }
        }
    }
    found.into_values().collect()
}
