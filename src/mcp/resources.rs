//! The host as resources. Each is read by an operation, so that who read it is in the ledger.

use rmcp::model::{ErrorData, ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::{Value, json};

use super::answer::LARGEST;
use super::{Mcp, Visitor};
use crate::fault::{Kind, Report};

const JSON: &str = "application/json";

/// Those with one address: the address, the name, what it is, the operation.
const FIXED: [(&str, &str, &str); 4] = [
    (
        "opdbus://overview",
        "overview",
        "The host at a glance: containers, what was changed last, whether the ledger is whole",
    ),
    ("opdbus://ledger/latest", "ledger", "The newest 50 entries of the ledger"),
    ("opdbus://containers", "containers", "All containers"),
    ("opdbus://flows", "flows", "Our flows on the bridge"),
];

/// Those of a kind.
const TEMPLATES: [(&str, &str, &str); 3] = [
    ("opdbus://ledger/entry/{id}", "ledger entry", "One entry of the ledger, by its number"),
    ("opdbus://container/{name}", "container", "One container"),
    (
        "opdbus://bus/{service}",
        "service on the bus",
        "The objects of a service on the system bus, and their interfaces, by introspection",
    ),
];

/// The resources that are always there.
pub fn fixed() -> Vec<Resource> {
    let resource = |(uri, name, what): &(&str, &str, &str)| {
        Resource::new(*uri, *name).with_title(*what).with_description(*what).with_mime_type(JSON)
    };
    FIXED.iter().map(resource).collect()
}

/// The kinds of resources.
pub fn templates() -> Vec<ResourceTemplate> {
    let template = |(uri, name, what): &(&str, &str, &str)| {
        ResourceTemplate::new(*uri, *name).with_title(*what).with_description(*what).with_mime_type(JSON)
    };
    TEMPLATES.iter().map(template).collect()
}

/// By what a resource is read: the operation and its arguments, and whether it is the only one of a list.
#[derive(Debug, PartialEq)]
struct Reading {
    operation: &'static str,
    arguments: Value,
    only: bool,
}

fn reading(uri: &str) -> Option<Reading> {
    let by = |operation, arguments| Some(Reading { operation, arguments, only: false });
    let address = uri.strip_prefix("opdbus://")?;
    let (kind, rest) = address.split_once('/').map_or((address, None), |(kind, rest)| (kind, Some(rest)));
    match (kind, rest) {
        ("overview", None) => by("overview", json!({})),
        ("containers", None) => by("container.list", json!({})),
        ("flows", None) => by("query", json!({ "subject": "flows" })),
        ("ledger", Some("latest")) => by("ledger.show", json!({ "limit": 50 })),
        ("ledger", Some(rest)) => {
            let id: i64 = rest.strip_prefix("entry/")?.parse().ok()?;
            Some(Reading { operation: "ledger.show", arguments: json!({ "id": id }), only: true })
        }
        ("container", Some(name)) => by("container.show", json!({ "name": plain(name)? })),
        ("bus", Some(service)) => by("introspect", json!({ "service": plain(service)? })),
        _ => None,
    }
}

/// The operation that a resource is read by, with its arguments.
#[cfg(any(test, feature = "fuzzing"))]
pub fn read_by(uri: &str) -> Option<(&'static str, Value)> {
    reading(uri).map(|reading| (reading.operation, reading.arguments))
}

/// One part of a path, without its escapes.
fn plain(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| {
                    char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
                };
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                bytes.push(high << 4 | low);
            }
            b'/' | b'?' | b'#' => return None,
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok().filter(|plain| !plain.is_empty())
}

/// Reads a resource.
pub async fn read(mcp: &Mcp, visitor: &Visitor, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let missing = || {
        let shown: String = uri.chars().take(200).collect();
        ErrorData::resource_not_found("there is no such resource", Some(json!({ "uri": shown })))
    };
    let Some(Reading { operation, arguments, only }) = reading(uri) else { return Err(missing()) };
    let closed = |_| ErrorData::internal_error("the server ends", None);
    let user = mcp.users.get(visitor.uid);
    let _turn = user.calls.acquire().await.map_err(closed)?;
    let mut answer = visitor
        .voice
        .call(&mcp.daemon, operation, &arguments, None)
        .await
        .map_err(|report| refused(&report))?;
    if only {
        answer = answer.get_mut(0).map(Value::take).ok_or_else(missing)?;
    }
    let text = answer.to_string();
    if text.len() > LARGEST {
        let report = Report::new(Kind::Failed, format!("the resource is too large: {} bytes", text.len()))
            .with_next(format!("the tool {} takes limits", operation.replace('.', "_")));
        return Err(refused(&report));
    }
    Ok(ReadResourceResult::new(vec![ResourceContents::text(text, uri).with_mime_type(JSON)]))
}

/// A resource has no other way to say that it could not be read.
fn refused(report: &Report) -> ErrorData {
    let data = Some(json!({ "kind": report.kind, "next": report.next }));
    match report.kind {
        Kind::NotFound => ErrorData::resource_not_found(report.message.clone(), data),
        Kind::Invalid => ErrorData::invalid_params(report.message.clone(), data),
        _ => ErrorData::internal_error(report.message.clone(), data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Effect, Registry};

    #[test]
    fn each_resource_is_read_by_an_operation_that_only_looks_and_takes_the_arguments() {
        let registry = Registry::default();
        let filled = |uri: &str| {
            uri.replace("{id}", "7")
                .replace("{name}", "web-01")
                .replace("{service}", "org.freedesktop.systemd1")
        };
        let all = FIXED
            .iter()
            .map(|(uri, ..)| (*uri).to_owned())
            .chain(TEMPLATES.iter().map(|(uri, ..)| filled(uri)));
        for uri in all {
            let (operation, arguments) = read_by(&uri).unwrap_or_else(|| panic!("{uri} is read by nothing"));
            let operation = registry.find(operation).unwrap();
            assert_eq!(operation.effect, Effect::Read, "{uri}");
            operation.filled(arguments).unwrap_or_else(|error| panic!("{uri}: {error}"));
        }
    }

    #[test]
    fn an_address_is_read_as_what_it_is_or_not_at_all() {
        assert_eq!(read_by("opdbus://ledger/entry/0"), Some(("ledger.show", json!({ "id": 0 }))));
        assert_eq!(read_by("opdbus://bus/%3A1.5"), Some(("introspect", json!({ "service": ":1.5" }))));
        assert_eq!(
            read_by("opdbus://container/..%2Fx"),
            Some(("container.show", json!({ "name": "../x" }))),
            "refused there"
        );
        for uri in [
            "",
            "opdbus://",
            "opdbus:overview",
            "opdbus://overview/",
            "opdbus://ledger",
            "opdbus://ledger/entry/",
            "opdbus://ledger/entry/x",
            "opdbus://ledger/entry/1/2",
            "opdbus://container/",
            "opdbus://container/a/b",
            "opdbus://container/a%",
            "opdbus://container/a%ff",
            "opdbus://container/a?b",
            "opdbus://containers/a",
            "file:///etc/passwd",
        ] {
            assert_eq!(read_by(uri), None, "{uri}");
        }
    }
}
