//! What a slot takes, and what it makes of it.

use std::net::Ipv4Addr;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::sentence::Word;
use super::words;
use crate::ledger;
use crate::name::{ContainerName, PluginName, TemplateName};
use crate::ops::Operation;
use crate::snapshots::{Label, SnapshotName};
use crate::spec::{ServiceAddress, Subject};

/// A text that a type of the project checks.
#[derive(Debug)]
pub(super) struct Text {
    /// As patterns name it.
    name: &'static str,
    /// As JSON Schema names the type; none where arguments have it as mere text.
    schema: &'static str,
    check: fn(&str) -> bool,
    sample: &'static str,
}

impl Text {
    /// Whether this is one. Nothing that leads out of a directory is, whatever its type says.
    fn holds(&self, value: &str) -> bool {
        !value.contains("..") && (self.check)(value)
    }
}

/// What one word of an argument may be.
static TEXTS: [Text; 12] = [
    Text {
        name: "container",
        schema: "ContainerName",
        check: |t| t.parse::<ContainerName>().is_ok(),
        sample: "web-01",
    },
    Text {
        name: "template",
        schema: "TemplateName",
        check: |t| t.parse::<TemplateName>().is_ok(),
        sample: "debian-base",
    },
    Text { name: "plugin", schema: "PluginName", check: |t| t.parse::<PluginName>().is_ok(), sample: "lxc" },
    Text {
        name: "service",
        schema: "ServiceAddress",
        check: |t| t.parse::<ServiceAddress>().is_ok(),
        sample: "5432",
    },
    Text { name: "label", schema: "Label", check: |t| t.parse::<Label>().is_ok(), sample: "before-upgrade" },
    Text {
        name: "snapshot",
        schema: "SnapshotName",
        check: |t| t.parse::<Label>().is_ok() || t.parse::<SnapshotName>().is_ok(),
        sample: "before-upgrade",
    },
    Text { name: "subject", schema: "Subject", check: |t| t.parse::<Subject>().is_ok(), sample: "@state" },
    Text { name: "ipv4", schema: "", check: |t| t.parse::<Ipv4Addr>().is_ok(), sample: "10.0.0.50" },
    Text {
        name: "bus-name",
        schema: "",
        check: |t| zbus::names::BusName::try_from(t).is_ok(),
        sample: "org.freedesktop.systemd1",
    },
    Text {
        name: "object-path",
        schema: "",
        check: |t| zbus::ObjectPath::try_from(t).is_ok(),
        sample: "/org/freedesktop/systemd1",
    },
    Text { name: "interface", schema: "", check: |t| t.len() < 16 && (WORD.check)(t), sample: "eth0" },
    Text { name: "time", schema: "", check: is_time, sample: "2026-01-31" },
];

/// A name of any kind: a package, a release, a generation.
static WORD: Text = Text {
    name: "word",
    schema: "",
    check: |t| {
        t.starts_with(|c: char| c.is_ascii_alphanumeric()) && is_plain(t) && !t.contains(['@', '/', ':'])
    },
    sample: "NAME",
};

/// A text of which nothing is declared: one word of the characters that names, paths and addresses have.
static PLAIN: Text = Text { name: "", schema: "", check: is_plain, sample: "NAME" };

fn is_plain(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['-', '.'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"@._:/+-".contains(&b))
}

/// A date or a time as the ledger takes it, in one word.
fn is_time(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && ledger::text::point(text, false, &TimeZone::UTC).is_ok()
}

/// Units of memory, in MiB.
const MEBIBYTES: &[(&str, u64)] = &[
    ("m", 1),
    ("mb", 1),
    ("mib", 1),
    ("megabytes", 1),
    ("mebibytes", 1),
    ("g", 1 << 10),
    ("gb", 1 << 10),
    ("gib", 1 << 10),
    ("gigabytes", 1 << 10),
    ("gibibytes", 1 << 10),
    ("t", 1 << 20),
    ("tb", 1 << 20),
    ("tib", 1 << 20),
];

/// Units of time, in seconds.
const SECONDS: &[(&str, u64)] = &[
    ("s", 1),
    ("sec", 1),
    ("second", 1),
    ("seconds", 1),
    ("min", 60),
    ("minute", 60),
    ("minutes", 60),
    ("h", 3600),
    ("hour", 3600),
    ("hours", 3600),
];

/// Numbers that are written out.
const NUMBERS: [&str; 12] =
    ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

/// How sure it is that a word is a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// Any name: it is in quotation marks, or stands behind "named".
    Any,
    /// A name that is no word of the language; a noun before it says what it is a name of.
    Noun,
    /// One that nobody takes for a word: it has a digit, a hyphen or the like.
    Evident,
}

/// What a slot takes.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A text that is checked.
    Text(&'static Text),
    /// The name of something, which goes into the argument behind what it lies in: `container/`.
    Inside(String, &'static Text),
    /// One of these.
    Choice(Vec<String>),
    /// A whole number.
    Number,
    /// A whole number of a unit.
    Amount(&'static [(&'static str, u64)]),
}

impl Kind {
    /// The kind that a pattern names.
    pub(super) fn named(name: &str, operations: &[&str]) -> Option<Self> {
        Some(match name {
            "word" => Self::Text(&WORD),
            "number" => Self::Number,
            "mebibytes" => Self::Amount(MEBIBYTES),
            "seconds" => Self::Amount(SECONDS),
            "operation" => Self::Choice(operations.iter().map(|&name| name.to_owned()).collect()),
            "container/" => Self::Inside(name.to_owned(), text("container")?),
            "@plugins/" => Self::Inside(name.to_owned(), text("plugin")?),
            _ => Self::Text(text(name)?),
        })
    }

    /// The kind of an argument, from its declaration: what lists its words, else its type.
    pub(super) fn of(operation: &Operation, schema: &Value, argument: &str) -> Option<Self> {
        if let Some((_, list)) = operation.choices.iter().find(|(of, _)| *of == argument) {
            return Some(Self::Choice(list().into_iter().map(str::to_owned).collect()));
        }
        Self::of_schema(schema, schema.get("properties")?.get(argument)?)
    }

    fn of_schema(root: &Value, schema: &Value) -> Option<Self> {
        if let Some(definition) = schema.get("$ref").and_then(Value::as_str) {
            let name = definition.rsplit('/').next()?;
            let kind = Self::of_schema(root, root.get("$defs")?.get(name)?)?;
            // A second type of the name has a number behind it.
            let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
            let known = TEXTS.iter().find(|text| text.schema == name);
            return Some(match (kind, known) {
                (Self::Text(_), Some(text)) => Self::Text(text),
                (kind, _) => kind,
            });
        }
        if let Some(Value::Array(any)) = schema.get("anyOf") {
            return any.iter().find_map(|schema| Self::of_schema(root, schema));
        }
        if let Some(Value::Array(values)) = schema.get("oneOf") {
            let of = |value: &Value| value.get("const").and_then(Value::as_str).map(str::to_owned);
            return values.iter().map(of).collect::<Option<Vec<_>>>().map(Self::Choice);
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            let of = |value: &Value| value.as_str().map(str::to_owned);
            return values.iter().map(of).collect::<Option<Vec<_>>>().map(Self::Choice);
        }
        let is = |wanted: &str| match schema.get("type") {
            Some(Value::String(kind)) => kind == wanted,
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == wanted),
            _ => false,
        };
        if is("array") {
            return Self::of_schema(root, schema.get("items")?);
        }
        if is("integer") {
            return Some(Self::Number);
        }
        is("string").then_some(Self::Text(&PLAIN))
    }

    /// Reads from the beginning of these words: how many it takes, and what they mean.
    pub(super) fn read(&self, words: &[Word<'_>], naming: Naming) -> Option<(usize, Value)> {
        let first = words.first()?;
        match self {
            Self::Text(text) => Some((1, checked(text, first, naming)?.into())),
            Self::Inside(place, text) => {
                Some((1, format!("{place}{}", checked(text, first, naming)?).into()))
            }
            Self::Choice(choices) => choices.iter().find_map(|choice| {
                // "disk space" is disk-space.
                let apart: Vec<&str> = choice.split('-').collect();
                let fits = |parts: &[&str]| {
                    parts.len() <= words.len()
                        && parts.iter().zip(words).all(|(part, word)| *part == word.folded)
                };
                let parts = if fits(&[choice]) { 1 } else { apart.len() };
                (parts == 1 && fits(&[choice]) || fits(&apart)).then(|| (parts, choice.as_str().into()))
            }),
            Self::Number => Some((1, number(&first.folded)?.into())),
            Self::Amount(units) => {
                let digits = first.folded.find(|c: char| !c.is_ascii_digit()).unwrap_or(first.folded.len());
                let (count, unit, taken) = if digits == 0 || digits == first.folded.len() {
                    (number(&first.folded)?, words.get(1)?.folded.as_str(), 2)
                } else {
                    (number(&first.folded[..digits])?, &first.folded[digits..], 1)
                };
                let (_, each) = units.iter().find(|(name, _)| *name == unit)?;
                Some((taken, count.checked_mul(*each)?.into()))
            }
        }
    }

    /// Whether a value that came another way than through words is of this kind.
    pub(super) fn holds(&self, value: &str) -> bool {
        match self {
            Self::Text(text) => text.holds(value),
            Self::Inside(place, text) => {
                value.strip_prefix(place.as_str()).is_some_and(|name| text.holds(name))
            }
            Self::Choice(choices) => choices.iter().any(|choice| choice == value),
            Self::Number | Self::Amount(_) => true,
        }
    }

    /// How an example has it.
    pub(super) fn sample(&self) -> &str {
        match self {
            Self::Text(text) | Self::Inside(_, text) => text.sample,
            Self::Choice(choices) => choices.first().map_or("", String::as_str),
            Self::Number => "20",
            Self::Amount(units) => {
                if units.iter().any(|(name, _)| *name == "min") {
                    "300s"
                } else {
                    "2G"
                }
            }
        }
    }
}

fn text(name: &str) -> Option<&'static Text> {
    TEXTS.iter().find(|text| text.name == name)
}

fn number(word: &str) -> Option<u64> {
    if let Some(at) = NUMBERS.iter().position(|name| *name == word) {
        return u64::try_from(at + 1).ok();
    }
    word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok())?
}

fn checked<'w>(text: &Text, word: &'w Word<'_>, naming: Naming) -> Option<&'w str> {
    let plain = naming == Naming::Any || word.quoted || !words::is_of_the_language(&word.folded);
    let evident = || word.text.contains(|c: char| !c.is_ascii_alphabetic());
    let fits = plain && (naming != Naming::Evident || word.quoted || evident());
    (fits && text.holds(word.text)).then_some(word.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::sentence::Sentence;
    use serde_json::json;

    fn read(kind: &str, text: &str, naming: Naming) -> Option<(usize, Value)> {
        let kind = Kind::named(kind, &["container.create"]).unwrap();
        kind.read(&Sentence::new(text).unwrap().words, naming)
    }

    #[test]
    fn amounts_are_numbers_of_a_unit_and_nothing_else() {
        for (text, taken, value) in
            [("512M", 1, 512), ("1 GB", 2, 1024), ("1GiB x", 1, 1024), ("two G", 2, 2048)]
        {
            assert_eq!(read("mebibytes", text, Naming::Noun), Some((taken, json!(value))), "{text}");
        }
        assert_eq!(read("seconds", "5 minutes", Naming::Noun), Some((2, json!(300))));
        for text in [
            "1.5 GB",
            "-1 GB",
            "1 potato",
            "512",
            "99999999999999999999 GB",
            "18446744073709551615 GB",
            "lots of",
        ] {
            assert_eq!(read("mebibytes", text, Naming::Noun), None, "{text}");
        }
    }

    #[test]
    fn a_word_of_the_language_is_a_name_only_where_it_is_said_to_be_one() {
        for word in ["not", "with", "it", "everything"] {
            assert_eq!(read("container", word, Naming::Noun), None, "{word}");
            assert_eq!(read("container", word, Naming::Any), Some((1, json!(word))));
            assert_eq!(read("container", &format!("'{word}'"), Naming::Noun), Some((1, json!(word))));
        }
        assert_eq!(read("container", "cache", Naming::Evident), None);
        assert_eq!(read("container", "cache", Naming::Noun), Some((1, json!("cache"))));
        assert_eq!(read("container", "web-01", Naming::Evident), Some((1, json!("web-01"))));
        for hostile in ["../x", "Web-01", "a;b", "web-*", "$x", "wеb-01", "-rf", "--all"] {
            assert_eq!(read("container", hostile, Naming::Any), None, "{hostile}");
        }
    }

    #[test]
    fn what_is_kept_elsewhere_goes_behind_its_place() {
        assert_eq!(read("container/", "web-01", Naming::Noun), Some((1, json!("container/web-01"))));
        assert_eq!(read("operation", "Container.Create", Naming::Noun), Some((1, json!("container.create"))));
        assert!(Kind::named("container/", &[]).unwrap().holds("container/web-01"));
        assert!(!Kind::named("container/", &[]).unwrap().holds("container/../x"));
    }
}
