//! The uplink: a network card of the host becomes a port of the bridge, and the bridge has what the card had: addresses,
//! routes, name servers, and the configuration that makes them at the next start.
//!
//! Who moves the address under which they reach the host may lock themselves out of it. So a move is a transaction: what
//! was before is on disk, and systemd runs what puts it back (`opdbus-uplink-rollback.service`), before the first change;
//! it is put back unless somebody confirms in time that they still reach the host, and when whoever moves it dies half
//! way, and at the next boot when the host does (`opdbus-uplink-restore.service`, before any network is configured).

mod act;
mod component;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod ifupdown;
mod journal;
mod kernel;
mod keyfile;
mod manager;
mod networkd;
mod observe;
mod plan;
mod rollback;
pub mod text;
mod view;

pub use act::{DEFAULT_WITHIN, LONGEST, Order, SHORTEST, confirm, rearm, revert, revertible, set, show};
pub use component::{Change, Seen, UplinkComponent};
pub use error::UplinkError;
pub use journal::{Manager, Phase};
pub use plan::File;
pub use rollback::{boot_files, settle, watch};
pub use view::{Status, status};
