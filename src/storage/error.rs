use std::io;
use std::path::{Path, PathBuf};

use super::place::PlaceError;
use crate::deployment::Deployment;
use crate::fault::{Fault, Kind};
use crate::files::ManagedError;
use crate::run::RunError;

/// Why the storage could not be made what the host spec says.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The host's disk is not btrfs, and no image was asked for.
    #[error("the base path {} is not on btrfs, which operation-dbus needs", .base.display())]
    NotOnBtrfs {
        /// The base path.
        base: PathBuf,
    },
    /// The base path can be changed by others than root, or not be entered by those who must.
    #[error("the base path {} belongs to {owner} and has mode {mode:04o}; it must be root's, writable by root alone, and readable by all", .base.display())]
    UnsafeBase {
        /// The base path.
        base: PathBuf,
        /// Whose it is.
        owner: String,
        /// Its permission bits.
        mode: u32,
    },
    /// Something other than the image is mounted at the base path.
    #[error("cannot mount the image {} at {}: something else is mounted there", .image.display(), .base.display())]
    OtherMount {
        /// The image.
        image: PathBuf,
        /// The base path.
        base: PathBuf,
    },
    /// There are files at the base path that the image would hide.
    #[error("cannot mount the image at {}: there are files in that directory, which it would hide", .base.display())]
    WouldHide {
        /// The base path.
        base: PathBuf,
    },
    /// The file that shall be the image is something else.
    #[error("{} is there and holds no btrfs file system; it is left as it is", .image.display())]
    NotAnImage {
        /// The image.
        image: PathBuf,
    },
    /// The image is mounted, but its file has been removed.
    #[error("the image {} is mounted at {}, but the file is gone", .image.display(), .base.display())]
    ImageGone {
        /// The image.
        image: PathBuf,
        /// The base path.
        base: PathBuf,
    },
    /// The mount was said to be made, and is not there.
    #[error("the image {} was mounted without an error, but is not at {}", .image.display(), .base.display())]
    NotMounted {
        /// The image.
        image: PathBuf,
        /// The base path.
        base: PathBuf,
    },
    /// Something is mounted below the base path, which is to be removed.
    #[error("something is mounted at {}, in what is to be removed", .path.display())]
    MountBelow {
        /// Where.
        path: PathBuf,
    },
    /// The image is not mounted, so that nobody knows what is in it.
    #[error("the image {} is not mounted at {}: whether it holds things of others cannot be seen", .image.display(), .base.display())]
    NotLookedInto {
        /// The image.
        image: PathBuf,
        /// The base path.
        base: PathBuf,
    },
    /// Something came to be in the image while it was being emptied.
    #[error("the image is not removed: there is something new in it, {}", .path.display())]
    NotEmpty {
        /// What.
        path: PathBuf,
    },
    /// A subvolume or directory.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The mount unit's file.
    #[error(transparent)]
    Managed(#[from] ManagedError),
    /// A foreign tool.
    #[error(transparent)]
    Run(#[from] RunError),
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

impl StorageError {
    pub(super) fn io(verb: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { verb, path: path.to_owned(), source }
    }
}

impl Fault for StorageError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotOnBtrfs { .. } => Kind::Invalid,
            Self::UnsafeBase { .. }
            | Self::OtherMount { .. }
            | Self::WouldHide { .. }
            | Self::NotAnImage { .. }
            | Self::ImageGone { .. }
            | Self::MountBelow { .. }
            | Self::NotLookedInto { .. }
            | Self::NotEmpty { .. } => Kind::Conflict,
            Self::Place(error) => error.kind(),
            Self::Managed(error) => error.kind(),
            Self::Run(error) => error.kind(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::NotMounted { .. } | Self::Io { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        let here = Deployment::here();
        Some(match self {
            Self::NotOnBtrfs { base } => format!(
                "either mount a btrfs file system at {}, or have one made in a file: \
                 {}",
                base.display(),
                match here {
                    Deployment::Traditional =>
                        "set btrfs.image in the host spec (the installer's --btrfs-image 20G)",
                    Deployment::NixOs => "services.operation-dbus.btrfs.image.size = \"20G\";",
                }
            ),
            Self::UnsafeBase { base, .. } => {
                format!(
                    "`chown root: {0} && chmod 0755 {0}`, or choose another btrfs.basePath",
                    base.display()
                )
            }
            Self::OtherMount { base, .. } => format!(
                "`umount {0}`, or take {1} out and use what is mounted; `findmnt {0}` tells what it is",
                base.display(),
                here.field("btrfs.image")
            ),
            Self::WouldHide { base } => format!(
                "move them away: `mv {0} {0}.old`, apply again, and bring back what is wanted: `cp -a {0}.old/. {0}/`",
                base.display()
            ),
            Self::NotAnImage { .. } => "choose another btrfs.image.path, or move the file away".into(),
            Self::ImageGone { base, .. } => format!(
                "while it is mounted the data can still be saved: `cp -a {} …` to another file system, before the host is stopped",
                base.display()
            ),
            Self::NotMounted { base, .. } => {
                format!("`findmnt {}` and `losetup -a` tell what was mounted where", base.display())
            }
            Self::MountBelow { path } => format!("`umount {}`, and try again", path.display()),
            Self::NotLookedInto { image, base } => format!(
                "mount it and try again: `mount -o loop {} {}`; or, if nothing in it is wanted, remove the file yourself",
                image.display(),
                base.display()
            ),
            Self::NotEmpty { .. } => "move it away, and try again".into(),
            Self::Place(error) => return error.next(),
            Self::Managed(error) => return error.next(),
            Self::Run(error) => return error.next(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run it as root".into()
            }
            Self::Io { .. } => return None,
        })
    }
}
