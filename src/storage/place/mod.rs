//! Places: the directories and subvolumes that shall be there, each with its owner, mode and marker.
//! What is found at a place is compared with it, made beside under a temporary name and renamed, or
//! put right where it is ours; what is not ours is refused and left as it is.

mod error;
mod found;
mod leftover;
mod made;
mod tree;

use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use serde::Serialize;

use super::subvolume;
use crate::engine::{Action, Change};
use error::failed;
use found::octal;
use leftover::remove_leftover;

pub use error::PlaceError;
pub use found::{Attributes, Found};
pub use leftover::{Leftover, staged};
pub use made::{make_directories, remove_made};
pub use tree::remove_tree;

/// The one algorithm used; why is in `docs/corrections.md`.
const ALGORITHM: &str = "zstd";

/// What a place is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A btrfs subvolume, with the compression property.
    Subvolume,
    /// A plain directory.
    Directory,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Subvolume => "subvolume",
            Self::Directory => "directory",
        })
    }
}

/// A directory or subvolume that shall be there. The owner is always root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub shape: Shape,
    /// The component that makes it: its marker.
    pub tag: &'static str,
    /// The permission bits.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    /// The group that owns it.
    pub group: String,
    /// Whether it lies in a place of ours, so that a directory there is ours whoever made it.
    pub inside: bool,
}

impl Place {
    /// A subvolume of root's.
    pub fn subvolume(path: impl Into<PathBuf>, tag: &'static str, mode: u32) -> Self {
        Self {
            path: path.into(),
            shape: Shape::Subvolume,
            tag,
            mode,
            group: "root".to_owned(),
            inside: false,
        }
    }

    /// A directory of root's.
    pub fn directory(path: impl Into<PathBuf>, tag: &'static str, mode: u32) -> Self {
        Self { shape: Shape::Directory, ..Self::subvolume(path, tag, mode) }
    }

    /// The same place, owned by a group.
    #[must_use]
    pub fn of_group(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }

    /// The same place, lying in a place of ours.
    #[must_use]
    pub fn inside_ours(mut self) -> Self {
        self.inside = true;
        self
    }

    /// What must be done, that what was found becomes what shall be. What is not ours is an error.
    pub fn compare(&self, found: &Found) -> Result<Option<PlaceChange>, PlaceError> {
        let in_the_way =
            |found| Err(PlaceError::InTheWay { shape: self.shape, path: self.path.clone(), found });
        let there = match (self.shape, found) {
            (_, Found::Missing) => return Ok(Some(PlaceChange::Create(self.clone()))),
            (_, Found::Other) => return in_the_way("file or link"),
            (Shape::Subvolume, Found::Directory(_)) => return in_the_way("plain directory"),
            (Shape::Subvolume, Found::Subvolume(there)) => {
                if there.marker.is_none() {
                    return self.foreign();
                }
                there
            }
            // A subvolume serves where a directory is asked for; the admin may have wanted it apart.
            (Shape::Directory, Found::Directory(there) | Found::Subvolume(there)) => {
                if there.marker.is_none() && !self.inside && !there.empty {
                    return self.foreign();
                }
                there
            }
        };
        let differs = self.differences(there);
        Ok((!differs.is_empty()).then(|| PlaceChange::Repair { place: self.clone(), differs }))
    }

    fn foreign(&self) -> Result<Option<PlaceChange>, PlaceError> {
        Err(PlaceError::Foreign { shape: self.shape, path: self.path.clone(), tag: self.tag })
    }

    fn differences(&self, there: &Attributes) -> Vec<String> {
        let mut all = Vec::new();
        if there.marker.as_deref() != Some(self.tag) {
            all.push(format!("marked as ours ({})", self.tag));
        }
        if there.owner != "root" || there.group != self.group {
            all.push(format!("owner root:{} instead of {}:{}", self.group, there.owner, there.group));
        }
        if there.mode != self.mode {
            all.push(format!("mode {:04o} instead of {:04o}", self.mode, there.mode));
        }
        if self.shape == Shape::Subvolume && there.compression.as_deref() != Some(ALGORITHM) {
            let now = there.compression.as_deref().unwrap_or("none");
            all.push(format!("compression {ALGORITHM} instead of {now}"));
        }
        all
    }

    fn create(&self) -> Result<(), PlaceError> {
        let staged = staged(&self.path);
        remove_leftover(&staged)?;
        match self.shape {
            Shape::Subvolume => subvolume::create(&staged)?,
            Shape::Directory => std::fs::create_dir(&staged).map_err(failed("create", &staged))?,
        }
        self.dress(&staged)?;
        rustix::fs::renameat_with(CWD, &staged, CWD, &self.path, RenameFlags::NOREPLACE)
            .map_err(|e| failed("give its name to", &self.path)(e.into()))
    }

    /// Gives what is at `at` the marker, owner, mode and compression. The marker comes first, so that
    /// a half-made thing can be told from a foreign one.
    fn dress(&self, at: &Path) -> Result<(), PlaceError> {
        let change = |error: rustix::io::Errno| failed("change the owner and mode of", at)(error.into());
        subvolume::mark(at, self.tag)?;
        let gid = self.gid()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, at, flags, Mode::empty()).map_err(change)?;
        let (root, group) = (rustix::fs::Uid::ROOT, rustix::fs::Gid::from_raw(gid.as_raw()));
        rustix::fs::fchown(&fd, Some(root), Some(group)).map_err(change)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(self.mode)).map_err(change)?;
        if self.shape == Shape::Subvolume {
            subvolume::set_compression(at, ALGORITHM)?;
        }
        Ok(())
    }

    fn gid(&self) -> Result<Gid, PlaceError> {
        if self.group == "root" {
            return Ok(Gid::from_raw(0));
        }
        match Group::from_name(&self.group) {
            Ok(Some(group)) => Ok(group.gid),
            Ok(None) => Err(PlaceError::NoGroup { group: self.group.clone(), path: self.path.clone() }),
            Err(errno) => Err(failed("look up the group of", &self.path)(errno.into())),
        }
    }
}

/// One change to a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum PlaceChange {
    /// It is made.
    Create(Place),
    /// It is ours, and is put right.
    Repair {
        /// The place.
        place: Place,
        /// In which ways it differs.
        differs: Vec<String>,
    },
    /// A half-made thing of ours is removed.
    Remove {
        /// Where it is.
        path: PathBuf,
    },
}

impl Change for PlaceChange {
    fn action(&self) -> Action {
        match self {
            Self::Create(_) => Action::Create,
            Self::Repair { .. } => Action::Update,
            Self::Remove { .. } => Action::Remove,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Create(place) | Self::Repair { place, .. } => {
                format!("{} {}", place.shape, place.path.display())
            }
            Self::Remove { path } => path.display().to_string(),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Create(place) => format!("root:{} {:04o}", place.group, place.mode),
            Self::Repair { differs, .. } => differs.join(", "),
            Self::Remove { .. } => "left half made by a run that was stopped".into(),
        }
    }
}

impl PlaceChange {
    /// Makes the change.
    pub fn apply(&self) -> Result<(), PlaceError> {
        match self {
            // Planned before an image was mounted, it may prove to be there already.
            Self::Create(place) => match place.compare(&Found::read(&place.path)?)? {
                Some(Self::Create(place)) => place.create(),
                Some(other) => other.apply(),
                None => Ok(()),
            },
            Self::Repair { place, .. } => place.dress(&place.path),
            Self::Remove { path } => remove_leftover(path),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fault::{Fault, Kind};

    pub(crate) fn attributes(mode: u32, marker: Option<&str>) -> Attributes {
        Attributes {
            owner: "root".into(),
            group: "root".into(),
            mode,
            marker: marker.map(str::to_owned),
            compression: Some("zstd".into()),
            empty: false,
        }
    }

    fn cache() -> Place {
        Place::subvolume("/b/@cache", "storage", 0o750)
    }

    #[test]
    fn what_is_as_it_shall_be_needs_no_change_and_what_is_missing_is_made() {
        let there = Found::Subvolume(attributes(0o750, Some("storage")));
        assert_eq!(cache().compare(&there).unwrap(), None);
        assert_eq!(cache().compare(&Found::Missing).unwrap(), Some(PlaceChange::Create(cache())));
    }

    #[test]
    fn what_is_ours_is_put_right_and_the_plan_says_in_which_ways() {
        let mut there = attributes(0o777, Some("storage"));
        there.compression = None;
        there.group = "users".into();
        let change = cache().compare(&Found::Subvolume(there)).unwrap().unwrap();
        assert_eq!(change.action(), Action::Update);
        assert_eq!(change.object(), "subvolume /b/@cache");
        assert_eq!(
            change.detail(),
            "owner root:root instead of root:users, mode 0750 instead of 0777, compression zstd instead of none"
        );
    }

    #[test]
    fn a_plain_directory_in_the_way_is_refused_with_the_commands_that_move_it() {
        for marker in [None, Some("storage")] {
            let error = cache().compare(&Found::Directory(attributes(0o750, marker))).unwrap_err();
            assert_eq!(error.kind(), Kind::Conflict);
            assert_eq!(
                error.to_string(),
                "cannot create the subvolume /b/@cache: a plain directory is in the way"
            );
            let next = error.next().unwrap();
            assert!(next.contains("`mv /b/@cache /b/@cache.old`"), "{next}");
            assert!(next.contains("`cp -a --reflink=auto /b/@cache.old/. /b/@cache/`"), "{next}");
        }
    }

    #[test]
    fn a_subvolume_without_our_marker_is_refused_with_the_command_that_hands_it_over() {
        let mut there = attributes(0o750, None);
        there.empty = true;
        let error = cache().compare(&Found::Subvolume(there)).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        let next = error.next().unwrap();
        assert!(next.contains("`setfattr -n user.opdbus -v storage /b/@cache`"), "{next}");
    }

    #[test]
    fn a_directory_is_taken_over_only_where_nothing_in_it_could_be_someone_elses() {
        let place = Place::directory("/b/sockets", "sockets", 0o750);
        let full = Found::Directory(attributes(0o750, None));
        assert_eq!(place.compare(&full).unwrap_err().kind(), Kind::Conflict);
        let mut there = attributes(0o750, None);
        there.empty = true;
        let change = place.compare(&Found::Directory(there)).unwrap().unwrap();
        assert_eq!(change.detail(), "marked as ours (sockets)");
        assert!(place.inside_ours().compare(&full).unwrap().is_some());
    }
}
