//! The services of systemd, asked over D-Bus (`org.freedesktop.systemd1.Manager.ListUnitsByPatterns`).

use serde_json::{Value, json};
use zbus::zvariant::OwnedObjectPath;

use crate::fault::{Kind, Report};

/// A row of `ListUnitsByPatterns`: name, description, load, active and sub state, followed unit, path,
/// job id, job type, job path (org.freedesktop.systemd1(5)).
type Unit = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// All services that are loaded.
pub(super) fn list() -> Result<Value, Report> {
    let failed = |error: zbus::Error| {
        Report::new(Kind::Unavailable, format!("systemd does not answer on the system bus: {error}"))
    };
    let bus = zbus::blocking::Connection::system().map_err(failed)?;
    let reply = bus
        .call_method(
            Some("org.freedesktop.systemd1"),
            "/org/freedesktop/systemd1",
            Some("org.freedesktop.systemd1.Manager"),
            "ListUnitsByPatterns",
            &(Vec::<&str>::new(), vec!["*.service"]),
        )
        .map_err(failed)?;
    let mut units: Vec<Unit> = reply.body().deserialize().map_err(failed)?;
    units.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(units
        .into_iter()
        .map(|unit| json!({ "name": unit.0, "description": unit.1, "load": unit.2, "active": unit.3, "sub": unit.4 }))
        .collect())
}

/// The services for a person.
pub(super) fn text(services: &Value) -> String {
    let cell = |service: &Value, key: &str| service[key].as_str().unwrap_or_default().to_owned();
    let rows = services.as_array().into_iter().flatten();
    let rows = rows.map(|s| [cell(s, "name"), cell(s, "active"), cell(s, "sub"), cell(s, "description")]);
    crate::table::render(["SERVICE", "ACTIVE", "STATE", "DESCRIPTION"], rows)
}
