//! The registry: operations as data, with the types of each erased.

use clap::{ArgMatches, Args, Command, FromArgMatches};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::Call;
use super::host::Planned;
use crate::engine::PlannedChange;
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
    /// To look: root, or a member of the group `opdbus`.
    Read,
    /// To change what is in the host's care: the same.
    Operate,
    /// To read files of the caller's choice or change the host itself: root.
    Admin,
}

/// What an operation does with the file that its argument `file` names. It is opened by the program that the caller
/// runs, with the caller's rights, and handed over as a stream: nobody has the daemon open a file for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// It is read, as standard input.
    Read,
    /// It is made and written to, as standard output.
    Write,
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
    /// What its caller must be, where polkit does not grant it to another.
    const PRIVILEGE: Privilege = match Self::EFFECT {
        Effect::Read => Privilege::Read,
        Effect::Change | Effect::Destroy => Privilege::Operate,
    };
    /// How a person asks for it in words: patterns in the language of `grammar`, which reads them all. The first is
    /// its example. Without any it is understood as its command alone.
    const PHRASES: &'static [&'static str] = &[];
    /// The words that an argument takes where its type does not say them: the argument, and what lists them.
    const CHOICES: &'static [(&'static str, Choices)] = &[];
    /// Whether its argument `file` names a file that is handed over; without one, or with `-`, it is the standard stream.
    const FILE: Option<Handed> = None;
    /// Its arguments: read from JSON at every door, and from the command line by clap.
    type Args: Args + Serialize + DeserializeOwned + JsonSchema;
    /// Its answer.
    type Answer: Serialize + DeserializeOwned + JsonSchema;

    /// What it is done to, for the ledger.
    fn target(args: &Self::Args) -> String;
    /// Whether it can tell what it would change; then it takes `dryRun`.
    const REHEARSES: bool = false;

    /// Does it.
    fn run(call: &Call<'_>, args: Self::Args) -> Result<Self::Answer, Report>;
    /// What it would change, told without changing anything. It refuses what [`Op::run`] would refuse.
    fn rehearse(call: &Call<'_>, args: Self::Args) -> Result<Vec<PlannedChange>, Report> {
        let _ = (call, args);
        Err(Report::new(Kind::Invalid, format!("{} cannot tell what it would change", Self::NAME)))
    }
    /// The answer for a person.
    fn text(answer: &Self::Answer) -> String;
}

/// What lists the words that an argument takes.
pub type Choices = fn() -> Vec<&'static str>;

/// [`Op::rehearse`] with its types erased: it answers as `plan` does.
pub(super) type Rehearse = fn(&Call<'_>, Value) -> Result<Value, Report>;

/// The argument that has an operation say what it would change, and change nothing.
pub const DRY_RUN: &str = "dryRun";

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
    /// See [`Op::PHRASES`].
    pub phrases: &'static [&'static str],
    /// See [`Op::CHOICES`].
    pub choices: &'static [(&'static str, Choices)],
    /// See [`Op::FILE`].
    pub file: Option<Handed>,
    pub(super) run: fn(&Call<'_>, Value) -> Result<Value, Report>,
    /// See [`Op::rehearse`]; none where it does not.
    pub(super) rehearse: Option<Rehearse>,
    pub(super) target: fn(&Value) -> Result<String, Report>,
    pub(super) again: fn(Value) -> Result<Value, Report>,
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

/// The JSON Schema of what is written rather than read: fields that are always there are required.
#[must_use]
pub fn written<T: JsonSchema>() -> Schema {
    SchemaSettings::default().for_serialize().into_generator().into_root_schema_for::<T>()
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
            phrases: O::PHRASES,
            choices: O::CHOICES,
            file: O::FILE,
            run: |call, args| encode(O::NAME, &O::run(call, parse::<O>(args)?)?),
            rehearse: O::REHEARSES.then_some(|call, args| {
                encode(O::NAME, &Planned { changes: O::rehearse(call, parse::<O>(args)?)? })
            }),
            target: |args| Ok(O::target(&parse::<O>(args.clone())?)),
            again: |args| encode(O::NAME, &parse::<O>(args)?),
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
            schemas: || (schema_for!(O::Args), written::<O::Answer>()),
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

    /// The arguments read and written again, which fills in what was left to its default, or refuses them as [`Op::run`]
    /// would before it looks at the host. [`DRY_RUN`] is none of them where [`Operation::rehearses`] adds it.
    pub fn filled(&self, arguments: Value) -> Result<Value, Report> {
        (self.again)(arguments)
    }

    /// An answer for a person.
    pub fn text(&self, answer: Value) -> Result<String, Report> {
        (self.text)(answer)
    }

    /// Whether it takes [`DRY_RUN`].
    #[must_use]
    pub fn rehearses(&self) -> bool {
        self.rehearse.is_some()
    }

    /// The operation for a program.
    #[must_use]
    pub fn describe(&self) -> Description {
        let (mut arguments, answer) = (self.schemas)();
        if self.rehearses() {
            let flag = json!({
                "type": "boolean",
                "default": false,
                "description": "Say what would be changed, as `plan` does, and change nothing.",
            });
            let properties = arguments.ensure_object().entry("properties").or_insert_with(|| json!({}));
            if let Value::Object(properties) = properties {
                properties.insert(DRY_RUN.to_owned(), flag);
            }
        }
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
        use super::{
            bus as b, containers as c, doctor as d, drift as f, host as h, ledger as l, methods as n,
            model as m, overview as o, plugins as p, search as e, snapshots as s, templates as t,
            tokens as k, uplink as u,
        };
        Self(vec![
            Operation::of::<h::Plan>(),
            Operation::of::<h::Apply>(),
            Operation::of::<h::Show>(),
            Operation::of::<h::Query>(),
            Operation::of::<o::Overview>(),
            Operation::of::<b::Introspect>(),
            Operation::of::<b::Values>(),
            Operation::of::<d::Look>(),
            Operation::of::<d::Fix>(),
            Operation::of::<f::Look>(),
            Operation::of::<f::Save>(),
            Operation::of::<u::Set>(),
            Operation::of::<u::Confirm>(),
            Operation::of::<u::Revert>(),
            Operation::of::<u::Show>(),
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
            Operation::of::<t::Import>(),
            Operation::of::<t::Refresh>(),
            Operation::of::<t::Generations>(),
            Operation::of::<t::Rollback>(),
            Operation::of::<t::Remove>(),
            Operation::of::<s::Create>(),
            Operation::of::<s::List>(),
            Operation::of::<s::Diff>(),
            Operation::of::<s::Restore>(),
            Operation::of::<s::Keep>(),
            Operation::of::<s::Delete>(),
            Operation::of::<p::List>(),
            Operation::of::<p::Show>(),
            Operation::of::<p::Enable>(),
            Operation::of::<p::Disable>(),
            Operation::of::<p::Snapshot>(),
            Operation::of::<n::CallMethod>(),
            Operation::of::<n::DestroyByMethod>(),
            Operation::of::<p::Send>(),
            Operation::of::<p::Receive>(),
            Operation::of::<e::Search>(),
            Operation::of::<m::Show>(),
            Operation::of::<m::Fetch>(),
            Operation::of::<m::Import>(),
            Operation::of::<l::Show>(),
            Operation::of::<l::Verify>(),
            Operation::of::<l::MakeCheckpoint>(),
            Operation::of::<l::Export>(),
            Operation::of::<k::Open>(),
            Operation::of::<k::Create>(),
            Operation::of::<k::List>(),
            Operation::of::<k::Revoke>(),
        ])
    }
}

impl Registry {
    /// These, and one more.
    #[must_use]
    pub fn with<O: Op>(mut self) -> Self {
        self.0.push(Operation::of::<O>());
        self
    }

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
        for name in ["container.delete", "template.remove", "snapshot.delete"] {
            assert_eq!(registry.find(name).unwrap().effect, Effect::Destroy, "{name}");
        }
    }

    #[test]
    fn an_operation_that_is_not_there_is_named() {
        let error = Registry::default().find("container.fly\n").unwrap_err();
        assert!(error.message.contains("container.fly\\n"), "{error}");
    }
}
