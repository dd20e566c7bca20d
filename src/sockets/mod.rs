//! The socket directories (requirements section 9) and the group whose members may use them.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use nix::unistd::Group;
use rustix::fs::{Gid, Mode, Uid, chmod, chown};
use serde::Serialize;

use crate::engine::{self, Action, Context};
use crate::fault::{Fault, Kind};
use crate::run::{Invocation, RunError};
use crate::spec::HostSpec;

/// The group whose members may operate the host.
pub const GROUP: &str = "opdbus";

/// How sockets fail.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A directory.
    #[error("cannot {verb} the directory {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something that is no directory has its name.
    #[error("{} is in the way: it is not a directory", .0.display())]
    InTheWay(PathBuf),
    /// The group could not be looked up.
    #[error("cannot look up the group {GROUP}: {0}")]
    Group(String),
    /// The group could not be made.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Fault for SocketError {
    fn kind(&self) -> Kind {
        match self {
            Self::InTheWay(_) => Kind::Conflict,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Io { .. } | Self::Group(_) => Kind::Failed,
            Self::Run(e) => e.kind(),
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::InTheWay(path) => Some(format!("move it away: mv {0} {0}.before", path.display())),
            Self::Run(e) => e.next(),
            Self::Io { .. } | Self::Group(_) => None,
        }
    }
}

/// The socket directories and the group.
#[derive(Debug, Clone, Copy, Default)]
pub struct SocketsComponent;

/// The directories below `sockets`, and their modes. Only members of the group get past the first. A container's
/// root, an id without rights here, reaches those it was granted by a mount of its unit, not by this path.
const DIRECTORIES: [(&str, u32); 4] =
    [("", 0o770), ("containers", 0o755), ("plugins", 0o750), ("api", 0o750)];

/// What there is of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Whether there is a group `opdbus`.
    pub group: bool,
    /// The directories by name: the mode and whether root and the group own it; `None` where it is not there.
    pub directories: BTreeMap<String, Option<(u32, bool)>>,
}

/// A change to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    /// Make the group.
    Group,
    /// Make a directory, or set its owner and mode.
    Directory {
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Whether it is there.
        there: bool,
    },
}

impl engine::Change for Change {
    fn action(&self) -> Action {
        match self {
            Self::Group | Self::Directory { there: false, .. } => Action::Create,
            Self::Directory { .. } => Action::Update,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Group => format!("group {GROUP}"),
            Self::Directory { path, .. } => format!("directory {}", path.display()),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Directory { mode, there: true, .. } => format!("root:{GROUP}, mode {mode:04o}"),
            _ => String::new(),
        }
    }
}

fn group() -> Result<Option<u32>, SocketError> {
    let group = Group::from_name(GROUP).map_err(|e| SocketError::Group(e.to_string()))?;
    Ok(group.map(|g| g.gid.as_raw()))
}

impl engine::Component for SocketsComponent {
    const NAME: &'static str = "sockets";
    type Seen = Seen;
    type Change = Change;
    type Error = SocketError;

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, SocketError> {
        let gid = group()?;
        let mut directories = BTreeMap::new();
        for (name, _) in DIRECTORIES {
            let path = cx.tree().sockets().join(name);
            let seen = match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => {
                    let owned = metadata.uid() == 0 && Some(metadata.gid()) == gid;
                    Some((metadata.permissions().mode() & 0o7777, owned))
                }
                Ok(_) => return Err(SocketError::InTheWay(path)),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    None
                }
                Err(source) => return Err(SocketError::Io { verb: "look at", path, source }),
            };
            directories.insert(name.to_owned(), seen);
        }
        Ok(Seen { group: gid.is_some(), directories })
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<Change>, SocketError> {
        let sockets = crate::paths::Tree::new(&spec.btrfs.base_path).sockets();
        let mut changes = Vec::new();
        if !seen.group {
            changes.push(Change::Group);
        }
        for (name, mode) in DIRECTORIES {
            let there = seen.directories.get(name).copied().flatten();
            if there != Some((mode, true)) {
                let path = if name.is_empty() { sockets.clone() } else { sockets.join(name) };
                changes.push(Change::Directory { path, mode, there: there.is_some() });
            }
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &Change) -> Result<(), SocketError> {
        match change {
            Change::Group => {
                cx.host.run.run(&Invocation::new("groupadd").args(["--system", GROUP]))?;
                Ok(())
            }
            Change::Directory { path, mode, .. } => {
                let failed = |verb: &'static str| {
                    move |source: io::Error| SocketError::Io { verb, path: path.clone(), source }
                };
                std::fs::create_dir_all(path).map_err(failed("make"))?;
                let gid = group()?.map(Gid::from_raw);
                chown(path, Some(Uid::ROOT), gid).map_err(|e| failed("set the owner of")(e.into()))?;
                chmod(path, Mode::from_raw_mode(*mode)).map_err(|e| failed("set the mode of")(e.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Component;

    #[test]
    fn a_directory_open_to_strangers_is_closed_again() {
        let mut seen = Seen {
            group: true,
            directories: DIRECTORIES.iter().map(|(n, m)| ((*n).to_owned(), Some((*m, true)))).collect(),
        };
        assert_eq!(SocketsComponent.plan(&HostSpec::default(), &seen).unwrap(), []);
        seen.directories.insert(String::new(), Some((0o777, true)));
        let plan = SocketsComponent.plan(&HostSpec::default(), &seen).unwrap();
        assert_eq!(
            plan,
            [Change::Directory { path: "/var/lib/op-dbus/sockets".into(), mode: 0o770, there: true }]
        );
    }
}
