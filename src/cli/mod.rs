//! What all programs share: how they print, how they end, and the verbs of a helper; and `op-dbus`.

pub mod admin;
mod agent;
pub mod answers;
pub mod args;
mod handed;
mod helper;
pub mod ledger;
pub mod local;
mod logging;
pub mod manual;
mod output;
pub mod schema;

pub use handed::given;
pub use helper::{Common, PATIENCE, Verb, component_verb, record_call};
pub use logging::init_logging;
pub use output::{Out, TerminalProgress, finish};
