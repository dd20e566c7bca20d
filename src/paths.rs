//! Where things lie on a host, in one place, so that tests can put them elsewhere.

use std::path::{Path, PathBuf};

use crate::name::{ContainerName, PluginName, TemplateName};

/// The directories of the containers' sockets, below that of all sockets. `opdbus-container@.service` shows it to
/// containers, which pass through it; the directory above closes it to strangers on the host.
pub const CONTAINER_SOCKETS: &str = "containers/by-name";

/// Directories and sockets that do not depend on the host spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `/etc/opdbus`: host spec, deployment type, install marker.
    pub etc: PathBuf,
    /// `/run/opdbus`: the engine's lock.
    pub run: PathBuf,
    /// The socket of the Open vSwitch database server.
    pub ovsdb: PathBuf,
    /// Open vSwitch's run directory, where bridges have their management sockets.
    pub ovs_run: PathBuf,
    /// Where LXC keeps its shared configuration (`common.conf`).
    pub lxc_share: PathBuf,
    /// The keys that sign Debian, where the host's apt does not say which sign what a template is made of.
    pub keyring: PathBuf,
    /// The journal of a move of the uplink, outside of the base path: it is read before that is mounted.
    pub uplink: PathBuf,
    /// The tokens by which somebody is known at the chat's port: sums of their secrets.
    pub tokens: PathBuf,
    /// The keys that sign Ubuntu.
    pub ubuntu_keyring: PathBuf,
    /// Where the installer puts unit files.
    pub units: PathBuf,
    /// Where the installer puts the bus policy.
    pub dbus_policy: PathBuf,
    /// Where the installer puts the actions that polkit may grant.
    pub polkit_actions: PathBuf,
    /// Where the installer puts udev's rules.
    pub udev_rules: PathBuf,
    /// The socket of the journal.
    pub journal: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            etc: "/etc/opdbus".into(),
            run: "/run/opdbus".into(),
            ovsdb: "/run/openvswitch/db.sock".into(),
            ovs_run: "/run/openvswitch".into(),
            lxc_share: "/usr/share/lxc".into(),
            keyring: "/usr/share/keyrings/debian-archive-keyring.gpg".into(),
            uplink: "/var/lib/opdbus/uplink".into(),
            tokens: "/var/lib/opdbus/tokens.json".into(),
            ubuntu_keyring: "/usr/share/keyrings/ubuntu-archive-keyring.gpg".into(),
            units: "/etc/systemd/system".into(),
            dbus_policy: "/etc/dbus-1/system.d".into(),
            polkit_actions: "/usr/share/polkit-1/actions".into(),
            udev_rules: "/etc/udev/rules.d".into(),
            journal: "/run/systemd/journal/socket".into(),
        }
    }
}

impl Paths {
    /// The default paths, changed by the environment: `OPDBUS_ETC`, `OPDBUS_RUN`, `OPDBUS_OVSDB`,
    /// `OPDBUS_OVS_RUN`, `OPDBUS_LXC_SHARE`, `OPDBUS_KEYRING`, `OPDBUS_UBUNTU_KEYRING`, `OPDBUS_UPLINK`, `OPDBUS_TOKENS`, `OPDBUS_UNITS`,
    /// `OPDBUS_DBUS_POLICY`, `OPDBUS_POLKIT_ACTIONS`, `OPDBUS_UDEV_RULES`, `OPDBUS_JOURNAL`. For tests, and for distributions that
    /// keep LXC's files and Debian's keys elsewhere.
    #[must_use]
    pub fn from_env() -> Self {
        let mut paths = Self::default();
        for (variable, path) in [
            ("OPDBUS_ETC", &mut paths.etc),
            ("OPDBUS_RUN", &mut paths.run),
            ("OPDBUS_OVSDB", &mut paths.ovsdb),
            ("OPDBUS_OVS_RUN", &mut paths.ovs_run),
            ("OPDBUS_LXC_SHARE", &mut paths.lxc_share),
            ("OPDBUS_KEYRING", &mut paths.keyring),
            ("OPDBUS_UPLINK", &mut paths.uplink),
            ("OPDBUS_TOKENS", &mut paths.tokens),
            ("OPDBUS_UBUNTU_KEYRING", &mut paths.ubuntu_keyring),
            ("OPDBUS_UNITS", &mut paths.units),
            ("OPDBUS_DBUS_POLICY", &mut paths.dbus_policy),
            ("OPDBUS_POLKIT_ACTIONS", &mut paths.polkit_actions),
            ("OPDBUS_UDEV_RULES", &mut paths.udev_rules),
            ("OPDBUS_JOURNAL", &mut paths.journal),
        ] {
            if let Some(value) = std::env::var_os(variable).filter(|v| !v.is_empty()) {
                *path = value.into();
            }
        }
        paths
    }

    /// The host spec.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.etc.join("config.json")
    }

    /// LXC's own directory: the configuration of each container that was started, rendered anew each time. It is not
    /// with the containers, which are closed to their own roots' ids, as LXC looks here with those rights.
    #[must_use]
    pub fn lxc(&self) -> PathBuf {
        self.run.join("lxc")
    }

    /// The engine's lock.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.run.join("lock")
    }
}

/// The tree below the base path (requirements, sections 1, 7 and 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree(PathBuf);

impl Tree {
    /// The tree at a base path.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self(base.into())
    }
    /// The base path itself.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.0
    }
    /// A subvolume, or anything else, right below the base path.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
    /// The ledger's database.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.0.join("@timing/blockchain.db")
    }
    /// A plugin's subvolume.
    #[must_use]
    pub fn plugin(&self, name: &PluginName) -> PathBuf {
        self.0.join("@plugins").join(name)
    }
    /// The directory of all templates.
    #[must_use]
    pub fn templates(&self) -> PathBuf {
        self.0.join("@templates")
    }
    /// A template's directory: `template.json` and `rootfs`, the subvolume that is cloned.
    #[must_use]
    pub fn template(&self, name: &TemplateName) -> PathBuf {
        self.templates().join(name)
    }
    /// The directory of the templates' generations that are not in use: `NAME/GENERATION`, each like a template.
    #[must_use]
    pub fn generations(&self) -> PathBuf {
        self.templates().join(".generations")
    }
    /// The directory of all containers. It is on the templates' file system, as snapshots need, and
    /// apart from `/var/lib/lxc`, which is the admin's.
    #[must_use]
    pub fn containers(&self) -> PathBuf {
        self.0.join("containers")
    }
    /// A container's directory: `container.json`, `console.log` and `rootfs`, a subvolume.
    #[must_use]
    pub fn container(&self, name: &ContainerName) -> PathBuf {
        self.containers().join(name)
    }
    /// The directory of all sockets.
    #[must_use]
    pub fn sockets(&self) -> PathBuf {
        self.0.join("sockets")
    }
    /// The spec's path for a container's socket: a link, for root and the group on the host.
    #[must_use]
    pub fn container_socket_link(&self, name: &ContainerName) -> PathBuf {
        self.sockets().join("containers").join(format!("{name}.sock"))
    }
    /// The directory that holds a container's socket; who is granted the container gets this directory.
    #[must_use]
    pub fn container_socket_dir(&self, name: &ContainerName) -> PathBuf {
        self.sockets().join(CONTAINER_SOCKETS).join(name)
    }
    /// The API socket.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.sockets().join("api/opdbus.sock")
    }
}
