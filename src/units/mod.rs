//! The units, the bus policy, the actions for polkit and udev's rules: the same files on every host. On NixOS the module takes them from the
//! package; elsewhere this component puts them in place, keeps the admin's edits, and enables them.

mod retire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::unistd::User;
use serde::Serialize;

use crate::deployment::Deployment;
use crate::engine::{self, Action, Context, Retirement};
use crate::fault::{Fault, Kind};
use crate::files::{self, FileState, Managed, ManagedError};
use crate::run::{Invocation, RunError};
use crate::spec::{HostSpec, Qdrant, Whereabouts};
use crate::storage::place;

/// The user of the chat's program. A dynamic one would do where the bus could look its name up (libnss-systemd), which it can not
/// everywhere.
const CHAT_USER: &str = "opdbus-chat";

/// The socket of the chat, which is there where the host spec asks for it.
/// The socket of the chat.
pub const CHAT: &str = "mcp-chat.socket";

/// The unit of the search, whose network is what the host spec asks for.
const SEARCH: &str = "opdbus-search.service";

/// A file that is shipped: where it goes, its name, its text with `@bindir@`, `@basePath@` and what of the host spec it holds to
/// fill in.
struct Shipped {
    name: &'static str,
    text: &'static str,
    place: Place,
    /// Whether it is enabled, so that it starts with the host.
    enabled: bool,
}

#[derive(Clone, Copy)]
enum Place {
    Units,
    BusPolicy,
    Actions,
    UdevRules,
}

macro_rules! shipped {
    ($name:literal, $place:ident, $enabled:literal) => {
        Shipped {
            name: $name,
            text: include_str!(concat!("../../systemd/", $name)),
            place: Place::$place,
            enabled: $enabled,
        }
    };
}

/// The component's name, and the marker of the directories that it makes.
const NAME: &str = "units";

const SHIPPED: [Shipped; 22] = [
    shipped!("org.opdbus1.conf", BusPolicy, false),
    shipped!("org.opdbus1.policy", Actions, false),
    shipped!("85-opdbus.rules", UdevRules, false),
    shipped!("opdbus-storage.service", Units, true),
    shipped!("opdbus-ledger.service", Units, true),
    shipped!("opdbus-network.service", Units, true),
    shipped!("opdbus-uplink-restore.service", Units, true),
    shipped!("opdbus-uplink.service", Units, true),
    shipped!("opdbus-uplink-rollback.service", Units, false),
    shipped!("opdbus-container@.service", Units, false),
    shipped!("opdbus-containers.service", Units, true),
    shipped!("opdbus-apply.service", Units, true),
    shipped!("opdbus-snapshots.service", Units, false),
    shipped!("opdbus-snapshots.timer", Units, true),
    shipped!("opdbus-checkpoint.service", Units, false),
    shipped!("opdbus-checkpoint.timer", Units, true),
    shipped!("opdbus-search.socket", Units, true),
    shipped!("opdbus-search.service", Units, false),
    shipped!("mcp-chat.socket", Units, false),
    shipped!("mcp-chat.service", Units, false),
    shipped!("opdbus.socket", Units, true),
    shipped!("opdbus.service", Units, true),
];

/// How the units fail.
#[derive(Debug, thiserror::Error)]
pub enum UnitsError {
    /// A file.
    #[error(transparent)]
    File(#[from] ManagedError),
    /// systemctl.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Users cannot be looked up.
    #[error("cannot look up the user {CHAT_USER}")]
    User(#[source] std::io::Error),
    /// It is not known where the programs are.
    #[error("cannot tell where the programs are installed")]
    Programs(#[source] std::io::Error),
    /// A file could not be taken away.
    #[error("cannot remove {}", .path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A directory for the files could not be made.
    #[error("cannot make the directory {}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Fault for UnitsError {
    fn kind(&self) -> Kind {
        match self {
            Self::File(e) => e.kind(),
            Self::Run(e) => e.kind(),
            Self::User(_) | Self::Programs(_) | Self::Directory { .. } | Self::Remove { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::File(e) => e.next(),
            Self::Run(e) => e.next(),
            Self::User(_) | Self::Programs(_) | Self::Directory { .. } | Self::Remove { .. } => None,
        }
    }
}

/// The units, the bus policy, the actions for polkit and udev's rules.
#[derive(Debug, Clone, Default)]
pub struct UnitsComponent {
    /// Where the programs are; `None` means beside the running one.
    pub bin_dir: Option<PathBuf>,
}

/// What there is of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Whether they are the NixOS module's affair.
    pub nixos: bool,
    /// The files by path.
    pub files: BTreeMap<PathBuf, FileState>,
    /// Whether each unit that should be is enabled; empty where systemd does not run.
    pub enabled: BTreeMap<String, bool>,
    /// Whether there is a user for the chat's program.
    pub chat_user: bool,
    /// Files that were laid beside edited ones.
    #[serde(skip)]
    pub beside: Vec<PathBuf>,
}

/// A change to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    /// Put a file in place, or beside an edited one.
    File {
        /// Where it goes.
        path: PathBuf,
        /// How what is there stands to it.
        state: FileState,
    },
    /// Make a system user, who owns nothing.
    User {
        /// The user's name.
        name: String,
    },
    /// Take that user away.
    RemoveUser {
        /// The user's name.
        name: String,
    },
    /// Start a unit with the host.
    Enable {
        /// The unit.
        unit: String,
    },
    /// Start a unit with the host no longer.
    Disable {
        /// The unit.
        unit: String,
    },
    /// Remove a file that is as it was shipped.
    Remove {
        /// The file.
        path: PathBuf,
    },
    /// Move a file away that the admin edited.
    PutAside {
        /// The file.
        path: PathBuf,
        /// The directory that it is moved to.
        into: PathBuf,
    },
}

impl engine::Change for Change {
    fn action(&self) -> Action {
        match self {
            Self::File { state: FileState::Missing, .. } | Self::User { .. } => Action::Create,
            Self::File { .. } | Self::Enable { .. } | Self::Disable { .. } => Action::Update,
            Self::Remove { .. } | Self::PutAside { .. } | Self::RemoveUser { .. } => Action::Remove,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::File { path, .. } | Self::Remove { path } | Self::PutAside { path, .. } => {
                format!("file {}", path.display())
            }
            Self::Enable { unit } | Self::Disable { unit } => format!("unit {unit}"),
            Self::User { name } | Self::RemoveUser { name } => format!("system user {name}"),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::File { state: FileState::EditedAndOutdated, .. } => {
                "you edited it: yours is kept, the new one is laid beside as .opdbus-new".into()
            }
            Self::File { state: FileState::Outdated, .. } => "to the version of these programs".into(),
            Self::File { .. } | Self::Remove { .. } => String::new(),
            Self::Disable { .. } => "no longer started with the host".into(),
            Self::PutAside { into, .. } => format!("you edited it: moved to {}", into.display()),
            Self::Enable { .. } => "start it with the host".into(),
            Self::User { .. } => "mcp-chat runs as it".into(),
            Self::RemoveUser { .. } => "mcp-chat ran as it".into(),
        }
    }
}

impl UnitsComponent {
    fn bin_dir(&self) -> Result<PathBuf, UnitsError> {
        if let Some(directory) = &self.bin_dir {
            Ok(directory.clone())
        } else {
            let program = std::env::current_exe().map_err(UnitsError::Programs)?;
            Ok(program.parent().unwrap_or(Path::new("/")).to_owned())
        }
    }

    /// Every shipped file: its path and its text on this host.
    fn files(&self, cx: &Context<'_>) -> Result<Vec<(PathBuf, String)>, UnitsError> {
        let bin_dir = self.bin_dir()?;
        Ok(SHIPPED
            .iter()
            .map(|shipped| {
                let directory = match shipped.place {
                    Place::Units => &cx.host.paths.units,
                    Place::BusPolicy => &cx.host.paths.dbus_policy,
                    Place::Actions => &cx.host.paths.polkit_actions,
                    Place::UdevRules => &cx.host.paths.udev_rules,
                };
                (directory.join(shipped.name), render(shipped.text, &bin_dir, cx.spec))
            })
            .collect())
    }
}

/// Fills in where the programs and the data are, and what of the host spec systemd has to know. Its checks let nothing
/// through that means something in a unit file.
fn render(text: &str, bin_dir: &Path, spec: &HostSpec) -> String {
    let credentials = spec.mcp.tls.as_ref().map_or_else(
        || "# Without TLS of its own.".to_owned(),
        |tls| {
            let (certificate, key) = (tls.certificate.display(), tls.key.display());
            format!("LoadCredential=certificate:{certificate}\nLoadCredential=key:{key}")
        },
    );
    text.replace("@bindir@", &bin_dir.display().to_string())
        .replace("@basePath@", &spec.btrfs.base_path.display().to_string())
        .replace("@mcpListen@", &spec.mcp.listen())
        .replace("@mcpCredentials@", &credentials)
        .replace("@searchNetwork@", &search_network(spec.ml.qdrant.as_ref()))
}

/// What the search may have of the network: nothing, or what it takes to ask a Qdrant server. One that is known by its name
/// may have any address, and that of the host's name server is not known either.
fn search_network(qdrant: Option<&Qdrant>) -> String {
    let Some(server) = qdrant else {
        return "PrivateNetwork=yes\nRestrictAddressFamilies=AF_UNIX\nIPAddressDeny=any".into();
    };
    let mut lines = vec![
        "# It asks a Qdrant server (ml.qdrant), and nobody asks it.".to_owned(),
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6".to_owned(),
        "SocketBindDeny=any".to_owned(),
    ];
    let only = |address: String| ["IPAddressDeny=any".to_owned(), format!("IPAddressAllow={address}")];
    match server.whereabouts() {
        Whereabouts::Here => lines.extend(only("localhost".into())),
        Whereabouts::At(address) => lines.extend(only(address.to_string())),
        Whereabouts::Named => {}
    }
    if let Some(file) = &server.api_key_file {
        lines.push(format!("LoadCredential=qdrant-api-key:{}", file.display()));
        lines.push("SetCredential=qdrant-api-key:absent".into());
    }
    lines.join("\n")
}

fn managed(cx: &Context<'_>) -> Managed {
    Managed::new(cx.tree().join("@state/managed-files.json"))
}

fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").exists()
}

impl engine::Component for UnitsComponent {
    const NAME: &'static str = NAME;
    type Seen = Seen;
    type Change = Change;
    type Error = UnitsError;

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, UnitsError> {
        if Deployment::read(&cx.host.paths.etc) == Deployment::NixOs {
            return Ok(Seen { nixos: true, ..Seen::default() });
        }
        let managed = managed(cx);
        let mut files = BTreeMap::new();
        let mut beside = Vec::new();
        for (path, text) in self.files(cx)? {
            beside.extend(Some(files::beside(&path)).filter(|new| new.symlink_metadata().is_ok()));
            let state = managed.state(&path, text.as_bytes())?;
            files.insert(path, state);
        }
        let mut enabled = BTreeMap::new();
        if systemd_runs() {
            let units: Vec<&str> =
                SHIPPED.iter().filter(|s| s.enabled || s.name == CHAT).map(|s| s.name).collect();
            // A block a unit, also for one that is not there (`is-enabled` has no line for that).
            let call =
                Invocation::new("systemctl").args(["show", "--property=Id,UnitFileState"]).args(&units);
            let output = cx.host.run.output(&call)?.text();
            for unit in units {
                enabled.insert(unit.to_owned(), is_enabled(&output, unit));
            }
        }
        let chat_user = User::from_name(CHAT_USER).map_err(|e| UnitsError::User(e.into()))?.is_some();
        Ok(Seen { nixos: false, files, enabled, chat_user, beside })
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<Change>, UnitsError> {
        let files = seen
            .files
            .iter()
            .filter(|(_, state)| !matches!(state, FileState::Current | FileState::Edited))
            .map(|(path, state)| Change::File { path: path.clone(), state: *state });
        let units = seen.enabled.iter().filter_map(|(unit, on)| {
            let wanted = unit != CHAT || spec.mcp.enable;
            let unit = unit.clone();
            match (wanted, *on) {
                (true, false) => Some(Change::Enable { unit }),
                (false, true) => Some(Change::Disable { unit }),
                _ => None,
            }
        });
        let user = (spec.mcp.enable && !seen.chat_user && !seen.nixos)
            .then(|| Change::User { name: CHAT_USER.into() });
        Ok(files.chain(user).chain(units).collect())
    }

    fn apply(&self, cx: &Context<'_>, change: &Change) -> Result<(), UnitsError> {
        match change {
            Change::File { path, .. } => {
                let Some((_, text)) = self.files(cx)?.into_iter().find(|(p, _)| p == path) else {
                    return Ok(());
                };
                if let Some(directory) = path.parent() {
                    place::make_directories(directory, NAME)
                        .map_err(|source| UnitsError::Directory { path: directory.to_owned(), source })?;
                }
                managed(cx).ship(path, text.as_bytes(), 0o644)?;
                reload(cx, path)?;
                if systemd_runs() && path.file_name().is_some_and(|name| name == CHAT) {
                    // It listens where it now says, if it listens.
                    let stop = Invocation::new("systemctl").args(["stop", "mcp-chat.service"]);
                    cx.host.run.run(&stop)?;
                    cx.host.run.run(&Invocation::new("systemctl").args(["try-restart", CHAT]))?;
                }
                if systemd_runs() && path.file_name().is_some_and(|name| name == SEARCH) {
                    // It is started when it is asked, with what it may do now.
                    cx.host.run.run(&Invocation::new("systemctl").args(["stop", SEARCH]))?;
                }
            }
            Change::Disable { unit } => {
                cx.host.run.run(&Invocation::new("systemctl").arg("disable").args(now(unit)).arg(unit))?;
            }
            Change::Remove { path } => {
                remove(path).map_err(|source| UnitsError::Remove { path: path.clone(), source })?;
                reload(cx, path)?;
            }
            Change::PutAside { path, into } => {
                files::put_aside(path, into)
                    .map_err(|source| UnitsError::Remove { path: path.clone(), source })?;
                reload(cx, path)?;
            }
            Change::User { name } => {
                let call = Invocation::new("useradd")
                    .args(["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"])
                    .args(["--shell", "/usr/sbin/nologin", name.as_str()]);
                cx.host.run.run(&call)?;
            }
            Change::RemoveUser { name } => {
                cx.host.run.run(&Invocation::new("userdel").arg(name))?;
            }
            Change::Enable { unit } => {
                cx.host.run.run(&Invocation::new("systemctl").arg("enable").args(now(unit)).arg(unit))?;
            }
        }
        Ok(())
    }

    fn retire(&self, cx: &Context<'_>, seen: &Seen, _: bool) -> Result<Retirement<Change>, UnitsError> {
        let mut all = retire::retirement(seen, &cx.host.paths.etc);
        // What lets somebody in does not wait for another installation.
        let tokens = &cx.host.paths.tokens;
        all.changes.extend(tokens.exists().then(|| Change::Remove { path: tokens.clone() }));
        Ok(all)
    }
}

/// What has systemd start or stop a unit in the same step: the chat's socket, which comes and goes with the host spec. The installer
/// starts the others.
fn now(unit: &str) -> &'static [&'static str] {
    if unit == CHAT { &["--now"] } else { &[] }
}

/// The names of our units; `opdbus-container@.service` is a template of many.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().filter(|shipped| matches!(shipped.place, Place::Units)).map(|shipped| shipped.name)
}

/// Whether a unit is enabled, by what `systemctl show` says of several.
fn is_enabled(shown: &str, unit: &str) -> bool {
    shown.split("\n\n").any(|block| {
        let has = |key: &str, value: &str| {
            block.lines().any(|line| line.split_once('=').is_some_and(|(k, v)| k == key && v == value))
        };
        has("Id", unit) && has("UnitFileState", "enabled")
    })
}

/// Has the bus or systemd read its files again, where the file at `path` is one of theirs.
fn reload(cx: &Context<'_>, path: &Path) -> Result<(), RunError> {
    if !systemd_runs() {
        return Ok(());
    }
    if path.starts_with(&cx.host.paths.dbus_policy) {
        // The bus reads its policy again when told to; systemd's name for it on every distribution.
        cx.host.run.run(&Invocation::new("systemctl").args(["reload", "dbus.service"]))?;
    } else if path.starts_with(&cx.host.paths.units) {
        cx.host.run.run(&Invocation::new("systemctl").arg("daemon-reload"))?;
    }
    Ok(())
}

/// Removes a file, and the directory that was made for it where it is the last in it.
fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    path.parent().map_or(Ok(()), place::remove_made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Component;

    #[test]
    fn every_placeholder_is_filled_in() {
        for shipped in &SHIPPED {
            let text = render(shipped.text, Path::new("/usr/local/bin"), &HostSpec::default());
            for placeholder in
                ["@bindir@", "@basePath@", "@mcpListen@", "@mcpCredentials@", "@searchNetwork@"]
            {
                assert!(!text.contains(placeholder), "{}: {placeholder}", shipped.name);
            }
        }
    }

    #[test]
    fn the_chat_is_there_where_it_is_asked_for() {
        let mut spec = HostSpec::default();
        let seen = |on| Seen { enabled: [(CHAT.to_owned(), on)].into(), chat_user: true, ..Seen::default() };
        let planned = |spec: &HostSpec, on| UnitsComponent::default().plan(spec, &seen(on)).unwrap();
        assert_eq!(planned(&spec, false), []);
        assert_eq!(planned(&spec, true), [Change::Disable { unit: CHAT.into() }]);
        spec.mcp.enable = true;
        assert_eq!(planned(&spec, false), [Change::Enable { unit: CHAT.into() }]);
        let bare = UnitsComponent::default().plan(&spec, &Seen::default()).unwrap();
        assert_eq!(bare, [Change::User { name: CHAT_USER.into() }]);
        spec.mcp.tls = Some(crate::spec::Tls { certificate: "/c.pem".into(), key: "/k.pem".into() });
        let shipped = |name: &str| SHIPPED.iter().find(|shipped| shipped.name == name).unwrap().text;
        let unit = render(shipped("mcp-chat.service"), Path::new("/b"), &spec);
        assert!(unit.contains("\nLoadCredential=key:/k.pem\n"), "{unit}");
        assert!(render(shipped(CHAT), Path::new("/b"), &spec).contains("\nListenStream=127.0.0.1:8080\n"));
    }

    #[test]
    fn the_search_has_of_the_network_what_its_server_takes() {
        let unit = |qdrant: Option<&str>| {
            let mut spec = HostSpec::default();
            spec.ml.qdrant = qdrant.map(|qdrant| serde_json::from_str(qdrant).unwrap());
            let shipped = SHIPPED.iter().find(|shipped| shipped.name == SEARCH).unwrap();
            render(shipped.text, Path::new("/b"), &spec)
        };
        let none = unit(None);
        assert!(
            none.contains("\nPrivateNetwork=yes\n") && none.contains("\nRestrictAddressFamilies=AF_UNIX\n")
        );
        for (url, allowed) in [
            ("http://localhost:6334", Some("localhost")),
            ("http://[::1]:6334", Some("localhost")),
            ("https://[fd00:0::9]:6334", Some("fd00::9")),
            ("https://qdrant.example.org:6334", None),
        ] {
            let unit = unit(Some(&format!(r#"{{"url": "{url}", "apiKeyFile": "/etc/opdbus/key"}}"#)));
            let line = |line: &str| unit.lines().any(|l| l == line);
            assert!(!unit.contains("PrivateNetwork"), "{unit}");
            assert!(
                line("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6") && line("SocketBindDeny=any"),
                "{unit}"
            );
            assert!(line("LoadCredential=qdrant-api-key:/etc/opdbus/key"), "{unit}");
            assert_eq!(line("IPAddressDeny=any"), allowed.is_some(), "{unit}");
            let allows = unit.lines().find_map(|line| line.strip_prefix("IPAddressAllow="));
            assert_eq!(allows, allowed, "{unit}");
        }
    }

    #[test]
    fn on_nixos_the_search_has_the_same_of_the_network() {
        let goldens = [
            (
                include_str!("../../tests/nix/goldens/fleet-west/etc/opdbus/config.json"),
                include_str!("../../tests/nix/goldens/fleet-west/etc/systemd/system/opdbus-search.service"),
            ),
            (
                include_str!("../../tests/nix/goldens/workstation/etc/opdbus/config.json"),
                include_str!("../../tests/nix/goldens/workstation/etc/systemd/system/opdbus-search.service"),
            ),
        ];
        for (spec, unit) in goldens {
            let spec: serde_json::Value = serde_json::from_str(spec).unwrap();
            let server: Option<Qdrant> = serde_json::from_value(spec["ml"]["qdrant"].clone()).unwrap();
            assert!(unit.contains(&search_network(server.as_ref())), "{unit}");
        }
    }

    #[test]
    fn a_unit_that_is_not_there_does_not_shift_what_is_said_of_the_others() {
        let shown = "Id=a.service\nUnitFileState=enabled\n\nId=gone.service\nUnitFileState=\n\nUnitFileState=disabled\nId=c.service\n";
        assert_eq!(
            ["a.service", "gone.service", "c.service"].map(|unit| is_enabled(shown, unit)),
            [true, false, false]
        );
    }

    #[test]
    fn an_edited_unit_is_kept_and_on_nixos_nothing_is_planned() {
        let seen = Seen {
            files: [("/u/a".into(), FileState::Edited), ("/u/b".into(), FileState::Current)].into(),
            enabled: [("a".to_owned(), true)].into(),
            nixos: false,
            chat_user: false,
            beside: Vec::new(),
        };
        assert_eq!(UnitsComponent::default().plan(&HostSpec::default(), &seen).unwrap(), []);
        let nixos = Seen { nixos: true, ..Seen::default() };
        assert_eq!(UnitsComponent::default().plan(&HostSpec::default(), &nixos).unwrap(), []);
    }
}
