//! The services of systemd.

use serde_json::{Value, json};

use crate::fault::Report;
use crate::systemd;

/// All services that are loaded.
pub(super) fn list() -> Result<Value, Report> {
    Ok(json!(systemd::units("*.service", &[])?))
}

/// The services for a person.
pub(super) fn text(services: &Value) -> String {
    let cell = |service: &Value, key: &str| service[key].as_str().unwrap_or_default().to_owned();
    let rows = services.as_array().into_iter().flatten();
    let rows = rows.map(|s| [cell(s, "name"), cell(s, "active"), cell(s, "sub"), cell(s, "description")]);
    crate::table::render(["SERVICE", "ACTIVE", "STATE", "DESCRIPTION"], rows)
}
