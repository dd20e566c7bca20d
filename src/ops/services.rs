//! The services of systemd, asked over D-Bus (`org.freedesktop.systemd1.Manager.ListUnitsByPatterns`).

use serde_json::{Value, json};
use zbus::OwnedObjectPath;

use crate::fault::{Kind, Report};

/// A row of `ListUnitsByPatterns`: name, description, load, active and sub state, followed unit, path,
/// job id, job type, job path (org.freedesktop.systemd1(5)).
type Unit = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// All services that are loaded.
pub(super) fn list() -> Result<Value, Report> {
    let failed = |error: zbus::Error| {
        Report::new(Kind::Unavailable, format!("systemd does not answer on the system bus: {error}"))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Report::new(Kind::Failed, format!("cannot ask systemd: {error}")))?;
    let asked = runtime.block_on(async {
        let bus = zbus::Connection::system().await?;
        let arguments = (Vec::<&str>::new(), vec!["*.service"]);
        let manager = Some("org.freedesktop.systemd1.Manager");
        let reply = bus
            .call_method(
                Some("org.freedesktop.systemd1"),
                "/org/freedesktop/systemd1",
                manager,
                "ListUnitsByPatterns",
                &arguments,
            )
            .await?;
        reply.body().deserialize::<Vec<Unit>>()
    });
    let mut units: Vec<Unit> = asked.map_err(failed)?;
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
