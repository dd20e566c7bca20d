//! Calls as commands of a shell, and commands that are typed into the chat.

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use serde_json::{Map, Value};

use super::words as words_of;
use crate::ops::{DRY_RUN, Operation};

/// The argument of the command line for [`DRY_RUN`], where the operation has none of its own.
const REHEARSE: &str = "rehearse";

/// Whether the chat offers an operation: not what needs a file of the caller's, and not what takes a command line of its
/// own, which no word of the chat is checked against.
pub(super) fn is_offered(operation: &Operation) -> bool {
    operation.file.is_none() && !operation.command().get_arguments().any(Arg::is_trailing_var_arg_set)
}

/// The operation's own command line, with what `op-dbus` adds to it. No file is read for it: what names one is refused.
fn command(operation: &Operation) -> Command {
    let mut command = operation.command().disable_help_flag(true).mut_args(|arg| {
        let is_file = matches!(
            arg.get_value_hint(),
            ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath | ValueHint::ExecutablePath
        );
        let refused = |_: &str| Err::<String, _>("the chat reads no files");
        if is_file { arg.value_parser(ValueParser::new(refused)) } else { arg }
    });
    if operation.rehearses() {
        command = command.arg(Arg::new(REHEARSE).long("dry-run").action(ArgAction::SetTrue));
    }
    command
}

/// The arguments as the operation takes them and as a command line gives them: those that were given.
pub(super) fn parse(operation: &Operation, words: &[String]) -> Option<Map<String, Value>> {
    let command = command(operation);
    let ids: Vec<String> = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    let matches = command
        .try_get_matches_from(std::iter::once("op-dbus").chain(words.iter().map(String::as_str)))
        .ok()?;
    let Ok(Value::Object(mut arguments)) = operation.arguments(&matches) else { return None };
    arguments.retain(|argument, _| ids.iter().any(|id| is(id, argument) && is_given(&matches, id)));
    if operation.rehearses() && matches.get_flag(REHEARSE) {
        arguments.insert(DRY_RUN.to_owned(), true.into());
    }
    Some(arguments)
}

fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// Whether an argument of the command line is this argument in JSON: `no_start` is `noStart`.
fn is(id: &str, argument: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    plain(id) == plain(argument)
}

/// The words of a command line that gives these arguments, behind the operation's name. None where no command line can.
pub(super) fn words(operation: &Operation, arguments: &Map<String, Value>) -> Option<Vec<String>> {
    let command = command(operation);
    let mut written = 0;
    let (mut positional, mut options, mut gap) = (Vec::new(), Vec::new(), false);
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let argument = if id == REHEARSE { DRY_RUN } else { id };
        let given = arguments.iter().find(|(name, _)| is(argument, name));
        written += usize::from(given.is_some());
        let values = match given.map(|(_, value)| value) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(values)) => values.iter().map(text).collect::<Option<Vec<_>>>()?,
            Some(value) => vec![text(value)?],
        };
        if arg.is_positional() {
            // A value behind one that was left out would be taken for that.
            if gap && !values.is_empty() {
                return None;
            }
            gap |= values.is_empty();
            positional.extend(values);
            continue;
        }
        let long = arg.get_long()?;
        for value in values {
            if !arg.get_action().takes_values() {
                if value == "true" {
                    options.push(format!("--{long}"));
                }
            } else if value.starts_with('-') {
                options.push(format!("--{long}={value}"));
            } else {
                options.extend([format!("--{long}"), value]);
            }
        }
    }
    if written < arguments.len() {
        return None;
    }
    if positional.iter().any(|value| value.starts_with('-')) {
        options.push("--".to_owned());
        options.append(&mut positional);
        return Some(options);
    }
    positional.append(&mut options);
    Some(positional)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Whether the command line that gives these arguments is read as what they are: then clap's checks hold for them, too.
pub(super) fn agrees(operation: &Operation, arguments: &Map<String, Value>) -> bool {
    let again = words(operation, arguments).and_then(|words| parse(operation, &words));
    again.is_some_and(|again| {
        let (ours, theirs) = (filled(operation, arguments), filled(operation, &again));
        ours.is_some() && ours == theirs
    })
}

/// All arguments, with the defaults of those that were left out.
fn filled(operation: &Operation, arguments: &Map<String, Value>) -> Option<(Value, bool)> {
    let mut own = arguments.clone();
    let dry = operation.rehearses() && own.remove(DRY_RUN) == Some(Value::Bool(true));
    operation.filled(Value::Object(own)).ok().map(|filled| (filled, dry))
}

/// A word as a shell takes it, and the chat: in quotation marks also where it is one of the language.
pub(super) fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) && !words_of::is_of_the_language(word) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Registry;
    use serde_json::json;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_call_is_written_as_a_command_that_is_read_as_the_call() {
        let registry = Registry::default();
        for (name, arguments, line) in [
            (
                "container.create",
                json!({"name": "db-01", "template": "debian-base", "noStart": true}),
                "db-01 --template debian-base --no-start",
            ),
            (
                "container.create",
                json!({"name": "a", "connect": ["b", "c"], "dryRun": true}),
                "a --connect b --connect c --dry-run",
            ),
            ("snapshot.create", json!({"name": "-x", "why": "-y z"}), "--why=-y z -- -x"),
            ("plan", json!({"components": ["nat", "flows"]}), "nat flows"),
        ] {
            let operation = registry.find(name).unwrap();
            assert_eq!(words(operation, &map(&arguments.clone())).unwrap().join(" "), line);
            assert!(agrees(operation, &map(&arguments)), "{line}");
        }
    }

    #[test]
    fn what_no_command_line_says_is_not_written() {
        let registry = Registry::default();
        for (name, arguments) in [
            ("introspect", json!({"path": "/"})),
            ("container.show", json!({"name": "a", "colour": "red"})),
            ("container.show", json!({"name": {"a": 1}})),
            ("container.create", json!({"name": "a", "memory": 1})),
            ("container.create", json!({"name": "a", "cores": 0})),
            ("ledger.verify", json!({"against": "/etc/passwd"})),
            ("template.build", json!({"name": "a", "rootfs": "/etc/passwd"})),
        ] {
            assert!(!agrees(registry.find(name).unwrap(), &map(&arguments.clone())), "{name} {arguments}");
        }
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_apart() {
        for (word, shown) in [
            ("web-01", "web-01"),
            ("a b", "'a b'"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("$x", "'$x'"),
            ("not", "'not'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
