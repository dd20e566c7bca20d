//! `op-dbus schema`: what every operation takes and answers, and what every program prints with `--json`, as JSON Schema
//! made from the types themselves.

mod commands;
#[cfg(test)]
mod page;

use clap::{Arg, ArgMatches, Command};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::output::Out;
use crate::fault::{Kind, Report};
use crate::ops::{Description, Operation, Registry, written};
use crate::table;

/// A failure, as it is printed on standard error with `--json` and answered on the API socket.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Failure {
    /// What failed.
    pub error: Report,
}

/// A command of a program that is no operation, described.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Described {
    /// The command, as it is typed.
    pub command: String,
    /// The JSON Schema of what it prints with `--json`; none where it prints no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// The operation whose arguments and answer it has, where it is one that is done without the daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// What it prints that is no JSON, `--json` or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Everything that is described.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Catalogue {
    /// The operations, as `GET /v1/operations` lists them. `op-dbus OPERATION --json` prints the answer.
    pub operations: Vec<Description>,
    /// The commands that are none.
    pub commands: Vec<Described>,
    /// The JSON Schema of a failure, whichever door.
    pub error: Value,
}

impl Catalogue {
    /// All there is.
    #[must_use]
    pub fn new() -> Self {
        Self {
            operations: Registry::default().iter().map(Operation::describe).collect(),
            commands: commands::all(),
            error: written::<Failure>().to_value(),
        }
    }

    /// Names and what they are for.
    fn text(&self) -> String {
        let operations = self.operations.iter().map(|one| [one.name.clone(), one.summary.clone()]);
        let commands = self.commands.iter().map(|one| {
            let like = one.operation.as_ref().map(|operation| format!("as {operation}"));
            [one.command.clone(), like.or_else(|| one.text.clone()).unwrap_or_default()]
        });
        table::render(["NAME", "WHAT"], operations.chain(commands))
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new()
    }
}

/// The command line.
pub(super) fn command() -> Command {
    Command::new("schema")
        .about("Print the JSON Schema of what an operation takes and answers, or a command prints")
        .after_help(
            "Without a name: what there is; with --json, all of it.\n\nExamples:\n  op-dbus schema container create\n  \
             op-dbus schema 'opdbus-ledger checkpoint --scheduled'\n  op-dbus schema --json",
        )
        .arg(
            Arg::new("name")
                .value_name("NAME")
                .num_args(0..)
                .help("An operation (`container create`, `container.create`) or a command (`opdbus-ledger show`)"),
        )
}

/// Prints what was asked for.
pub(super) fn print(matches: &ArgMatches, out: Out) -> Result<(), Report> {
    let words: Vec<&str> =
        matches.get_many::<String>("name").into_iter().flatten().map(String::as_str).collect();
    let all = Catalogue::new();
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    if words.is_empty() {
        out.answer(&all, Catalogue::text);
        return Ok(());
    }
    let (command, operation) = (words.join(" "), words.join("."));
    let found = all.operations.iter().find(|one| one.name == operation).map(serde_json::to_value);
    let found =
        found.or_else(|| all.commands.iter().find(|one| one.command == command).map(serde_json::to_value));
    let Some(found) = found else {
        let shown: String = command.chars().take(60).flat_map(char::escape_default).collect();
        return Err(Report::new(Kind::NotFound, format!("there is no operation and no command \"{shown}\""))
            .with_next("`op-dbus schema` lists them"));
    };
    let found = found.map_err(|e| Report::new(Kind::Failed, format!("cannot show the schema: {e}")))?;
    out.answer(&found, pretty);
    Ok(())
}
