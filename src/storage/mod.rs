//! Storage: the base path, the btrfs image where there is one, and the subvolumes of requirements section 1.

mod component;
mod image;
mod ioctl;
mod staged;
pub mod subvolume;

pub use component::{Change, Seen, SeenSubvolume, StorageComponent, StorageError};
pub use staged::{STAGING, StagedError, Wanted, make as make_subvolume, seen as seen_subvolume};
pub use subvolume::SubvolumeError;
