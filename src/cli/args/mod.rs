//! The command lines of the helpers, the daemon and the installer: here rather than in their programs, so that one
//! program can write the manual pages of all.

pub mod bridge;
pub mod container;
pub mod daemon;
pub mod flows;
pub mod install;
pub mod ledger;
pub mod storage;
pub mod template;

use clap::{Command, CommandFactory};

/// The command lines of all programs but `op-dbus`.
pub(super) fn commands() -> [Command; 8] {
    [
        bridge::Arguments::command(),
        container::Arguments::command(),
        flows::Arguments::command(),
        install::Arguments::command(),
        ledger::Program::command(),
        storage::Arguments::command(),
        template::Program::command(),
        daemon::Arguments::command(),
    ]
}
