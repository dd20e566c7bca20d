//! operation-dbus turns one Linux host into declared infrastructure.
//!
//! Rooms, from the ground up; a room imports only from those before it (`docs/architecture.md`):
//! foundations ([`fault`], [`name`], [`paths`], [`deployment`], [`run`], [`systemd`], [`spec`], [`engine`], [`files`]); components
//! and the ledger; the operations registry; the grammar of sentences; the doors; and, in `src/bin`, the programs.

pub mod api;
pub mod bridge;
pub mod cli;
pub mod containers;
pub mod daemon;
pub mod dbus;
pub mod deployment;
pub mod doctor;
pub mod drift;
pub mod engine;
pub mod fault;
pub mod files;
pub mod firewall;
pub mod flows;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod grammar;
pub mod hex;
pub mod install;
pub mod introspect;
pub mod ledger;
pub mod mac;
pub mod mcp;
pub mod metrics;
pub mod name;
pub mod nat;
pub mod ops;
pub mod paths;
pub mod plan_text;
pub mod plugins;
pub mod run;
pub mod search;
pub mod snapshots;
pub mod sockets;
pub mod spec;
pub mod storage;
pub mod system;
pub mod systemd;
pub mod table;
pub mod templates;
pub mod tokens;
pub mod units;
pub mod uplink;
pub mod web;
