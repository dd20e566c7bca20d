//! `opdbus-install` as its command line has it.

use std::path::PathBuf;

use clap::Parser;

use crate::spec::Size;

/// Install operation-dbus on this host, or upgrade what is installed.
///
/// Thirteen steps, each shown with its result. Nothing that is not ours is changed or removed; files you
/// edited are kept and the new ones laid beside; a second run changes nothing. A run that was cut off is
/// simply run again. On NixOS it explains the declarative way and changes nothing.
///
/// --uninstall takes it off again and keeps the data; with --purge the data goes, too. What is not ours stays as it is,
/// and so do the packages.
///
/// install-opdbus.sh gets the packages and the programs first and then runs this.
#[derive(Parser)]
#[command(
    name = "opdbus-install",
    version,
    after_help = "Exit status: 0 done, 1 failed, 2 usage, 3 invalid, 4 not found, 5 conflict, 6 denied,\n7 unavailable, 8 another run is under way."
)]
pub struct Arguments {
    /// Show what each step would do, and change nothing.
    #[arg(long)]
    pub plan: bool,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub yes: bool,
    /// Take operation-dbus off this host: containers stop; services, bridge, packet filter and programs go. The data
    /// and the host spec stay, and an installation takes them up again.
    #[arg(long, conflicts_with_all = ["config", "base_path", "btrfs_image", "rootfs", "uplink", "chat", "open_firewall", "ml", "generate_nix_config"])]
    pub uninstall: bool,
    /// With --uninstall: destroy the data and the host spec, too. Lists what goes and asks for the host's name, which
    /// --yes skips.
    #[arg(long, requires = "uninstall")]
    pub purge: bool,
    /// Where the built programs are [default: beside this one].
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// Where programs are installed; their manual pages and completions go to the `share` beside.
    #[arg(long, value_name = "DIR", default_value = "/usr/local/bin")]
    pub prefix: PathBuf,
    /// The host spec to begin with; one that is on the host already stays as it is.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the data lives [default: /var/lib/op-dbus].
    #[arg(long, value_name = "DIR")]
    pub base_path: Option<PathBuf>,
    /// Keep the data in a btrfs image of this size (20G), where the base path is not on btrfs.
    #[arg(long, value_name = "SIZE")]
    pub btrfs_image: Option<Size>,
    /// Make the template from this tarball of a root file system instead of a mirror.
    #[arg(long, value_name = "FILE")]
    pub rootfs: Option<PathBuf>,
    /// Write the host spec, or what the flags would make it, as a NixOS configuration, and do nothing else; - prints it.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "/tmp/operation-dbus-config.nix")]
    pub generate_nix_config: Option<PathBuf>,
    /// Serve the chat page and the MCP endpoint (`mcp.enable` in the host spec), on this host's loopback alone.
    #[arg(long)]
    pub chat: bool,
    /// Let the chat's port through UFW or firewalld, where they run (`mcp.openFirewall` in the host spec). It goes with a host
    /// spec (--config) that has the chat listen on the network, with TLS or behind a proxy.
    #[arg(long)]
    pub open_firewall: bool,
    /// Have the search know what is meant (`ml.enable` in the host spec), once `op-dbus model fetch` got the model.
    #[arg(long)]
    pub ml: bool,
    /// At the end, make this network card a port of the bridge: see `op-dbus bridge uplink set --help`. It is moved back
    /// unless `op-dbus bridge uplink confirm` is called in time.
    #[arg(long, value_name = "NIC")]
    pub uplink: Option<String>,
    /// How many seconds there are to confirm the uplink.
    #[arg(long, value_name = "SECONDS", requires = "uplink", default_value_t = crate::uplink::DEFAULT_WITHIN,
        value_parser = clap::value_parser!(u64).range(crate::uplink::SHORTEST..=crate::uplink::LONGEST))]
    pub within: u64,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}
