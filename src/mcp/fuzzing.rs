//! What clients say to the MCP server, from any bytes. It is read; nothing is run.

use rmcp::model::InputResponses;
use serde_json::Value;

use super::{ask, resources};
use crate::ops::{Effect, Registry};

/// Addresses of resources, and answers of users. An address is read by an operation that only looks, with arguments as texts
/// or numbers; nobody agrees whose answer does not say so.
pub(crate) fn said(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some((operation, arguments)) = resources::read_by(text) {
        assert!(
            Registry::default().find(operation).is_ok_and(|operation| operation.effect == Effect::Read),
            "{text:?}"
        );
        let plain = |value: &Value| value.is_string() || value.is_number();
        assert!(
            arguments.as_object().is_some_and(|all| all.len() <= 1 && all.values().all(plain)),
            "{arguments}"
        );
    }
    let Ok(answer) = serde_json::from_str::<Value>(text) else { return };
    let agrees = answer["action"] == "accept" && answer["content"]["confirm"] == true;
    let responses = InputResponses::from([("confirm".to_owned(), answer)]);
    assert!(agrees || !ask::agreed_among(Some(&responses)), "{text:?}");
}
