//! Storage: btrfs subvolumes, the base path, and the image that holds it where the disk is not btrfs.

mod component;
mod error;
mod image;
mod ioctl;
mod mounts;
pub mod place;
pub mod subvolume;

pub use component::{StorageChange, StorageComponent, StorageSeen};
pub use error::StorageError;
pub use image::{ImageFile, ImageSeen, Mounted, UnitSeen, make_image};
pub use mounts::MountSeen;
pub use subvolume::SubvolumeError;
