//! `opdbus-plugin` as its command line has it.

use clap::Command;

use crate::cli::local;

/// The group of operations that it has.
pub const GROUP: &str = "plugin";

/// The command line.
#[must_use]
pub fn command() -> Command {
    local::command(
        Command::new("opdbus-plugin")
            .version(env!("CARGO_PKG_VERSION"))
            .about("The plugins, without the daemon: list, enable, send, receive")
            .long_about(
                "The plugins, without the daemon.\n\nplan, apply and status keep the plugins of the host spec as it \
                 has them. The other verbs are those of `op-dbus plugin`, done by this program itself, as root, and \
                 recorded in the ledger like them. So a plugin can be sent to a host on which no daemon runs yet:\n\n  \
                 opdbus-plugin send lxc - | ssh root@other opdbus-plugin receive -",
            )
            .after_help(
                "Exit status: 0 done, 1 failed, 2 usage, 3 invalid, 4 not found, 5 conflict, 6 denied,\n7 unavailable, \
                 8 another run is under way.",
            ),
        GROUP,
    )
}
