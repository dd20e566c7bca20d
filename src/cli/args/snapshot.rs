//! `opdbus-snapshot` as its command line has it.

use clap::Command;

use crate::cli::local;

/// The group of operations that it has.
pub const GROUP: &str = "snapshot";

/// What the timer calls.
pub const RUN: &str = "run";

/// What shows what that would do.
pub const DUE: &str = "due";

/// The command line.
#[must_use]
pub fn command() -> Command {
    local::command(
        Command::new("opdbus-snapshot")
            .version(env!("CARGO_PKG_VERSION"))
            .about("The snapshots, without the daemon, and those that are due")
            .long_about(
                "The snapshots, without the daemon, and those that are due.\n\n`run` is what opdbus-snapshots.timer calls \
                 each hour: of each thing that `snapshots` in the host spec names it takes one where none was taken yet in \
                 this hour, day, week or month (UTC), and then removes those that no rule of `keep` keeps. Only what `run` \
                 itself took is ever removed, and nothing that is marked as kept. A clock that is wrong removes nothing: \
                 the rules count hours, days, weeks and months in which there are snapshots.\n\n`apply` ends what a stopped \
                 run left half done. The other verbs are those of `op-dbus snapshot`, done by this program itself, as root, \
                 and recorded in the ledger like them.",
            )
            .after_help(
                "Exit status: 0 done, 1 failed, 2 usage, 3 invalid, 4 something named is not there, 5 conflict, 6 denied,\n\
                 7 unavailable, 8 another run is under way.\n\nExamples:\n  opdbus-snapshot due\n  opdbus-snapshot run --json\n  \
                 opdbus-snapshot list",
            ),
        GROUP,
    )
    .subcommand(
        Command::new(RUN).about("Take the snapshots that are due, and remove those that no rule keeps"),
    )
    .subcommand(Command::new(DUE).about("Show what `run` would take and remove, and change nothing"))
}
