//! What the commands print that are no operations.

use clap::Command;
use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::super::{admin, answers as a, args};
use super::{Catalogue, Described};
use crate::engine::Outcome;
use crate::ledger::{self, keep};
use crate::ops::{Registry, written};
use crate::spec::HostSpec;
use crate::{flows, install, snapshots, templates};

/// What a command prints.
enum Printed {
    Json(Value),
    Text(&'static str),
}

fn json<T: JsonSchema>() -> Printed {
    Printed::Json(written::<T>().to_value())
}

/// The programs that do operations of a group without the daemon.
const GROUPS: [(&str, &str); 3] =
    [("opdbus-plugin", "plugin"), ("opdbus-snapshot", "snapshot"), ("opdbus-uplink", "bridge.uplink")];

/// The commands of their own; options that change what is printed come with them.
fn own() -> Vec<(&'static str, Printed)> {
    use Printed::Text;
    vec![
        ("op-dbus config schema", Text("a JSON Schema")),
        ("op-dbus config check", json::<a::Checked>()),
        ("op-dbus config show", json::<HostSpec>()),
        ("op-dbus config to-nix", json::<a::Nix>()),
        ("op-dbus schema", json::<Catalogue>()),
        ("op-dbus completions", Text("a script")),
        ("op-dbus man", Text("a manual page")),
        ("op-dbus man --all", json::<a::Pages>()),
        ("op-dbus mcp", Text("messages of MCP, which are JSON-RPC")),
        ("mcp-chat", Text("nothing")),
        ("opdbusd", Text("nothing")),
        ("opdbus-search", Text("nothing")),
        ("opdbus-container run", Text("the console of the container")),
        ("opdbus-container wait", Text("nothing")),
        ("opdbus-container halt", Text("nothing")),
        ("opdbus-container ended", Text("nothing")),
        ("opdbus-container start-all", Text("nothing")),
        ("opdbus-flows save", json::<flows::Saved>()),
        ("opdbus-flows restore", json::<flows::Restored>()),
        ("opdbus-install", json::<a::Installation>()),
        ("opdbus-install --plan", json::<a::Installation>()),
        ("opdbus-install --uninstall", json::<install::Uninstalled>()),
        ("opdbus-install --uninstall --plan", json::<install::UninstallPlan>()),
        ("opdbus-install --generate-nix-config -", json::<a::Nix>()),
        ("opdbus-install --generate-nix-config", json::<a::WrittenNix>()),
        ("opdbus-ledger init", json::<a::Ledger>()),
        ("opdbus-ledger verify", json::<ledger::Verification>()),
        ("opdbus-ledger checkpoint", json::<a::Checkpoint>()),
        ("opdbus-ledger checkpoint --scheduled", json::<Option<keep::Kept>>()),
        ("opdbus-ledger key create", json::<a::MadeKey>()),
        ("opdbus-ledger key show", json::<a::Key>()),
        ("opdbus-ledger show", json::<a::Entries>()),
        ("opdbus-snapshot run", json::<snapshots::Round>()),
        ("opdbus-snapshot due", json::<snapshots::Round>()),
        ("opdbus-storage image", json::<a::Image>()),
        ("opdbus-storage baseline", json::<a::Baseline>()),
        ("opdbus-template list", json::<a::Templates>()),
        ("opdbus-template build", json::<templates::TemplateRecord>()),
        ("opdbus-template import", json::<templates::TemplateRecord>()),
        ("opdbus-template refresh", json::<templates::TemplateRecord>()),
        ("opdbus-template generations", json::<a::Generations>()),
        ("opdbus-template rollback", json::<templates::TemplateRecord>()),
        ("opdbus-template remove", json::<a::Removed>()),
        ("opdbus-uplink watch", json::<a::Done>()),
        ("opdbus-uplink restore", json::<a::Done>()),
        ("opdbus-uplink settle", json::<a::Done>()),
    ]
}

/// What the verbs print that every helper has: `plan`, `apply`, `status`.
fn verb(name: &str) -> Option<Printed> {
    match name {
        "plan" => Some(json::<a::Planned>()),
        "apply" => Some(json::<Outcome>()),
        // By component, what it sees: each shows its own.
        "status" => Some(json::<Map<String, Value>>()),
        _ => None,
    }
}

/// The commands of all programs that are not the operations of `op-dbus`.
pub(super) fn all() -> Vec<Described> {
    let described = |command: String, printed: Printed| match printed {
        Printed::Json(schema) => Described { command, answer: Some(schema), operation: None, text: None },
        Printed::Text(what) => Described { command, answer: None, operation: None, text: Some(what.into()) },
    };
    let mut all: Vec<Described> =
        own().into_iter().map(|(command, printed)| described(command.to_owned(), printed)).collect();
    let registry = Registry::default();
    for path in leaves() {
        if all.iter().any(|known| known.command == path) {
            continue;
        }
        let Some((program, rest)) = path.split_once(' ') else { continue };
        let group = GROUPS.into_iter().find(|(name, _)| *name == program).map(|(_, group)| group);
        let operation =
            group.map(|group| format!("{group}.{rest}")).filter(|operation| registry.find(operation).is_ok());
        if operation.is_some() {
            all.push(Described { command: path, answer: None, operation, text: None });
        } else if let Some(printed) = verb(rest).filter(|_| program != "op-dbus") {
            all.push(described(path, printed));
        }
    }
    all.sort_by(|a, b| a.command.cmp(&b.command));
    all
}

/// The commands of all programs that have no commands in them, as they are typed.
fn leaves() -> Vec<String> {
    fn below(command: &Command, path: &str, all: &mut Vec<String>) {
        let path = format!("{path}{}", command.get_name());
        let inner: Vec<_> =
            command.get_subcommands().filter(|c| !c.is_hide_set() || c.get_name() == "man").collect();
        if inner.is_empty() {
            all.push(path);
        } else {
            for one in inner {
                below(one, &format!("{path} "), all);
            }
        }
    }
    let mut all = Vec::new();
    for program in std::iter::once(admin::command()).chain(args::commands()) {
        below(&program, "", &mut all);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_every_program_is_described_and_none_that_is_not_there() {
        let (all, leaves) = (all(), leaves());
        let registry = Registry::default();
        assert!(leaves.len() > 60, "{leaves:?}");
        for leaf in &leaves {
            let operation = leaf.strip_prefix("op-dbus ").map(|rest| rest.replace(' ', "."));
            let known = operation.is_some_and(|name| registry.find(&name).is_ok())
                || all.iter().any(|one| one.command == *leaf);
            assert!(known, "`op-dbus schema` does not know `{leaf}`");
        }
        for one in &all {
            let command = one.command.split(" --").next().unwrap();
            assert!(leaves.iter().any(|leaf| leaf == command), "there is no command `{}`", one.command);
            let kinds = [one.answer.is_some(), one.operation.is_some(), one.text.is_some()];
            assert_eq!(kinds.iter().filter(|is| **is).count(), 1, "{}", one.command);
        }
    }
}
