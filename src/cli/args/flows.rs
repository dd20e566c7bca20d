//! `opdbus-flows` as its command line has it.

use clap::{Parser, Subcommand};

use crate::cli::{Common, Verb};

/// Keeps the flows on the Open vSwitch bridge.
///
/// They are made from the host spec and the containers there are: a container reaches another only where it
/// was granted, under its own address, and nothing is flooded. What differs is changed in one atomic bundle.
/// Flows of others on the bridge (with another cookie) are left as they are.
///
/// ovs-vswitchd forgets all flows when it restarts. `apply` brings ours back; `save` before and `restore` after
/// bring back the others'.
#[derive(Parser)]
#[command(
    name = "opdbus-flows",
    version,
    after_help = "\
Exit status: 0 done, 1 failed, 2 usage, 3 host spec wrong, 4 no bridge, 5 something is in the way, 6 not allowed,
7 Open vSwitch is missing or does not run, 8 another run is at work.

Examples:
  opdbus-flows plan             what would be changed
  opdbus-flows apply            make it so
  opdbus-flows status --json    our flows on the bridge"
)]
pub struct Arguments {
    /// What it is to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options that every helper has.
    #[command(flatten)]
    pub common: Common,
}

/// What it can be told to do.
#[derive(Clone, Copy, Subcommand)]
pub enum Command {
    /// The verbs of its components.
    #[command(flatten)]
    Component(Verb),
    /// Write down the flows of others on our bridge, to be put back by `restore`.
    Save,
    /// Put back what `save` wrote down and is missing now.
    Restore,
}
