//! What all programs share: how they print, how they end, and the verbs of a helper; and `op-dbus`.

pub mod admin;
pub mod args;
mod helper;
pub mod ledger;
pub mod manual;
mod output;

pub use helper::{Common, PATIENCE, Verb, component_verb};
pub use output::{Out, TerminalProgress, finish, init_logging};
