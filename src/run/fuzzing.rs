//! What a tool's call is shown as, and what it said, from any bytes.

use super::{Invocation, tail};

/// A call is shown as a shell would take it: the same words, and nothing of them does anything.
pub(crate) fn calls(data: &[u8]) {
    let args: Vec<String> = String::from_utf8_lossy(data)
        .split('\0')
        .filter(|a| !a.contains('\u{fffd}'))
        .map(str::to_owned)
        .collect();
    let shown = Invocation::new("tool").args(&args).to_string();
    assert_eq!(typed(&shown).as_deref(), Some(&[&["tool".to_owned()], &*args].concat()[..]), "{shown}");
    assert!(!tail(data).contains('\n'));
}

/// The words of a line in a shell that knows single quotes and `\'`; `None` where it would do more than pass words.
fn typed(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' => words.extend(word.take()),
            '\'' => {
                let quoted: String = characters.by_ref().take_while(|c| *c != '\'').collect();
                word.get_or_insert_default().push_str(&quoted);
            }
            '\\' => word.get_or_insert_default().push(characters.next()?),
            '#' | '~' if word.is_none() => return None,
            c if c.is_whitespace() || "\"$`;&|<>()*?[]{}!".contains(c) => return None,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}
