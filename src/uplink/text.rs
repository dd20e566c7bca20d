//! A move, for a person.

use super::journal::Phase;
use super::view::Status;

/// How it stands, or what would be done.
#[must_use]
pub fn status(status: &Status) -> String {
    let (Some(nic), Some(bridge), Some(manager)) = (&status.nic, &status.bridge, &status.manager) else {
        return "no uplink: no network card is a port of the bridge".into();
    };
    let left = status.seconds_left.unwrap_or(0);
    let mut lines = vec![match status.phase {
        None => format!("{nic}, which {manager} configures, would become a port of {bridge}"),
        Some(Phase::Preparing) => format!("{nic} is being moved onto {bridge}; {left} s are left"),
        Some(Phase::Applied) => format!(
            "{nic} is moved onto {bridge}, and is moved back in {left} s unless this is confirmed:\n  op-dbus bridge uplink confirm"
        ),
        Some(Phase::Confirmed) => {
            format!("{nic} is the uplink of {bridge}; {manager} configures {bridge} in its place")
        }
        Some(Phase::Restoring) => format!("{nic} is being moved back from {bridge}"),
    }];
    let mut list = |title: &str, items: &[String]| {
        if !items.is_empty() {
            lines.push(format!("{title}: {}", items.join(", ")));
        }
    };
    list("addresses", &status.addresses);
    list("routes", &status.routes);
    if status.phase.is_none() {
        for file in &status.files {
            lines.push(format!("file {}:", file.path.display()));
            lines.extend(file.text.lines().map(|line| format!("    {line}")));
        }
        lines.push("then:".into());
        lines.extend(status.commands.iter().map(|command| format!("    {command}")));
    } else {
        let paths: Vec<String> = status.files.iter().map(|file| file.path.display().to_string()).collect();
        list("files", &paths);
    }
    lines.join("\n")
}
