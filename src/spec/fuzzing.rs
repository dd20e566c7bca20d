//! The host spec, from any bytes.

use super::nix::quoted;
use super::{Extent, check, parse, render, to_nix};

/// What is accepted is accepted again as it is written, stays what it was, and becomes a NixOS module.
pub(crate) fn spec(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let spec = match parse(text) {
        Ok(spec) => spec,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(check(&spec).is_ok(), "what is accepted passes its check");
    let written = render(&spec);
    assert_eq!(parse(&written).ok().as_ref(), Some(&spec), "{written}");
    for extent in [Extent::Changed, Extent::All] {
        let module = to_nix(&spec, extent, text);
        assert_eq!(module.lines().nth(1), Some("{"), "the comment is one line");
        assert!(strings_end(&module), "{module}");
    }
}

/// Whether no string of a module ends early or fills anything in: outside of its strings there are only the characters
/// that the fields are made of.
fn strings_end(module: &str) -> bool {
    let after_comment = module.split_once('\n').map_or("", |(_, rest)| rest);
    let (mut inside, mut characters) = (false, after_comment.chars().peekable());
    while let Some(character) = characters.next() {
        match character {
            '"' => inside = !inside,
            '\\' if inside => drop(characters.next()),
            '$' if characters.peek() == Some(&'{') => return false,
            _ if inside => {}
            c if c.is_ascii_alphanumeric() || "_'-.={}[]; \n".contains(c) => {}
            _ => return false,
        }
    }
    !inside
}

/// A string of Nix is, read back, what it was.
pub(crate) fn nix_string(text: &str) {
    let literal = quoted(text);
    let inner = literal.strip_prefix('"').and_then(|l| l.strip_suffix('"')).unwrap_or_default();
    let (mut read, mut characters) = (String::new(), inner.chars().peekable());
    while let Some(character) = characters.next() {
        assert_ne!(character, '"', "the string ends early: {literal}");
        match character {
            '\\' => read.extend(characters.next().map(|escaped| match escaped {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            })),
            '$' => {
                assert_ne!(characters.peek(), Some(&'{'), "something is filled in: {literal}");
                read.push('$');
            }
            other => read.push(other),
        }
    }
    assert_eq!(read, text);
}
