//! Asking before something is destroyed: by the client, which asks its user; else by a word that comes back.

use std::collections::BTreeMap;

use rmcp::RoleServer;
use rmcp::model::{
    BooleanSchema, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema,
    InputRequest, InputRequiredResult, InputResponses, PrimitiveSchemaDefinition, ProtocolVersion,
};
use rmcp::service::RequestContext;
use serde_json::Value;

use super::tools::CONFIRMATION;
use crate::engine::PlannedChange;
use crate::ops::Operation;
use crate::ops::confirm::PATIENCE;
use crate::plan_text;

/// What the form's field is called, and the question itself where a client may be asked several.
const CONFIRM: &str = "confirm";

/// How a user is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The client is asked while the call waits.
    Elicit,
    /// The call is answered with the question, and made again with the answer: from 2026-07-28 on, a server asks nothing of
    /// itself.
    Return,
    /// The client cannot ask: the model does, and passes on a word.
    Word,
}

impl Way {
    /// What the client of a request can do.
    pub fn of(context: &RequestContext<RoleServer>) -> Self {
        let can = context.client_capabilities().and_then(|all| all.elicitation);
        // Before there were two kinds, forms were the one there was.
        let forms = can.is_some_and(|can| can.form.is_some() || can.url.is_none());
        let late = context
            .protocol_version()
            .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
        match (forms, late) {
            (false, _) => Self::Word,
            (true, false) => Self::Elicit,
            (true, true) => Self::Return,
        }
    }
}

/// What a user is asked.
#[derive(Debug)]
pub struct Question {
    /// What it is about: the operation, the command, what would be changed.
    pub about: String,
    /// The command alone.
    pub command: Option<String>,
    /// What would be changed, where that can be told.
    pub changes: Option<Value>,
}

impl Question {
    /// The question about a call, by its command and what it was found that it would change.
    pub fn new(operation: &Operation, command: Option<String>, changes: Option<Value>) -> Self {
        let mut about = format!("{}. There is no way back.", operation.summary);
        match &command {
            Some(command) => about.push_str(&format!("\n\n    {command}")),
            None => about.push_str(&format!("\n\n    {}", operation.name)),
        }
        let planned = changes.clone().and_then(|all| serde_json::from_value::<Vec<PlannedChange>>(all).ok());
        if let Some(planned) = planned {
            let lines: String =
                planned.iter().map(|change| format!("\n{}", plan_text::sentence(change))).collect();
            about.push_str(&format!("\n\nWhat would be changed:{lines}"));
        }
        Self { about, command, changes }
    }

    /// As a form with one field, which is not filled in beforehand.
    pub fn form(&self) -> ElicitRequestParams {
        let field =
            BooleanSchema::new().title("Do it").description("There is no way back").with_default(false);
        let fields = BTreeMap::from([(CONFIRM.to_owned(), PrimitiveSchemaDefinition::Boolean(field))]);
        ElicitRequestParams::FormElicitationParams {
            meta: None,
            message: self.about.clone(),
            requested_schema: ElicitationSchema::new(fields).with_required(vec![CONFIRM.to_owned()]),
        }
    }

    /// As the answer of the call, which the client makes again with its user's answer and this `state`.
    pub fn returned(&self, state: String) -> InputRequiredResult {
        let question = InputRequest::Elicitation(ElicitRequest::new(self.form()));
        InputRequiredResult::new(Some(BTreeMap::from([(CONFIRM.to_owned(), question)])), Some(state))
    }

    /// As text for a model, which is to ask its user, with the word that has it done.
    pub fn text(&self, word: &str) -> String {
        format!(
            "Nothing was done yet.\n\n{}\n\nShow this to the user and ask. Only if they agree, call this tool again within {} \
             seconds, with the same arguments and \"{CONFIRMATION}\": \"{word}\".",
            self.about,
            PATIENCE.as_secs()
        )
    }
}

/// Whether a user agreed: they accepted the form, and filled in that they do.
pub fn agreed(result: &ElicitResult) -> bool {
    let field = result.content.as_ref().and_then(|content| content.get(CONFIRM));
    result.action == ElicitationAction::Accept && field == Some(&Value::Bool(true))
}

/// Whether a user agreed, by what a call came back with.
pub fn agreed_among(responses: Option<&InputResponses>) -> bool {
    let answer = responses.and_then(|all| all.get(CONFIRM)).cloned();
    answer
        .and_then(|answer| serde_json::from_value::<ElicitResult>(answer).ok())
        .is_some_and(|answer| agreed(&answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Registry;
    use serde_json::json;

    fn question() -> Question {
        let registry = Registry::default();
        let changes =
            json!([{ "component": "containers", "action": "remove", "object": "container web-01" }]);
        let command = Some("op-dbus container delete web-01".to_owned());
        Question::new(registry.find("container.delete").unwrap(), command, Some(changes))
    }

    #[test]
    fn the_question_shows_the_command_and_what_would_be_changed() {
        let question = question();
        for part in
            ["Delete a container", "op-dbus container delete web-01", "- container web-01", "no way back"]
        {
            assert!(question.about.contains(part), "{part}: {}", question.about);
        }
        let text = question.text("0123");
        assert!(
            text.starts_with("Nothing was done yet.") && text.contains("\"confirmation\": \"0123\""),
            "{text}"
        );
        let form = serde_json::to_value(question.form()).unwrap();
        assert_eq!(form["mode"], "form");
        assert_eq!(form["requestedSchema"]["required"], json!(["confirm"]));
        assert_eq!(form["requestedSchema"]["properties"]["confirm"]["type"], "boolean");
        assert_eq!(form["requestedSchema"]["properties"]["confirm"]["default"], false);
        let returned = serde_json::to_value(question.returned("abc".into())).unwrap();
        assert_eq!(
            (&returned["resultType"], &returned["requestState"]),
            (&json!("input_required"), &json!("abc"))
        );
        assert_eq!(returned["inputRequests"]["confirm"]["method"], "elicitation/create");
    }

    #[test]
    fn nobody_agrees_who_does_not_say_so() {
        for (answer, agrees) in [
            (json!({ "action": "accept", "content": { "confirm": true } }), true),
            (json!({ "action": "accept", "content": { "confirm": false } }), false),
            (json!({ "action": "accept", "content": { "confirm": "true" } }), false),
            (json!({ "action": "accept", "content": {} }), false),
            (json!({ "action": "accept" }), false),
            (json!({ "action": "decline", "content": { "confirm": true } }), false),
            (json!({ "action": "cancel" }), false),
            (json!({ "action": "yes" }), false),
            (json!(true), false),
        ] {
            let responses = InputResponses::from([("confirm".to_owned(), answer.clone())]);
            assert_eq!(agreed_among(Some(&responses)), agrees, "{answer}");
            let elsewhere = InputResponses::from([("other".to_owned(), answer)]);
            assert!(!agreed_among(Some(&elsewhere)));
        }
        assert!(!agreed_among(None));
    }
}
