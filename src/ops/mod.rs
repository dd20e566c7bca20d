//! The one set of operations. Each is defined once: its name, what it is for, its arguments, whether it
//! changes or destroys, and the privilege it needs. D-Bus, the API socket and the command line are
//! projections of this registry and have no logic of their own.

mod bus;
mod call;
mod caller;
pub mod confirm;
mod containers;
mod doctor;
mod drift;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod given;
mod host;
mod ledger;
mod methods;
mod model;
mod overview;
mod plugins;
mod registry;
pub mod said;
mod scrape;
mod search;
mod services;
mod snapshots;
mod templates;
mod tokens;
mod uplink;

pub use call::{Call, Service, Streams};
pub use caller::{Authority, Caller, GROUP, Nobody};
pub use registry::{
    Choices, DRY_RUN, Description, Effect, Handed, Op, Operation, Privilege, Registry, written,
};
