//! The command lines of the helpers, the daemon and the installer: here rather than in their programs, so that one
//! program can write the manual pages of all.

pub mod bridge;
pub mod chat;
pub mod container;
pub mod daemon;
pub mod flows;
pub mod install;
pub mod ledger;
pub mod plugin;
pub mod search;
pub mod snapshot;
pub mod storage;
pub mod template;
pub mod uplink;

use clap::{Command, CommandFactory};

/// The command lines of all programs but `op-dbus`.
pub(super) fn commands() -> [Command; 13] {
    [
        bridge::Arguments::command(),
        chat::Arguments::command(),
        container::Arguments::command(),
        flows::Arguments::command(),
        install::Arguments::command(),
        ledger::Program::command(),
        plugin::command(),
        search::Arguments::command(),
        snapshot::command(),
        storage::Arguments::command(),
        template::Program::command(),
        uplink::command(),
        daemon::Arguments::command(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_every_program_says_its_exit_statuses() {
        for program in std::iter::once(super::super::admin::command()).chain(commands()) {
            let help = program.clone().render_long_help().to_string();
            assert!(help.contains("Exit status:"), "{}", program.get_name());
        }
    }

    #[test]
    fn what_changes_something_says_beforehand_what_it_would_change_or_is_known_not_to() {
        // An operation that is added has `--dry-run`, or another that shows the same; these have neither: what
        // they would do is in their arguments, or comes through a stream.
        let known = [
            "bridge.uplink.confirm",
            "chat.open",
            "container.exec",
            "ledger.checkpoint",
            "model.import",
            "plugin.send",
            "token.create",
            "token.revoke",
        ];
        let shown_by_another = ["apply", "doctor.fix", "drift.save"];
        let without: Vec<&str> = crate::ops::Registry::default()
            .iter()
            .filter(|op| op.effect != crate::ops::Effect::Read && !shown_by_another.contains(&op.name))
            .filter(|op| {
                let command = super::super::admin::with_confirmation(op);
                !command.get_arguments().any(|argument| argument.get_long() == Some("dry-run"))
            })
            .map(|op| op.name)
            .collect();
        let mut sorted = without.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, known);
    }
}
