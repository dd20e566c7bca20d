//! What kind of host this is.

use std::path::Path;

use serde::Serialize;

use crate::engine::Host;

/// What is said on NixOS, where the host is declared and this program changes nothing.
pub const NIXOS_ADVICE: &str = "\
NixOS detected: it is declared, not installed. Nothing was changed.

1. Add the flake to your inputs, or clone the repository:
     cd /etc/nixos
     git clone https://github.com/repr0bated/operation-dbus.git
2. Import the module in /etc/nixos/configuration.nix:
     imports = [ ./operation-dbus/nixos/modules/operation-dbus.nix ];
3. Enable it:
     services.operation-dbus.enable = true;
4. Apply it:
     sudo nixos-rebuild switch
";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Detected {
    /// Whether it is NixOS.
    pub nixos: bool,
    /// Whether it is Proxmox VE.
    pub proxmox: bool,
    /// The distribution, as os-release names it.
    pub distribution: String,
    /// Whether the kernel has the openvswitch module; the userspace datapath is used where it has not.
    pub kernel_datapath: bool,
    /// Whether an earlier installation was completed here.
    pub upgrade: bool,
}

/// Looks at the host. `/etc/NIXOS` is what NixOS itself calls its marker.
pub fn detect(host: &Host) -> Detected {
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |key: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    Detected {
        nixos: Path::new("/etc/NIXOS").exists() || field("ID").as_deref() == Some("nixos"),
        proxmox: Path::new("/etc/pve").is_dir(),
        distribution: field("PRETTY_NAME").unwrap_or_else(|| "unknown".into()),
        kernel_datapath: crate::bridge::Kernel::default().has_datapath(),
        upgrade: host.paths.etc.join("installed").exists(),
    }
}
