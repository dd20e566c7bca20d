//! The component: what is there of the base path, the image and the subvolumes, and what is to be done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::image::{self, ImageFile, ImageSeen, Mounted};
use super::mounts::{self, MountSeen};
use super::place::{Found, Leftover, Place, PlaceChange, staged};
use super::{StorageError, subvolume};
use crate::engine::{Action, Change, Component, Context};
use crate::files::{FileState, read_optional};
use crate::paths::Tree;
use crate::run::Invocation;
use crate::spec::{Btrfs, HostSpec, Image};

/// Storage: the base path, its image, and the subvolumes.
#[derive(Debug, Clone, Copy, Default)]
pub struct StorageComponent;

/// The component's name, and the marker of what it makes.
const TAG: &str = "storage";

/// What is seen of the storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageSeen {
    /// Whether the base path is on btrfs, or would be, were it made.
    pub on_btrfs: bool,
    /// The mount that the base path is on; the level of compression is among its options.
    pub mount: Option<MountSeen>,
    /// The image, where the host spec asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSeen>,
    /// The base path.
    pub base: Found,
    /// What is below it, by name.
    pub places: BTreeMap<String, Found>,
    /// What was left half made.
    pub leftovers: Vec<Leftover>,
}

/// One change to the storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum StorageChange {
    /// A half-made image is removed.
    RemoveHalfMadeImage(Image),
    /// The image is made.
    MakeImage(Image),
    /// The mount unit is written.
    WriteUnit {
        /// The image.
        image: Image,
        /// Where.
        path: PathBuf,
        /// What is there now.
        was: FileState,
    },
    /// The mount unit is enabled.
    EnableUnit {
        /// The unit.
        unit: String,
    },
    /// The image is mounted.
    Mount {
        /// The image.
        image: Image,
        /// Where.
        base: PathBuf,
        /// By its unit, or directly.
        by_unit: bool,
    },
    /// The directories above the base path are made.
    Parents(PathBuf),
    /// The base path, a subvolume or a directory.
    Place(PlaceChange),
}

impl Change for StorageChange {
    fn action(&self) -> Action {
        match self {
            Self::RemoveHalfMadeImage(_) => Action::Remove,
            Self::WriteUnit { was: FileState::Missing, .. } | Self::MakeImage(_) | Self::Parents(_) => {
                Action::Create
            }
            Self::WriteUnit { .. } | Self::EnableUnit { .. } | Self::Mount { .. } => Action::Update,
            Self::Place(change) => change.action(),
        }
    }
    fn object(&self) -> String {
        match self {
            Self::RemoveHalfMadeImage(image) => staged(&image.path).display().to_string(),
            Self::MakeImage(image) => format!("btrfs image {}", image.path.display()),
            Self::WriteUnit { path, .. } => format!("unit {}", path.display()),
            Self::EnableUnit { unit } => format!("unit {unit}"),
            Self::Mount { base, .. } => format!("mount {}", base.display()),
            Self::Parents(path) => format!("directory {}", path.display()),
            Self::Place(change) => change.object(),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::RemoveHalfMadeImage(_) => "left half made by a run that was stopped".into(),
            Self::MakeImage(image) => format!("{}, sparse", image.size),
            Self::WriteUnit { was: FileState::EditedAndOutdated, .. } => {
                "edited, and kept; the new one is laid beside as .opdbus-new".into()
            }
            Self::WriteUnit { was: FileState::Outdated, .. } => "takes effect when it is mounted next".into(),
            Self::WriteUnit { .. } => String::new(),
            Self::EnableUnit { .. } => "enabled, so that it is mounted at boot".into(),
            Self::Mount { image, .. } => format!("the image {}", image.path.display()),
            Self::Parents(_) => "above the base path".into(),
            Self::Place(change) => change.detail(),
        }
    }
}

impl Component for StorageComponent {
    const NAME: &'static str = TAG;
    type Seen = StorageSeen;
    type Change = StorageChange;
    type Error = StorageError;

    fn validate(&self, cx: &Context<'_>) -> Result<(), StorageError> {
        let changes = self.plan(cx.spec, &self.observe(cx)?)?;
        if changes.iter().any(|change| matches!(change, StorageChange::MakeImage(_))) {
            cx.host.run.run(&Invocation::new("mkfs.btrfs").arg("--version"))?;
        }
        Ok(())
    }

    fn observe(&self, cx: &Context<'_>) -> Result<StorageSeen, StorageError> {
        observe(cx, systemd_writes_units(cx))
    }

    fn plan(&self, spec: &HostSpec, seen: &StorageSeen) -> Result<Vec<StorageChange>, StorageError> {
        let mut changes = Vec::new();
        if let Some((image, there)) = spec.btrfs.image.as_ref().zip(seen.image.as_ref()) {
            plan_image(&spec.btrfs, image, there, &mut changes)?;
        } else if !seen.on_btrfs {
            return Err(StorageError::NotOnBtrfs { base: spec.btrfs.base_path.clone() });
        }
        for leftover in &seen.leftovers {
            changes.push(StorageChange::Place(leftover.removal()?));
        }
        changes.extend(plan_base(&spec.btrfs, seen)?);
        for (name, place) in places(spec) {
            let found = seen.places.get(&name).unwrap_or(&Found::Missing);
            changes.extend(place.compare(found)?.map(StorageChange::Place));
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &StorageChange) -> Result<(), StorageError> {
        match change {
            StorageChange::RemoveHalfMadeImage(image) => image::remove_half_made(&image.path),
            StorageChange::MakeImage(image) => image::make(cx, image),
            StorageChange::WriteUnit { image, .. } => image::write_unit(cx, image),
            StorageChange::EnableUnit { .. } => image::enable_unit(cx),
            StorageChange::Mount { image, by_unit, .. } => {
                image::mount(cx, image, *by_unit)?;
                let mounts = mounts::read().map_err(|e| StorageError::io("read", MOUNTINFO.as_ref(), e))?;
                match ImageSeen::read(cx, image, &mounts, false)?.mounted {
                    Mounted::Image => Ok(()),
                    _ => Err(StorageError::NotMounted {
                        image: image.path.clone(),
                        base: cx.spec.btrfs.base_path.clone(),
                    }),
                }
            }
            StorageChange::Parents(path) => {
                std::fs::create_dir_all(path).map_err(|e| StorageError::io("create", path, e))
            }
            StorageChange::Place(change) => Ok(change.apply()?),
        }
    }
}

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Whether the mount unit is ours to write: systemd runs the host, and NixOS, which writes its units
/// from the module, does not.
fn systemd_writes_units(cx: &Context<'_>) -> bool {
    let nixos = read_optional(&cx.host.paths.etc.join("deployment-type"))
        .ok()
        .flatten()
        .is_some_and(|kind| kind.trim_ascii() == b"nixos");
    Path::new("/run/systemd/system").is_dir() && !nixos
}

fn observe(cx: &Context<'_>, systemd: bool) -> Result<StorageSeen, StorageError> {
    let base = &cx.spec.btrfs.base_path;
    let mounts = mounts::read().map_err(|e| StorageError::io("read", MOUNTINFO.as_ref(), e))?;
    let image = cx.spec.btrfs.image.as_ref();
    let image = image.map(|image| ImageSeen::read(cx, image, &mounts, systemd)).transpose()?;
    // What lies at the base path before the image is mounted there is not what will be there.
    let visible = image.as_ref().is_none_or(|i| i.mounted == Mounted::Image);
    let mut seen = StorageSeen {
        on_btrfs: subvolume::is_btrfs(base).map_err(|e| StorageError::io("look at", base, e))?,
        mount: mounts::of(&mounts, base).filter(|_| visible).map(mounts::Mount::seen),
        image,
        base: Found::Missing,
        places: BTreeMap::new(),
        leftovers: Vec::new(),
    };
    if visible {
        seen.base = Found::read(base)?;
        for (name, place) in places(cx.spec) {
            seen.places.insert(name, Found::read(&place.path)?);
        }
        // Directories of others' are not searched: each component looks after its own.
        seen.leftovers = Leftover::list(base)?;
        seen.leftovers.extend(Leftover::list(&base.join("@cache"))?);
        seen.leftovers.extend(Leftover::at(staged(base))?);
    }
    Ok(seen)
}

fn plan_image(
    btrfs: &Btrfs,
    image: &Image,
    there: &ImageSeen,
    changes: &mut Vec<StorageChange>,
) -> Result<(), StorageError> {
    let base = &btrfs.base_path;
    match there.mounted {
        Mounted::Other => {
            return Err(StorageError::OtherMount { image: image.path.clone(), base: base.clone() });
        }
        Mounted::NoAndNotEmpty => return Err(StorageError::WouldHide { base: base.clone() }),
        Mounted::No | Mounted::Image => {}
    }
    if there.half_made {
        changes.push(StorageChange::RemoveHalfMadeImage(image.clone()));
    }
    match there.file {
        ImageFile::Missing if there.mounted == Mounted::Image => {
            return Err(StorageError::ImageGone { image: image.path.clone(), base: base.clone() });
        }
        ImageFile::Missing => changes.push(StorageChange::MakeImage(image.clone())),
        ImageFile::Other => return Err(StorageError::NotAnImage { image: image.path.clone() }),
        ImageFile::Btrfs => {}
    }
    if let Some(unit) = &there.unit {
        if matches!(unit.file, FileState::Missing | FileState::Outdated | FileState::EditedAndOutdated) {
            changes.push(StorageChange::WriteUnit {
                image: image.clone(),
                path: unit.path.clone(),
                was: unit.file,
            });
        }
        if !unit.enabled {
            changes.push(StorageChange::EnableUnit { unit: image::unit_name(base) });
        }
    }
    if there.mounted == Mounted::No {
        let by_unit = there.unit.is_some();
        changes.push(StorageChange::Mount { image: image.clone(), base: base.clone(), by_unit });
    }
    Ok(())
}

/// The base path. One that the admin made, or mounted a file system of theirs at, stays as it is, if
/// nobody but root can change what is in it.
fn plan_base(btrfs: &Btrfs, seen: &StorageSeen) -> Result<Vec<StorageChange>, StorageError> {
    let path = &btrfs.base_path;
    let base = Place::directory(path, TAG, 0o755);
    if seen.image.is_some() {
        // Ours from top to bottom. Made by the mount, so that there is never nothing to compare with then.
        return Ok(match &seen.base {
            Found::Missing => {
                let differs = vec![format!("marked as ours ({TAG})")];
                vec![StorageChange::Place(PlaceChange::Repair { place: base, differs })]
            }
            found => base.inside_ours().compare(found)?.into_iter().map(StorageChange::Place).collect(),
        });
    }
    match &seen.base {
        Found::Directory(there) | Found::Subvolume(there) if there.marker.is_none() => {
            if there.owner == "root" && there.mode & 0o022 == 0 && there.mode & 0o005 == 0o005 {
                return Ok(Vec::new());
            }
            Err(StorageError::UnsafeBase { base: path.clone(), owner: there.owner.clone(), mode: there.mode })
        }
        found => {
            let change = base.compare(found)?;
            let mut changes = Vec::new();
            if let (Some(PlaceChange::Create(_)), Some(parent)) = (&change, path.parent()) {
                changes.push(StorageChange::Parents(parent.to_owned()));
            }
            changes.extend(change.map(StorageChange::Place));
            Ok(changes)
        }
    }
}

/// What shall be below the base path, by name, in the order in which it is made.
///
/// The ledger (`@timing`) is root's alone. The state and the templates hold nothing secret and are
/// read by tools that run as the admin; the rest is nobody's business and holds, in the plugins, keys.
/// `containers` can be passed through and not listed, as container roots need.
fn places(spec: &HostSpec) -> Vec<(String, Place)> {
    let tree = Tree::new(&spec.btrfs.base_path);
    let mut all = Vec::new();
    for name in &spec.btrfs.subvolumes {
        let name = name.as_str();
        let mode = match name {
            "@timing" => 0o700,
            "@state" | "@templates" => 0o755,
            _ => 0o750,
        };
        all.push((name.to_owned(), Place::subvolume(tree.join(name), TAG, mode)));
    }
    for name in ["embeddings", "queries", "blocks"] {
        let name = format!("@cache/{name}");
        let place = Place::directory(tree.join(&name), TAG, 0o750).inside_ours();
        all.push((name, place));
    }
    all.push(("containers".to_owned(), Place::directory(tree.containers(), TAG, 0o711)));
    all
}
