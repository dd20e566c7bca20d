//! A command that is typed as into a shell: `op-dbus container create web-01 --network socket`.

use serde_json::{Map, Value};

use super::sentence::{Sentence, Word};
use super::{Entry, command, words};

/// The operation whose command this is, by its index, and the arguments that were given.
pub(super) fn command(entries: &[Entry], sentence: &Sentence<'_>) -> Option<(usize, Map<String, Value>)> {
    let all = sentence.words.as_slice();
    let all = all.strip_prefix(
        all.first().filter(|word| word.folded == "op-dbus").map_or(&[][..], std::slice::from_ref),
    )?;
    if !all.iter().all(is_plain) {
        return None;
    }
    // Of `doctor` and `doctor fix`, that with more words.
    let named = entries
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| rest(entry, all).map(|(taken, rest)| (taken, index, rest)));
    let (_, index, rest) = named.max_by_key(|(taken, index, _)| (*taken, std::cmp::Reverse(*index)))?;
    // What is a word of the language is no value, but in quotation marks: `snapshot create not` is none of a snapshot.
    if rest.iter().any(|word| !word.quoted && words::is_of_the_language(&word.folded)) {
        return None;
    }
    let entry = &entries[index];
    let rest: Vec<String> = rest.iter().map(|word| word.text.to_owned()).collect();
    let arguments = command::parse(&entry.operation, &rest)?;
    arguments.iter().all(|(argument, value)| fits(entry, argument, value)).then_some((index, arguments))
}

/// Whether a word can be one of a command: of the characters that names have, and no option in quotation marks.
fn is_plain(word: &Word<'_>) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@._:/+=-".contains(&b);
    word.text.bytes().all(plain) && word.text != ":" && !(word.quoted && word.text.starts_with('-'))
}

/// How many words name the operation, and the words behind them.
fn rest<'w, 's>(entry: &Entry, typed: &'w [Word<'s>]) -> Option<(usize, Vec<&'w Word<'s>>)> {
    let begins = |name: &[&str]| {
        typed.len() >= name.len()
            && name.iter().zip(typed).all(|(part, word)| !word.quoted && word.folded == *part)
    };
    let name: Vec<&str> = entry.operation.name.split('.').collect();
    if begins(&name) {
        return Some((name.len(), typed[name.len()..].iter().collect()));
    }
    let (name, Some(flag)) = &entry.command else { return None };
    let is_flag = |word: &&Word<'_>| word.text.strip_prefix("--") == Some(*flag);
    if !begins(name) || typed.iter().filter(is_flag).count() != 1 {
        return None;
    }
    Some((name.len() + 1, typed[name.len()..].iter().filter(|word| !is_flag(word)).collect()))
}

/// Whether a value is one of those that the argument takes, as its phrases and its type have it.
fn fits(entry: &Entry, argument: &str, value: &Value) -> bool {
    let Some(kinds) = entry.kinds.get(argument) else { return !value.is_string() };
    match value {
        Value::String(text) => kinds.iter().any(|kind| kind.holds(text)),
        Value::Array(values) => values.iter().all(|value| fits(entry, argument, value)),
        Value::Object(_) => false,
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}
