//! What an entry says: who did what to what, and how it ended.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::format::{self, MAX_DEPTH, MAX_INTEGER};
use crate::deployment::Deployment;
use crate::fault::{Kind, Report};

/// The longest operation, in bytes.
pub const MAX_OPERATION: usize = 128;
/// The longest target, in bytes.
pub const MAX_TARGET: usize = 1024;
/// The longest error text that a call records, in bytes.
pub const MAX_ERROR: usize = 2048;
/// The longest arguments that a call records, in bytes of JSON.
pub const MAX_ARGUMENTS: usize = 64 * 1024;
/// The longest metadata, in bytes of JSON.
pub const MAX_METADATA: usize = 1024 * 1024;

/// By which door a call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The system bus.
    Dbus,
    /// The API socket.
    Socket,
    /// The CLI, without the daemon.
    Cli,
    /// The installer.
    Installer,
    /// A helper program or a unit.
    Helper,
    /// The chat.
    Chat,
    /// A program that speaks MCP.
    Mcp,
}

impl Via {
    /// As it is recorded: `dbus`, `socket`, `cli`, `installer`, `helper`, `chat` or `mcp`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dbus => "dbus",
            Self::Socket => "socket",
            Self::Cli => "cli",
            Self::Installer => "installer",
            Self::Helper => "helper",
            Self::Chat => "chat",
            Self::Mcp => "mcp",
        }
    }
}

/// Who made a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The user's number, where it is known.
    pub uid: Option<u32>,
    /// The user's name, or the number as text where it has none.
    pub user: String,
    /// The door.
    pub via: Via,
}

impl Caller {
    /// The user with this number, by the name the host knows.
    #[must_use]
    pub fn of_uid(uid: u32, via: Via) -> Self {
        let known = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
        Self { uid: Some(uid), user: known.map_or_else(|| uid.to_string(), |u| u.name), via }
    }

    /// The user this program runs as.
    #[must_use]
    pub fn this_process(via: Via) -> Self {
        Self::of_uid(rustix::process::getuid().as_raw(), via)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was tried and did not work.
    Failed(String),
    /// The caller may not, or asked for what cannot be; nothing was tried.
    Refused(String),
}

impl Outcome {
    /// How a call with this result ended.
    #[must_use]
    pub fn of<T>(result: &Result<T, Report>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(report) if matches!(report.kind, Kind::Denied | Kind::Invalid) => {
                Self::Refused(report.message.clone())
            }
            Err(report) => Self::Failed(report.message.clone()),
        }
    }

    /// As it is recorded: `ok`, `failed` or `refused`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
        }
    }
}

/// A call of an operation, as it is recorded.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The operation: `container.create`.
    pub operation: &'a str,
    /// To what: `web-01`, or what was given in its place, however odd.
    pub target: &'a str,
    /// Who made it.
    pub caller: &'a Caller,
    /// The arguments. The caller of this API has taken out what is secret.
    pub arguments: Map<String, Value>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub duration: Duration,
    /// The door the host came in by.
    pub deployment: Deployment,
}

/// An entry to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// What was done.
    pub operation: String,
    /// To what.
    pub target: String,
    /// What else there is to say.
    pub metadata: Map<String, Value>,
}

impl NewEntry {
    /// The entry of a call. Whatever the call was given, the entry can be appended: what is too long is
    /// shortened, and what cannot be kept as it is (control characters in a name, fractions) is kept as text.
    #[must_use]
    pub fn call(call: Call<'_>) -> Self {
        let mut metadata = Map::new();
        metadata.insert("caller".into(), json!(call.caller));
        metadata.insert("arguments".into(), arguments(call.arguments));
        metadata.insert("outcome".into(), call.outcome.name().into());
        if let Outcome::Failed(error) | Outcome::Refused(error) = call.outcome {
            metadata.insert("error".into(), shortened(&error, MAX_ERROR).into());
        }
        let microseconds = u64::try_from(call.duration.as_micros()).unwrap_or(MAX_INTEGER).min(MAX_INTEGER);
        metadata.insert("duration_us".into(), microseconds.into());
        metadata.insert("deployment".into(), call.deployment.to_string().into());
        Self {
            operation: name(call.operation, MAX_OPERATION),
            target: name(call.target, MAX_TARGET),
            metadata,
        }
    }

    /// The canonical metadata, or why the entry cannot be appended.
    pub(super) fn check(&self) -> Result<String, String> {
        for (what, text, max) in
            [("operation", &self.operation, MAX_OPERATION), ("target", &self.target, MAX_TARGET)]
        {
            if text.is_empty() {
                return Err(format!("its {what} is empty"));
            }
            if text.len() > max {
                return Err(format!("its {what} is longer than {max} bytes"));
            }
            if text.contains(char::is_control) {
                return Err(format!("its {what} {text:?} has a control character"));
            }
        }
        let metadata = format::canonical(&self.metadata).map_err(|why| format!("its metadata: {why}"))?;
        if metadata.len() > MAX_METADATA {
            return Err(format!("its metadata is longer than {MAX_METADATA} bytes"));
        }
        Ok(metadata)
    }
}

/// The beginning of a text, at most `max` bytes of it with the mark that something was left out.
fn shortened(text: &str, max: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", &text[..end])
}

/// A text fit to be an operation or a target.
fn name(text: &str, max: usize) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    if plain.is_empty() { "-".into() } else { shortened(&plain, max) }
}

fn arguments(arguments: Map<String, Value>) -> Value {
    // Arguments are two levels down in the metadata.
    let tamed: Map<String, Value> = arguments.into_iter().map(|(k, v)| (k, tame(v, 3))).collect();
    let size = serde_json::to_string(&tamed).map_or(usize::MAX, |text| text.len());
    if size > MAX_ARGUMENTS {
        return json!({ "omitted": format!("{size} bytes") });
    }
    Value::Object(tamed)
}

fn tame(value: Value, depth: usize) -> Value {
    match value {
        Value::Number(number) => {
            let size = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            if size.is_some_and(|size| size <= MAX_INTEGER) {
                Value::Number(number)
            } else {
                Value::String(number.to_string())
            }
        }
        Value::Array(_) | Value::Object(_) if depth > MAX_DEPTH => Value::String("…".into()),
        Value::Array(items) => items.into_iter().map(|item| tame(item, depth + 1)).collect(),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(k, v)| (k, tame(v, depth + 1))).collect())
        }
        other => other,
    }
}

/// What an append gives back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EntryRef {
    /// The entry's number.
    pub id: i64,
    /// When it was appended, in seconds since 1970-01-01T00:00:00Z.
    pub timestamp: i64,
    /// Its hash.
    pub hash: String,
}

/// An entry as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Entry {
    /// Its number.
    pub id: i64,
    /// When it was appended, in seconds since 1970-01-01T00:00:00Z.
    pub timestamp: i64,
    /// What was done.
    pub operation: String,
    /// To what.
    pub target: String,
    /// The hash of the entry before.
    pub previous_hash: Option<String>,
    /// Its hash.
    pub current_hash: String,
    /// What else there is to say; its raw text, should it have been altered into something that is not JSON.
    pub metadata: Value,
}

/// Which entries to read. By default all, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only entries with these numbers.
    pub ids: Option<RangeInclusive<i64>>,
    /// Only this operation.
    pub operation: Option<String>,
    /// Only this target.
    pub target: Option<String>,
    /// Only at or after this second.
    pub since: Option<i64>,
    /// Only at or before this second.
    pub until: Option<i64>,
    /// No more than this many.
    pub limit: Option<u32>,
    /// Oldest first.
    pub oldest_first: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn someone() -> Caller {
        Caller { uid: Some(0), user: "root".into(), via: Via::Dbus }
    }

    fn call<'a>(caller: &'a Caller, operation: &'a str, target: &'a str, arguments: &Value) -> Call<'a> {
        Call {
            operation,
            target,
            caller,
            arguments: arguments.as_object().cloned().unwrap_or_default(),
            outcome: Outcome::Refused("no".into()),
            duration: Duration::from_micros(12),
            deployment: Deployment::NixOs,
        }
    }

    #[test]
    fn a_call_names_its_caller_its_arguments_and_how_it_ended() {
        let entry =
            NewEntry::call(call(&someone(), "container.create", "web-01", &json!({ "template": "d" })));
        assert_eq!(
            Value::Object(entry.metadata),
            json!({
                "caller": { "uid": 0, "user": "root", "via": "dbus" },
                "arguments": { "template": "d" },
                "outcome": "refused",
                "error": "no",
                "duration_us": 12,
                "deployment": "nixos",
            })
        );
    }

    #[test]
    fn a_hostile_name_is_recorded_and_kept_harmless() {
        let long = "x".repeat(3000);
        for (target, recorded) in [
            ("a\nb\u{1b}[2J", "a\\nb\\u{1b}[2J".to_owned()),
            ("", "-".into()),
            (&long, "x".repeat(1021) + "…"),
        ] {
            let entry = NewEntry::call(call(&someone(), "container.create", target, &json!({})));
            assert_eq!(entry.target, recorded);
            entry.check().unwrap();
        }
    }

    #[test]
    fn long_errors_and_arguments_are_shortened() {
        let caller = someone();
        let mut long = call(&caller, "o", "t", &json!({ "a": "y".repeat(MAX_ARGUMENTS) }));
        long.outcome = Outcome::Failed("é".repeat(5000));
        let entry = NewEntry::call(long);
        assert!(entry.metadata["error"].as_str().unwrap().len() <= MAX_ERROR);
        assert!(entry.metadata["arguments"]["omitted"].is_string());
        assert_eq!(entry.metadata["outcome"], "failed");
    }

    #[test]
    fn denied_and_invalid_calls_are_refused_and_others_failed() {
        let outcome = |kind| Outcome::of::<()>(&Err(Report::new(kind, "m")));
        assert_eq!(outcome(Kind::Denied), Outcome::Refused("m".into()));
        assert_eq!(outcome(Kind::Invalid), Outcome::Refused("m".into()));
        assert_eq!(outcome(Kind::Busy), Outcome::Failed("m".into()));
        assert_eq!(Outcome::of(&Ok(())), Outcome::Ok);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(100, 100, 1, |inner| inner.prop_map(|v| json!([v])))
    }

    proptest! {
        #[test]
        fn every_call_can_be_appended(operation in "(?s).{0,200}", target in "(?s).{0,2000}", value in any_json()) {
            let caller = someone();
            let entry = NewEntry::call(call(&caller, &operation, &target, &json!({ "v": value })));
            let text = entry.check().map_err(TestCaseError::fail)?;
            prop_assert_eq!(&format::canonical_of(&text).map_err(TestCaseError::fail)?.1, &text);
        }
    }
}
