//! The units, the bus policy, the actions for polkit and udev's rules: the same files on every host. On NixOS the module takes them from the
//! package; elsewhere this component puts them in place, keeps the admin's edits, and enables them.

mod retire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::deployment::Deployment;
use crate::engine::{self, Action, Context, Retirement};
use crate::fault::{Fault, Kind};
use crate::files::{self, FileState, Managed, ManagedError};
use crate::run::{Invocation, RunError};
use crate::spec::HostSpec;
use crate::storage::place;

/// A file that is shipped: where it goes, its name, its text with `@bindir@` and `@basePath@` to fill in.
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

const SHIPPED: [Shipped; 18] = [
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
            Self::Programs(_) | Self::Directory { .. } | Self::Remove { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::File(e) => e.next(),
            Self::Run(e) => e.next(),
            Self::Programs(_) | Self::Directory { .. } | Self::Remove { .. } => None,
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
            Self::File { state: FileState::Missing, .. } => Action::Create,
            Self::File { .. } | Self::Enable { .. } | Self::Disable { .. } => Action::Update,
            Self::Remove { .. } | Self::PutAside { .. } => Action::Remove,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::File { path, .. } | Self::Remove { path } | Self::PutAside { path, .. } => {
                format!("file {}", path.display())
            }
            Self::Enable { unit } | Self::Disable { unit } => format!("unit {unit}"),
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
                (directory.join(shipped.name), render(shipped.text, &bin_dir, &cx.spec.btrfs.base_path))
            })
            .collect())
    }
}

/// Fills in where the programs and the data are.
fn render(text: &str, bin_dir: &Path, base_path: &Path) -> String {
    text.replace("@bindir@", &bin_dir.display().to_string())
        .replace("@basePath@", &base_path.display().to_string())
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
            let units: Vec<&str> = SHIPPED.iter().filter(|s| s.enabled).map(|s| s.name).collect();
            // A block a unit, also for one that is not there (`is-enabled` has no line for that).
            let call =
                Invocation::new("systemctl").args(["show", "--property=Id,UnitFileState"]).args(&units);
            let output = cx.host.run.output(&call)?.text();
            for unit in units {
                enabled.insert(unit.to_owned(), is_enabled(&output, unit));
            }
        }
        Ok(Seen { nixos: false, files, enabled, beside })
    }

    fn plan(&self, _: &HostSpec, seen: &Seen) -> Result<Vec<Change>, UnitsError> {
        let files = seen
            .files
            .iter()
            .filter(|(_, state)| !matches!(state, FileState::Current | FileState::Edited))
            .map(|(path, state)| Change::File { path: path.clone(), state: *state });
        let units = seen
            .enabled
            .iter()
            .filter(|(_, on)| !**on)
            .map(|(unit, _)| Change::Enable { unit: unit.clone() });
        Ok(files.chain(units).collect())
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
            }
            Change::Disable { unit } => {
                cx.host.run.run(&Invocation::new("systemctl").arg("disable").arg(unit))?;
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
            Change::Enable { unit } => {
                cx.host.run.run(&Invocation::new("systemctl").arg("enable").arg(unit))?;
            }
        }
        Ok(())
    }

    fn retire(&self, cx: &Context<'_>, seen: &Seen, _: bool) -> Result<Retirement<Change>, UnitsError> {
        Ok(retire::retirement(seen, &cx.host.paths.etc))
    }
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
            let text = render(shipped.text, Path::new("/usr/local/bin"), Path::new("/srv/data"));
            assert!(!text.contains("@bindir@") && !text.contains("@basePath@"), "{}", shipped.name);
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
            beside: Vec::new(),
        };
        assert_eq!(UnitsComponent::default().plan(&HostSpec::default(), &seen).unwrap(), []);
        let nixos = Seen { nixos: true, ..Seen::default() };
        assert_eq!(UnitsComponent::default().plan(&HostSpec::default(), &nixos).unwrap(), []);
    }
}
