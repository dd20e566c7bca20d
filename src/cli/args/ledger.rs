//! `opdbus-ledger` as its command line has it.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::cli::{self, Common, Verb};

/// Makes, verifies and shows the ledger of operations.
#[derive(Debug, Parser)]
#[command(
    name = "opdbus-ledger",
    version,
    long_about = "Makes, verifies and shows the ledger of operations.\n\n\
        The ledger is an SQLite database in which every operation is an entry, bound to the one before by its \
        hash. `verify` reads it whole and names the first entry that was altered, deleted or put in.",
    after_long_help = "Exit status: 0 done, or the ledger is whole; 1 failed, or it is not whole; 2 usage; 3 not a ledger; \
        4 no ledger there; 5 something else is in its way; 6 not allowed; 7 something needed is missing; 8 busy.\n\n\
        Examples:\n  \
        opdbus-ledger verify\n  \
        opdbus-ledger verify --db /mnt/backup/blockchain.db --json\n  \
        opdbus-ledger show --target web-01 --since 2026-01-31\n  \
        opdbus-ledger show --operation container.delete --limit 0 --reverse"
)]
pub struct Program {
    /// Options that every helper has.
    #[command(flatten)]
    pub common: Common,
    /// The ledger, or a copy of one; by default @timing/blockchain.db below the base path.
    #[arg(long, global = true, value_name = "FILE")]
    pub db: Option<PathBuf>,
    /// What it is to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done with the key.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum KeyCommand {
    /// Make the key, where there is none, and print its public part.
    Create,
    /// Print the public part. Keep it where this host cannot change it: whoever checks a checkpoint needs it.
    Show,
}

/// What it can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the ledger, where there is none.
    Init,
    /// Check every entry, the end of the chain and the schema; name the first bad entry.
    Verify(cli::ledger::VerifyArgs),
    /// Verify the ledger and print the signed checkpoint of what it holds now.
    Checkpoint(cli::ledger::CheckpointArgs),
    /// The key that signs checkpoints: made once, as root's alone, in /etc/opdbus.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show entries, newest first. Nothing is verified.
    Show(cli::ledger::ShowArgs),
    /// The verbs of its components.
    #[command(flatten)]
    Component(Verb),
}
