//! `ledger init|verify|show`, for the helper and for the admin's program.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::{Common, Out};
use crate::fault::{Kind, Report};
use crate::ledger::{Caller, Entry, Filter, Init, Ledger, Verification, deployment};
use crate::paths::Tree;
use crate::spec::HostSpec;

/// Which entries `ledger show` prints.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Only this operation, as `container.create`.
    #[arg(long)]
    pub operation: Option<String>,
    /// Only this target, as `web-01`.
    #[arg(long)]
    pub target: Option<String>,
    /// Only entries at or after this time: a date, `2026-01-31 14:00` in the host's time zone, or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<i64>,
    /// Only entries at or before this time; a date includes that whole day.
    #[arg(long, value_name = "TIME", value_parser = until)]
    pub until: Option<i64>,
    /// No more than this many; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
    /// Oldest first.
    #[arg(long)]
    pub reverse: bool,
}

impl ShowArgs {
    fn filter(&self) -> Filter {
        Filter {
            ids: None,
            operation: self.operation.clone(),
            target: self.target.clone(),
            since: self.since,
            until: self.until,
            limit: (self.limit > 0).then_some(self.limit),
            oldest_first: self.reverse,
        }
    }
}

/// A point in time as the user gives it; of a date, its first second or its last.
fn point(text: &str, last: bool, zone: &TimeZone) -> Result<i64, String> {
    let text = text.trim();
    let wrong = || {
        format!("{text:?} is not a time: give 2026-01-31, \"2026-01-31 14:00\", or 2026-01-31T14:00:00+01:00")
    };
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant.as_second());
    }
    let local = |time: DateTime| time.to_zoned(zone.clone()).map_err(|_| wrong());
    // A date parses as a date and time, too; its length tells.
    if text.len() <= "2026-01-31".len() {
        let date: Date = text.parse().map_err(|_| wrong())?;
        if last {
            let next = date.checked_add(1.day()).map_err(|_| wrong())?;
            return Ok(local(next.to_datetime(jiff::civil::Time::midnight()))?.timestamp().as_second() - 1);
        }
        return Ok(local(date.to_datetime(jiff::civil::Time::midnight()))?.timestamp().as_second());
    }
    Ok(local(text.parse().map_err(|_| wrong())?)?.timestamp().as_second())
}

fn since(text: &str) -> Result<i64, String> {
    point(text, false, &TimeZone::system())
}

fn until(text: &str) -> Result<i64, String> {
    point(text, true, &TimeZone::system())
}

/// The ledger meant: the one given, or the host's. A host without a host spec has its ledger in the default place.
pub fn database(db: Option<&Path>, common: &Common) -> Result<PathBuf, Report> {
    if let Some(db) = db {
        return Ok(db.to_owned());
    }
    let host = common.host();
    let spec = match common.spec(&host) {
        Err(report) if report.kind == Kind::NotFound && common.config.is_none() => HostSpec::default(),
        other => other?,
    };
    Ok(Tree::new(&spec.btrfs.base_path).ledger())
}

/// `ledger init`.
pub fn init(db: &Path, caller: &Caller, etc: &Path, out: Out) -> Result<(), Report> {
    let done = Ledger::init(db, caller, &deployment(etc))?;
    out.answer(&json!({ "ledger": db, "result": done }), |_| match done {
        Init::Created => format!("made the ledger {}", db.display()),
        Init::AlreadyThere => format!("the ledger {} is there; nothing to do", db.display()),
    });
    Ok(())
}

/// `ledger verify`. The error is what was found.
pub fn verify(db: &Path, out: Out) -> Result<(), Report> {
    let verification = Ledger::read(db, Ledger::verify)?;
    out.answer(&verification, |v| verification_text(db, v));
    match &verification.first_bad {
        None => Ok(()),
        Some(first) => {
            Err(Report::new(Kind::Failed, format!("the ledger {} is not whole: {first}", db.display()))
                .with_next(
                    "compare it with a copy kept elsewhere; docs/ledger-format.md says what is proven",
                ))
        }
    }
}

fn verification_text(db: &Path, verification: &Verification) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match (&verification.first_bad, &verification.head) {
        (None, Some(head)) => {
            writeln!(text, "whole: {} entries; entry {} is {}", verification.entries, head.id, head.hash)
        }
        (Some(first), _) => {
            let _ = writeln!(text, "NOT WHOLE: {}", db.display());
            writeln!(text, "  first bad: {first}")
        }
        (None, None) => Ok(()),
    };
    for other in &verification.others {
        let _ = writeln!(text, "  also: {other}");
    }
    if verification.first_bad.is_some() {
        let _ = match verification.entries {
            0 => writeln!(text, "  no entry before it is good"),
            1 => writeln!(text, "  good: entry 0"),
            n => writeln!(text, "  good: entries 0 to {}", n - 1),
        };
    }
    for warning in &verification.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

/// `ledger show`.
pub fn show(db: &Path, args: &ShowArgs, out: Out) -> Result<(), Report> {
    let filter = args.filter();
    let entries = Ledger::read(db, |ledger| ledger.entries(&filter))?;
    out.answer(&json!({ "entries": entries }), |_| table(&entries, &TimeZone::system()));
    Ok(())
}

/// Entries for a person.
#[must_use]
pub fn table(entries: &[Entry], zone: &TimeZone) -> String {
    if entries.is_empty() {
        return "no entries".into();
    }
    let header = ["ID", "TIME", "OPERATION", "TARGET", "CALLER", "OUTCOME"].map(str::to_owned);
    let rows: Vec<[String; 6]> =
        std::iter::once(header).chain(entries.iter().map(|e| cells(e, zone))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let padded: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn cells(entry: &Entry, zone: &TimeZone) -> [String; 6] {
    let time = Timestamp::from_second(entry.timestamp).map_or_else(
        |_| entry.timestamp.to_string(),
        |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
    );
    let word = |pointer: &str| entry.metadata.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
    let outcome = match word("/error") {
        "-" => word("/outcome").to_owned(),
        error => format!("{}: {error}", word("/outcome")),
    };
    let caller = match word("/caller/via") {
        "-" => "-".to_owned(),
        via => format!("{} ({via})", word("/caller/user")),
    };
    [
        entry.id.to_string(),
        time,
        shown(&entry.operation, 40),
        shown(&entry.target, 40),
        shown(&caller, 30),
        shown(&outcome, 100),
    ]
}

/// A text that was perhaps chosen by an attacker, made safe for a terminal and not too long.
fn shown(text: &str, max: usize) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        // Controls, and what changes the direction of writing.
        if c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    if plain.chars().count() > max {
        plain = plain.chars().take(max.saturating_sub(1)).collect();
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_hosts_zone_and_a_date_covers_its_day() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text| point(text, false, &zone).unwrap();
        assert_eq!(at("1970-01-02"), 86_400 - 3600);
        assert_eq!(point("1970-01-02", true, &zone).unwrap(), 2 * 86_400 - 3600 - 1);
        assert_eq!(at("1970-01-01 01:00"), 0);
        assert_eq!(at("1970-01-01T01:00:05"), 5);
        assert_eq!(at("1970-01-01T00:00:07Z"), 7);
        assert_eq!(at("1970-01-01T02:00:07+01:00"), 3607);
        for wrong in ["", "yesterday", "2026-13-01", "12:00", "2026-01-01 25:00"] {
            assert!(point(wrong, false, &zone).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_table_shows_local_times_callers_and_outcomes_and_obeys_no_escape_sequence() {
        let entry = |id, target: &str, metadata: Value| Entry {
            id,
            timestamp: 0,
            operation: "container.create".into(),
            target: target.into(),
            previous_hash: None,
            current_hash: String::new(),
            metadata,
        };
        let entries = [
            entry(2, "web-01", json!({ "caller": { "user": "ann", "via": "dbus" }, "outcome": "ok" })),
            entry(1, "a\u{1b}[31m\u{202e}", json!({ "outcome": "refused", "error": "why\nnot" })),
        ];
        let text = table(&entries, &TimeZone::get("Europe/Berlin").unwrap());
        assert_eq!(
            text,
            "ID  TIME                        OPERATION         TARGET               CALLER      OUTCOME\n\
             2   1970-01-01 01:00:00 +01:00  container.create  web-01               ann (dbus)  ok\n\
             1   1970-01-01 01:00:00 +01:00  container.create  a\\u{1b}[31m\\u{202e}  -           refused: why\\nnot\n"
        );
    }
}
