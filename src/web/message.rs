//! What is sent over the WebSocket: see `docs/chat.md`.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The version of the messages.
const VERSION: u32 = 1;

/// A message of the server's.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    kind: &'static str,
    content: String,
    tools: Vec<String>,
    more: Map<String, Value>,
}

impl Message {
    /// A message of a kind, with its text.
    pub fn new(kind: &'static str, content: impl Into<String>) -> Self {
        Self { kind, content: content.into(), tools: Vec::new(), more: Map::new() }
    }

    /// With another field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.more.insert(field.to_owned(), value.into());
        self
    }

    /// Of a call: of which operation, and how a shell would have made it.
    #[must_use]
    pub fn of_call(mut self, operation: &str, command: Option<&str>) -> Self {
        self.tools = vec![operation.to_owned()];
        self.with("operation", operation).with("command", command)
    }

    /// In answer to which of the connection's messages.
    #[must_use]
    pub fn answering(self, request: u64) -> Self {
        self.with("request", request)
    }

    /// The code and the reason, where it is no message but the end of the connection.
    #[must_use]
    pub fn ended(&self) -> Option<(u16, &str)> {
        let code = self.more.get("code")?.as_u64()?;
        (self.kind == "end").then_some((u16::try_from(code).ok()?, self.content.as_str()))
    }

    /// As it is sent.
    #[must_use]
    pub fn text(&self) -> String {
        let mut all = json!({
            "v": VERSION,
            "type": self.kind,
            "content": self.content,
            "timestamp": Timestamp::now().to_string(),
            "tools_used": self.tools,
        });
        if let Value::Object(all) = &mut all {
            all.extend(self.more.clone());
        }
        all.to_string()
    }
}
