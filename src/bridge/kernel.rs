//! What the kernel tells about itself: whether it has the openvswitch module, and which networks it
//! reaches already.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

use super::BridgeError;

/// Where the kernel is asked.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// There once the module is loaded or built in.
    pub module: PathBuf,
    /// Directories that hold a directory of modules for each kernel version.
    pub modules: Vec<PathBuf>,
    /// The main routing table.
    pub routes: PathBuf,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            module: "/sys/module/openvswitch".into(),
            // The second one is NixOS': the modules of the kernel that was booted.
            modules: vec!["/lib/modules".into(), "/run/booted-system/kernel-modules/lib/modules".into()],
            // The thread's, because network namespaces are a thread's.
            routes: "/proc/thread-self/net/route".into(),
        }
    }
}

impl Kernel {
    /// Whether the kernel's datapath can be had: the module is loaded, built in, or can be loaded.
    #[must_use]
    pub fn has_datapath(&self) -> bool {
        if self.module.exists() {
            return true;
        }
        let uname = rustix::system::uname();
        let Ok(release) = uname.release().to_str() else { return false };
        self.modules.iter().any(|directory| {
            ["modules.dep", "modules.builtin"].iter().any(|index| {
                std::fs::read_to_string(directory.join(release).join(index)).is_ok_and(|text| {
                    // "kernel/net/openvswitch/openvswitch.ko.xz: …"; only what comes before the colon is there.
                    text.lines()
                        .any(|line| line.split(':').next().unwrap_or_default().contains("/openvswitch.ko"))
                })
            })
        })
    }

    /// The networks of the main routing table with their interfaces, without the default route.
    pub(super) fn networks(&self) -> Result<Vec<(Ipv4Net, String)>, BridgeError> {
        let text = match std::fs::read_to_string(&self.routes) {
            Ok(text) => text,
            // A kernel without IPv4 routes has no such file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(BridgeError::Read { path: self.routes.clone(), source }),
        };
        Ok(text.lines().skip(1).filter_map(network).collect())
    }
}

/// One line of `/proc/net/route`. An address is a number as it lies in memory.
pub(super) fn network(line: &str) -> Option<(Ipv4Net, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |field: &str| u32::from_str_radix(field, 16).ok().map(|n| Ipv4Addr::from(n.to_ne_bytes()));
    let interface = *fields.first()?;
    let (destination, mask) = (address(fields.get(1)?)?, address(fields.get(7)?)?);
    let network = Ipv4Net::with_netmask(destination, mask).ok()?;
    // "*" has no interface: a network that is declared unreachable, which a more precise route overrides.
    (network.prefix_len() > 0 && interface != "*").then(|| (network, interface.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_counts_where_it_is_loaded_or_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let release = rustix::system::uname().release().to_str().unwrap().to_owned();
        let modules = dir.path().join("modules");
        std::fs::create_dir_all(modules.join(&release)).unwrap();
        let kernel = Kernel {
            module: dir.path().join("openvswitch"),
            modules: vec![dir.path().join("none"), modules.clone()],
            routes: dir.path().join("route"),
        };
        assert!(!kernel.has_datapath());
        let index = modules.join(release).join("modules.dep");
        // vport-gre needs it, which does not make it there.
        std::fs::write(
            &index,
            "kernel/net/openvswitch/vport-gre.ko: kernel/net/openvswitch/openvswitch.ko\n",
        )
        .unwrap();
        assert!(!kernel.has_datapath());
        std::fs::write(&index, "kernel/net/openvswitch/openvswitch.ko.xz: kernel/lib/libcrc32c.ko\n")
            .unwrap();
        assert!(kernel.has_datapath());
        std::fs::remove_file(&index).unwrap();
        std::fs::create_dir(&kernel.module).unwrap();
        assert!(kernel.has_datapath());
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_are_read_as_the_kernel_prints_them() {
        let dir = tempfile::tempdir().unwrap();
        let routes = dir.path().join("route");
        std::fs::write(
            &routes,
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
             eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
             *\t0000000A\t00000000\t0200\t0\t0\t0\t000000FF\t0\t0\t0\n\
             eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
        )
        .unwrap();
        let kernel = Kernel { routes, ..Kernel::default() };
        assert_eq!(kernel.networks().unwrap(), [("192.168.0.0/24".parse().unwrap(), "eth0".to_owned())]);
    }
}
