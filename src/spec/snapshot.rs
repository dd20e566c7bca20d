//! What snapshots are taken of, when, and how many are kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use jiff::{Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SubvolumeName;
use crate::fault::{Fault, Kind};
use crate::name::{ContainerName, PluginName};
use crate::paths::Tree;

/// What a snapshot is taken of: `@state` (a subvolume below the base path), `@plugins/lxc` (a plugin),
/// or `container/web-01` (a container's root file system).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(
    with = "String",
    extend("pattern" = "^(@[a-z0-9][a-z0-9-]{0,30}|(@plugins|container)/[a-z]([a-z0-9-]{0,30}[a-z0-9])?)$")
)]
pub enum Subject {
    /// A subvolume below the base path.
    Subvolume(SubvolumeName),
    /// A plugin's subvolume.
    Plugin(PluginName),
    /// A container's root file system.
    Container(ContainerName),
}

/// Why there is no snapshot of a thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no snapshots are taken of \"{shown}\": {why}")]
pub struct SubjectError {
    shown: String,
    why: String,
}

impl Fault for SubjectError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
    fn next(&self) -> Option<String> {
        Some("write @state (a subvolume below the base path), @plugins/NAME or container/NAME".into())
    }
}

/// Subvolumes that hold others, and nothing else that is worth a snapshot: in one of theirs they would be empty.
const HOLDERS: [(&str, &str); 3] = [
    ("@plugins", "it holds a subvolume for each plugin, which would be empty; name one: @plugins/lxc"),
    ("@templates", "it holds a subvolume for each template, which would be empty"),
    ("@snapshots", "that is where they are kept"),
];

impl FromStr for Subject {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let refuse = |why: &dyn fmt::Display| {
            Err(SubjectError {
                shown: text.chars().take(60).flat_map(char::escape_default).collect(),
                why: why.to_string(),
            })
        };
        if let Some((_, why)) = HOLDERS.iter().find(|(name, _)| *name == text) {
            return refuse(why);
        }
        match text.split_once('/') {
            Some(("@plugins", name)) => name.parse().map(Self::Plugin).or_else(|e| refuse(&e)),
            Some(("container", name)) => name.parse().map(Self::Container).or_else(|e| refuse(&e)),
            None => SubvolumeName::try_from(text.to_owned()).map(Self::Subvolume).or_else(|e| refuse(&e)),
            Some(_) => refuse(&"it is none of those that have a snapshot"),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subvolume(name) => f.write_str(name.as_str()),
            Self::Plugin(name) => write!(f, "@plugins/{name}"),
            Self::Container(name) => write!(f, "container/{name}"),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = SubjectError;
    fn try_from(text: String) -> Result<Self, SubjectError> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl Subject {
    /// Its subvolume.
    #[must_use]
    pub fn path(&self, tree: &Tree) -> PathBuf {
        match self {
            Self::Subvolume(name) => tree.join(name.as_str()),
            Self::Plugin(name) => tree.plugin(name),
            Self::Container(name) => tree.container(name).join("rootfs"),
        }
    }
}

/// When snapshots of a thing are taken by themselves, and how many are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotPolicy {
    /// How often one is taken: the first time that `opdbus-snapshots.timer` elapses in an hour, day, week
    /// (from Monday) or month, in UTC.
    pub schedule: Every,
    /// Which of those are kept. One taken by hand, or marked as kept, is never removed by this.
    #[serde(default)]
    pub keep: Keep,
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// Each hour.
    Hourly,
    /// Each day.
    Daily,
    /// Each week.
    Weekly,
    /// Each month.
    Monthly,
}

impl Every {
    /// The hour, day, week or month of a time, in UTC.
    #[must_use]
    pub fn period(self, time: Timestamp) -> String {
        let time = time.to_zoned(TimeZone::UTC);
        match self {
            Self::Hourly => time.strftime("%Y-%m-%dT%H").to_string(),
            Self::Daily => time.strftime("%Y-%m-%d").to_string(),
            // The ISO year of the week, which is not the day's at the turn of the year.
            Self::Weekly => time.strftime("%G-W%V").to_string(),
            Self::Monthly => time.strftime("%Y-%m").to_string(),
        }
    }
}

/// How many snapshots are kept: what any of the rules keeps is kept, and the newest always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Keep {
    /// The newest, this many. Default: 2.
    pub last: u32,
    /// The newest of each hour, for this many hours in which there are any. Default: 24.
    pub hourly: u32,
    /// The newest of each day. Default: 7.
    pub daily: u32,
    /// The newest of each week. Default: 4.
    pub weekly: u32,
    /// The newest of each month. Default: 6.
    pub monthly: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self { last: 2, hourly: 24, daily: 7, weekly: 4, monthly: 6 }
    }
}

impl Keep {
    /// The most that one rule may keep: btrfs gets slow with thousands of snapshots.
    pub const MOST: u32 = 1000;

    /// The rule that asks for too much, if any.
    #[must_use]
    pub fn excess(&self) -> Option<&'static str> {
        let rules = [
            ("last", self.last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
        ];
        rules.into_iter().find(|(_, count)| *count > Self::MOST).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_snapshots_is_named_as_it_lies() {
        let tree = Tree::new("/b");
        for (text, path) in [
            ("@state", "/b/@state"),
            ("@plugins/lxc", "/b/@plugins/lxc"),
            ("container/web-01", "/b/containers/web-01/rootfs"),
        ] {
            let subject: Subject = text.parse().unwrap();
            assert_eq!((subject.to_string().as_str(), subject.path(&tree)), (text, path.into()));
        }
    }

    #[test]
    fn what_has_none_is_refused_with_the_reason() {
        for (text, why) in [
            ("@plugins", "name one"),
            ("@snapshots", "where they are kept"),
            ("@templates", "empty"),
            ("@plugins/../x", "character"),
            ("container/-rf", "begin with a letter"),
            ("container", "write '@'"),
            ("etc/passwd", "none of those"),
            ("@state/../@timing", "none of those"),
            ("", "write '@'"),
        ] {
            let error = text.parse::<Subject>().unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }
}
