//! Taking the data away, which only a purge does: what is ours below the base path, the base path where nothing else
//! is in it, and the image.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::component::{StorageSeen, TAG};
use super::image::{self, ImageFile, Mounted};
use super::place::{Found, Leftover, remove_made, remove_tree};
use super::{StorageError, mounts, subvolume};
use crate::engine::{Action, Context, Kept, Retirement};
use crate::files::FileState;
use crate::paths::Tree;
use crate::spec::{Btrfs, HostSpec, Image};

/// One change of a retirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "removal", rename_all = "kebab-case")]
pub enum Removal {
    /// A subvolume or directory right below the base path, with all that is in it.
    Tree {
        /// Where.
        path: PathBuf,
        /// `subvolume` or `directory`.
        kind: &'static str,
    },
    /// Something that was left half made.
    Leftover(PathBuf),
    /// The image gets the name of a half-made one: from here on nobody takes it for data.
    RetireImage(Image),
    /// The image is unmounted.
    Unmount {
        /// From where.
        base: PathBuf,
        /// Whether its unit does that.
        by_unit: bool,
    },
    /// The mount unit goes.
    Unit {
        /// Its file.
        path: PathBuf,
        /// Whether the admin edited it, so that it is put aside.
        edited: bool,
    },
    /// The retired image's file goes.
    Image(Image),
    /// The base path, empty by then.
    Base(PathBuf),
}

impl Removal {
    pub(super) fn action(&self) -> Action {
        match self {
            Self::RetireImage(_) | Self::Unmount { .. } => Action::Update,
            _ => Action::Remove,
        }
    }
    pub(super) fn object(&self) -> String {
        match self {
            Self::Tree { path, kind } => format!("{kind} {}", path.display()),
            Self::Leftover(path) => path.display().to_string(),
            Self::RetireImage(image) | Self::Image(image) => format!("btrfs image {}", image.path.display()),
            Self::Unmount { base, .. } => format!("mount {}", base.display()),
            Self::Unit { path, .. } => format!("unit {}", path.display()),
            Self::Base(path) => format!("directory {}", path.display()),
        }
    }
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Tree { .. } => "with everything in it".into(),
            Self::Leftover(_) => "left half made by a run that was stopped".into(),
            Self::RetireImage(_) => "marked for removal".into(),
            Self::Unmount { .. } => "unmounted".into(),
            Self::Unit { edited: true, .. } => "you edited it: moved to /etc/opdbus/kept".into(),
            Self::Image(_) | Self::Unit { .. } | Self::Base(_) => String::new(),
        }
    }

    pub(super) fn apply(&self, cx: &Context<'_>) -> Result<(), StorageError> {
        match self {
            Self::Tree { path, .. } => Ok(remove_tree(path, TAG)?),
            Self::Leftover(path) => Ok(super::place::PlaceChange::Remove { path: path.clone() }.apply()?),
            Self::RetireImage(image) => {
                refuse_foreign(cx)?;
                image::retire(image)
            }
            Self::Unmount { base, by_unit } => image::unmount(cx, base, *by_unit),
            Self::Unit { path, edited } => image::remove_unit(cx, path, *edited),
            Self::Image(image) => image::remove_half_made(&image.path),
            Self::Base(path) => remove_made(path).map_err(|e| StorageError::io("remove", path, e)),
        }
    }
}

/// Something right below the base path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Below {
    name: String,
    found: Found,
    /// Whether it is a half-made thing of ours.
    leftover: bool,
}

fn below(base: &Path) -> Result<Vec<Below>, StorageError> {
    let leftovers = Leftover::list(base)?;
    let mut all = Vec::new();
    for entry in std::fs::read_dir(base).map_err(|e| StorageError::io("list", base, e))? {
        let entry = entry.map_err(|e| StorageError::io("list", base, e))?;
        let path = entry.path();
        let leftover = leftovers.iter().any(|l| l.ours && l.path == path);
        let name = entry.file_name().to_string_lossy().into_owned();
        all.push(Below { name, found: Found::read(&path)?, leftover });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// Whether a thing below the base path is one that we make there. The mark alone does not say so: a snapshot that the
/// admin took of a subvolume of ours bears it, too.
fn is_ours(btrfs: &Btrfs, there: &Below) -> bool {
    let marked = |tag| there.found.attributes().is_some_and(|a| a.marker.as_deref() == Some(tag));
    let default = Btrfs::default();
    let known = btrfs.subvolumes.iter().chain(&default.subvolumes).any(|name| name.as_str() == there.name);
    match there.name.as_str() {
        "sockets" => marked("sockets"),
        name => (known || name == "containers") && marked(TAG),
    }
}

/// What of the admin's is below the base path.
fn foreign<'b>(btrfs: &Btrfs, below: &'b [Below]) -> impl Iterator<Item = &'b Below> {
    let btrfs = btrfs.clone();
    below.iter().filter(move |there| !there.leftover && !is_ours(&btrfs, there))
}

/// Somebody may have put something there since it was looked at.
fn refuse_foreign(cx: &Context<'_>) -> Result<(), StorageError> {
    let btrfs = &cx.spec.btrfs;
    match below(&btrfs.base_path)?.first() {
        None => Ok(()),
        Some(there) => Err(StorageError::NotEmpty { path: btrfs.base_path.join(&there.name) }),
    }
}

/// Plans it: looks below the base path where there is something to see.
pub(super) fn plan(
    cx: &Context<'_>,
    seen: &StorageSeen,
    data: bool,
) -> Result<Retirement<Removal>, StorageError> {
    let base = &cx.spec.btrfs.base_path;
    let below = if seen.base.attributes().is_some() { below(base)? } else { Vec::new() };
    if !data {
        return Ok(without_data(&cx.spec.btrfs, seen, &below));
    }
    let mounts = mounts::read().map_err(|e| StorageError::io("read", "/proc/self/mountinfo".as_ref(), e))?;
    let inside =
        mounts.iter().map(|mount| &mount.point).find(|point| *point != base && point.starts_with(base));
    if let Some(path) = inside {
        return Err(StorageError::MountBelow { path: path.clone() });
    }
    let labelled = cx.spec.btrfs.image.as_ref().is_some_and(|image| image::has_our_label(&image.path));
    with_data(cx.spec, seen, &below, labelled)
}

fn without_data(btrfs: &Btrfs, seen: &StorageSeen, below: &[Below]) -> Retirement<Removal> {
    let base = &btrfs.base_path;
    let mut kept = Vec::new();
    if below.iter().any(|there| is_ours(btrfs, there)) {
        let mut why =
            "containers, templates, plugins, ledger: an installation takes them up again".to_owned();
        if let Some(unit) = seen.image.as_ref().and_then(|image| image.unit.as_ref()) {
            why +=
                &format!("; the image {} stays mounted there by {}", image_path(btrfs), unit.path.display());
        }
        kept.push(Kept::new(format!("data at {}", base.display()), why));
    }
    Retirement { changes: Vec::new(), kept }
}

fn image_path(btrfs: &Btrfs) -> String {
    btrfs.image.as_ref().map(|image| image.path.display().to_string()).unwrap_or_default()
}

/// An image with things of others in it. It can be purged later, so the host spec, which names it, stays as long.
fn kept_image(image: &Image, base: &Path) -> Kept {
    let why = format!(
        "there are things of others in it, so it stays mounted at {}; with these gone, purge again",
        base.display()
    );
    Kept::new(Removal::Image(image.clone()).object(), why)
}

/// Whether these say that the image stays as it is.
#[must_use]
pub fn keeps_image(btrfs: &Btrfs, kept: &[Kept]) -> bool {
    let Some(image) = &btrfs.image else { return false };
    let object = Removal::Image(image.clone()).object();
    kept.iter().any(|kept| kept.object == object)
}

fn with_data(
    spec: &HostSpec,
    seen: &StorageSeen,
    below: &[Below],
    labelled: bool,
) -> Result<Retirement<Removal>, StorageError> {
    let (btrfs, tree) = (&spec.btrfs, Tree::new(&spec.btrfs.base_path));
    let mut all = Retirement::default();
    for there in below {
        let path = tree.join(&there.name);
        if there.leftover {
            all.changes.push(Removal::Leftover(path));
        } else if is_ours(btrfs, there) && there.name != "sockets" {
            let kind = if matches!(there.found, Found::Subvolume(_)) { "subvolume" } else { "directory" };
            all.changes.push(Removal::Tree { path, kind });
        }
    }
    let mut theirs = false;
    for there in foreign(btrfs, below) {
        theirs = true;
        let kind = match there.found {
            Found::Subvolume(_) => "subvolume",
            Found::Directory(_) => "directory",
            _ => "file",
        };
        let why = "it was not made by operation-dbus; what it lies in stays, too";
        all.kept.push(Kept::new(format!("{kind} {}", tree.join(&there.name).display()), why));
    }
    let base = tree.base().to_owned();
    if let Some((image, there)) = btrfs.image.as_ref().zip(seen.image.as_ref()) {
        let unit = there.unit.as_ref().filter(|unit| unit.file != FileState::Missing);
        match (there.mounted, there.file) {
            (Mounted::Other, _) => {
                return Err(StorageError::OtherMount { image: image.path.clone(), base });
            }
            (Mounted::No | Mounted::NoAndNotEmpty, ImageFile::Btrfs) if labelled => {
                return Err(StorageError::NotLookedInto { image: image.path.clone(), base });
            }
            (Mounted::Image, _) if theirs => {
                all.kept.push(kept_image(image, &base));
                return Ok(all);
            }
            (Mounted::Image, _) if labelled => all.changes.push(Removal::RetireImage(image.clone())),
            _ => {}
        }
        if matches!(there.mounted, Mounted::Image | Mounted::Retired) {
            all.changes.push(Removal::Unmount { base: base.clone(), by_unit: unit.is_some() });
        }
        if let Some(unit) = unit {
            let edited = matches!(unit.file, FileState::Edited | FileState::EditedAndOutdated);
            all.changes.push(Removal::Unit { path: unit.path.clone(), edited });
        }
        if there.half_made || (labelled && there.mounted == Mounted::Image) {
            all.changes.push(Removal::Image(image.clone()));
        } else if there.file != ImageFile::Missing {
            let why = "it was not made by operation-dbus (its btrfs has another label)";
            all.kept.push(Kept::new(format!("file {}", image.path.display()), why));
        }
    }
    // What lies under a mounted image is seen when it is unmounted.
    let marked = seen.base.attributes().is_some_and(|a| a.marker.is_some())
        || (seen.image.is_some() && subvolume::marker(&base).is_ok_and(|m| m.is_some()));
    if marked && !theirs {
        all.changes.push(Removal::Base(base));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fault::{Fault, Kind};
    use crate::storage::place::tests::attributes;
    use crate::storage::{ImageSeen, UnitSeen};

    fn there(name: &str, marker: Option<&str>) -> Below {
        Below { name: name.into(), found: Found::Subvolume(attributes(0o700, marker)), leftover: false }
    }

    fn seen(base: Option<&str>, image: Option<ImageSeen>) -> StorageSeen {
        StorageSeen {
            on_btrfs: true,
            mount: None,
            image,
            above: true,
            base: Found::Directory(attributes(0o755, base)),
            places: BTreeMap::new(),
            leftovers: Vec::new(),
        }
    }

    fn words(all: &Retirement<Removal>) -> Vec<String> {
        all.changes.iter().map(|c| format!("{:?} {}: {}", c.action(), c.object(), c.detail())).collect()
    }

    fn of_ours() -> Vec<Below> {
        vec![there("@cache", Some(TAG)), there("@timing", Some(TAG)), there("sockets", Some("sockets"))]
    }

    #[test]
    fn an_uninstall_touches_no_data_and_says_where_it_is() {
        let all = without_data(&Btrfs::default(), &seen(Some(TAG), None), &of_ours());
        assert_eq!(all.changes, []);
        assert_eq!(all.kept[0].object, "data at /var/lib/op-dbus");
        let none = without_data(&Btrfs::default(), &seen(Some(TAG), None), &[there("mine", None)]);
        assert_eq!(none, Retirement::default());
    }

    #[test]
    fn a_purge_takes_what_is_ours_and_lists_what_is_not() {
        let mut all = of_ours();
        let spec = HostSpec::default();
        let whole = with_data(&spec, &seen(Some(TAG), None), &all, false).unwrap();
        assert_eq!(
            words(&whole),
            [
                "Remove subvolume /var/lib/op-dbus/@cache: with everything in it",
                "Remove subvolume /var/lib/op-dbus/@timing: with everything in it",
                "Remove directory /var/lib/op-dbus: ",
            ]
        );
        // Theirs: a subvolume, one that bears our name and not our mark, and a snapshot of one of ours.
        all.extend([there("@mine", None), there("@state", None), there("@cache-before", Some(TAG))]);
        all.push(Below { leftover: true, ..there(".opdbus-new-@vectors", Some(TAG)) });
        let part = with_data(&spec, &seen(Some(TAG), None), &all, false).unwrap();
        assert_eq!(part.changes.len(), 3, "{part:?}");
        assert!(matches!(&part.changes[2], Removal::Leftover(_)));
        let kept: Vec<&str> = part.kept.iter().map(|k| k.object.as_str()).collect();
        assert_eq!(
            kept,
            [
                "subvolume /var/lib/op-dbus/@mine",
                "subvolume /var/lib/op-dbus/@state",
                "subvolume /var/lib/op-dbus/@cache-before"
            ]
        );
        let admins = with_data(&spec, &seen(None, None), &of_ours(), false).unwrap();
        assert_eq!(admins.changes.len(), 2, "a base path of the admin's stays");
    }

    #[test]
    fn an_image_goes_only_when_it_was_looked_into_and_is_empty() {
        let mut spec = HostSpec::default();
        spec.btrfs.image = Some(Image { path: "/nowhere/image".into(), size: "1G".parse().unwrap() });
        let unit = UnitSeen { path: "/u/x.mount".into(), file: FileState::Current, enabled: true };
        let image = |mounted, file, half_made| {
            seen(Some(TAG), Some(ImageSeen { file, mounted, half_made, unit: Some(unit.clone()) }))
        };
        let mounted = image(Mounted::Image, ImageFile::Btrfs, false);
        let all = with_data(&spec, &mounted, &[there("@cache", Some(TAG))], true).unwrap();
        assert_eq!(
            words(&all)[1..],
            [
                "Update btrfs image /nowhere/image: marked for removal",
                "Update mount /var/lib/op-dbus: unmounted",
                "Remove unit /u/x.mount: ",
                "Remove btrfs image /nowhere/image: ",
                "Remove directory /var/lib/op-dbus: ",
            ]
        );
        // Killed after the image was marked.
        let killed =
            with_data(&spec, &image(Mounted::Retired, ImageFile::Missing, true), &[], false).unwrap();
        assert_eq!(words(&killed), &words(&all)[2..]);
        let with_theirs = with_data(&spec, &mounted, &[there("mine", None)], true).unwrap();
        assert_eq!(with_theirs.changes, [], "it stays mounted with what is the admin's");
        assert!(keeps_image(&spec.btrfs, &with_theirs.kept) && !keeps_image(&spec.btrfs, &all.kept));
        let not_ours = with_data(&spec, &mounted, &[], false).unwrap();
        assert!(!words(&not_ours).iter().any(|w| w.contains("image")), "{not_ours:?}");
        assert!(not_ours.kept[0].object.contains("/nowhere/image"));
        let unseen = image(Mounted::No, ImageFile::Btrfs, false);
        let error = with_data(&spec, &unseen, &[], true).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.next().unwrap().contains("mount"), "{error:?}");
    }
}
