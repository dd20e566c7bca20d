//! `opdbus-search` as its command line has it.

use clap::Parser;

/// The index of the search over the ledger.
///
/// Answers the daemon's questions from @vectors/vector-index.db, keeps that up with the ledger, and ends when nobody has
/// asked for a minute. It is started by systemd (opdbus-search.socket) and takes no options; `op-dbus search` asks it, and
/// `op-dbus model status` shows how far it is.
#[derive(Parser)]
#[command(
    name = "opdbus-search",
    version,
    after_help = "Exit status: 0 nobody asks, 1 failed, 2 usage, 3 no sockets were handed over."
)]
pub struct Arguments {}
