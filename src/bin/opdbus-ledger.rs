//! The ledger's helper.

use std::process::ExitCode;

use clap::Parser;
use opdbus::cli;
use opdbus::cli::args::ledger::{Command, KeyCommand, Program};
use opdbus::fault::Report;
use opdbus::ledger::{Caller, LedgerComponent, Via};

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
        Command::Verify(args) => cli::ledger::verify(&db()?, args, &common.host().paths, common.out()),
        Command::Checkpoint(args) if args.scheduled => cli::ledger::scheduled(common),
        Command::Checkpoint(args) => {
            cli::ledger::checkpoint(&db()?, args, &common.host().paths, common.out())
        }
        Command::Key(KeyCommand::Create) => {
            cli::ledger::create_key(&db()?, &common.host().paths, common.out())
        }
        Command::Key(KeyCommand::Show) => cli::ledger::show_key(&common.host().paths, common.out()),
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
