//! What all programs share: how they print, how they end, and the verbs of a helper; and `op-dbus`.

pub mod admin;
mod helper;
pub mod ledger;
mod output;

pub use helper::{Common, PATIENCE, Verb, component_verb};
pub use output::{Out, TerminalProgress, finish, init_logging};
