//! Sentences from any bytes. They are read; nothing is run.

use std::sync::OnceLock;

use super::{Grammar, Reading};
use crate::ops::Registry;

/// Reading never ends in a panic, is always the same, and what is read is written as a command that is read as the same.
pub(crate) fn sentences(data: &[u8]) {
    static GRAMMAR: OnceLock<Option<Grammar>> = OnceLock::new();
    let grammar = GRAMMAR.get_or_init(|| Grammar::new(&Registry::default()).ok());
    let (Ok(text), Some(grammar)) = (std::str::from_utf8(data), grammar) else { return };
    let read = |text: &str| match grammar.read(text) {
        Reading::Call { operation, arguments } => Some((operation.name, arguments)),
        _ => None,
    };
    let Some((name, arguments)) = read(text) else { return };
    assert_eq!(read(text).as_ref(), Some(&(name, arguments.clone())));
    assert!(!text.contains(['\n', '\0', '\u{202e}']), "{text:?}");
    let command = Registry::default().find(name).ok().and_then(|op| grammar.command(op, &arguments));
    assert!(command.is_some(), "{name} {arguments} has no command");
    let command = command.unwrap_or_default();
    assert!(!command.contains(char::is_control), "{command:?}");
}
