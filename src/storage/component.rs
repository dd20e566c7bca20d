//! The component: what is there of the base path, the image and the subvolumes, and what is to be done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::image::{self, ImageFile, ImageSeen, Mounted};
use super::mounts::{self, MountSeen};
use super::place::{Found, Leftover, Place, PlaceChange, make_directories, staged};
use super::retire::{self, Removal};
use super::{StorageError, subvolume};
use crate::deployment::Deployment;
use crate::engine::{Action, Change, Component, Context, Retirement};
use crate::files::FileState;
use crate::paths::Tree;
use crate::run::Invocation;
use crate::spec::{Btrfs, HostSpec, Image};

/// Storage: the base path, its image, and the subvolumes.
#[derive(Debug, Clone, Copy, Default)]
pub struct StorageComponent;

/// The component's name, and the marker of what it makes.
pub(super) const TAG: &str = "storage";

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
    /// Whether the directory above the base path exists.
    pub above: bool,
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
    /// Something is taken away for good.
    Retire(Removal),
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
            Self::Retire(removal) => removal.action(),
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
            Self::Retire(removal) => removal.object(),
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
            Self::Retire(removal) => removal.detail(),
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
                make_directories(path, TAG).map_err(|e| StorageError::io("create", path, e))
            }
            StorageChange::Place(change) => Ok(change.apply()?),
            StorageChange::Retire(removal) => removal.apply(cx),
        }
    }

    fn retire(
        &self,
        cx: &Context<'_>,
        seen: &StorageSeen,
        data: bool,
    ) -> Result<Retirement<StorageChange>, StorageError> {
        let Retirement { changes, kept } = retire::plan(cx, seen, data)?;
        Ok(Retirement { changes: changes.into_iter().map(StorageChange::Retire).collect(), kept })
    }
}

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Whether the mount unit is ours to write: systemd runs the host, and NixOS, which writes its units
/// from the module, does not.
fn systemd_writes_units(cx: &Context<'_>) -> bool {
    Path::new("/run/systemd/system").is_dir()
        && Deployment::read(&cx.host.paths.etc) == Deployment::Traditional
}

fn observe(cx: &Context<'_>, systemd: bool) -> Result<StorageSeen, StorageError> {
    let base = &cx.spec.btrfs.base_path;
    let mounts = mounts::read().map_err(|e| StorageError::io("read", MOUNTINFO.as_ref(), e))?;
    let image = cx.spec.btrfs.image.as_ref();
    let image = image.map(|image| ImageSeen::read(cx, image, &mounts, systemd)).transpose()?;
    // What lies at the base path before the image is mounted there is not what will be there.
    let visible = image.as_ref().is_none_or(|i| i.mounted == Mounted::Image);
    let image_unit = image.as_ref().is_some_and(|i| i.unit.is_some());
    let mut seen = StorageSeen {
        on_btrfs: subvolume::is_btrfs(base).map_err(|e| StorageError::io("look at", base, e))?,
        mount: mounts::of(&mounts, base).filter(|_| visible).map(mounts::Mount::seen),
        image,
        above: base.parent().is_none_or(Path::is_dir),
        base: Found::Missing,
        places: BTreeMap::new(),
        leftovers: Vec::new(),
    };
    if image_unit {
        seen.leftovers.extend(image::unit_leftovers(cx)?);
    }
    if visible {
        seen.base = Found::read(base)?;
        for (name, place) in places(cx.spec) {
            seen.places.insert(name, Found::read(&place.path)?);
        }
        // Directories of others' are not searched: each component looks after its own.
        seen.leftovers.extend(Leftover::list(base)?);
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
        Mounted::Other | Mounted::Retired => {
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
            if let Some(parent) = path.parent().filter(|_| !seen.above) {
                changes.push(StorageChange::Parents(parent.to_owned()));
            }
            changes.extend(change.map(StorageChange::Place));
            Ok(changes)
        }
    }
}

/// What shall be below the base path, by name, in the order in which it is made.
///
/// The state says what is there and is read by tools without rights; the rest is root's alone. The plugins hold
/// keys. Templates and containers hold set-user-id programs that are root's on disk (a container's mount is
/// mapped, not its files): one that a container's root made would make root of whoever reached it from the host.
fn places(spec: &HostSpec) -> Vec<(String, Place)> {
    let tree = Tree::new(&spec.btrfs.base_path);
    let mut all = Vec::new();
    for name in &spec.btrfs.subvolumes {
        let name = name.as_str();
        let mode = if name == "@state" { 0o755 } else { 0o700 };
        all.push((name.to_owned(), Place::subvolume(tree.join(name), TAG, mode)));
    }
    for name in ["embeddings", "queries", "blocks"] {
        let name = format!("@cache/{name}");
        let place = Place::directory(tree.join(&name), TAG, 0o700).inside_ours();
        all.push((name, place));
    }
    all.push(("containers".to_owned(), Place::directory(tree.containers(), TAG, 0o700)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Host, Silent};
    use crate::fault::{Fault, Kind};
    use crate::run::recorded::Recorded;
    use crate::run::{Output, Runner};
    use crate::storage::UnitSeen;
    use crate::storage::place::tests::attributes;

    /// A host on btrfs with everything as it shall be.
    fn whole(spec: &HostSpec) -> StorageSeen {
        let place = |place: &Place| {
            let there = attributes(place.mode, Some(TAG));
            match place.shape {
                crate::storage::place::Shape::Subvolume => Found::Subvolume(there),
                crate::storage::place::Shape::Directory => Found::Directory(there),
            }
        };
        StorageSeen {
            on_btrfs: true,
            mount: None,
            image: None,
            above: true,
            base: Found::Directory(attributes(0o755, Some(TAG))),
            places: places(spec).into_iter().map(|(name, p)| (name, place(&p))).collect(),
            leftovers: Vec::new(),
        }
    }

    fn bare() -> StorageSeen {
        StorageSeen {
            on_btrfs: true,
            mount: None,
            image: None,
            above: true,
            base: Found::Missing,
            places: BTreeMap::new(),
            leftovers: Vec::new(),
        }
    }

    fn words(spec: &HostSpec, seen: &StorageSeen) -> Vec<String> {
        let changes = StorageComponent.plan(spec, seen).unwrap();
        changes.iter().map(|c| format!("{:?} {}: {}", c.action(), c.object(), c.detail())).collect()
    }

    fn error(spec: &HostSpec, seen: &StorageSeen) -> StorageError {
        StorageComponent.plan(spec, seen).unwrap_err()
    }

    fn with_image() -> (HostSpec, Image) {
        let mut spec = HostSpec::default();
        let image = Image { path: "/var/lib/op-dbus.btrfs".into(), size: "20G".parse().unwrap() };
        spec.btrfs.image = Some(image.clone());
        (spec, image)
    }

    fn no_image_yet() -> ImageSeen {
        ImageSeen { file: ImageFile::Missing, mounted: Mounted::No, half_made: false, unit: None }
    }

    #[test]
    fn a_bare_host_gets_everything_in_order_and_a_whole_one_nothing() {
        let spec = HostSpec::default();
        assert_eq!(
            words(&spec, &bare()),
            [
                "Create directory /var/lib/op-dbus: root:root 0755",
                "Create subvolume /var/lib/op-dbus/@cache: root:root 0700",
                "Create subvolume /var/lib/op-dbus/@timing: root:root 0700",
                "Create subvolume /var/lib/op-dbus/@vectors: root:root 0700",
                "Create subvolume /var/lib/op-dbus/@state: root:root 0755",
                "Create subvolume /var/lib/op-dbus/@snapshots: root:root 0700",
                "Create subvolume /var/lib/op-dbus/@plugins: root:root 0700",
                "Create subvolume /var/lib/op-dbus/@templates: root:root 0700",
                "Create directory /var/lib/op-dbus/@cache/embeddings: root:root 0700",
                "Create directory /var/lib/op-dbus/@cache/queries: root:root 0700",
                "Create directory /var/lib/op-dbus/@cache/blocks: root:root 0700",
                "Create directory /var/lib/op-dbus/containers: root:root 0700",
            ]
        );
        let deep = words(&spec, &StorageSeen { above: false, ..bare() });
        assert_eq!(deep[0], "Create directory /var/lib: above the base path");
        assert!(words(&spec, &whole(&spec)).is_empty());
    }

    #[test]
    fn no_btrfs_and_no_image_is_refused_with_both_ways_out() {
        let error = error(&HostSpec::default(), &StorageSeen { on_btrfs: false, ..bare() });
        assert_eq!(error.kind(), Kind::Invalid);
        let next = error.next().unwrap();
        assert!(next.contains("mount a btrfs file system at /var/lib/op-dbus"), "{next}");
        assert!(next.contains("btrfs.image") && next.contains("--btrfs-image"), "{next}");
    }

    #[test]
    fn an_image_is_made_and_mounted_before_what_lies_in_it() {
        let (spec, _) = with_image();
        let mut seen = StorageSeen { on_btrfs: false, image: Some(no_image_yet()), ..bare() };
        let all = words(&spec, &seen);
        assert_eq!(
            all[..3],
            [
                "Create btrfs image /var/lib/op-dbus.btrfs: 20G, sparse",
                "Update mount /var/lib/op-dbus: the image /var/lib/op-dbus.btrfs",
                "Update directory /var/lib/op-dbus: marked as ours (storage)",
            ]
        );
        let unit = UnitSeen { path: "/u/x.mount".into(), file: FileState::Missing, enabled: false };
        seen.image = Some(ImageSeen { half_made: true, unit: Some(unit), ..no_image_yet() });
        assert_eq!(
            words(&spec, &seen)[..4],
            [
                "Remove /var/lib/.opdbus-new-op-dbus.btrfs: left half made by a run that was stopped",
                "Create btrfs image /var/lib/op-dbus.btrfs: 20G, sparse",
                "Create unit /u/x.mount: ",
                "Update unit var-lib-op\\x2ddbus.mount: enabled, so that it is mounted at boot",
            ]
        );
    }

    #[test]
    fn an_image_that_is_mounted_is_left_as_it_is_whatever_size_the_host_spec_says() {
        let (spec, _) = with_image();
        let unit = UnitSeen { path: "/u/x.mount".into(), file: FileState::Edited, enabled: true };
        let image =
            ImageSeen { file: ImageFile::Btrfs, mounted: Mounted::Image, half_made: false, unit: Some(unit) };
        let seen = StorageSeen { image: Some(image), ..whole(&spec) };
        assert!(words(&spec, &seen).is_empty());
    }

    #[test]
    fn an_image_never_hides_or_replaces_what_is_there() {
        let (spec, _) = with_image();
        for (there, says, advises) in [
            (ImageSeen { mounted: Mounted::NoAndNotEmpty, ..no_image_yet() }, "would hide", "`mv "),
            (ImageSeen { mounted: Mounted::Other, ..no_image_yet() }, "something else is mounted", "umount"),
            (ImageSeen { file: ImageFile::Other, ..no_image_yet() }, "left as it is", "btrfs.image.path"),
            (ImageSeen { mounted: Mounted::Image, ..no_image_yet() }, "the file is gone", "cp -a"),
        ] {
            let error = error(&spec, &StorageSeen { image: Some(there), ..bare() });
            assert_eq!(error.kind(), Kind::Conflict);
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.next().unwrap().contains(advises), "{error:?}");
        }
    }

    #[test]
    fn a_base_path_of_the_admins_is_left_alone_if_it_is_safe_and_refused_if_not() {
        let spec = HostSpec::default();
        let with = |owner: &str, mode| {
            let mut base = attributes(mode, None);
            owner.clone_into(&mut base.owner);
            StorageSeen { base: Found::Subvolume(base), ..whole(&spec) }
        };
        assert!(words(&spec, &with("root", 0o755)).is_empty());
        for (owner, mode) in [("alice", 0o755), ("root", 0o777), ("root", 0o775), ("root", 0o700)] {
            let error = error(&spec, &with(owner, mode));
            assert_eq!(error.kind(), Kind::Conflict, "{owner} {mode:o}");
            assert!(error.next().unwrap().contains("chmod 0755 /var/lib/op-dbus"));
        }
    }

    #[test]
    fn what_is_ours_and_differs_is_put_right_and_what_is_half_made_removed() {
        let spec = HostSpec::default();
        let mut seen = whole(&spec);
        seen.places.insert("@timing".into(), Found::Subvolume(attributes(0o755, Some(TAG))));
        seen.leftovers = vec![Leftover { path: "/var/lib/op-dbus/.opdbus-new-@state".into(), ours: true }];
        assert_eq!(
            words(&spec, &seen),
            [
                "Remove /var/lib/op-dbus/.opdbus-new-@state: left half made by a run that was stopped",
                "Update subvolume /var/lib/op-dbus/@timing: mode 0700 instead of 0755",
            ]
        );
    }

    #[test]
    fn where_systemd_runs_the_host_the_image_is_mounted_by_a_unit_that_an_edit_survives() {
        let dir = tempfile::tempdir().unwrap();
        let recorded = Recorded::new(|_| Ok(Output::default()));
        let mut host = Host { run: Runner::new(recorded.clone()), ..Host::default() };
        host.paths.etc = dir.path().join("etc");
        host.paths.units = dir.path().join("units");
        std::fs::create_dir(&host.paths.units).unwrap();
        let (mut spec, image) = with_image();
        spec.btrfs.base_path = dir.path().join("base");
        spec.btrfs.image = Some(Image { path: dir.path().join("image"), ..image });
        let run = |spec: &HostSpec| {
            let cx = Context { host: &host, spec, progress: &Silent };
            let plan = StorageComponent.plan(spec, &observe(&cx, true).unwrap()).unwrap();
            for change in &plan {
                if matches!(change, StorageChange::WriteUnit { .. } | StorageChange::EnableUnit { .. }) {
                    StorageComponent.apply(&cx, change).unwrap();
                }
            }
            plan
        };
        let plan = run(&spec);
        assert!(plan.iter().any(|c| matches!(c, StorageChange::Mount { by_unit: true, .. })), "{plan:?}");
        let unit = image::unit_name(&spec.btrfs.base_path);
        let enable = crate::run::Invocation::new("systemctl").args(["enable", &unit]).to_string();
        assert_eq!(recorded.calls(), ["systemctl daemon-reload".to_owned(), enable]);

        let path = host.paths.units.join(&unit);
        assert!(std::fs::read_to_string(&path).unwrap().contains("compress=zstd:3"));
        std::fs::write(&path, "mine").unwrap();
        spec.btrfs.compression_level = 9;
        run(&spec);
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        let beside = std::fs::read_to_string(format!("{}.opdbus-new", path.display())).unwrap();
        assert!(beside.contains("compress=zstd:9"), "{beside}");
        let cx = Context { host: &host, spec: &spec, progress: &Silent };
        let seen = observe(&cx, true).unwrap().image.unwrap().unit.unwrap();
        assert_eq!(seen.file, FileState::Edited, "the new one is beside: there is nothing more to do");
    }
}
