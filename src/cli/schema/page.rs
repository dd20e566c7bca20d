//! `docs/json.md`, made from the catalogue.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Catalogue;

/// A row of a table: where, of what type, what it is.
type Row = (String, String, String);

/// A schema with the definitions that it refers to.
struct Reader<'s> {
    root: &'s Value,
    rows: Vec<Row>,
}

impl<'s> Reader<'s> {
    fn rows(root: &'s Value) -> Vec<Row> {
        let mut reader = Self { root, rows: Vec::new() };
        reader.below(root, "", &mut Vec::new());
        let mut seen = BTreeSet::new();
        reader.rows.retain(|(at, of, _)| seen.insert((at.clone(), of.clone())));
        reader.rows
    }

    /// What a reference leads to, and its name.
    fn resolved(&self, schema: &'s Value) -> (&'s Value, Option<&'s str>) {
        let name = schema["$ref"].as_str().and_then(|to| to.strip_prefix("#/$defs/"));
        name.map_or((schema, None), |name| (&self.root["$defs"][name], Some(name)))
    }

    /// The alternatives of a schema, but null.
    fn variants(schema: &'s Value) -> impl Iterator<Item = &'s Value> {
        let lists = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|key| schema[key].as_array());
        lists.flatten().filter(|variant| variant["type"] != "null")
    }

    /// The type of a value, in words.
    fn kind(&self, schema: &'s Value) -> String {
        let (schema, _) = self.resolved(schema);
        if let Some(choice) = schema["enum"].as_array() {
            return choice.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
        }
        if !schema["const"].is_null() {
            return format!("`{}`", schema["const"]);
        }
        let mut kinds: Vec<String> = match &schema["type"] {
            Value::String(kind) => vec![kind.clone()],
            Value::Array(kinds) => kinds.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        };
        if let Some(kind) = kinds.iter_mut().find(|kind| *kind == "array") {
            *kind = format!("array of {}", self.kind(&schema["items"]));
        }
        for variant in Self::variants(schema) {
            let kind = self.kind(variant);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let null = ["anyOf", "oneOf"].iter().filter_map(|key| schema[*key].as_array()).flatten();
        if null.into_iter().any(|variant| variant["type"] == "null") {
            kinds.push("null".into());
        }
        if kinds.is_empty() { "any".into() } else { kinds.join(" or ") }
    }

    /// The rows of what is inside a value.
    fn below(&mut self, schema: &'s Value, at: &str, open: &mut Vec<&'s str>) {
        let (schema, name) = self.resolved(schema);
        if name.is_some_and(|name| open.contains(&name)) {
            return;
        }
        open.extend(name);
        let dotted = |field: &str| if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") };
        let required =
            |field: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == field));
        for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = dotted(field);
            // A variant with one field is described where the field is not.
            let alone = schema["properties"].as_object().is_some_and(|all| all.len() == 1);
            let what = inner["description"]
                .as_str()
                .or_else(|| self.resolved(inner).0["description"].as_str())
                .or_else(|| schema["description"].as_str().filter(|_| alone));
            let optional = if required(field) { "" } else { ", optional" };
            self.rows.push((path.clone(), self.kind(inner) + optional, what.unwrap_or_default().to_owned()));
            self.below(inner, &path, open);
        }
        if schema["items"].is_object() {
            self.below(&schema["items"], &format!("{at}[]"), open);
        }
        if schema["additionalProperties"].is_object() {
            self.below(&schema["additionalProperties"], &dotted("*"), open);
        }
        for variant in Self::variants(schema) {
            self.below(variant, at, open);
        }
        if name.is_some() {
            open.pop();
        }
    }
}

fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// What a schema allows, as a table; in a line where it has no fields.
fn described(what: &str, schema: &Value) -> String {
    let reader = Reader { root: schema, rows: Vec::new() };
    let kind = reader.kind(schema);
    let rows = Reader::rows(schema);
    if rows.is_empty() {
        return match (what, kind.as_str()) {
            ("Arguments", _) => "No arguments.\n\n".into(),
            _ => format!("{what}: {kind}.\n\n"),
        };
    }
    let rows: String =
        rows.iter().map(|(at, of, what)| format!("| `{at}` | {} | {} |\n", cell(of), cell(what))).collect();
    format!("{what}: {kind}.\n\n| field | type | what it is |\n|---|---|---|\n{rows}\n")
}

fn lower(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

/// The page.
fn page(all: &Catalogue) -> String {
    let mut page = String::from(
        "# JSON\n\nWhat every operation takes and answers, and what every program prints with `--json`. This page is made from \
         the\nprograms' own types, and a test compares it with them. `op-dbus schema NAME` prints the same as JSON Schema (draft\n\
         2020-12), `op-dbus schema --json` all of it, and `GET /v1/operations` on the API socket the operations. Pass over fields\n\
         that you do not know: a later version may have more.\n\n`[]` in a field stands for each element of an array, `*` for \
         each name.\n\n## Failures\n\nOn standard error with `--json`, with the exit status of its `kind` \
         ([operations.md](operations.md#exit-status)); over the API\nsocket with an HTTP status.\n\n",
    );
    page += &described("Failure", &all.error);
    page += "## Operations\n\nAt every door: `op-dbus`, D-Bus, the API socket.\n\n";
    for one in &all.operations {
        let (effect, privilege) = (lower(one.effect), lower(one.privilege));
        page +=
            &format!("### `{}`\n\n{}. Effect: {effect}; privilege: {privilege}.\n\n", one.name, one.summary);
        page += &described("Arguments", &one.arguments);
        page += &described("Answer", &one.answer);
    }
    page += "## Commands that are no operations\n\n";
    for one in &all.commands {
        page += &match (&one.answer, &one.operation, &one.text) {
            (Some(answer), ..) => format!("### `{}`\n\n{}", one.command, described("Answer", answer)),
            (_, Some(operation), _) => {
                format!("### `{}`\n\nAs the operation `{operation}`.\n\n", one.command)
            }
            (.., text) => {
                format!("### `{}`\n\nNo JSON: {}.\n\n", one.command, text.as_deref().unwrap_or("nothing"))
            }
        };
    }
    page.trim_end().to_owned() + "\n"
}

#[test]
fn the_page_has_what_the_types_have() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md");
    let made = page(&Catalogue::new());
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(path, &made).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(there == made, "{path} is old: INSTA_UPDATE=always cargo test --lib the_page_has");
}

#[test]
fn every_field_of_every_answer_says_what_it_is() {
    let all = Catalogue::new();
    let answers = all.operations.iter().map(|one| (&one.name, &one.answer));
    let answers =
        answers.chain(all.commands.iter().filter_map(|one| Some((&one.command, one.answer.as_ref()?))));
    let mute: BTreeSet<String> = answers
        .flat_map(|(name, answer)| Reader::rows(answer).into_iter().map(move |row| (name, row)))
        // What has one value alone says which variant it is.
        .filter(|(_, (_, of, what))| what.is_empty() && !of.starts_with('`'))
        .map(|(name, (at, ..))| format!("{name}: {at}"))
        .collect();
    assert!(mute.is_empty(), "{mute:#?}");
}
