//! What an entry of the ledger says: to a reader who looks for a word, and to the model.
//!
//! The model knows English and not our operations. It is told what was done in the words that the operation's own
//! declaration gives ("built an image anew"), and apart from that what is particular about this time: the error, a reason
//! that somebody gave. Everything else (numbers, addresses, lists of packages) only blurs what it makes of a sentence.

use serde_json::Value;

use crate::ledger::Entry;

/// The most of a text, in bytes: about as much as the model looks at.
const LONGEST: usize = 1000;

/// What an operation is called in other words, by its name; nothing where it has none.
pub type Glosses<'a> = &'a dyn Fn(&str) -> &'static [&'static str];

/// What of an entry is about the call and not about what was done.
const NOT_SAID: [&str; 5] = ["duration_us", "deployment", "caller", "outcome", "error"];

fn cut(text: &str, longest: usize) -> &str {
    let mut end = longest.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn plain(operation: &str) -> String {
    operation.replace(['.', '_'], " ")
}

fn glosses(entry: &Entry, glosses: Glosses<'_>) -> Vec<String> {
    let found = glosses(&entry.operation);
    if found.is_empty() {
        vec![plain(&entry.operation)]
    } else {
        found.iter().map(ToString::to_string).collect()
    }
}

/// The text that words are looked for in: everything, and what the operation is called in other words.
#[must_use]
pub fn words_of(entry: &Entry, other: Glosses<'_>) -> String {
    let metadata = &entry.metadata;
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let mut all = vec![
        glosses(entry, other).join(" "),
        plain(&entry.operation),
        entry.target.clone(),
        text(&metadata["caller"]["user"]),
        text(&metadata["outcome"]),
        text(&metadata["error"]),
    ];
    particulars(metadata, &mut |name, value| all.push(format!("{} {value}", spaced(name))));
    // MiB, which people count in thousands.
    if let Some(memory) = metadata["arguments"]["memory"].as_u64().filter(|memory| memory % 1024 == 0) {
        all.push(format!("{} GB {0} GiB", memory / 1024));
    }
    all.join(" ")
}

/// What the model is told: what was done, in as many ways as the operation has words for it.
#[must_use]
pub fn done(entry: &Entry, other: Glosses<'_>) -> Vec<String> {
    let outcome = match entry.metadata["outcome"].as_str() {
        Some("failed") => " failed",
        Some("refused") => " was refused",
        _ => "",
    };
    glosses(entry, other).iter().map(|gloss| format!("{gloss} {}{outcome}", entry.target)).collect()
}

/// What the model is told of this time: the error, and what somebody wrote with it.
#[must_use]
pub fn particular(entry: &Entry) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(error) = entry.metadata["error"].as_str() {
        // Paths are noise to it.
        let line = error.lines().next().unwrap_or_default();
        let words: Vec<&str> =
            line.split(' ').filter(|word| !word.trim_matches(['\'', '"', '`']).starts_with('/')).collect();
        told.push(cut(&words.join(" "), 200).to_owned());
    }
    let mut written = Vec::new();
    particulars(&entry.metadata, &mut |_, value| {
        if value.contains(' ') && value != entry.target {
            written.push(value.to_owned());
        }
    });
    if !written.is_empty() {
        told.push(cut(&written.join(" "), 200).to_owned());
    }
    told
}

/// Names and values of what is particular in the metadata; what is not there or off is passed over.
fn particulars(metadata: &Value, say: &mut dyn FnMut(&str, &str)) {
    let Value::Object(members) = metadata else { return };
    let mut left = LONGEST;
    for (name, value) in members {
        if !NOT_SAID.contains(&name.as_str()) {
            walk(name, value, &mut left, say);
        }
    }
}

fn walk(name: &str, value: &Value, left: &mut usize, say: &mut dyn FnMut(&str, &str)) {
    let mut one = |text: &str| {
        let text = cut(text, *left);
        *left -= text.len();
        if !text.is_empty() {
            say(name, text);
        }
    };
    match value {
        Value::Null | Value::Bool(false) => {}
        Value::Bool(true) => one("yes"),
        Value::Number(number) => one(&number.to_string()),
        Value::String(text) => one(text),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            one(&items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
        }
        Value::Array(items) => items.iter().for_each(|item| walk(name, item, left, say)),
        Value::Object(members) => members.iter().for_each(|(name, value)| walk(name, value, left, say)),
    }
}

/// `noAutostart` as words.
fn spaced(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_uppercase() {
            words.push(' ');
            words.extend(c.to_lowercase());
        } else {
            words.push(if c == '_' { ' ' } else { c });
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(operation: &str, target: &str, metadata: Value) -> Entry {
        Entry {
            id: 1,
            timestamp: 0,
            operation: operation.into(),
            target: target.into(),
            previous_hash: None,
            current_hash: String::new(),
            metadata,
        }
    }

    fn other(operation: &str) -> &'static [&'static str] {
        if operation == "container.create" { &["created a container", "made a new machine"] } else { &[] }
    }

    #[test]
    fn an_entry_says_what_was_done_and_what_was_particular() {
        let metadata = json!({
            "arguments": { "name": "db-01", "memory": 8192, "noStart": true, "service": null, "connect": [], "nesting": false },
            "caller": { "uid": 1000, "user": "alice", "via": "dbus" }, "deployment": "traditional", "duration_us": 5,
            "outcome": "failed", "error": "cannot write /var/lib/x: no room\nmore",
        });
        let entry = entry("container.create", "db-01", metadata);
        assert_eq!(
            done(&entry, &other),
            ["created a container db-01 failed", "made a new machine db-01 failed"]
        );
        assert_eq!(particular(&entry), ["cannot write no room"]);
        let words = words_of(&entry, &other);
        for wanted in [
            "made a new machine",
            "container create",
            "db-01",
            "alice",
            "failed",
            "memory 8192",
            "8 GB 8 GiB",
            "no start yes",
        ] {
            assert!(words.contains(wanted), "{wanted} in {words}");
        }
        assert!(!words.contains("nesting") && !words.contains("traditional"));
    }

    #[test]
    fn a_reason_that_somebody_gave_is_particular_and_a_name_is_not() {
        let metadata =
            json!({ "arguments": { "name": "before-13", "why": "before the upgrade" }, "outcome": "ok" });
        assert_eq!(particular(&entry("snapshot.create", "host", metadata)), ["before the upgrade"]);
        assert_eq!(particular(&entry("x", "y", json!({ "arguments": { "name": "z" } }))), [""; 0]);
        assert_eq!(done(&entry("template.roll_back", "y", json!({})), &other), ["template roll back y"]);
    }

    #[test]
    fn whatever_metadata_is_the_texts_are_bounded() {
        let long = "ü ".repeat(5000);
        for metadata in [
            json!(null),
            json!("text"),
            json!([1]),
            json!({ "arguments": { "x": long, "y": long } }),
            json!({ "error": long }),
        ] {
            let entry = entry("x", "y", metadata);
            assert!(words_of(&entry, &other).len() < 20_000);
            assert!(particular(&entry).iter().all(|text| text.len() <= 200));
        }
    }
}
