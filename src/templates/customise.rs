//! What every template gets, and what none may carry. Everything is written through [`RootDir`]: the root
//! file system may come from anywhere, and its links may point anywhere.

use std::path::Path;

use super::error::TemplateError;
use crate::engine::Context;
use crate::files::RootDir;
use crate::run::Invocation;
use crate::spec::{Template, TemplateUser};

const SOCKET: &str = include_str!("units/socket-network.socket");
const PROXY: &str = include_str!("units/socket-network.service");
const SSH_KEYS: &str = include_str!("units/opdbus-ssh-keys.service");

/// Units that cannot work in an unprivileged container, or only get in the way there: debugfs cannot be
/// mounted, the kernel's modules and clock are the host's, eth0 is configured by LXC.
const MASKED: [&str; 7] = [
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-modules-load.service",
    "systemd-networkd-wait-online.service",
    "networking.service",
    "systemd-timesyncd.service",
    "e2scrub_reap.service",
];

/// What makes a host one host: none of it may be in a template.
const IDENTITY_FILES: [&str; 6] = [
    "etc/hostname",
    "etc/mailname",
    "etc/netmaker/join-key",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/dhcp/dhclient.leases",
];
const IDENTITY_DIRECTORIES: [&str; 3] = ["etc/netclient", "var/lib/netclient", "root/.ssh"];
/// What a build leaves that a clone does not need.
const LITTER: [&str; 5] = ["var/lib/apt/lists", "var/cache/apt", "var/log/apt", "tmp", "run"];

fn io(root: &Path) -> impl Fn(std::io::Error) -> TemplateError + '_ {
    move |source| TemplateError::Io { verb: "customise", path: root.to_owned(), source }
}

/// Puts everything into a fresh root file system that its template declares and operation-dbus needs.
pub(super) fn customise(cx: &Context<'_>, path: &Path, template: &Template) -> Result<(), TemplateError> {
    let root = RootDir::open(path).map_err(io(path))?;
    if !root.exists("lib/systemd/systemd") && !root.exists("usr/lib/systemd/systemd") {
        return Err(TemplateError::NotARoot { path: path.to_owned(), missing: "lib/systemd/systemd" });
    }
    units(&root).map_err(io(path))?;
    if let Some(user) = &template.user {
        make_user(cx, path, &root, user)?;
    }
    let zone = format!("usr/share/zoneinfo/{}", template.time_zone);
    // UTC is what systemd and the C library take where there is no zone file.
    if template.time_zone != "Etc/UTC" && !root.exists(&zone) {
        return Err(TemplateError::NoTimeZone(template.time_zone.clone()));
    }
    root.symlink(format!("/{zone}"), "etc/localtime").map_err(io(path))?;
    root.write("etc/timezone", format!("{}\n", template.time_zone).as_bytes(), 0o644).map_err(io(path))?;
    locale(cx, path, &root, &template.locale)
}

fn units(root: &RootDir) -> std::io::Result<()> {
    let system = Path::new("etc/systemd/system");
    for wants in ["sockets.target.wants", "multi-user.target.wants"] {
        root.create_dir_all(system.join(wants))?;
    }
    root.write(system.join("socket-network.socket"), SOCKET.as_bytes(), 0o644)?;
    root.write(system.join("socket-network.service"), PROXY.as_bytes(), 0o644)?;
    root.write(system.join("opdbus-ssh-keys.service"), SSH_KEYS.as_bytes(), 0o644)?;
    root.symlink("../socket-network.socket", system.join("sockets.target.wants/socket-network.socket"))?;
    root.symlink(
        "../opdbus-ssh-keys.service",
        system.join("multi-user.target.wants/opdbus-ssh-keys.service"),
    )?;
    for unit in MASKED {
        root.symlink("/dev/null", system.join(unit))?;
    }
    root.create_dir_all("etc/opdbus")?;
    root.create_dir_all("var/lib/op-dbus/sockets/containers")
}

fn chroot(path: &Path, program: &str) -> Invocation {
    Invocation::new("chroot").arg(path).arg(program).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
}

fn make_user(
    cx: &Context<'_>,
    path: &Path,
    root: &RootDir,
    user: &TemplateUser,
) -> Result<(), TemplateError> {
    // useradd knows what an entry looks like in every release; it runs inside, so that it writes inside.
    let exists = cx.host.run.output(&chroot(path, "getent").args(["passwd", &user.name]))?.status == 0;
    if !exists {
        let call = chroot(path, "useradd").args(["--create-home", "--shell", "/bin/bash", "--user-group"]);
        cx.host.run.run(&call.arg(&user.name))?;
    }
    if !user.ssh_keys.is_empty() {
        let ids = cx.host.run.run(&chroot(path, "id").args(["-u", &user.name]))?.text();
        let uid: u32 =
            ids.trim().parse().map_err(|_| io(path)(std::io::Error::other("useradd made no user")))?;
        let home = format!("home/{}/.ssh", user.name);
        let keys = format!("{home}/authorized_keys");
        root.create_dir_all(&home).map_err(io(path))?;
        root.write(&keys, (user.ssh_keys.join("\n") + "\n").as_bytes(), 0o600).map_err(io(path))?;
        root.chmod(&home, 0o700).map_err(io(path))?;
        for file in [&home, &keys] {
            root.chown(file, uid, uid).map_err(io(path))?;
        }
    }
    if user.sudo {
        root.create_dir_all("etc/sudoers.d").map_err(io(path))?;
        let line = format!("{} ALL=(ALL:ALL) NOPASSWD: ALL\n", user.name);
        root.write("etc/sudoers.d/opdbus", line.as_bytes(), 0o440).map_err(io(path))?;
    }
    Ok(())
}

fn locale(cx: &Context<'_>, path: &Path, root: &RootDir, locale: &str) -> Result<(), TemplateError> {
    if !["C", "POSIX", "C.UTF-8"].contains(&locale) {
        if !root.exists("usr/sbin/locale-gen") {
            return Err(TemplateError::NoLocaleGen(locale.to_owned()));
        }
        let charset = locale.split_once('.').map_or("UTF-8", |(_, charset)| charset);
        root.write("etc/locale.gen", format!("{locale} {charset}\n").as_bytes(), 0o644).map_err(io(path))?;
        cx.host.run.run(&chroot(path, "locale-gen"))?;
    }
    root.create_dir_all("etc/default").map_err(io(path))?;
    for file in ["etc/default/locale", "etc/locale.conf"] {
        root.write(file, format!("LANG={locale}\n").as_bytes(), 0o644).map_err(io(path))?;
    }
    Ok(())
}

/// Takes out what makes a host one host, and the litter of the build.
pub fn strip_identity(root: &RootDir) -> std::io::Result<()> {
    for file in IDENTITY_FILES {
        root.remove(file)?;
    }
    for directory in IDENTITY_DIRECTORIES.into_iter().chain(LITTER) {
        root.clear_dir(directory)?;
    }
    for name in root.list("etc/ssh")? {
        if is_host_key(&name) {
            root.remove(Path::new("etc/ssh").join(name))?;
        }
    }
    // Empty, not absent: systemd then fills it in, and mounts over it where it cannot (machine-id(5)).
    root.create_dir_all("etc")?;
    root.write("etc/machine-id", b"", 0o444)?;
    if root.exists("var/lib/dbus") {
        root.symlink("/etc/machine-id", "var/lib/dbus/machine-id")?;
    }
    Ok(())
}

/// What there is of an identity; empty in a template that is fit to be cloned.
pub fn identity_found(root: &RootDir) -> std::io::Result<Vec<String>> {
    let mut found: Vec<String> =
        IDENTITY_FILES.into_iter().filter(|file| root.exists(file)).map(str::to_owned).collect();
    for directory in IDENTITY_DIRECTORIES {
        for name in root.list(directory)? {
            found.push(format!("{directory}/{}", name.to_string_lossy()));
        }
    }
    for name in root.list("etc/ssh")? {
        if is_host_key(&name) {
            found.push(format!("etc/ssh/{}", name.to_string_lossy()));
        }
    }
    if root.read("etc/machine-id")?.is_some_and(|id| !id.is_empty()) {
        found.push("etc/machine-id".into());
    }
    Ok(found)
}

fn is_host_key(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with("ssh_host_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_carries_no_identity() {
        let dir = tempfile::tempdir().unwrap();
        let root = RootDir::open(dir.path()).unwrap();
        for directory in
            ["etc/ssh", "etc/netclient", "var/lib/dbus", "var/lib/systemd", "var/lib/apt/lists", "root/.ssh"]
        {
            root.create_dir_all(directory).unwrap();
        }
        for file in [
            "etc/machine-id",
            "etc/hostname",
            "etc/ssh/ssh_host_ed25519_key",
            "etc/ssh/ssh_host_rsa_key.pub",
            "etc/netclient/nodes.json",
            "var/lib/systemd/random-seed",
            "var/lib/apt/lists/x",
            "root/.ssh/id_ed25519",
        ] {
            root.write(file, b"secret", 0o600).unwrap();
        }
        root.write("etc/ssh/sshd_config", b"", 0o644).unwrap();
        assert_eq!(identity_found(&root).unwrap().len(), 7, "the check sees all of it");
        strip_identity(&root).unwrap();
        assert_eq!(identity_found(&root).unwrap(), Vec::<String>::new());
        assert!(root.exists("etc/ssh/sshd_config"), "configuration is no identity");
        assert_eq!(root.read("etc/machine-id").unwrap().unwrap(), b"");
    }

    #[test]
    fn the_socket_is_at_the_path_that_is_mounted() {
        let inside = format!("ListenStream=/{}/%H/%H.sock", "var/lib/op-dbus/sockets/containers");
        assert!(SOCKET.contains(&inside));
    }
}
