//! What a system of `busybox` init and `OpenRC`, as Alpine, needs to be at home in a container.

use std::io;

use crate::files::RootDir;

/// Whether a root file system is one.
pub(super) fn is_openrc(root: &RootDir) -> bool {
    root.exists("sbin/openrc") || root.exists("usr/sbin/openrc")
}

/// No terminals: the container has a log of its console and `container exec`.
const INITTAB: &str = "# Written by operation-dbus when this template was made.
::sysinit:/sbin/openrc sysinit
::sysinit:/sbin/openrc boot
::wait:/sbin/openrc default
::ctrlaltdel:/sbin/reboot
::shutdown:/sbin/openrc shutdown
";

/// Services of a container, where they are there. The host has set the clock, the name, the interface and every mount.
const ENABLED: [(&str, &str); 4] =
    [("boot", "bootmisc"), ("boot", "syslog"), ("default", "crond"), ("shutdown", "killprocs")];
/// Services that have no business in one.
const DISABLED: [(&str, &str); 12] = [
    ("sysinit", "devfs"),
    ("sysinit", "dmesg"),
    ("sysinit", "hwdrivers"),
    ("sysinit", "mdev"),
    ("sysinit", "modloop"),
    ("boot", "hwclock"),
    ("boot", "modules"),
    ("boot", "networking"),
    ("boot", "swap"),
    ("boot", "swclock"),
    ("shutdown", "mount-ro"),
    ("shutdown", "savecache"),
];

/// Sets it up.
pub(super) fn set_up(root: &RootDir) -> io::Result<()> {
    if root.exists("etc/inittab") {
        root.write("etc/inittab", INITTAB.as_bytes(), 0o644)?;
    }
    let conf = root.read("etc/rc.conf")?.unwrap_or_default();
    let conf = String::from_utf8_lossy(&conf);
    let mut kept: String =
        conf.lines().filter(|l| !l.trim_start().starts_with("rc_sys=")).map(|l| format!("{l}\n")).collect();
    kept.push_str("rc_sys=\"lxc\"\n");
    root.write("etc/rc.conf", kept.as_bytes(), 0o644)?;
    for (level, service) in DISABLED {
        root.remove_all(format!("etc/runlevels/{level}/{service}"))?;
    }
    for level in ["sysinit", "boot", "default", "nonetwork", "shutdown"] {
        root.create_dir_all(format!("etc/runlevels/{level}"))?;
    }
    for (level, service) in ENABLED {
        if root.exists(format!("etc/init.d/{service}")) {
            root.symlink(format!("/etc/init.d/{service}"), format!("etc/runlevels/{level}/{service}"))?;
        }
    }
    // The host set eth0 up before init ran.
    root.create_dir_all("etc/network")?;
    let interfaces =
        b"# eth0 is set up by the host when the container starts.\nauto lo\niface lo inet loopback\n";
    root.write("etc/network/interfaces", interfaces, 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_gets_no_terminals_no_clock_and_no_network_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("etc/inittab", "tty1::respawn:/sbin/getty 38400 tty1\n"),
            ("etc/rc.conf", "rc_parallel=\"YES\"\nrc_sys=\"\"\n"),
            ("etc/init.d/bootmisc", ""),
            ("etc/runlevels/boot/networking", ""),
            ("sbin/openrc", ""),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = RootDir::open(dir.path()).unwrap();
        assert!(is_openrc(&root));
        set_up(&root).unwrap();
        set_up(&root).unwrap();
        let read = |path: &str| std::fs::read_to_string(dir.path().join(path)).unwrap();
        assert!(!read("etc/inittab").contains("getty"));
        assert_eq!(read("etc/rc.conf"), "rc_parallel=\"YES\"\nrc_sys=\"lxc\"\n");
        assert!(dir.path().join("etc/runlevels/boot/bootmisc").is_symlink());
        assert!(!root.exists("etc/runlevels/boot/networking") && !root.exists("etc/runlevels/boot/syslog"));
        assert!(!read("etc/network/interfaces").contains("iface eth0"));
    }
}
