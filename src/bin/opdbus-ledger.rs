//! The ledger's helper.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use opdbus::cli::{self, Common, Verb};
use opdbus::fault::Report;
use opdbus::ledger::{Caller, LedgerComponent, Via};

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
struct Program {
    #[command(flatten)]
    common: Common,
    /// The ledger, or a copy of one; by default @timing/blockchain.db below the base path.
    #[arg(long, global = true, value_name = "FILE")]
    db: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the ledger, where there is none.
    Init,
    /// Check every entry, the end of the chain and the schema; name the first bad entry.
    Verify,
    /// Show entries, newest first. Nothing is verified.
    Show(cli::ledger::ShowArgs),
    #[command(flatten)]
    Component(Verb),
}

fn main() -> ExitCode {
    cli::init_logging();
    let program = Program::parse();
    cli::finish(program.common.json, run(&program))
}

fn run(program: &Program) -> Result<(), Report> {
    let common = &program.common;
    let db = || cli::ledger::database(program.db.as_deref(), common);
    match &program.command {
        Command::Init => {
            let caller = Caller::this_process(Via::Helper);
            cli::ledger::init(&db()?, &caller, &common.host().paths.etc, common.out())
        }
        Command::Verify => cli::ledger::verify(&db()?, common.out()),
        Command::Show(args) => cli::ledger::show(&db()?, args, common.out()),
        Command::Component(_) if program.db.is_some() => Err(Report::new(
            opdbus::fault::Kind::Invalid,
            "--db names a copy, and plan, apply and status are about the host's ledger",
        )),
        Command::Component(verb) => {
            cli::component_verb(&[Box::new(LedgerComponent::default())], *verb, common)
        }
    }
}
