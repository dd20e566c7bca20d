//! A helper's operations: the registry's own, in this process rather than in the daemon, and in the ledger all the same.

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use super::admin;
use super::helper::{Common, Verb, component_verb};
use crate::engine::Stage;
use crate::fault::{Kind, Report};
use crate::ledger::Via;
use crate::ops::{Caller, Nobody, Registry, Service};

/// Adds the options that every helper has, the verbs of components, and the operations of a group.
#[must_use]
pub fn command(base: Command, group: &str) -> Command {
    operations(Verb::augment_subcommands(Common::augment_args(base)), group)
}

/// Adds the operations of a group.
#[must_use]
pub fn operations(base: Command, group: &str) -> Command {
    let mut command = base.subcommand_required(true).arg_required_else_help(true);
    for operation in Registry::default().iter() {
        if operation.name.rsplit_once('.').is_some_and(|(of, _)| of == group) {
            command = command.subcommand(admin::with_confirmation(operation));
        }
    }
    command
}

/// Runs a verb of the components, or an operation of the group.
pub fn run(stages: &[Box<dyn Stage>], group: &str, matches: &ArgMatches) -> Result<(), Report> {
    let wrong = |error: clap::Error| Report::new(Kind::Invalid, error.to_string());
    let common = Common::from_arg_matches(matches).map_err(wrong)?;
    if let Ok(verb) = Verb::from_arg_matches(matches) {
        return component_verb(stages, verb, &common);
    }
    call(group, matches)
}

/// Runs an operation of the group.
pub fn call(group: &str, matches: &ArgMatches) -> Result<(), Report> {
    let wrong = |error: clap::Error| Report::new(Kind::Invalid, error.to_string());
    let common = Common::from_arg_matches(matches).map_err(wrong)?;
    let Some((verb, inner)) = matches.subcommand() else {
        return Err(Report::new(Kind::Invalid, "no command was given"));
    };
    if common.config.is_some() {
        return Err(Report::new(Kind::Invalid, "--config is for plan, apply and status")
            .with_next("leave it away: the other verbs work on this host as it is"));
    }
    let service = Service::new(common.host());
    let caller = Caller::this_process(Via::Helper);
    admin::perform(
        &format!("{group}.{verb}"),
        inner,
        common.out(),
        true,
        |name, arguments, streams, progress| {
            service.call(&caller, &Nobody, name, arguments.clone(), progress, streams)
        },
    )
    .map(drop)
}
