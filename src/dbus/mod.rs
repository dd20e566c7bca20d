//! The system bus: `org.opdbus1`. One interface, a projection of the operations registry.

mod client;
mod manager;
pub mod polkit;
mod voice;

pub use client::{Client, ClientError, Peer};
pub use manager::{Manager, ended, serve};
pub use voice::{Changed, Daemon, Step, Voice};

/// The bus name.
pub const BUS_NAME: &str = "org.opdbus1";
/// The object.
pub const OBJECT: &str = "/org/opdbus1";
/// The interface.
pub const INTERFACE: &str = "org.opdbus1.Manager";
/// The prefix of error names: `org.opdbus1.Error.NotFound`.
pub const ERROR_PREFIX: &str = "org.opdbus1.Error.";
