//! The storage component.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::staged::{self, STAGING, SeenStaged, StagedError, Wanted};
use super::{image, subvolume};
use crate::engine::{self, Action, Context};
use crate::fault::{Fault, Kind};
use crate::run::RunError;
use crate::spec::HostSpec;

/// How storage fails.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The base path is not on btrfs, and no image is declared.
    #[error("the base path {} is not on btrfs", .0.display())]
    NotBtrfs(PathBuf),
    /// Something else is mounted where the image belongs.
    #[error("{} is mounted at {}, where the image {} belongs", .source_device, .base.display(), .image.display())]
    OtherMount {
        /// What is mounted.
        source_device: String,
        /// Where.
        base: PathBuf,
        /// The declared image.
        image: PathBuf,
    },
    /// A subvolume.
    #[error(transparent)]
    Staged(#[from] StagedError),
    /// A foreign tool.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file or directory.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Fault for StorageError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotBtrfs(_) => Kind::Unavailable,
            Self::OtherMount { .. } => Kind::Conflict,
            Self::Staged(e) => e.kind(),
            Self::Run(e) => e.kind(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Io { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::NotBtrfs(base) => Some(format!(
                "mount a btrfs file system at {} (or below a directory that is on one), or let the installer make an image with --btrfs-image 20G",
                base.display()
            )),
            Self::OtherMount { base, .. } => Some(format!(
                "unmount it (umount {}), or remove btrfs.image from the host spec if that file system is the one to use",
                base.display()
            )),
            Self::Staged(e) => e.next(),
            Self::Run(e) => e.next(),
            Self::Io { .. } => None,
        }
    }
}

/// The base path, the image, and the subvolumes.
#[derive(Debug, Clone, Copy, Default)]
pub struct StorageComponent;

/// What there is of storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Whether the declared image is there; absent where none is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<SeenImage>,
    /// The mount options of the file system where it is mounted at the base path itself: the level of
    /// compression is among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_options: Option<String>,
    /// Whether the base path is there.
    pub base: bool,
    /// The subvolumes by name.
    pub subvolumes: BTreeMap<String, SeenSubvolume>,
    /// The modes of the plain directories, by path below the base; `None` where one is not there.
    pub directories: BTreeMap<String, Option<Mode>>,
    /// What a killed run left half made.
    pub half_made: Vec<PathBuf>,
}

/// The mode of a directory; `"0755"` as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mode(#[serde(serialize_with = "staged::octal")] pub u32);

/// What there is of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenImage {
    /// Whether the file is there.
    pub there: bool,
    /// Whether it is mounted at the base path.
    pub mounted: bool,
}

/// What there is of one subvolume; `None` where it is not there.
pub type SeenSubvolume = Option<SeenStaged>;

/// A change to storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    /// Make the image.
    Image {
        /// The file.
        path: PathBuf,
        /// Its size, as written in the host spec.
        size: String,
    },
    /// Mount the image.
    Mount {
        /// Where.
        base: PathBuf,
    },
    /// Make the base path.
    Base {
        /// The directory.
        base: PathBuf,
    },
    /// Remove what a killed run left.
    Clean {
        /// The subvolume or file.
        path: PathBuf,
    },
    /// Make a subvolume, or change one of ours.
    Subvolume {
        /// Where.
        path: PathBuf,
        /// Its name.
        name: String,
        /// What differs; empty where it is not there.
        differences: Vec<String>,
    },
    /// Make a plain directory, or set its mode.
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
            Self::Clean { .. } => Action::Remove,
            Self::Image { .. } | Self::Base { .. } | Self::Directory { there: false, .. } => Action::Create,
            Self::Subvolume { differences, .. } if differences.is_empty() => Action::Create,
            Self::Mount { .. } | Self::Subvolume { .. } | Self::Directory { .. } => Action::Update,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Image { path, .. } => format!("btrfs image {}", path.display()),
            Self::Mount { base } => format!("mount at {}", base.display()),
            Self::Base { base } => format!("directory {}", base.display()),
            Self::Clean { path } => format!("half-made {}", path.display()),
            Self::Subvolume { path, .. } => format!("subvolume {}", path.display()),
            Self::Directory { path, .. } => format!("directory {}", path.display()),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Image { size, .. } => format!("{size}, sparse"),
            Self::Subvolume { differences, .. } => differences.join(", "),
            Self::Directory { mode, there: true, .. } => format!("mode {mode:04o}"),
            _ => String::new(),
        }
    }
}

/// The mode of each subvolume. `@state` says what is there and is read by unprivileged parts; the others are
/// root's alone. `@timing` holds the ledger, and `@templates` set-user-id programs of root's that nobody on the
/// host updates.
fn mode(name: &str) -> u32 {
    if name == "@state" { 0o755 } else { 0o700 }
}

/// The plain directories below the base path: those of the cache, and the containers'. A container's root file
/// system is owned by root on disk (its mount is mapped, not its files): a set-user-id program that its root
/// makes would make root of whoever reached it from the host.
const DIRECTORIES: [(&str, u32); 4] = [
    ("@cache/embeddings", 0o700),
    ("@cache/queries", 0o700),
    ("@cache/blocks", 0o700),
    ("containers", 0o700),
];

const COMPONENT: &str = "storage";

fn mountinfo() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

impl engine::Component for StorageComponent {
    const NAME: &'static str = COMPONENT;
    type Seen = Seen;
    type Change = Change;
    type Error = StorageError;

    fn validate(&self, cx: &Context<'_>) -> Result<(), StorageError> {
        let btrfs = &cx.spec.btrfs;
        let base = &btrfs.base_path;
        let mounted = image::mounted(&mountinfo(), base);
        if let Some(image) = &btrfs.image {
            if let Some((source_device, _)) = mounted
                && !image::backed_by(&source_device, &image.path)
            {
                return Err(StorageError::OtherMount {
                    source_device,
                    base: base.clone(),
                    image: image.path.clone(),
                });
            }
            return Ok(());
        }
        let on_btrfs = subvolume::is_btrfs(base).map_err(|source| StorageError::Io {
            verb: "look at",
            path: base.clone(),
            source,
        })?;
        if !on_btrfs {
            return Err(StorageError::NotBtrfs(base.clone()));
        }
        // What is in the way is found before the first change.
        for name in &btrfs.subvolumes {
            staged::seen(&base.join(name.as_str()))?;
        }
        Ok(())
    }

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, StorageError> {
        let btrfs = &cx.spec.btrfs;
        let base = &btrfs.base_path;
        let mounted = image::mounted(&mountinfo(), base);
        let seen_image = btrfs.image.as_ref().map(|image| SeenImage {
            there: image.path.is_file(),
            mounted: mounted.as_ref().is_some_and(|(source, _)| image::backed_by(source, &image.path)),
        });
        let mut half_made = Vec::new();
        if let Some(image) = &btrfs.image {
            let stage = image::staging(&image.path);
            if stage.exists() {
                half_made.push(stage);
            }
        }
        // Below an image that is not mounted yet nothing is there, whatever the directory under it holds.
        if seen_image.as_ref().is_some_and(|image| !image.mounted) {
            let subvolumes = btrfs.subvolumes.iter().map(|name| (name.as_str().to_owned(), None)).collect();
            let directories = DIRECTORIES.iter().map(|(path, _)| ((*path).to_owned(), None)).collect();
            return Ok(Seen {
                image: seen_image,
                base: base.is_dir(),
                subvolumes,
                directories,
                half_made,
                mount_options: None,
            });
        }
        half_made.extend(leftovers(base)?);
        let mut subvolumes = BTreeMap::new();
        for name in &btrfs.subvolumes {
            subvolumes.insert(name.as_str().to_owned(), staged::seen(&base.join(name.as_str()))?);
        }
        let directories = DIRECTORIES
            .iter()
            .map(|(path, _)| {
                use std::os::unix::fs::PermissionsExt;
                let mode = base.join(path).metadata().ok().filter(std::fs::Metadata::is_dir);
                ((*path).to_owned(), mode.map(|m| Mode(m.permissions().mode() & 0o7777)))
            })
            .collect();
        let mount_options = mounted.map(|(_, options)| options);
        Ok(Seen { image: seen_image, mount_options, base: base.is_dir(), subvolumes, directories, half_made })
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<Change>, StorageError> {
        let base = &spec.btrfs.base_path;
        let mut changes: Vec<Change> =
            seen.half_made.iter().map(|path| Change::Clean { path: path.clone() }).collect();
        if let (Some(image), Some(there)) = (&spec.btrfs.image, &seen.image) {
            if !there.there {
                changes.push(Change::Image { path: image.path.clone(), size: image.size.to_string() });
            }
            if !there.mounted {
                changes.push(Change::Mount { base: base.clone() });
            }
        } else if !seen.base {
            changes.push(Change::Base { base: base.clone() });
        }
        for (name, there) in &seen.subvolumes {
            let wanted = Wanted { component: COMPONENT, mode: mode(name) };
            let differences = there.as_ref().map_or(Vec::new(), |there| there.differences(&wanted));
            if there.is_none() || !differences.is_empty() {
                changes.push(Change::Subvolume { path: base.join(name), name: name.clone(), differences });
            }
        }
        for (path, mode) in DIRECTORIES {
            let there = seen.directories.get(path).copied().flatten();
            if there != Some(Mode(mode)) {
                changes.push(Change::Directory { path: base.join(path), mode, there: there.is_some() });
            }
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &Change) -> Result<(), StorageError> {
        let failed = |verb: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| StorageError::Io { verb, path, source }
        };
        match (change, &cx.spec.btrfs.image) {
            (Change::Image { .. }, Some(image)) => image::make(cx, image),
            (Change::Mount { .. }, Some(image)) => image::mount(cx, image),
            (Change::Image { .. } | Change::Mount { .. }, None) => Ok(()),
            (Change::Base { base }, _) => std::fs::create_dir_all(base).map_err(failed("make", base)),
            (Change::Clean { path }, _) => {
                if subvolume::is_subvolume(path).map_err(failed("look at", path))? {
                    subvolume::delete(path).map_err(StagedError::from)?;
                    return Ok(());
                }
                std::fs::remove_file(path).map_err(failed("remove", path))
            }
            (Change::Subvolume { path, name, .. }, _) => {
                let wanted = Wanted { component: COMPONENT, mode: mode(name) };
                Ok(staged::make(path, &wanted, |_| Ok(()))?)
            }
            (Change::Directory { path, mode, .. }, _) => {
                std::fs::create_dir_all(path).map_err(failed("make", path))?;
                rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(*mode))
                    .map_err(|e| failed("set the mode of", path)(e.into()))
            }
        }
    }
}

/// Subvolumes below the base path, and below `@plugins`, that were being made when a run was killed.
fn leftovers(base: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let mut found = Vec::new();
    for directory in [base.to_owned(), base.join("@plugins")] {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                continue;
            }
            Err(source) => return Err(StorageError::Io { verb: "read", path: directory, source }),
        };
        for entry in entries {
            let entry =
                entry.map_err(|source| StorageError::Io { verb: "read", path: directory.clone(), source })?;
            if entry.file_name().as_encoded_bytes().starts_with(STAGING.as_bytes()) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Component;

    fn whole() -> Seen {
        let spec = HostSpec::default();
        Seen {
            base: true,
            subvolumes: spec
                .btrfs
                .subvolumes
                .iter()
                .map(|name| {
                    let mode = mode(name.as_str());
                    let there = SeenStaged { mode, owned_by_root: true, compression: Some("zstd".into()) };
                    (name.as_str().to_owned(), Some(there))
                })
                .collect(),
            directories: DIRECTORIES
                .iter()
                .map(|(path, mode)| ((*path).to_owned(), Some(Mode(*mode))))
                .collect(),
            ..Seen::default()
        }
    }

    #[test]
    fn nothing_is_planned_where_all_is_as_the_spec_says() {
        assert_eq!(StorageComponent.plan(&HostSpec::default(), &whole()).unwrap(), []);
    }

    #[test]
    fn what_differs_is_named() {
        let mut seen = whole();
        seen.subvolumes.insert(
            "@cache".into(),
            Some(SeenStaged { mode: 0o755, owned_by_root: true, compression: None }),
        );
        seen.subvolumes.insert("@timing".into(), None);
        let plan = StorageComponent.plan(&HostSpec::default(), &seen).unwrap();
        let words: Vec<String> = plan.iter().map(engine::Change::detail).collect();
        assert_eq!(words, ["compression zstd instead of none, mode 0700 instead of 0755", ""]);
        assert_eq!(engine::Change::action(&plan[1]), Action::Create);
    }

    #[test]
    fn the_ledger_and_root_file_systems_are_out_of_reach_of_strangers() {
        assert_eq!((mode("@timing") | mode("@templates")) & 0o077, 0);
        let containers = DIRECTORIES.iter().find(|(path, _)| *path == "containers").unwrap();
        assert_eq!(containers.1 & 0o077, 0, "set-user-id programs of containers are root's on disk");
    }
}
