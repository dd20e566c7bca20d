//! What all programs share: how they print, how they end, and the verbs of a helper.

mod helper;
pub mod ledger;
mod output;

pub use helper::{Common, Verb, applied_text, component_verb, plan_text};
pub use output::{Out, TerminalProgress, finish, init_logging};
