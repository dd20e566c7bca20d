//! What operations are called in other words: for entries of operations that the registry has, and those of earlier
//! versions and of programs that are none of its operations.

use std::collections::BTreeSet;

use super::words::stem;

/// Operations by name, each with what it is called in other words.
const GLOSSES: &[(&str, &[&str])] = &[
    ("install", &["installed operation-dbus", "set up this machine", "upgraded the management software"]),
    ("apply", &["applied the configuration", "brought the host to its declared state"]),
    ("plan", &["looked what would change"]),
    ("show", &["showed the state of the host"]),
    ("overview", &["looked at the host at a glance"]),
    ("chat.open", &["opened the chat", "signed in to the chat"]),
    ("token.create", &["made a token for a program", "gave a program access"]),
    ("token.list", &["listed tokens"]),
    ("token.revoke", &["revoked a token", "took access away from a program"]),
    ("query", &["queried the live state"]),
    ("introspect", &["looked at a service on the bus"]),
    ("introspect.values", &["read values of a service on the bus"]),
    ("doctor", &["checked the health of the host"]),
    ("doctor.fix", &["repaired faults of the host", "mended what was broken"]),
    ("drift", &["compared the host with its configuration", "looked for drift"]),
    ("drift.save", &["accepted the present state as normal"]),
    ("bridge.uplink.set", &["moved a network card to the bridge", "changed the network uplink"]),
    ("bridge.uplink.confirm", &["confirmed the network card for good"]),
    ("bridge.uplink.revert", &["moved the network card back"]),
    ("bridge.uplink.status", &["looked at the uplink"]),
    ("container.create", &["created a container", "made a new machine", "set up a new guest"]),
    ("container.list", &["listed the containers"]),
    ("container.show", &["showed a container"]),
    ("container.start", &["started a container", "booted a machine"]),
    ("container.stop", &["stopped a container", "shut a machine down"]),
    ("container.delete", &["deleted a container", "removed a machine"]),
    ("container.exec", &["ran a command in a container"]),
    ("container.logs", &["read the log of a container"]),
    ("template.list", &["listed templates"]),
    ("template.build", &["built a template", "made an image"]),
    ("template.import", &["imported a template", "imported an image from a file"]),
    ("template.refresh", &["refreshed a template", "built an image anew"]),
    ("template.generations", &["listed generations of a template"]),
    ("template.rollback", &["rolled a template back", "went back to an earlier image"]),
    ("template.remove", &["removed a template", "deleted an image"]),
    ("snapshot.create", &["took a snapshot", "made a backup"]),
    ("snapshot.run", &["scheduled snapshots"]),
    ("snapshot.list", &["listed snapshots"]),
    ("snapshot.diff", &["compared a snapshot with the present"]),
    ("snapshot.restore", &["restored a snapshot", "went back to an earlier state"]),
    ("snapshot.keep", &["kept a snapshot"]),
    ("snapshot.delete", &["deleted a snapshot", "removed a backup"]),
    ("plugin.list", &["listed plugins"]),
    ("plugin.show", &["showed a plugin"]),
    ("plugin.enable", &["enabled a plugin", "turned an extension on"]),
    ("plugin.disable", &["disabled a plugin", "turned an extension off"]),
    ("plugin.snapshot", &["took a snapshot of a plugin"]),
    ("plugin.send", &["sent a plugin to another host"]),
    ("plugin.receive", &["received a plugin from another host"]),
    ("search", &["searched the ledger", "asked a question about the past"]),
    ("model.status", &["looked at the search's model"]),
    ("model.fetch", &["fetched the search's model"]),
    ("model.import", &["imported the search's model from a file"]),
    ("ledger.show", &["read the audit trail"]),
    ("ledger.verify", &["verified the ledger", "checked that the audit trail was not tampered with"]),
    ("ledger.checkpoint", &["signed a checkpoint of the ledger"]),
    ("ledger.export", &["exported the audit trail"]),
    ("metrics", &["asked for monitoring metrics"]),
];

/// What an operation is called in other words, by its name.
#[must_use]
pub fn glosses(operation: &str) -> &'static [&'static str] {
    GLOSSES.iter().find(|(name, _)| *name == operation).map_or(&[], |(_, glosses)| glosses)
}

/// The operations that words are about beyond doubt: two or more, all of which are in the operation's name, or else in it and
/// one of its descriptions. "containers created" is about `container.create`, "containers" about too many to say.
pub(super) fn about(wanted: &[String], operations: &[String]) -> Vec<String> {
    let wanted: BTreeSet<String> = wanted.iter().map(|word| stem(word)).collect();
    if wanted.len() < 2 {
        return Vec::new();
    }
    let stems = |text: &str| text.split([' ', '.', '_', '-']).map(stem).collect::<BTreeSet<_>>();
    let covers = |name: &str, gloss: &str| {
        let (name, gloss) = (stems(name), stems(gloss));
        wanted.iter().all(|word| name.contains(word) || gloss.contains(word))
    };
    let named: Vec<String> = operations.iter().filter(|name| covers(name, "")).cloned().collect();
    if !named.is_empty() {
        return named;
    }
    let described = |name: &&String| glosses(name).iter().any(|gloss| covers(name, gloss));
    operations.iter().filter(described).cloned().collect()
}

/// The operations that are known by name.
pub(super) fn operations() -> impl Iterator<Item = &'static str> {
    GLOSSES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_about_an_operation_only_where_all_of_them_are_its_own() {
        let operations: Vec<String> = GLOSSES.iter().map(|(name, _)| (*name).to_owned()).collect();
        for (words, wanted) in [
            ("containers created", &["container.create"][..]),
            ("container creations", &["container.create"]),
            ("snapshots taken", &["snapshot.create", "plugin.snapshot"]),
            ("network card moved", &["bridge.uplink.set", "bridge.uplink.revert"]),
            ("snapshots restored", &["snapshot.restore"]),
            ("templates built", &["template.build"]),
            ("images built", &["template.build", "template.refresh"]),
            ("audit trail exported", &["ledger.export"]),
            ("containers", &[]),
            ("created creation", &[]),
            ("containers created nesting", &[]),
            ("container restored", &[]),
            ("", &[]),
        ] {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            assert_eq!(about(&words, &operations), wanted, "{words:?}");
        }
    }
}
