//! Storage: btrfs subvolumes, the base path, and the image that holds it where the disk is not btrfs.

mod component;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod image;
mod ioctl;
mod leftovers;
mod mounts;
pub mod place;
mod retire;
pub mod subvolume;

pub use component::{StorageChange, StorageComponent, StorageSeen};
pub use error::StorageError;
pub use image::{ImageFile, ImageSeen, Mounted, UnitSeen, make_image};
pub use leftovers::{LeftoverError, LeftoversComponent, RemoveLeftover};
pub use mounts::{MountSeen, mounted_below, mounts_subvolume, read_only};
pub use retire::{Removal, keeps_image};
pub use subvolume::SubvolumeError;
