//! What tells one machine from another, and must not be in a template: every clone would share it.

use std::io;

use rustix::fs::FileType;

use crate::files::RootDir;

/// Where an identity is found.
enum Place {
    /// A file, a link, or a directory with all that is in it.
    Whole(&'static str),
    /// What is in a directory; the directory stays.
    Inside(&'static str),
    /// The files of a directory whose names begin so.
    Beginning(&'static str, &'static str),
}

use Place::{Beginning, Inside, Whole};

/// Everything that is removed, with the reason where the path does not say it.
const PLACES: [Place; 26] = [
    // Names and addresses: given to each clone when it is made.
    Whole("etc/hostname"),
    Whole("etc/machine-info"),
    Whole("etc/resolv.conf"),
    // Host keys, and the keys of whoever built a tarball from a machine of theirs.
    Beginning("etc/ssh", "ssh_host_"),
    Beginning("root/.ssh", "id_"),
    Whole("root/.ssh/known_hosts"),
    Whole("root/.bash_history"),
    // One self-signed key made when the package ssl-cert was installed; each clone makes its own.
    Whole("etc/ssl/private/ssl-cert-snakeoil.key"),
    Whole("etc/ssl/certs/ssl-cert-snakeoil.pem"),
    // A mesh member's keys and the key to become one (never in a template, see docs/corrections.md).
    Whole("etc/netclient"),
    Whole("var/lib/netclient"),
    Whole("etc/netmaker"),
    Inside("etc/wireguard"),
    // Random numbers and secrets that systemd keeps from one boot to the next.
    Whole("var/lib/systemd/random-seed"),
    Whole("var/lib/systemd/credential.secret"),
    Whole("var/lib/urandom/random-seed"),
    // Leases and connections of the machine a tarball was made on.
    Inside("var/lib/dhcp"),
    Inside("var/lib/dhcpcd"),
    Inside("var/lib/NetworkManager"),
    Inside("etc/NetworkManager/system-connections"),
    Whole("etc/udev/rules.d/70-persistent-net.rules"),
    // Journals lie in directories named after the machine id.
    Inside("var/log/journal"),
    // What operation-dbus itself put into a container, or onto a host that was made a tarball.
    Whole("etc/opdbus/service.env"),
    Whole("etc/opdbus/config.json"),
    Whole("etc/opdbus/installed"),
    Inside("run"),
];

impl Place {
    /// The paths that are there.
    fn present(&self, root: &RootDir) -> io::Result<Vec<String>> {
        let (directory, beginning) = match self {
            Self::Whole(path) => {
                return Ok(root.kind(path)?.map(|_| (*path).to_owned()).into_iter().collect());
            }
            Self::Inside(directory) => (directory, ""),
            Self::Beginning(directory, beginning) => (directory, *beginning),
        };
        // A link of that name is taken away as a link: what it points to inside is looked at under its own name.
        if root.kind(directory)? != Some(FileType::Directory) {
            return Ok(Vec::new());
        }
        Ok(root
            .list(directory)?
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| name.starts_with(beginning))
            .map(|name| format!("{directory}/{name}"))
            .collect())
    }
}

/// Takes away what tells one machine from another. The machine id becomes an empty file, so that a
/// clone without one gets its own when it starts.
pub fn strip_identity(root: &RootDir) -> io::Result<()> {
    for place in &PLACES {
        match place {
            Inside(directory) if root.kind(directory)? == Some(FileType::Directory) => {
                root.clear_dir(directory)?;
            }
            _ => {
                for path in place.present(root)? {
                    root.remove_all(&path)?;
                }
            }
        }
    }
    root.create_dir_all("etc")?;
    root.remove_all("etc/machine-id")?;
    root.write("etc/machine-id", b"", 0o444)?;
    root.create_dir_all("var/lib/dbus")?;
    root.remove_all("var/lib/dbus/machine-id")?;
    root.symlink("/etc/machine-id", "var/lib/dbus/machine-id")
}

/// What tells one machine from another and is still there; nothing in a template that is right.
pub fn identity_found(root: &RootDir) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for place in &PLACES {
        found.extend(place.present(root)?);
    }
    match root.read("etc/machine-id")? {
        Some(id) if id.is_empty() => {}
        Some(_) => found.push("etc/machine-id is not empty".into()),
        None => found.push("etc/machine-id is missing, which makes the first boot ask questions".into()),
    }
    if root.kind("var/lib/dbus/machine-id")? == Some(FileType::RegularFile) {
        found.push("var/lib/dbus/machine-id".into());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_tells_one_machine_from_another_stays() {
        let dir = tempfile::tempdir().unwrap();
        let must_go = [
            "etc/hostname",
            "etc/resolv.conf",
            "etc/ssh/ssh_host_ed25519_key",
            "etc/ssh/ssh_host_rsa_key.pub",
            "etc/netclient/nodes.json",
            "var/lib/netclient/x",
            "etc/netmaker/join-key",
            "etc/wireguard/wg0.conf",
            "var/lib/systemd/random-seed",
            "var/lib/systemd/credential.secret",
            "var/lib/NetworkManager/secret_key",
            "var/lib/dhcp/dhclient.leases",
            "var/log/journal/0123456789abcdef/system.journal",
            "var/lib/dbus/machine-id",
            "root/.ssh/id_ed25519",
            "root/.bash_history",
            "etc/opdbus/service.env",
            "etc/ssl/private/ssl-cert-snakeoil.key",
            "run/secret",
        ];
        let must_stay =
            ["etc/ssh/sshd_config", "root/.ssh/authorized_keys", "etc/os-release", "var/lib/systemd/x"];
        for path in must_go.iter().chain(&must_stay).chain(&["etc/machine-id"]) {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "0123456789abcdef").unwrap();
        }
        let root = RootDir::open(dir.path()).unwrap();
        let before = identity_found(&root).unwrap();
        for path in must_go {
            assert!(
                before.iter().any(|found| path.starts_with(found.as_str())),
                "{path} is not found: {before:?}"
            );
        }
        strip_identity(&root).unwrap();
        assert_eq!(identity_found(&root).unwrap(), Vec::<String>::new());
        for path in must_go.iter().filter(|p| !p.contains("dbus/machine-id")) {
            assert!(!dir.path().join(path).exists(), "{path} is still there");
        }
        for path in must_stay {
            assert!(dir.path().join(path).exists(), "{path} was taken away");
        }
        assert_eq!(std::fs::read(dir.path().join("etc/machine-id")).unwrap(), b"");
        assert_eq!(
            std::fs::read_link(dir.path().join("var/lib/dbus/machine-id")).unwrap().to_str(),
            Some("/etc/machine-id")
        );
    }

    #[test]
    fn an_empty_tree_becomes_a_tree_without_identity() {
        let dir = tempfile::tempdir().unwrap();
        let root = RootDir::open(dir.path()).unwrap();
        strip_identity(&root).unwrap();
        assert!(identity_found(&root).unwrap().is_empty());
        strip_identity(&root).unwrap();
    }

    #[test]
    fn links_to_the_host_are_taken_away_and_not_followed() {
        let host = tempfile::tempdir().unwrap();
        let outside = host.path().join("outside");
        std::fs::create_dir_all(outside.join("journal")).unwrap();
        std::fs::write(outside.join("keep"), "").unwrap();
        let path = host.path().join("root");
        std::fs::create_dir_all(path.join("etc/ssh")).unwrap();
        std::os::unix::fs::symlink(outside.join("keep"), path.join("etc/ssh/ssh_host_rsa_key")).unwrap();
        std::os::unix::fs::symlink(&outside, path.join("etc/netclient")).unwrap();
        std::os::unix::fs::symlink(&outside, path.join("run")).unwrap();
        let root = RootDir::open(&path).unwrap();
        strip_identity(&root).unwrap();
        assert!(outside.join("keep").exists() && outside.join("journal").exists());
        assert!(!root.exists("etc/netclient") && !root.exists("etc/ssh/ssh_host_rsa_key"));
    }
}
