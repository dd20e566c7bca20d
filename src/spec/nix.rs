//! The host spec as a NixOS configuration: the options of `services.operation-dbus` have the names and the
//! meaning of the spec's fields, so that what this writes evaluates to the document it was made from.

use serde_json::{Map, Value, json};

use super::{Container, HostSpec, Keep, Plugin, Template, plugin};

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What differs from the defaults, as one would write it.
    Changed,
    /// Every field.
    All,
}

/// A NixOS module that declares what the host spec declares, in the format of `nixfmt`. `origin` is where the spec
/// comes from, for the comment at the top.
#[must_use]
pub fn to_nix(spec: &HostSpec, extent: Extent, origin: &str) -> String {
    let defaults = HostSpec::default();
    let mut options = Map::new();
    if extent == Extent::All {
        for (section, value) in object(spec) {
            if section != "version" {
                options.insert(section, value);
            }
        }
    } else {
        options.extend([
            ("btrfs".to_owned(), changed(value(&spec.btrfs), &value(&defaults.btrfs))),
            ("ovs".to_owned(), changed(value(&spec.ovs), &value(&defaults.ovs))),
            ("ledger".to_owned(), value(&spec.ledger)),
            ("ml".to_owned(), changed(value(&spec.ml), &value(&defaults.ml))),
            ("mcp".to_owned(), changed(value(&spec.mcp), &value(&defaults.mcp))),
            ("plugins".to_owned(), plugins(spec)),
            ("containers".to_owned(), entries(&spec.containers, &value(&Container::default()))),
            // How often has no default: it is always written.
            ("snapshots".to_owned(), entries(&spec.snapshots, &json!({ "keep": Keep::default() }))),
        ]);
        if spec.templates != defaults.templates {
            // Given at all, they are given whole.
            options.insert("templates".into(), entries(&spec.templates, &value(&Template::default())));
        }
        options.retain(|name, value| {
            name == "templates" || value.as_object().is_none_or(|fields| !fields.is_empty())
        });
    }
    options.sort_keys();

    let mut text = format!("# The host spec {} as a NixOS configuration.\n{{\n", one_line(origin));
    text.push_str("  services.operation-dbus = {\n    enable = true;\n");
    fields(&mut text, &options, 1);
    text.push_str("  };\n}\n");
    text
}

fn value<T: serde::Serialize>(of: &T) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

fn object<T: serde::Serialize>(of: &T) -> Map<String, Value> {
    match value(of) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The fields that differ from the default's.
fn changed(value: Value, default: &Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let fields = fields.into_iter().filter(|(name, value)| Some(value) != default.get(name));
    Value::Object(
        fields
            .map(|(name, value)| {
                let inner = default.get(&name).filter(|inner| inner.is_object());
                let value = inner.map_or_else(|| value.clone(), |inner| changed(value.clone(), inner));
                (name, value)
            })
            .collect(),
    )
}

/// Entries by name, each with the fields that differ from the default's.
fn entries<T: serde::Serialize>(all: &T, default: &Value) -> Value {
    Value::Object(object(all).into_iter().map(|(name, entry)| (name, changed(entry, default))).collect())
}

/// The plugins that are not among the four of every host as they come.
fn plugins(spec: &HostSpec) -> Value {
    let usual = plugin::default_plugins();
    let others: std::collections::BTreeMap<_, _> =
        spec.plugins.iter().filter(|(name, plugin)| usual.get(*name) != Some(plugin)).collect();
    // A plugin has no default name to be discovered by: that field is always written.
    let default = Plugin { introspection: String::new(), capabilities: plugin::read_and_write() };
    entries(&others, &value(&default))
}

fn write(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(inner) if inner.is_empty() => text.push_str("{ }"),
        Value::Object(inner) => {
            text.push_str("{\n");
            fields(text, inner, depth);
            indent(text, depth);
            text.push('}');
        }
        Value::Array(items) if items.is_empty() => text.push_str("[ ]"),
        Value::Array(items) if items.len() == 1 => {
            text.push_str("[ ");
            write(text, &items[0], depth);
            text.push_str(" ]");
        }
        Value::Array(items) => {
            text.push_str("[\n");
            for item in items {
                indent(text, depth + 1);
                write(text, item, depth + 1);
                text.push('\n');
            }
            indent(text, depth);
            text.push(']');
        }
        Value::String(string) => text.push_str(&quoted(string)),
        // Numbers, booleans and null are written as in JSON.
        plain => text.push_str(&plain.to_string()),
    }
}

fn fields(text: &mut String, fields: &Map<String, Value>, depth: usize) {
    for (name, mut value) in fields {
        indent(text, depth + 1);
        text.push_str(&attribute(name));
        // A set of one is written as a path: `limits.memory = 512;`.
        while let Some((name, inner)) =
            value.as_object().filter(|set| set.len() == 1).and_then(|set| set.iter().next())
        {
            text.push('.');
            text.push_str(&attribute(name));
            value = inner;
        }
        text.push_str(" = ");
        write(text, value, depth + 1);
        text.push_str(";\n");
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

/// What Nix reads as something else than a name.
const KEYWORDS: [&str; 10] = ["assert", "else", "if", "in", "inherit", "let", "or", "rec", "then", "with"];

fn attribute(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_'-".contains(c))
        && !KEYWORDS.contains(&name);
    if plain { name.to_owned() } else { quoted(name) }
}

/// A string of Nix: in quotes, with `\`, `"`, `${`, line ends and tabs escaped (Nix manual, "String literals").
pub(super) fn quoted(string: &str) -> String {
    let mut text = String::from("\"");
    let mut characters = string.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '$' if characters.peek() == Some(&'{') => text.push_str("\\$"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            _ => text.push(character),
        }
    }
    text.push('"');
    text
}

/// Text in a comment, which ends where the line does.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::parse;
    use proptest::prelude::*;

    /// What Nix makes of a string literal, written apart from what writes them.
    fn unquoted(literal: &str) -> String {
        let mut inside = literal.strip_prefix('"').unwrap().strip_suffix('"').unwrap().chars();
        let mut string = String::new();
        while let Some(character) = inside.next() {
            assert_ne!(character, '"', "the literal ends early: {literal}");
            if character == '\\' {
                string.push(match inside.next().unwrap() {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    other => other,
                });
            } else {
                assert!(
                    !(character == '$' && inside.as_str().starts_with('{')),
                    "something is filled in: {literal}"
                );
                string.push(character);
            }
        }
        string
    }

    proptest! {
        #[test]
        fn any_string_is_what_it_was_and_fills_nothing_in(string in r#"([$"\\{}\n\r\t']|\PC){0,20}"#) {
            prop_assert_eq!(unquoted(&quoted(&string)), string);
        }
    }

    fn spec(text: &str) -> HostSpec {
        parse(text).unwrap()
    }

    #[test]
    fn the_default_host_is_two_lines() {
        let text = to_nix(&HostSpec::default(), Extent::Changed, "x\n}; evil");
        assert_eq!(
            text,
            "# The host spec x }; evil as a NixOS configuration.\n{\n  services.operation-dbus = {\n    enable = true;\n  };\n}\n"
        );
    }

    const SPEC: &str = r#"{
        "version": 1,
        "btrfs": {"basePath": "/srv/a", "image": {"path": "/srv/a.btrfs", "size": "20G"}},
        "ovs": {"hostAccess": true, "dns": ["9.9.9.9", "::1"]},
        "plugins": {"lxc": {"introspection": "opdbus:lxc", "capabilities": ["read"]},
                    "resolved": {"introspection": "org.freedesktop.resolve1"}},
        "templates": {"web": {"packages": ["nginx"], "user": {"name": "a", "sshKeys": ["k \"${x}\\"]}}},
        "ledger": {"checkpoints": {"to": "/mnt/vault", "every": "daily"}},
        "ml": {"enable": true, "numThreads": 4, "qdrant": {"url": "https://qdrant:6334", "apiKeyFile": "/etc/opdbus/qdrant-key"}},
        "mcp": {"enable": true, "address": "0.0.0.0", "hosts": ["ops.example.org"], "proxy": true, "openFirewall": true},
        "containers": {"in": {"template": "web", "limits": {"memory": 512}}, "web-01": {"template": "web", "connect": ["in"]}}
    }"#;

    #[test]
    fn what_differs_is_written_and_nothing_else() {
        insta::assert_snapshot!(to_nix(&spec(SPEC), Extent::Changed, "/etc/opdbus/config.json"));
    }

    #[test]
    fn every_field_is_written_where_all_are_asked_for() {
        let text = to_nix(&spec(SPEC), Extent::All, "x");
        for field in
            ["compressionLevel = 3;", "\"in\" = {", "swap = 512;", "datapath = \"auto\";", "systemd = {"]
        {
            assert!(text.contains(field), "{field}: {text}");
        }
        assert!(!text.contains("version"), "{text}");
    }

    #[test]
    fn templates_that_are_all_taken_out_are_none_and_not_the_default() {
        let text = to_nix(&spec(r#"{"version": 1, "templates": {}}"#), Extent::Changed, "x");
        assert!(text.contains("    templates = { };\n"), "{text}");
    }
}
