//! What is remembered of a snapshot: `NAME.json` beside it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::{Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{SnapshotError, io_error};
use crate::files;
use crate::spec::Subject;

/// The version of the record that this program writes.
const RECORD_VERSION: u32 = 1;

/// A snapshot's name: what it is of and when it was taken, in UTC, so that names sort by time:
/// `plugin-lxc-20260131T091500Z`. A second one of the same second ends in `-02`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[a-z0-9][a-z0-9-]{0,60}-[0-9]{8}T[0-9]{6}Z(-[0-9]{2})?$"))]
pub struct SnapshotName(String);

impl SnapshotName {
    /// The name of the `number`th snapshot (from 1) of a thing in a second.
    #[must_use]
    pub fn new(subject: &Subject, taken: Timestamp, number: u32) -> Self {
        let stem = match subject {
            Subject::Subvolume(name) => name.as_str().trim_start_matches('@').to_owned(),
            Subject::Plugin(name) => format!("plugin-{name}"),
            Subject::Container(name) => format!("container-{name}"),
        };
        let time = taken.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ");
        Self(if number > 1 { format!("{stem}-{time}-{number:02}") } else { format!("{stem}-{time}") })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SnapshotName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits =
            |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        let rest = match text.rsplit_once('-') {
            Some((rest, number)) if digits(number, 2) => rest,
            _ => text,
        };
        let ok = rest.rsplit_once('-').is_some_and(|(stem, time)| {
            let (date, clock) = time.split_once('T').unwrap_or_default();
            let stem_ok = (1..=61).contains(&stem.len())
                && !stem.starts_with('-')
                && stem.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            stem_ok && digits(date, 8) && clock.strip_suffix('Z').is_some_and(|c| digits(c, 6))
        });
        if ok { Ok(Self(text.to_owned())) } else { Err("it is not the name of a snapshot".into()) }
    }
}

impl TryFrom<String> for SnapshotName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SnapshotName> for String {
    fn from(name: SnapshotName) -> Self {
        name.0
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<Path> for SnapshotName {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

/// A word of the admin's own, by which a snapshot is found again: `before-upgrade`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
pub struct Label(String);

impl Label {
    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = SnapshotError;
    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let ok = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if ok {
            return Ok(Self(text.to_owned()));
        }
        Err(SnapshotError::BadLabel(text.chars().take(64).flat_map(char::escape_default).collect()))
    }
}

impl TryFrom<String> for Label {
    type Error = SnapshotError;
    fn try_from(text: String) -> Result<Self, SnapshotError> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a snapshot was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Somebody asked for it.
    Manual,
    /// The schedule of the host spec. Only these are ever removed by themselves.
    Schedule,
    /// It is what was there before another was put in its place.
    Replaced,
    /// It is what was sent to another host.
    Sent,
    /// It was received from another host.
    Received,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual => "manual",
            Self::Schedule => "schedule",
            Self::Replaced => "replaced",
            Self::Sent => "sent",
            Self::Received => "received",
        })
    }
}

/// A snapshot as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The version of this record.
    pub version: u32,
    /// Its name.
    pub name: SnapshotName,
    /// What it is of.
    pub subject: Subject,
    /// The id of its subvolume.
    pub uuid: String,
    /// The id of the subvolume that it was taken of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The id that it had where it was sent from, by which what is sent next finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<String>,
    /// The number of its subvolume: higher than those of all made before, whatever the clock said.
    pub sequence: u64,
    /// When it was taken, as the clock had it.
    #[schemars(with = "String")]
    pub taken: Timestamp,
    /// Who had it taken.
    pub by: String,
    /// What for.
    pub reason: Reason,
    /// A word to find it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// What for, in somebody's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether it must not be removed, neither by itself nor by hand.
    #[serde(default)]
    pub kept: bool,
}

impl Record {
    /// The version that this program writes.
    pub(super) const VERSION: u32 = RECORD_VERSION;

    /// One that the schedule will take.
    pub(super) fn planned(subject: &Subject, taken: Timestamp, sequence: u64) -> Self {
        Self {
            version: RECORD_VERSION,
            name: SnapshotName::new(subject, taken, 1),
            subject: subject.clone(),
            uuid: String::new(),
            origin: None,
            received: None,
            sequence,
            taken,
            by: "schedule".into(),
            reason: Reason::Schedule,
            label: None,
            why: None,
            kept: false,
        }
    }

    /// Whether retention may remove it.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.reason == Reason::Schedule && !self.kept
    }
}

/// The record of the snapshot of that name, in the directory of snapshots.
pub(super) fn path(directory: &Path, name: &SnapshotName) -> PathBuf {
    directory.join(format!("{name}.json"))
}

pub(super) fn read(directory: &Path, name: &SnapshotName) -> Result<Option<Record>, SnapshotError> {
    let path = path(directory, name);
    let Some(bytes) = files::read_optional(&path).map_err(io_error("read", &path))? else { return Ok(None) };
    let damaged = |why: String| SnapshotError::Damaged { path: path.clone(), why };
    let record: Record = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    if record.version != RECORD_VERSION || record.name != *name {
        return Err(damaged("it is of another version, or another snapshot's".into()));
    }
    Ok(Some(record))
}

pub(super) fn write(directory: &Path, record: &Record) -> Result<(), SnapshotError> {
    let path = path(directory, &record.name);
    let mut text =
        serde_json::to_vec_pretty(record).map_err(|e| io_error("write", &path)(std::io::Error::other(e)))?;
    text.push(b'\n');
    files::replace(&path, &text, 0o600).map_err(io_error("write", &path))
}

pub(super) fn remove(directory: &Path, name: &SnapshotName) -> Result<(), SnapshotError> {
    let path = path(directory, name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
        _ => files::sync_directory(directory).map_err(io_error("sync", directory)),
    }
}

#[cfg(test)]
pub(super) fn example(subject: &str, sequence: u64, taken: &str, reason: Reason) -> Record {
    let (subject, taken): (Subject, Timestamp) = (subject.parse().unwrap(), taken.parse().unwrap());
    let number = u32::try_from(sequence % 90).unwrap() + 2;
    Record {
        name: SnapshotName::new(&subject, taken, number),
        reason,
        ..Record::planned(&subject, taken, sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    proptest! {
        #[test]
        fn names_sort_by_time_and_are_read_back(
            a in 0_i64..4_000_000_000, b in 0_i64..4_000_000_000, n in 1_u32..99, m in 1_u32..99
        ) {
            for subject in ["@state", "@plugins/lxc", "container/web-01"] {
                let subject: Subject = subject.parse().unwrap();
                let (first, second) = (SnapshotName::new(&subject, at(a), n), SnapshotName::new(&subject, at(b), m));
                prop_assert_eq!(first.cmp(&second), (a, n).cmp(&(b, m)));
                prop_assert_eq!(first.as_str().parse::<SnapshotName>().unwrap(), first);
            }
        }

        #[test]
        fn an_accepted_name_is_safe_as_a_path_component_and_an_argument(name in ".{0,40}|[a-z/.-]{0,9}-20260131T091500Z") {
            if let Ok(name) = name.parse::<SnapshotName>() {
                prop_assert!(!name.as_str().contains(['/', '.', '\0', '\n', ' ']) && !name.as_str().starts_with('-'));
            }
        }
    }

    #[test]
    fn a_label_is_a_word() {
        for good in ["backup-20260131", "v1.2_rc", "A"] {
            assert!(good.parse::<Label>().is_ok(), "{good}");
        }
        for bad in ["", "-rf", "../x", "a b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<Label>().is_err(), "{bad}");
        }
    }
}
