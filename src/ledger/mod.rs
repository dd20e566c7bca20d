//! The ledger: one entry for every call of an operation, each bound to the one before by its hash
//! (requirements, section 8; `docs/ledger-format.md`).

mod against;
mod canonical;
pub mod checkpoint;
mod component;
mod entry;
mod error;
pub mod export;
pub mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod keep;
pub mod key;
pub mod note;
pub mod schema;
mod store;
pub mod text;
pub mod tiles;
pub mod tree;
mod verify;

pub use component::{LedgerChange, LedgerComponent, LedgerSeen};
pub use entry::{
    Call, Caller, Entry, EntryRef, Filter, MAX_ARGUMENTS, MAX_ERROR, MAX_METADATA, MAX_OPERATION, MAX_TARGET,
    NewEntry, Outcome, Via,
};
pub use error::LedgerError;
pub use store::{Head, Init, Ledger, State, inspect};
pub use verify::{Damage, Finding, Part, Verification};
