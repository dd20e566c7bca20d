//! The units and the bus policy: the same files on every host. On NixOS the module takes them from the
//! package; elsewhere this component puts them in place, keeps the admin's edits, and enables them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::engine::{self, Action, Context};
use crate::fault::{Fault, Kind};
use crate::files::{FileState, Managed, ManagedError};
use crate::run::{Invocation, RunError};
use crate::spec::HostSpec;

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

const SHIPPED: [Shipped; 9] = [
    shipped!("org.opdbus1.conf", BusPolicy, false),
    shipped!("opdbus-storage.service", Units, true),
    shipped!("opdbus-ledger.service", Units, true),
    shipped!("opdbus-network.service", Units, true),
    shipped!("opdbus-container@.service", Units, false),
    shipped!("opdbus-containers.service", Units, true),
    shipped!("opdbus-apply.service", Units, true),
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
            Self::Programs(_) | Self::Directory { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::File(e) => e.next(),
            Self::Run(e) => e.next(),
            Self::Programs(_) | Self::Directory { .. } => None,
        }
    }
}

/// The units and the bus policy.
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
}

impl engine::Change for Change {
    fn action(&self) -> Action {
        match self {
            Self::File { state: FileState::Missing, .. } => Action::Create,
            Self::File { .. } | Self::Enable { .. } => Action::Update,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::File { path, .. } => format!("file {}", path.display()),
            Self::Enable { unit } => format!("unit {unit}"),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::File { state: FileState::EditedAndOutdated, .. } => {
                "you edited it: yours is kept, the new one is laid beside as .opdbus-new".into()
            }
            Self::File { state: FileState::Outdated, .. } => "to the version of these programs".into(),
            Self::File { .. } => String::new(),
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
    const NAME: &'static str = "units";
    type Seen = Seen;
    type Change = Change;
    type Error = UnitsError;

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, UnitsError> {
        let deployment =
            std::fs::read_to_string(cx.host.paths.etc.join("deployment-type")).unwrap_or_default();
        if deployment.trim() == "nixos" {
            return Ok(Seen { nixos: true, ..Seen::default() });
        }
        let managed = managed(cx);
        let mut files = BTreeMap::new();
        for (path, text) in self.files(cx)? {
            let state = managed.state(&path, text.as_bytes())?;
            files.insert(path, state);
        }
        let mut enabled = BTreeMap::new();
        if systemd_runs() {
            let units: Vec<&str> = SHIPPED.iter().filter(|s| s.enabled).map(|s| s.name).collect();
            // One line a unit, in order; the status says only whether all are enabled.
            let call = Invocation::new("systemctl").arg("is-enabled").args(&units);
            let output = cx.host.run.output(&call)?.text();
            let mut lines = output.lines();
            for unit in units {
                enabled.insert(unit.to_owned(), lines.next().is_some_and(|line| line.trim() == "enabled"));
            }
        }
        Ok(Seen { nixos: false, files, enabled })
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
                    std::fs::create_dir_all(directory)
                        .map_err(|source| UnitsError::Directory { path: directory.to_owned(), source })?;
                }
                managed(cx).ship(path, text.as_bytes(), 0o644)?;
                if systemd_runs() {
                    if path.starts_with(&cx.host.paths.dbus_policy) {
                        // The bus reads its policy again when told to; systemd's name for it on every distribution.
                        cx.host.run.run(&Invocation::new("systemctl").args(["reload", "dbus.service"]))?;
                    } else {
                        cx.host.run.run(&Invocation::new("systemctl").arg("daemon-reload"))?;
                    }
                }
            }
            Change::Enable { unit } => {
                cx.host.run.run(&Invocation::new("systemctl").arg("enable").arg(unit))?;
            }
        }
        Ok(())
    }
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
    fn an_edited_unit_is_kept_and_on_nixos_nothing_is_planned() {
        let seen = Seen {
            files: [("/u/a".into(), FileState::Edited), ("/u/b".into(), FileState::Current)].into(),
            enabled: [("a".to_owned(), true)].into(),
            nixos: false,
        };
        assert_eq!(UnitsComponent::default().plan(&HostSpec::default(), &seen).unwrap(), []);
        let nixos = Seen { nixos: true, ..Seen::default() };
        assert_eq!(UnitsComponent::default().plan(&HostSpec::default(), &nixos).unwrap(), []);
    }
}
