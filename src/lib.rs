//! operation-dbus turns one Linux host into declared infrastructure.
//!
//! Rooms, from the ground up; a room imports only from those before it (`docs/architecture.md`):
//! foundations ([`fault`], [`name`], [`paths`], [`run`], [`spec`], [`engine`], [`files`]); components
//! and the ledger; the operations registry; the doors; and, in `src/bin`, the programs.

pub mod bridge;
pub mod cli;
pub mod engine;
pub mod fault;
pub mod files;
pub mod flows;
pub mod hex;
pub mod mac;
pub mod name;
pub mod nat;
pub mod paths;
pub mod run;
pub mod spec;
