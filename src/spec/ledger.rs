//! Where checkpoints of the ledger are kept, and how often.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Every;
use super::path::is_plain;

/// The ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LedgerSpec {
    /// Signed checkpoints that are made by themselves. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<Checkpoints>,
}

/// Signed checkpoints that are made by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoints {
    /// Where they go: `journal`, or the absolute path of a directory, best on another host. A directory must have been
    /// prepared while it was mounted: `opdbus-ledger checkpoint --to DIR --first`.
    pub to: Destination,
    /// How often one is made: the first time that `opdbus-checkpoint.timer` elapses in an hour, day, week
    /// (from Monday) or month, in UTC.
    pub every: Every,
}

/// Where checkpoints go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^(journal|/.*)$"))]
pub enum Destination {
    /// The journal, which forwards them where it forwards everything.
    Journal,
    /// A directory.
    Directory(PathBuf),
}

const JOURNAL: &str = "journal";

impl From<String> for Destination {
    fn from(text: String) -> Self {
        if text == JOURNAL { Self::Journal } else { Self::Directory(text.into()) }
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Journal => f.write_str(JOURNAL),
            Self::Directory(path) => path.display().fmt(f),
        }
    }
}

/// Where `opdbus-checkpoint.service` cannot write, as its sandbox has it: system files, homes, what is its own alone or
/// gone after a reboot.
const CLOSED: [&str; 13] = [
    "/bin", "/boot", "/dev", "/efi", "/etc", "/home", "/lib", "/proc", "/root", "/run", "/sys", "/tmp",
    "/usr",
];

impl Destination {
    /// Why checkpoints cannot go there, if they cannot; `base` is the base path.
    #[must_use]
    pub fn refusal(&self, base: &Path) -> Option<String> {
        let Self::Directory(path) = self else { return None };
        if !is_plain(path, |c| !c.is_control()) || path.parent().is_none() {
            return Some("write \"journal\", or an absolute path below /, without '..'".into());
        }
        if path.starts_with(base) {
            return Some(format!(
                "below {} they would be lost with the ledger that they speak for",
                base.display()
            ));
        }
        let closed = CLOSED.into_iter().chain(["/var/tmp"]).find(|closed| path.starts_with(closed))?;
        Some(format!(
            "opdbus-checkpoint.service cannot write below {closed}; mount what keeps them elsewhere, as in /mnt or /srv"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_the_journal_or_a_directory_that_the_unit_can_write() {
        for (text, why) in [
            ("journal", None),
            ("/mnt/vault/checkpoints", None),
            ("/srv/kept", None),
            ("/var/lib/kept", None),
            ("/homely", None),
            ("Journal", Some("absolute")),
            ("mnt", Some("absolute")),
            ("/", Some("absolute")),
            ("/mnt/../etc", Some("absolute")),
            ("/var/lib/op-dbus/@state", Some("lost with the ledger")),
            ("/home/ann/kept", Some("below /home")),
            ("/var/tmp", Some("below /var/tmp")),
            ("/run/media/stick", Some("below /run")),
        ] {
            let refusal = Destination::from(text.to_owned()).refusal(Path::new("/var/lib/op-dbus"));
            match why {
                None => assert_eq!(refusal, None, "{text}"),
                Some(why) => {
                    assert!(refusal.as_ref().is_some_and(|r| r.contains(why)), "{text}: {refusal:?}");
                }
            }
        }
    }
}
