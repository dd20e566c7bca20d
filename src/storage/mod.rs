//! Storage: btrfs subvolumes, the base path, and the image that holds it where the disk is not btrfs.

mod ioctl;
pub mod subvolume;

pub use subvolume::SubvolumeError;
