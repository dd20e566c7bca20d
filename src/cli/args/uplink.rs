//! `opdbus-uplink` as its command line has it.

use clap::{Args, Command};

use crate::cli::{Common, local};

/// The group of operations that it has.
pub const GROUP: &str = "bridge.uplink";

/// What watches over a move.
pub const WATCH: &str = "watch";

/// What puts files back at boot.
pub const RESTORE: &str = "restore";

/// What opens the uplink as soon as Open vSwitch runs.
pub const SETTLE: &str = "settle";

/// The command line.
#[must_use]
pub fn command() -> Command {
    let base = Command::new("opdbus-uplink")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The uplink of the bridge, without the daemon, and what puts a move back")
        .long_about(
            "The uplink of the bridge, without the daemon, and what puts a move back.\n\nset, confirm, revert and status are \
             those of `op-dbus bridge uplink`, done by this program itself, as root, and recorded in the ledger like them: \
             for a console on which nothing else answers.\n\nwatch, restore and settle are what the units call that keep a \
             move from locking anybody out. They need no host spec, no daemon and no ledger.",
        )
        .after_help(
            "Exit status: 0 done, 1 failed, 2 usage, 3 invalid, 4 nothing is moved, 5 conflict, 6 denied,\n7 unavailable, \
             8 another move is under way.\n\nExamples:\n  opdbus-uplink status\n  opdbus-uplink revert",
        );
    local::operations(Common::augment_args(base), GROUP)
        .subcommand(Command::new(WATCH).about(
            "Wait until the move is confirmed, and put everything back when it is not (opdbus-uplink-rollback.service)",
        ))
        .subcommand(
            Command::new(RESTORE)
                .about("Put the files of a move back that an earlier boot left unconfirmed (opdbus-uplink-restore.service)"),
        )
        .subcommand(
            Command::new(SETTLE).about("Open the uplink, or end a move that was put back at boot (opdbus-uplink.service)"),
        )
}
