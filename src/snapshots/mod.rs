//! Snapshots: read-only copies of our subvolumes, of plugins and of containers, in `@snapshots`. Each is a
//! subvolume with a record beside it, `NAME.json`, that says of what, when, by whom and why it is, and by the
//! subvolume's own id which one it is: one that is there under the name and is not that one is not ours.

mod busy;
mod component;
mod diff;
mod error;
mod record;
mod restore;
mod retention;
mod schedule;
mod store;
pub mod text;
mod walk;

pub use busy::in_use;
pub use component::{SnapshotChange, SnapshotsComponent, SnapshotsSeen};
pub use diff::{Difference, Differences, What, compare};
pub use error::SnapshotError;
pub use record::{Label, Reason, Record, SnapshotName};
pub use restore::{Occupants, Restored, activate, check, restorable, restore};
pub use retention::expired;
pub use schedule::{Done, Round, due, plan_round, round};
pub use store::{
    Listed, Order, State, copy, deletable, delete, directory, find, list, mark_kept, named, take, takeable,
};

/// What the name of something begins with in the directory of snapshots that is being received.
pub const RECEIVING: &str = ".opdbus-receive-";
