//! Places: the directories and subvolumes that shall be there, each with its owner, mode and marker.
//! What is found at a place is compared with it, made beside under a temporary name and renamed, or
//! put right where it is ours; what is not ours is refused and left as it is.

use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use serde::{Serialize, Serializer};

use super::subvolume::{self, SubvolumeError};
use crate::engine::{Action, Change};
use crate::fault::{Fault, Kind};

/// What the name of a thing begins with that is being made and has not got its final name yet.
const STAGED: &str = ".opdbus-new-";
/// The one algorithm used; why is in `docs/corrections.md`.
const ALGORITHM: &str = "zstd";

/// Why a place could not be made what it shall be.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Something of another kind is where a subvolume or directory shall be.
    #[error("cannot create the {shape} {}: a {found} is in the way", .path.display())]
    InTheWay {
        /// What shall be there.
        shape: Shape,
        /// Where.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// There is one already, but it is not marked as ours.
    #[error("the {shape} {} is there already and was not made by operation-dbus", .path.display())]
    Foreign {
        /// What it is.
        shape: Shape,
        /// Where.
        path: PathBuf,
        /// The marker that would make it ours.
        tag: &'static str,
    },
    /// Something bears a name that only half-made things of ours bear, and is not one.
    #[error("{} has a name of ours and content that is not ours", .path.display())]
    NotALeftover {
        /// Where.
        path: PathBuf,
    },
    /// A group that shall own it does not exist.
    #[error("the group {group}, which shall own {}, does not exist", .path.display())]
    NoGroup {
        /// The group.
        group: String,
        /// What it shall own.
        path: PathBuf,
    },
    /// A subvolume's own trouble.
    #[error(transparent)]
    Subvolume(#[from] SubvolumeError),
    /// The kernel refused.
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

impl Fault for PlaceError {
    fn kind(&self) -> Kind {
        match self {
            Self::InTheWay { .. } | Self::Foreign { .. } | Self::NotALeftover { .. } => Kind::Conflict,
            Self::NoGroup { .. } => Kind::NotFound,
            Self::Subvolume(error) => error.kind(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Io { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::InTheWay { path, found, .. } => {
                let (at, old) = (path.display(), aside(path));
                let first = format!("move it away: `mv {at} {old}`, and apply again");
                Some(if *found == "plain directory" {
                    format!("{first}; then bring its content back: `cp -a --reflink=auto {old}/. {at}/`")
                } else {
                    first
                })
            }
            Self::Foreign { path, tag, .. } => Some(format!(
                "hand it over: `setfattr -n user.opdbus -v {tag} {0}`; or move it away: `mv {0} {1}`",
                path.display(),
                aside(path)
            )),
            Self::NotALeftover { path } => Some(format!(
                "look at it and rename it: `mv {} {}`",
                path.display(),
                path.with_file_name("kept").display()
            )),
            Self::NoGroup { group, .. } => Some(format!("`groupadd --system {group}`")),
            Self::Subvolume(error) => error.next(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run it as root".into())
            }
            Self::Io { .. } => None,
        }
    }
}

fn aside(path: &Path) -> String {
    format!("{}.old", path.display())
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PlaceError {
    move |source| PlaceError::Io { verb, path: path.to_owned(), source }
}

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

/// What is known of a directory or subvolume that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attributes {
    /// The owner's name, or number where it has none.
    pub owner: String,
    /// The group's name, or number where it has none.
    pub group: String,
    /// The permission bits.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    /// The component that made it; `None` where it is not ours.
    pub marker: Option<String>,
    /// The compression property.
    pub compression: Option<String>,
    /// Whether there is nothing in it. Not shown: what is in it is other components' business.
    #[serde(skip)]
    pub empty: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn octal<S: Serializer>(mode: &u32, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{mode:04o}"))
}

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Found {
    /// Nothing.
    Missing,
    /// A subvolume.
    Subvolume(Attributes),
    /// A plain directory.
    Directory(Attributes),
    /// A file, a link or another thing that is no directory.
    Other,
}

impl Found {
    /// Looks at a path; a link is not followed.
    pub fn read(path: &Path) -> Result<Self, PlaceError> {
        use std::os::unix::fs::MetadataExt;
        let look = || failed("look at", path);
        let metadata = match std::fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Self::Missing);
            }
            Err(error) => return Err(look()(error)),
        };
        if !metadata.is_dir() {
            return Ok(Self::Other);
        }
        let attributes = Attributes {
            owner: owner_name(metadata.uid()),
            group: group_name(metadata.gid()),
            mode: metadata.mode() & 0o7777,
            marker: subvolume::marker(path)?,
            compression: subvolume::compression(path)?,
            empty: std::fs::read_dir(path).map_err(look())?.next().is_none(),
        };
        Ok(if subvolume::is_subvolume(path).map_err(look())? {
            Self::Subvolume(attributes)
        } else {
            Self::Directory(attributes)
        })
    }

    /// What is known of it, where it is a directory or subvolume.
    #[must_use]
    pub fn attributes(&self) -> Option<&Attributes> {
        match self {
            Self::Subvolume(attributes) | Self::Directory(attributes) => Some(attributes),
            Self::Missing | Self::Other => None,
        }
    }
}

fn owner_name(uid: u32) -> String {
    let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    known.map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: u32) -> String {
    let known = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    known.map_or_else(|| gid.to_string(), |group| group.name)
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

/// The name under which the thing at `path` is made.
#[must_use]
pub fn staged(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(STAGED);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// A half-made thing that a run left which was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it can be told to be ours: it is marked, or there is nothing in it.
    pub ours: bool,
}

impl Leftover {
    /// What is left of the thing at `path`, if anything.
    pub fn at(path: PathBuf) -> Result<Option<Self>, PlaceError> {
        Ok(match Found::read(&path)? {
            Found::Missing => None,
            // Files are written under such names too (`files::replace`), and nobody else does.
            Found::Other => Some(Self { path, ours: true }),
            Found::Subvolume(a) | Found::Directory(a) => {
                Some(Self { path, ours: a.marker.is_some() || a.empty })
            }
        })
    }

    /// What is left in a directory, by name.
    pub fn list(directory: &Path) -> Result<Vec<Self>, PlaceError> {
        Self::list_prefix(directory, STAGED.as_ref())
    }

    /// What is left beside a file by `files::replace`. For directories that others write to without the
    /// engine's lock: what they are writing at this moment is no leftover.
    pub fn of_file(path: &Path) -> Result<Vec<Self>, PlaceError> {
        let mut prefix = staged(path).file_name().unwrap_or_default().to_owned();
        prefix.push("-");
        Self::list_prefix(path.parent().unwrap_or(Path::new("/")), &prefix)
    }

    fn list_prefix(directory: &Path, prefix: &std::ffi::OsStr) -> Result<Vec<Self>, PlaceError> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(failed("list", directory)(error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed("list", directory))?.file_name();
            if name.as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
                paths.push(directory.join(name));
            }
        }
        paths.sort();
        Ok(paths.into_iter().map(Self::at).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// The change that removes it; an error where it is not ours.
    pub fn removal(&self) -> Result<PlaceChange, PlaceError> {
        if self.ours {
            Ok(PlaceChange::Remove { path: self.path.clone() })
        } else {
            Err(PlaceError::NotALeftover { path: self.path.clone() })
        }
    }
}

fn remove_leftover(path: &Path) -> Result<(), PlaceError> {
    let Some(leftover) = Leftover::at(path.to_owned())? else { return Ok(()) };
    leftover.removal()?;
    let result = match Found::read(path)? {
        Found::Missing => Ok(()),
        Found::Other => std::fs::remove_file(path),
        Found::Directory(_) => std::fs::remove_dir_all(path),
        Found::Subvolume(_) => return Ok(subvolume::delete(path)?),
    };
    result.map_err(failed("remove", path))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

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

    #[test]
    fn content_that_is_not_ours_is_not_taken_for_a_leftover() {
        let foreign = Leftover { path: "/b/.opdbus-new-@cache".into(), ours: false };
        assert_eq!(foreign.removal().unwrap_err().kind(), Kind::Conflict);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".opdbus-new-@cache");
        std::fs::create_dir(&path).unwrap();
        assert!(Leftover::list(dir.path()).unwrap()[0].ours);
        std::fs::write(path.join("f"), "").unwrap();
        assert!(!Leftover::list(dir.path()).unwrap()[0].ours);
        assert!(PlaceChange::Remove { path: path.clone() }.apply().is_err());
        assert!(path.join("f").exists());
    }
}
