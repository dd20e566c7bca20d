//! How a host came to be what it is, and so how it is changed: by hand and the installer, or by its NixOS
//! configuration. What messages advise follows it, and each entry of the ledger names it.

use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use crate::paths::Paths;

/// The door a host came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deployment {
    /// The installer.
    Traditional,
    /// The NixOS module.
    NixOs,
}

impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Traditional => "traditional",
            Self::NixOs => "nixos",
        })
    }
}

impl Deployment {
    /// What `deployment-type` below `etc` says, which the installer or the module wrote; traditional where there is none.
    #[must_use]
    pub fn read(etc: &Path) -> Self {
        match std::fs::read(etc.join("deployment-type")) {
            Ok(text) if text.trim_ascii() == b"nixos" => Self::NixOs,
            _ => Self::Traditional,
        }
    }

    /// That of the host this program runs on. It is read once: no host changes doors under a running program.
    #[must_use]
    pub fn here() -> Self {
        static HERE: OnceLock<Deployment> = OnceLock::new();
        *HERE.get_or_init(|| Self::read(&Paths::from_env().etc))
    }

    /// What a field of the host spec is called where one sets it.
    #[must_use]
    pub fn field(self, path: &str) -> String {
        match self {
            Self::Traditional => format!("{path} in the host spec"),
            Self::NixOs => format!("services.operation-dbus.{path}"),
        }
    }

    /// What puts a changed host spec into effect.
    #[must_use]
    pub fn apply(self) -> &'static str {
        match self {
            Self::Traditional => "op-dbus apply",
            Self::NixOs => "nixos-rebuild switch",
        }
    }

    /// How a foreign tool gets onto the host: by its Debian package, or with the programs, which have it in their PATH.
    #[must_use]
    pub fn package(self, debian: &str) -> String {
        match self {
            Self::Traditional => format!("on Debian: apt install {debian}"),
            Self::NixOs => "it comes with services.operation-dbus.package; is that another one?".into(),
        }
    }

    /// How a host that has nothing of us yet gets it.
    #[must_use]
    pub fn install(self) -> &'static str {
        match self {
            Self::Traditional => "run install-opdbus.sh",
            Self::NixOs => "set services.operation-dbus.enable and run nixos-rebuild switch",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_nixos_only_if_it_says_so() {
        let etc = tempfile::tempdir().unwrap();
        assert_eq!(Deployment::read(etc.path()), Deployment::Traditional);
        for (text, deployment) in [
            ("nixos\n", Deployment::NixOs),
            ("nixos", Deployment::NixOs),
            ("traditional\n", Deployment::Traditional),
            ("\u{ff}", Deployment::Traditional),
        ] {
            std::fs::write(etc.path().join("deployment-type"), text).unwrap();
            assert_eq!(Deployment::read(etc.path()), deployment, "{text:?}");
        }
        assert_eq!(Deployment::NixOs.to_string(), "nixos");
    }

    #[test]
    fn advice_names_the_option_on_nixos_and_the_field_elsewhere() {
        let (debian, nixos) = (Deployment::Traditional, Deployment::NixOs);
        assert_eq!(debian.field("ovs.bridge"), "ovs.bridge in the host spec");
        assert_eq!(nixos.field("ovs.bridge"), "services.operation-dbus.ovs.bridge");
        assert!(debian.apply().contains("op-dbus") && nixos.apply().contains("nixos-rebuild"));
        assert!(debian.package("lxc").contains("apt install lxc") && !nixos.package("lxc").contains("apt"));
        assert!(debian.install().contains("install-opdbus.sh") && nixos.install().contains("enable"));
    }
}
