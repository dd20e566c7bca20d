//! Containers: clones of a template with an identity, an address and grants of their own.

mod backend;
mod component;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod identity;
mod lxc;
mod manage;
mod occupants;
mod record;

pub use backend::{Backend, Lxc, unit};
pub use component::{ContainersComponent, Seen, SeenContainer};
pub use error::ContainerError;
pub use manage::{Containers, endpoints};
pub use record::{Origin, Record, all, find, interface_name, readable};
