//! What was found on the bus, for a person.

use super::model::{Access, Argument, Interface, Name, Property, Service};

/// All services: one at length, several as a table.
#[must_use]
pub fn services(services: &[Service]) -> String {
    if let [one] = services {
        return service(one);
    }
    let row = |service: &Service| {
        let note = match (&service.error, service.truncated.is_empty()) {
            (Some(error), _) => error.clone(),
            (None, true) => String::new(),
            (None, false) => format!("not all: {}", service.truncated.join("; ")),
        };
        let objects = if service.cached { "-".to_owned() } else { service.objects.len().to_string() };
        [service.name.clone(), objects, service.interfaces.len().to_string(), note]
    };
    crate::table::render(["SERVICE", "OBJECTS", "INTERFACES", "NOTE"], services.iter().map(row))
}

fn service(service: &Service) -> String {
    let mut text = format!("{}\n", service.name);
    if let Some(error) = &service.error {
        text.push_str(&format!("  error: {error}\n"));
    }
    for (path, object) in &service.objects {
        text.push_str(&format!("  {path}\n"));
        if let Some(error) = &object.error {
            text.push_str(&format!("      error: {error}\n"));
        }
        for interface in &object.interfaces {
            text.push_str(&format!("      {interface}\n"));
            let values = object.values.get(interface).and_then(|values| values.as_object());
            for (name, value) in values.into_iter().flatten() {
                text.push_str(&format!("          {name} = {value}\n"));
            }
        }
    }
    for (name, interface) in &service.interfaces {
        text.push_str(&format!("\n{name}\n{}", members(interface)));
    }
    for why in &service.truncated {
        text.push_str(&format!("\nnot all of it: {why}\n"));
    }
    text
}

fn members(interface: &Interface) -> String {
    let mut text = String::new();
    for (name, method) in &interface.methods {
        let gives = if method.gives.is_empty() {
            String::new()
        } else {
            format!(" → {}", arguments(&method.gives))
        };
        text.push_str(&format!("  method    {name}({}){gives}\n", arguments(&method.takes)));
    }
    for (name, property) in &interface.properties {
        text.push_str(&format!("  property  {name}: {}\n", access(property)));
    }
    for (name, signal) in &interface.signals {
        text.push_str(&format!("  signal    {name}({})\n", arguments(signal)));
    }
    text
}

fn access(property: &Property) -> String {
    let more = match property.access {
        Access::Read => "",
        Access::Write => " (written only)",
        Access::ReadWrite => " (read and written)",
    };
    format!("{}{more}", property.kind)
}

fn arguments(arguments: &[Argument]) -> String {
    let one =
        |a: &Argument| if a.name.is_empty() { a.kind.clone() } else { format!("{}: {}", a.name, a.kind) };
    arguments.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The names on the bus.
#[must_use]
pub fn names(names: &[Name]) -> String {
    let row = |name: &Name| {
        let state = match (name.running, name.activatable) {
            (true, _) => "running",
            (false, true) => "activatable",
            (false, false) => "gone",
        };
        let pid = name.pid.map(|pid| pid.to_string()).unwrap_or_default();
        [
            name.name.clone(),
            state.to_owned(),
            pid,
            name.process.clone().unwrap_or_default(),
            name.unit.clone().unwrap_or_default(),
        ]
    };
    crate::table::render(["NAME", "STATE", "PID", "PROCESS", "UNIT"], names.iter().map(row))
}
