//! Files under a temporary name that a killed run left where we write files. Half-made containers, templates and
//! subvolumes are the affair of the components that make them.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::engine::{Action, Change, Component, Context, Retirement};
use crate::fault::{Fault, Kind};
use crate::files;
use crate::spec::HostSpec;

/// The files that killed runs left.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeftoversComponent;

/// One of them could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove {}, which a killed run left", .path.display())]
pub struct LeftoverError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl Fault for LeftoverError {
    fn kind(&self) -> Kind {
        Kind::Failed
    }
}

/// Remove a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemoveLeftover {
    path: PathBuf,
}

impl Change for RemoveLeftover {
    fn action(&self) -> Action {
        Action::Remove
    }
    fn object(&self) -> String {
        format!("file {}", self.path.display())
    }
    fn detail(&self) -> String {
        "left by a run that was killed".into()
    }
}

impl Component for LeftoversComponent {
    const NAME: &'static str = "leftovers";
    type Seen = Vec<PathBuf>;
    type Change = RemoveLeftover;
    type Error = LeftoverError;

    fn observe(&self, cx: &Context<'_>) -> Result<Vec<PathBuf>, LeftoverError> {
        let paths = &cx.host.paths;
        let mut found = Vec::new();
        // Records and manifests are in the directories of containers, templates and plugins.
        look(cx.tree().base(), 3, &mut found);
        for directory in
            [&paths.etc, &paths.units, &paths.dbus_policy, &paths.polkit_actions, &paths.udev_rules]
        {
            look(directory, 1, &mut found);
        }
        found.sort();
        Ok(found)
    }

    fn plan(&self, _: &HostSpec, seen: &Vec<PathBuf>) -> Result<Vec<RemoveLeftover>, LeftoverError> {
        Ok(seen.iter().map(|path| RemoveLeftover { path: path.clone() }).collect())
    }

    fn apply(&self, _: &Context<'_>, change: &RemoveLeftover) -> Result<(), LeftoverError> {
        match std::fs::remove_file(&change.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(LeftoverError { path: change.path.clone(), source: error })
            }
            _ => Ok(()),
        }
    }

    fn retire(
        &self,
        cx: &Context<'_>,
        seen: &Vec<PathBuf>,
        _: bool,
    ) -> Result<Retirement<RemoveLeftover>, LeftoverError> {
        Ok(Retirement { changes: self.plan(cx.spec, seen)?, kept: Vec::new() })
    }
}

/// What is inside of a root file system is not ours to look at.
fn look(directory: &Path, depth: u32, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_file() && files::is_temporary(&name) {
            found.push(entry.path());
        } else if kind.is_dir() && depth > 1 && name != "rootfs" {
            look(&entry.path(), depth - 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_are_found_where_we_write_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "@state/.opdbus-new-current-state.json-Ab12Cd",
            "@plugins/lxc/.opdbus-new-plugin.toml-Ab12Cd",
            "@state/.opdbus-new-not-of-ours",
            "@state/new-x-Ab12Cd",
            "containers/a/rootfs/.opdbus-new-x-Ab12Cd",
            "a/b/c/.opdbus-new-x-Ab12Cd",
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join(".opdbus-new-l-Ab12Cd")).unwrap();
        let mut found = Vec::new();
        look(dir.path(), 3, &mut found);
        found.sort();
        let found: Vec<_> = found.iter().map(|p| p.strip_prefix(dir.path()).unwrap()).collect();
        assert_eq!(
            found,
            [
                Path::new("@plugins/lxc/.opdbus-new-plugin.toml-Ab12Cd"),
                Path::new("@state/.opdbus-new-current-state.json-Ab12Cd"),
            ]
        );
    }
}
