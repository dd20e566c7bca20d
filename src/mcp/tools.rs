//! The operations as tools: names, schemas, hints.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::PlannedChange;
use crate::grammar::Grammar;
use crate::ops::{Effect, Operation, written};

/// The argument by which what destroys is confirmed.
pub const CONFIRMATION: &str = "confirmation";

/// What an answer that is no object is called in the object that it is put into: until 2026-07-28, MCP takes only objects.
pub const ANSWER: &str = "answer";

/// An operation as a tool.
#[derive(Debug)]
pub struct Offered {
    /// The operation.
    pub operation: Operation,
    /// As clients see it.
    pub tool: Tool,
    /// Whether its answer is put into an object.
    pub wrapped: bool,
}

/// All tools.
#[derive(Debug)]
pub struct Tools(Vec<Offered>);

/// What would be changed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rehearsed {
    /// The changes, in the order in which they would be made.
    changes: Vec<PlannedChange>,
}

/// Nothing was done: it destroys, and is not confirmed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unconfirmed {
    /// Always true.
    pub nothing_done: bool,
    /// Why.
    pub why: String,
    /// The same as a command of a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What would be changed, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<PlannedChange>>")]
    pub changes: Option<Value>,
    /// The word that has it done: once, for this user, with exactly these arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<String>,
    /// For how long the word is good, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

impl Tools {
    /// What is offered: what the chat offers, too. The rest needs streams, which no message carries.
    pub fn new(grammar: &Grammar) -> Self {
        Self(grammar.offered().map(|offered| Offered::new(offered.operation)).collect())
    }

    /// All tools.
    pub fn iter(&self) -> impl Iterator<Item = &Offered> {
        self.0.iter()
    }

    /// A tool by name.
    pub fn find(&self, name: &str) -> Option<&Offered> {
        self.0.iter().find(|offered| offered.tool.name == name)
    }

    /// A tool by the name of its operation.
    pub fn of(&self, operation: &str) -> Option<&Offered> {
        self.0.iter().find(|offered| offered.operation.name == operation)
    }
}

impl Offered {
    fn new(operation: &Operation) -> Self {
        let described = operation.describe();
        let wrapped = described.answer["type"] != "object";
        // Many clients refuse a dot in a name.
        let name = operation.name.replace('.', "_");
        let tool = Tool::new(name, description(operation), Arc::new(input(operation, described.arguments)))
            .with_title(operation.summary)
            .with_raw_output_schema(Arc::new(output(operation, described.answer, wrapped)))
            .with_annotations(hints(operation.effect));
        Self { operation: *operation, tool, wrapped }
    }
}

/// What it is for, and what `--help` says of it beside that.
fn description(operation: &Operation) -> String {
    let mut text = format!("{}.", operation.summary);
    if let Some(help) = operation.command().get_after_help() {
        text.push_str(&format!("\n\n{help}"));
    }
    if operation.effect == Effect::Destroy {
        text.push_str("\n\nIt destroys: nothing is done before it is confirmed.");
    }
    text
}

/// The hints are what clients decide by whether they ask their user. Nothing says of an operation that it can be repeated
/// without an effect, so none that changes something is said to be like that.
fn hints(effect: Effect) -> ToolAnnotations {
    let looks = effect == Effect::Read;
    ToolAnnotations::new()
        .read_only(looks)
        .destructive(effect == Effect::Destroy)
        .idempotent(looks)
        .open_world(false)
}

/// A schema as an object, without what only documents have.
fn object(mut schema: Value) -> JsonObject {
    without_formats(&mut schema);
    let Value::Object(mut schema) = schema else { return JsonObject::new() };
    schema.remove("$schema");
    schema.remove("title");
    schema
}

/// Takes away the formats of numbers, such as `uint64`. JSON Schema has none, and clients warn of each.
fn without_formats(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let number = |kind: &Value| kind == "integer" || kind == "number";
            let numbers = map.get("type").is_some_and(|kind| match kind {
                Value::Array(kinds) => kinds.iter().any(number),
                kind => number(kind),
            });
            if numbers {
                map.remove("format");
            }
            map.values_mut().for_each(without_formats);
        }
        Value::Array(values) => values.iter_mut().for_each(without_formats),
        _ => {}
    }
}

fn input(operation: &Operation, arguments: Value) -> JsonObject {
    let mut schema = object(arguments);
    schema.insert("type".into(), "object".into());
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if operation.effect == Effect::Destroy
        && let Value::Object(properties) = properties
    {
        let word = json!({
            "type": "string",
            "description": "The word that the first call answered, where the client cannot ask its user itself. Show the user \
                            what would be destroyed, and call again with the same arguments and this word only if they agree.",
        });
        properties.insert(CONFIRMATION.into(), word);
    }
    schema
}

/// What it answers: the operation's answer; where it takes `dryRun`, what would be changed; where it destroys, that nothing
/// was done yet.
fn output(operation: &Operation, answer: Value, wrapped: bool) -> JsonObject {
    let mut definitions = JsonObject::new();
    // What a schema refers to is looked for at the root.
    let mut variant = |schema: Value| {
        let mut schema = object(schema);
        if let Some(Value::Object(own)) = schema.remove("$defs") {
            definitions.extend(own);
        }
        schema
    };
    let mut first = variant(answer);
    if wrapped {
        let inner = std::mem::take(&mut first);
        first.insert("type".into(), "object".into());
        first.insert("properties".into(), json!({ ANSWER: inner }));
        first.insert("required".into(), json!([ANSWER]));
    }
    let mut others = Vec::new();
    if operation.rehearses() {
        others.push(variant(written::<Rehearsed>().to_value()));
    }
    if operation.effect == Effect::Destroy {
        others.push(variant(written::<Unconfirmed>().to_value()));
    }
    let mut schema = if others.is_empty() {
        first
    } else {
        others.insert(0, first);
        JsonObject::from_iter([("type".into(), "object".into()), ("anyOf".into(), json!(others))])
    };
    if !definitions.is_empty() {
        schema.insert("$defs".into(), definitions.into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ops::Registry;

    fn tools() -> Tools {
        Tools::new(&Grammar::new(&Registry::default()).unwrap())
    }

    #[test]
    fn every_operation_without_streams_is_a_tool_with_a_name_that_clients_take() {
        let tools = tools();
        let mut names = BTreeSet::new();
        for offered in tools.iter() {
            let name = &offered.tool.name;
            assert!(names.insert(name.to_string()), "{name} is there twice");
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            assert!(name.bytes().all(plain) && (1..=64).contains(&name.len()), "{name}");
            assert!(!offered.tool.description.as_deref().unwrap_or_default().is_empty(), "{name}");
        }
        let without: Vec<&str> = Registry::default()
            .iter()
            .map(|operation| operation.name)
            .filter(|name| tools.of(name).is_none())
            .collect();
        assert_eq!(
            without,
            [
                "container.exec",
                "template.import",
                "plugin.send",
                "plugin.receive",
                "model.import",
                "ledger.export"
            ]
        );
        assert!(tools.find("container_delete").is_some() && tools.find("container.delete").is_none());
    }

    #[test]
    fn the_hints_are_what_the_operation_is() {
        for offered in tools().iter() {
            let hints = offered.tool.annotations.as_ref().unwrap();
            let effect = offered.operation.effect;
            assert_eq!(hints.read_only_hint, Some(effect == Effect::Read), "{}", offered.tool.name);
            assert_eq!(hints.destructive_hint, Some(effect == Effect::Destroy), "{}", offered.tool.name);
            assert_eq!(hints.idempotent_hint, Some(effect == Effect::Read), "{}", offered.tool.name);
            assert_eq!(hints.open_world_hint, Some(false), "{}", offered.tool.name);
        }
    }

    #[test]
    fn the_schemas_are_objects_that_refer_to_nothing_that_is_not_in_them() {
        fn references(value: &Value, all: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    all.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|inner| references(inner, all));
                }
                Value::Array(values) => values.iter().for_each(|inner| references(inner, all)),
                _ => {}
            }
        }
        for offered in tools().iter() {
            let name = &offered.tool.name;
            let input = Value::Object((*offered.tool.input_schema).clone());
            let output = Value::Object((**offered.tool.output_schema.as_ref().unwrap()).clone());
            for schema in [&input, &output] {
                assert_eq!(schema["type"], "object", "{name}");
                assert!(jsonschema::meta::is_valid(schema), "{name}: {schema:#}");
                assert!(!schema.to_string().contains("\"format\":\"uint"), "{name}: {schema:#}");
                let mut all = Vec::new();
                references(schema, &mut all);
                for to in all {
                    let pointer = to.strip_prefix('#').unwrap();
                    assert!(!pointer.is_empty() && schema.pointer(pointer).is_some(), "{name}: {to}");
                }
                jsonschema::validator_for(schema).unwrap();
            }
            let confirmed = input["properties"].get(CONFIRMATION).is_some();
            assert_eq!(confirmed, offered.operation.effect == Effect::Destroy, "{name}");
        }
    }

    #[test]
    fn definitions_of_one_name_are_the_same_wherever_they_come_from() {
        let mut seen: std::collections::BTreeMap<String, Value> = std::collections::BTreeMap::new();
        for schema in [written::<Rehearsed>(), written::<Unconfirmed>()] {
            let own = schema.to_value()["$defs"].as_object().cloned().unwrap_or_default();
            seen.extend(own);
        }
        for offered in tools().iter().filter(|offered| offered.operation.rehearses()) {
            let own = offered.operation.describe().answer["$defs"].as_object().cloned().unwrap_or_default();
            for (name, schema) in own {
                assert_eq!(*seen.get(&name).unwrap_or(&schema), schema, "{}: {name}", offered.tool.name);
            }
        }
    }

    #[test]
    fn what_destroys_answers_what_it_did_what_it_would_do_or_that_nothing_was_done() {
        let tools = tools();
        let schema = |name: &str| {
            Value::Object((**tools.find(name).unwrap().tool.output_schema.as_ref().unwrap()).clone())
        };
        let validator = jsonschema::validator_for(&schema("container_delete")).unwrap();
        let nothing = json!({ "nothingDone": true, "why": "x", "confirmation": "y", "seconds": 120 });
        for good in [json!({ "done": "x" }), json!({ "changes": [] }), nothing] {
            assert!(validator.is_valid(&good), "{good}");
        }
        for bad in [json!({}), json!({ "changes": 1 }), json!([])] {
            assert!(!validator.is_valid(&bad), "{bad}");
        }
        let list = jsonschema::validator_for(&schema("container_list")).unwrap();
        assert!(list.is_valid(&json!({ "answer": [] })) && !list.is_valid(&json!({})));
    }
}
