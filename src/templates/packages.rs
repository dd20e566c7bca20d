//! Which packages a template has.

use std::collections::BTreeSet;
use std::io;

use crate::files::RootDir;
use crate::spec::Template;

/// What a Debian container needs beside the essential packages to boot and to be of use; nothing more,
/// for every clone of the template carries it and every update of it.
pub const BASE_PACKAGES: [&str; 8] = [
    "systemd-sysv",    // the init, and the proxy behind the container's socket
    "dbus",            // systemctl, loginctl and hostnamectl talk over it
    "iproute2",        // to see and change the address the host gave
    "iputils-ping",    // the first thing anyone types when the network seems down
    "netbase",         // the names of ports and protocols
    "procps",          // ps, sysctl
    "ca-certificates", // apt and others over https
    "tzdata",          // the time zone declared
];

/// Locales that every C library has without being generated.
pub(super) fn locale_is_built_in(locale: &str) -> bool {
    ["C", "POSIX", "C.UTF-8", "C.utf8"].contains(&locale)
}

/// The packages to install beside the essential ones: the base, those declared, and those that other parts
/// of the declaration need.
pub(super) fn to_install(declaration: &Template) -> Vec<String> {
    let implied = [
        (!locale_is_built_in(&declaration.locale)).then_some("locales"),
        declaration.user.as_ref().filter(|u| u.sudo).map(|_| "sudo"),
    ];
    let mut seen = BTreeSet::new();
    BASE_PACKAGES
        .into_iter()
        .chain(implied.into_iter().flatten())
        .chain(declaration.packages.iter().map(String::as_str))
        .filter(|package| seen.insert((*package).to_owned()))
        .map(str::to_owned)
        .collect()
}

/// The installed packages that a dpkg status file names.
pub(super) fn installed(status: &str) -> BTreeSet<String> {
    status
        .split("\n\n")
        .filter(|stanza| stanza.lines().any(|l| l.starts_with("Status:") && l.ends_with(" installed")))
        .filter_map(|stanza| stanza.lines().find_map(|l| l.strip_prefix("Package:")))
        .map(|name| name.trim().to_owned())
        .collect()
}

/// The architecture of the packages, as dpkg names it: by dpkg's own stanza, or by apk's file; the host's where there is
/// neither.
pub(super) fn architecture(root: &RootDir) -> io::Result<String> {
    let status = root.read("var/lib/dpkg/status")?.unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let dpkg = status.split("\n\n").find(|s| s.lines().any(|l| l == "Package: dpkg"));
    let found = dpkg.and_then(|s| s.lines().find_map(|l| l.strip_prefix("Architecture:")));
    let apk = root.read("etc/apk/arch")?.unwrap_or_default();
    let apk = String::from_utf8_lossy(&apk);
    let apk = match apk.trim() {
        "" => None,
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        "x86" => Some("i386"),
        "armhf" | "armv7" => Some("armhf"),
        "ppc64le" => Some("ppc64el"),
        other => Some(other),
    };
    Ok(found.or(apk).map_or_else(host_architecture, |a| a.trim().to_owned()))
}

fn host_architecture() -> String {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        "powerpc64" => "ppc64el",
        other => other,
    }
    .to_owned()
}

/// The declared packages that a root file system does not have.
pub(super) fn missing(root: &RootDir, declared: &[String]) -> io::Result<Vec<String>> {
    let status = root.read("var/lib/dpkg/status")?.unwrap_or_default();
    let mut installed = installed(&String::from_utf8_lossy(&status));
    installed.extend(super::alpine::installed(root)?);
    Ok(declared
        .iter()
        .filter(|package| !installed.contains(package.split(':').next().unwrap_or_default()))
        .cloned()
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::TemplateUser;

    #[test]
    fn what_the_declaration_needs_is_installed_once() {
        let user = TemplateUser { name: "anna".into(), ssh_keys: Vec::new(), sudo: true };
        let declaration = Template {
            packages: vec!["curl".into(), "dbus".into(), "curl".into()],
            user: Some(user),
            locale: "de_DE.UTF-8".into(),
            ..Template::default()
        };
        let all = to_install(&declaration);
        assert_eq!(all[8..], ["locales", "sudo", "curl"]);
        assert_eq!(to_install(&Template::default()), BASE_PACKAGES);
    }

    #[test]
    fn only_packages_that_are_installed_count() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib/dpkg")).unwrap();
        std::fs::write(
            dir.path().join("var/lib/dpkg/status"),
            "Package: dpkg\nStatus: install ok installed\nArchitecture: riscv64\n\nPackage: curl\nStatus: deinstall ok config-files\n\nPackage: dbus\nStatus: install ok installed\n",
        )
        .unwrap();
        let root = RootDir::open(dir.path()).unwrap();
        let declared = ["dbus:riscv64".to_owned(), "curl".into(), "vim".into()];
        assert_eq!(missing(&root, &declared).unwrap(), ["curl", "vim"]);
        assert_eq!(architecture(&root).unwrap(), "riscv64");
    }
}
