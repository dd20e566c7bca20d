//! LXC's side of a container: its configuration, rendered from the record each time it starts, and
//! what is known only at that moment.

use std::fmt::Write;
use std::path::Path;

use super::record::{MAPPED_IDS, Record};
use crate::paths::Tree;

/// Where sockets are inside every container, whatever the host's base path is.
pub const SOCKETS_INSIDE: &str = "var/lib/op-dbus/sockets/containers";

/// Where the unit of a container finds its root file system and the directories of all sockets (`BindPaths=` of
/// opdbus-container@.service): LXC looks for them as the container's root, which does not get at the originals.
const ROOTFS_OF_UNIT: &str = "/run/opdbus-rootfs";
const SOCKETS_OF_UNIT: &str = "/run/opdbus-sockets";

/// What of the host shapes a container's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Where LXC keeps `config/common.conf`.
    pub lxc_share: std::path::PathBuf,
    /// The prefix length of the containers' subnet.
    pub prefix: u8,
    /// The gateway.
    pub gateway: std::net::Ipv4Addr,
    /// Whether the kernel has AppArmor.
    pub apparmor: bool,
    /// The cgroup controllers there are. A limit without its controller would keep LXC from starting.
    pub controllers: Vec<String>,
    /// The program LXC calls on the host right before the container's init: it puts the port on the bridge.
    pub start_hook: String,
    /// Whether the container's init is that of busybox, as in Alpine, which ends by another signal than LXC sends.
    pub busybox: bool,
}

impl HostFacts {
    /// What the running host says of itself.
    #[must_use]
    pub fn read(lxc_share: &Path, spec: &crate::spec::HostSpec, start_hook: String) -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            lxc_share: lxc_share.to_owned(),
            prefix: spec.ovs.subnet.prefix_len(),
            gateway: spec.ovs.gateway(),
            apparmor: text("/sys/module/apparmor/parameters/enabled").trim() == "Y",
            controllers: text("/sys/fs/cgroup/cgroup.controllers")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            start_hook,
            busybox: false,
        }
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// A container's LXC configuration.
#[must_use]
pub fn config(record: &Record, tree: &Tree, facts: &HostFacts) -> String {
    let mut text =
        String::from("# Written by operation-dbus each time the container starts; edits are lost.\n");
    let mut line = |key: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key} = {value}");
    };
    let share = facts.lxc_share.join("config");
    line("lxc.include", &share.join("common.conf").display().to_string());
    line("lxc.include", &share.join("userns.conf").display().to_string());
    if record.spec.nesting {
        line("lxc.include", &share.join("nesting.conf").display().to_string());
    }
    line("lxc.uts.name", record.name.as_str());
    line("lxc.rootfs.path", &format!("dir:{ROOTFS_OF_UNIT}"));
    // One image serves every id map: the mount is mapped, not the files.
    line("lxc.rootfs.options", "idmap=container");
    let first = record.first_id();
    line("lxc.idmap", &format!("u 0 {first} {MAPPED_IDS}"));
    line("lxc.idmap", &format!("g 0 {first} {MAPPED_IDS}"));
    if facts.apparmor {
        line("lxc.apparmor.profile", "generated");
        // For every container: a systemd mounts what it likes to make the sandboxes of its units (since 254 by the new
        // calls, of which AppArmor sees nothing but a move), and without this the units fail, systemd-logind
        // the first and with Debian 13 inside most. It is Debian's own default. What may be mounted the
        // kernel decides by the user namespace; the rest of the profile is as without.
        line("lxc.apparmor.allow_nesting", "1");
    }

    if facts.busybox {
        line("lxc.signal.halt", "SIGUSR2");
    }
    line("lxc.net.0.type", "veth");
    line("lxc.net.0.name", "eth0");
    line("lxc.net.0.flags", "up");
    // No link: the start hook puts it on the bridge when LXC is done with it. Open vSwitch would open the device while
    // LXC brings it up: both read the device's flags, change one and write all back, so that now and then the device
    // stayed down.
    line("lxc.net.0.veth.pair", &record.interface());
    line("lxc.net.0.hwaddr", &record.mac.to_string());
    line("lxc.net.0.ipv4.address", &format!("{}/{}", record.address, facts.prefix));
    line("lxc.net.0.ipv4.gateway", &facts.gateway.to_string());

    let mut bind = |name: &crate::name::ContainerName, options: &str| {
        line(
            "lxc.mount.entry",
            &format!(
                "{SOCKETS_OF_UNIT}/{name} {SOCKETS_INSIDE}/{name} none bind,create=dir,nosuid,nodev,noexec,idmap=container{options} 0 0",
            ),
        );
    };
    bind(&record.name, "");
    for granted in &record.spec.connect {
        bind(granted, ",ro");
    }

    let limits = record.spec.limits;
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key} = {value}");
    };
    if facts.has("cpu") {
        line("lxc.cgroup2.cpu.max", format!("{} 100000", u64::from(limits.cores) * 100_000));
    }
    if facts.has("memory") {
        line("lxc.cgroup2.memory.max", format!("{}M", limits.memory));
        line("lxc.cgroup2.memory.swap.max", format!("{}M", limits.swap));
    }
    if facts.has("pids") {
        // A fork bomb inside stays inside; four times what systemd gives a login session by default.
        line("lxc.cgroup2.pids.max", "40000".into());
    }
    // The payload stays inside the unit's own cgroup, so that systemd accounts for it.
    line("lxc.cgroup.relative", "1".into());
    line("lxc.console.logfile", tree.container(&record.name).join("console.log").display().to_string());
    line("lxc.console.size", "1MB".into());
    line("lxc.console.rotate", "1".into());
    line("lxc.hook.version", "1".into());
    line("lxc.hook.start-host", facts.start_hook.clone());
    text
}

#[cfg(test)]
mod tests {
    use super::super::record::{Origin, RECORD_VERSION};
    use super::*;
    use crate::spec::Container;

    fn facts() -> HostFacts {
        HostFacts {
            lxc_share: "/usr/share/lxc".into(),
            prefix: 24,
            gateway: [10, 0, 0, 1].into(),
            apparmor: true,
            controllers: vec!["cpu".into(), "memory".into()],
            start_hook: "/usr/bin/opdbus-container start-hook".into(),
            busybox: false,
        }
    }

    fn record(spec: Container) -> Record {
        Record {
            version: RECORD_VERSION,
            name: "web-01".parse().unwrap(),
            origin: Origin::Manual,
            spec,
            generation: "g".into(),
            slot: 3,
            address: [10, 0, 0, 5].into(),
            mac: "02:00:00:00:00:05".parse().unwrap(),
            dns: Vec::new(),
            created: 0,
        }
    }

    #[test]
    fn the_configuration_of_a_container_is_unprivileged_mapped_and_limited() {
        let spec = Container { connect: vec!["web-02".parse().unwrap()], ..Container::default() };
        let text = config(&record(spec), &Tree::new("/var/lib/op-dbus"), &facts());
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_container_sees_only_the_sockets_it_was_granted_and_cannot_write_theirs() {
        let text = config(&record(Container::default()), &Tree::new("/b"), &facts());
        assert_eq!(text.matches("lxc.mount.entry").count(), 1, "its own and no other");
        let spec = Container { connect: vec!["db-01".parse().unwrap()], ..Container::default() };
        let text = config(&record(spec), &Tree::new("/b"), &facts());
        let granted = text.lines().find(|l| l.contains("containers/db-01")).unwrap();
        assert!(granted.contains(",ro"), "{granted}");
    }

    #[test]
    fn limits_are_left_out_where_the_host_has_no_controller_for_them() {
        let bare = HostFacts { controllers: Vec::new(), ..facts() };
        let text = config(&record(Container::default()), &Tree::new("/b"), &bare);
        assert!(!text.contains("lxc.cgroup2."), "{text}");
    }
}
