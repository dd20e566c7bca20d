//! The one set of operations. Each is defined once: its name, what it is for, its arguments, whether it
//! changes or destroys, and the privilege it needs. D-Bus, the API socket and the command line are
//! projections of this registry and have no logic of their own.

mod call;
mod caller;
mod containers;
mod given;
mod host;
mod ledger;
mod registry;
mod services;
mod templates;

pub use call::{Call, Service, Streams};
pub use caller::{Caller, GROUP};
pub use registry::{Description, Effect, Op, Operation, Privilege, Registry};
