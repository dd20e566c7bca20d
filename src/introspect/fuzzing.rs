//! What services and the kernel say, from any bytes.

use quick_xml::escape::escape;
use zbus::Variant;
use zbus::wire::LE;
use zbus::wire::serialized::{Context, Data};

use super::bus::{started, unit_of};
use super::model::{Access, Argument};
use super::xml::{self, Described};

/// A description: refused, or read; and what was read is, written and read, the same, without a flaw.
pub(crate) fn description(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(mut described) = xml::read(text) else { return };
    for child in &described.children {
        assert!(!child.is_empty() && child.split('/').all(|part| !part.is_empty() && !part.contains('.')));
    }
    described.flaw = None;
    let written = written(&described);
    assert_eq!(xml::read(&written).as_ref(), Ok(&described), "{written}");
}

fn written(described: &Described) -> String {
    let argument =
        |a: &Argument, more: &str| format!("<arg name='{}' type='{}'{more}/>", escape(&a.name), a.kind);
    let mut text = String::from("<node>");
    for (name, interface) in &described.interfaces {
        text += &format!("<interface name='{name}'>");
        for (name, method) in &interface.methods {
            let takes: String = method.takes.iter().map(|a| argument(a, "")).collect();
            let gives: String = method.gives.iter().map(|a| argument(a, " direction='out'")).collect();
            text += &format!("<method name='{name}'>{takes}{gives}</method>");
        }
        for (name, property) in &interface.properties {
            let access = match property.access {
                Access::Read => "read",
                Access::Write => "write",
                Access::ReadWrite => "readwrite",
            };
            text += &format!("<property name='{name}' type='{}' access='{access}'/>", property.kind);
        }
        for (name, arguments) in &interface.signals {
            let arguments: String = arguments.iter().map(|a| argument(a, "")).collect();
            text += &format!("<signal name='{name}'>{arguments}</signal>");
        }
        text += "</interface>";
    }
    let children: String = described.children.iter().map(|child| format!("<node name='{child}'/>")).collect();
    text + &children + "</node>"
}

/// A value as it comes over the bus becomes JSON.
pub(crate) fn value(data: &[u8]) {
    let data = Data::new(data, Context::new(LE, 0));
    let Ok((value, _)) = data.deserialize::<Variant<'_>>() else { return };
    let json = super::values::json(&value);
    let text = json.to_string();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).ok(), Some(json));
}

/// `/proc/PID/cgroup` and `/proc/PID/stat`.
pub(crate) fn processes(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(unit) = unit_of(&text) {
        let kind = unit.rsplit('.').next();
        assert!(kind == Some("service") || kind == Some("scope"));
        assert!(!unit.contains(['/', '\n']));
    }
    let _ = started(&text);
}
