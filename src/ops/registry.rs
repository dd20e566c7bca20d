//! The registry: operations as data, with the types of each erased.

use clap::{ArgMatches, Args, Command, FromArgMatches};
use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::Call;
use crate::fault::{Kind, Report};

/// What an operation does to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It looks.
    Read,
    /// It changes what can be changed back.
    Change,
    /// It removes what cannot be brought back.
    Destroy,
}

/// What a caller must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Privilege {
    /// Root, or a member of the group `opdbus`.
    Operate,
    /// Root: what reads files of the caller's choice or changes the host itself.
    Admin,
}

/// An operation, typed.
pub trait Op {
    /// Its name: `container.create`. A dot makes a subcommand.
    const NAME: &'static str;
    /// What it is for, in a line.
    const SUMMARY: &'static str;
    /// What else its user should know; shown by `--help`.
    const HELP: &'static str = "";
    /// What it does to the host.
    const EFFECT: Effect;
    /// What its caller must be.
    const PRIVILEGE: Privilege = Privilege::Operate;
    /// Its arguments: read from JSON at every door, and from the command line by clap.
    type Args: Args + Serialize + DeserializeOwned + JsonSchema;
    /// Its answer.
    type Answer: Serialize + DeserializeOwned + JsonSchema;

    /// What it is done to, for the ledger.
    fn target(args: &Self::Args) -> String;
    /// Does it.
    fn run(call: &Call<'_>, args: Self::Args) -> Result<Self::Answer, Report>;
    /// The answer for a person.
    fn text(answer: &Self::Answer) -> String;
}

/// An operation with its types erased.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// See [`Op::NAME`].
    pub name: &'static str,
    /// See [`Op::SUMMARY`].
    pub summary: &'static str,
    /// See [`Op::EFFECT`].
    pub effect: Effect,
    /// See [`Op::PRIVILEGE`].
    pub privilege: Privilege,
    pub(super) run: fn(&Call<'_>, Value) -> Result<Value, Report>,
    pub(super) target: fn(&Value) -> Result<String, Report>,
    command: fn() -> Command,
    arguments: fn(&ArgMatches) -> Result<Value, clap::Error>,
    text: fn(Value) -> Result<String, Report>,
    schemas: fn() -> (Schema, Schema),
}

/// An operation described for a program: what the doors list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub summary: String,
    /// What it does to the host.
    pub effect: Effect,
    /// What its caller must be.
    pub privilege: Privilege,
    /// The JSON Schema of its arguments.
    pub arguments: Value,
    /// The JSON Schema of its answer.
    pub answer: Value,
}

fn parse<O: Op>(args: Value) -> Result<O::Args, Report> {
    serde_path_to_error::deserialize(args).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { String::new() } else { format!(" at {path}") };
        Report::new(Kind::Invalid, format!("the arguments of {} are wrong{at}: {}", O::NAME, error.inner()))
            .with_next(format!("`op-dbus {} --help` says what it takes", O::NAME.replace('.', " ")))
    })
}

fn encode(name: &str, value: &impl Serialize) -> Result<Value, Report> {
    serde_json::to_value(value)
        .map_err(|e| Report::new(Kind::Failed, format!("cannot encode the answer of {name}: {e}")))
}

impl Operation {
    fn of<O: Op>() -> Self {
        Self {
            name: O::NAME,
            summary: O::SUMMARY,
            effect: O::EFFECT,
            privilege: O::PRIVILEGE,
            run: |call, args| encode(O::NAME, &O::run(call, parse::<O>(args)?)?),
            target: |args| Ok(O::target(&parse::<O>(args.clone())?)),
            command: || {
                let verb = O::NAME.rsplit('.').next().unwrap_or(O::NAME);
                let command = O::Args::augment_args(Command::new(verb)).about(O::SUMMARY);
                if O::HELP.is_empty() { command } else { command.after_help(O::HELP) }
            },
            arguments: |matches| {
                let args = O::Args::from_arg_matches(matches)?;
                serde_json::to_value(args)
                    .map_err(|e| clap::Error::raw(clap::error::ErrorKind::ValueValidation, e))
            },
            text: |answer| {
                let answer: O::Answer = serde_json::from_value(answer).map_err(|e| {
                    Report::new(Kind::Failed, format!("the answer of {} is not understood: {e}", O::NAME))
                        .with_next("op-dbus and opdbusd may be of different versions: restart opdbus.service")
                })?;
                Ok(O::text(&answer))
            },
            schemas: || (schema_for!(O::Args), schema_for!(O::Answer)),
        }
    }

    /// The command-line form: a subcommand named by the last part of the operation's name.
    #[must_use]
    pub fn command(&self) -> Command {
        (self.command)()
    }

    /// The arguments, from the command line to JSON.
    pub fn arguments(&self, matches: &ArgMatches) -> Result<Value, clap::Error> {
        (self.arguments)(matches)
    }

    /// An answer for a person.
    pub fn text(&self, answer: Value) -> Result<String, Report> {
        (self.text)(answer)
    }

    /// The operation for a program.
    #[must_use]
    pub fn describe(&self) -> Description {
        let (arguments, answer) = (self.schemas)();
        Description {
            name: self.name.to_owned(),
            summary: self.summary.to_owned(),
            effect: self.effect,
            privilege: self.privilege,
            arguments: arguments.to_value(),
            answer: answer.to_value(),
        }
    }
}

/// All operations, in the order in which they are shown.
#[derive(Debug, Clone)]
pub struct Registry(Vec<Operation>);

impl Default for Registry {
    fn default() -> Self {
        use super::{containers as c, host as h, ledger as l, templates as t};
        Self(vec![
            Operation::of::<h::Plan>(),
            Operation::of::<h::Apply>(),
            Operation::of::<h::Show>(),
            Operation::of::<h::Query>(),
            Operation::of::<c::Create>(),
            Operation::of::<c::List>(),
            Operation::of::<c::Show>(),
            Operation::of::<c::Start>(),
            Operation::of::<c::Stop>(),
            Operation::of::<c::Delete>(),
            Operation::of::<c::Exec>(),
            Operation::of::<c::Logs>(),
            Operation::of::<t::List>(),
            Operation::of::<t::Build>(),
            Operation::of::<t::Refresh>(),
            Operation::of::<t::Remove>(),
            Operation::of::<l::Show>(),
            Operation::of::<l::Verify>(),
        ])
    }
}

impl Registry {
    /// The operations.
    pub fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.0.iter()
    }

    /// An operation by name.
    pub fn find(&self, name: &str) -> Result<&Operation, Report> {
        self.0.iter().find(|op| op.name == name).ok_or_else(|| {
            let shown: String = name.chars().take(60).flat_map(char::escape_default).collect();
            Report::new(Kind::NotFound, format!("there is no operation \"{shown}\""))
                .with_next("`op-dbus --help` lists the operations")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name_a_summary_and_described_arguments() {
        let mut names = std::collections::BTreeSet::new();
        for op in Registry::default().iter() {
            assert!(names.insert(op.name), "{} is there twice", op.name);
            assert!(!op.summary.is_empty() && !op.summary.ends_with('.'), "{}: {}", op.name, op.summary);
            op.command().debug_assert();
            let description = op.describe();
            if let Some(properties) = description.arguments["properties"].as_object() {
                for (argument, schema) in properties {
                    let documented = schema["description"].is_string() || schema["$ref"].is_string();
                    assert!(documented, "{}: argument {argument} has no description", op.name);
                }
            }
        }
    }

    #[test]
    fn what_destroys_is_marked() {
        let registry = Registry::default();
        for name in ["container.delete", "template.remove"] {
            assert_eq!(registry.find(name).unwrap().effect, Effect::Destroy, "{name}");
        }
    }

    #[test]
    fn an_operation_that_is_not_there_is_named() {
        let error = Registry::default().find("container.fly\n").unwrap_err();
        assert!(error.message.contains("container.fly\\n"), "{error}");
    }
}
