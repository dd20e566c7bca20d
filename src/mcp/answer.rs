//! What a tool answers.

use rmcp::model::{CallToolResult, ContentBlock, JsonObject, MetaObject};
use serde_json::{Value, json};

use super::tools::{ANSWER, Offered, Tools, Unconfirmed};
use crate::fault::{Kind, Report};

/// The largest answer that is sent, in bytes of its JSON.
pub const LARGEST: usize = 4 << 20;

/// The longest text that is sent beside it, in characters.
const LONGEST: usize = 100_000;

/// What a failure is called among what results say beside their content.
const ERROR: &str = "org.opdbus1/error";

/// The answer of an operation, for a person and for a program. What was only rehearsed is answered as a plan is.
pub fn done(tools: &Tools, offered: &Offered, rehearsed: bool, answer: Value) -> CallToolResult {
    let plan = tools.of("plan").filter(|_| rehearsed);
    let shown = plan.unwrap_or(offered);
    let mut text = match shown.operation.text(answer.clone()) {
        Ok(text) => text,
        Err(report) => return failed(&report),
    };
    if let Some((at, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(at);
        text.push_str("\n… and so on: structuredContent has all of it");
    }
    let structured = if offered.wrapped && !rehearsed { json!({ ANSWER: answer }) } else { answer };
    let size = structured.to_string().len();
    if size > LARGEST {
        let name = offered.operation.name;
        let report =
            Report::new(Kind::Failed, format!("{name} was done, but its answer is too large: {size} bytes"))
                .with_next("ask for less of it, by its arguments");
        return failed(&report);
    }
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(structured);
    result
}

/// A failure: what failed and what to do next, as text; its kind for programs.
pub fn failed(report: &Report) -> CallToolResult {
    let mut text = report.message.clone();
    if let Some(next) = &report.next {
        text.push_str(&format!("\nWhat to do next: {next}"));
    }
    if let Some(partial) = &report.partial {
        text.push_str(&format!("\nWhat was done before it failed: {partial}"));
    }
    let mut meta = JsonObject::new();
    meta.insert(ERROR.into(), json!({ "kind": report.kind, "next": report.next, "partial": report.partial }));
    CallToolResult::error(vec![ContentBlock::text(text)]).with_meta(Some(MetaObject(meta)))
}

/// Nothing was done, as the user did not agree, or has yet to be asked; as a failure where what was to confirm it does not.
pub fn unconfirmed(text: String, unconfirmed: &Unconfirmed, wrong: bool) -> CallToolResult {
    let content = vec![ContentBlock::text(text)];
    let mut result = if wrong { CallToolResult::error(content) } else { CallToolResult::success(content) };
    result.structured_content = serde_json::to_value(unconfirmed).ok();
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::Grammar;
    use crate::ops::Registry;

    fn tools() -> Tools {
        Tools::new(&Grammar::new(&Registry::default()).unwrap())
    }

    fn valid(tools: &Tools, name: &str, result: &CallToolResult) {
        let schema =
            Value::Object((**tools.find(name).unwrap().tool.output_schema.as_ref().unwrap()).clone());
        let structured = result.structured_content.as_ref().unwrap();
        assert!(jsonschema::is_valid(&schema, structured), "{name}: {structured}");
    }

    fn text(result: &CallToolResult) -> &str {
        &result.content[0].as_text().unwrap().text
    }

    #[test]
    fn an_answer_is_for_a_person_and_for_a_program() {
        let tools = tools();
        let delete = tools.find("container_delete").unwrap();
        let result = done(&tools, delete, false, json!({ "done": "web-01 is deleted" }));
        assert_eq!((text(&result), result.is_error), ("web-01 is deleted", Some(false)));
        valid(&tools, "container_delete", &result);
        let changes = json!({ "changes": [{ "component": "containers", "action": "remove", "object": "container web-01" }] });
        let result = done(&tools, delete, true, changes);
        assert!(
            text(&result).contains("container web-01") && text(&result).contains("1 change"),
            "{}",
            text(&result)
        );
        valid(&tools, "container_delete", &result);
        let list = tools.find("container_list").unwrap();
        let result = done(&tools, list, false, json!([]));
        assert_eq!(result.structured_content, Some(json!({ "answer": [] })));
        valid(&tools, "container_list", &result);
    }

    #[test]
    fn an_answer_that_is_too_large_is_said_to_be() {
        let tools = tools();
        let query = tools.find("query").unwrap();
        let result = done(&tools, query, false, json!({ "x": "y".repeat(LONGEST + 10) }));
        assert!(text(&result).contains("and so on") && result.is_error == Some(false));
        let result = done(&tools, query, false, json!({ "x": "y".repeat(LARGEST) }));
        assert!(result.is_error == Some(true) && text(&result).contains("too large"), "{}", text(&result));
    }

    #[test]
    fn a_failure_says_what_to_do_next_and_what_was_done_already() {
        let mut report =
            Report::new(Kind::NotFound, "there is no container x").with_next("op-dbus container list");
        report.partial = Some(json!({ "a": 1 }));
        let result = failed(&report);
        assert_eq!(result.is_error, Some(true));
        assert_eq!(
            text(&result),
            "there is no container x\nWhat to do next: op-dbus container list\nWhat was done before it failed: {\"a\":1}"
        );
        assert_eq!(result.meta.unwrap().0[ERROR]["kind"], "not-found");
    }
}
