//! Plugins for a person.

use super::discovery::{Discovered, Presence};
use super::package::Contents;
use super::receive::Received;

fn presence(of: Presence) -> &'static str {
    match of {
        Presence::BackEnd => "built in",
        Presence::Present => "present",
        Presence::Activatable => "activatable",
        Presence::Absent => "absent",
        Presence::Unknown => "-",
    }
}

fn state(plugin: &Discovered) -> &'static str {
    match (plugin.valid, plugin.enabled) {
        (false, _) => "invalid",
        (true, true) => "offered",
        (true, false) => "disabled",
    }
}

fn or_dash(text: Option<&String>) -> String {
    text.map_or_else(|| "-".into(), ToOwned::to_owned)
}

/// What somebody else wrote, on one line.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The list, with the reasons of those that are invalid below it.
#[must_use]
pub fn table(all: &[Discovered]) -> String {
    if all.is_empty() {
        return "no plugins; `op-dbus apply plugins` makes those of the host spec".into();
    }
    let rows = all.iter().map(|plugin| {
        [
            line(&plugin.name),
            state(plugin).into(),
            or_dash(plugin.version.as_ref()),
            or_dash(plugin.introspection.as_ref()),
            presence(plugin.presence).into(),
            if plugin.declared { "declared".into() } else { "manual".into() },
        ]
    });
    let mut text = crate::table::render(["NAME", "STATE", "VERSION", "SERVED BY", "THERE", "ORIGIN"], rows);
    for plugin in all.iter().filter(|plugin| plugin.reason.is_some()) {
        text.push_str(&format!("{}: {}\n", line(&plugin.name), line(&or_dash(plugin.reason.as_ref()))));
    }
    text
}

/// One plugin.
#[must_use]
pub fn sheet(plugin: &Discovered) -> String {
    let list = |all: &[String]| if all.is_empty() { "none".into() } else { all.join(", ") };
    let capabilities: Vec<String> =
        plugin.capabilities.iter().map(|c| format!("{c:?}").to_lowercase()).collect();
    let mut text = format!(
        "{}: {}, {}\n  version       {}\n  served by     {} ({})\n  may           {}\n  operations    {}",
        line(&plugin.name),
        state(plugin),
        if plugin.declared { "declared in the host spec" } else { "made by hand" },
        or_dash(plugin.version.as_ref()),
        or_dash(plugin.introspection.as_ref()),
        presence(plugin.presence),
        list(&capabilities),
        list(&plugin.operations),
    );
    if let Some(reason) = &plugin.reason {
        text.push_str(&format!("\n  because       {}", line(reason)));
    }
    text
}

/// What was sent.
#[must_use]
pub fn sent(contents: &Contents) -> String {
    let Contents { name, version, snapshot, size, sha256, parent, .. } = contents;
    let built = if parent.is_some() { ", only what changed since its parent" } else { "" };
    format!("sent {name} {version} ({snapshot}{built}): {size} bytes, SHA-256 {sha256}")
}

/// What was received.
#[must_use]
pub fn received(received: &Received) -> String {
    let Received { contents, snapshot, before } = received;
    let before = before.as_ref().map(|name| format!("; what was there is {name}")).unwrap_or_default();
    format!("received {} {} as {snapshot}{before}", contents.name, contents.version)
}
