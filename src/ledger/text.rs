//! The ledger for a person: times as they are given and shown, entries as a table, a verification in words.

use std::fmt::Write;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use super::{Entry, Verification};

/// A point in time as the user gives it; of a date, its first second or its last.
pub fn point(text: &str, last: bool, zone: &TimeZone) -> Result<i64, String> {
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
            let next = date.checked_add(1.day()).map_err(|_| wrong());
            let next = next.and_then(|next| local(next.to_datetime(jiff::civil::Time::midnight())));
            // The last day there is has no next.
            return Ok(next.map_or(Timestamp::MAX.as_second(), |next| next.timestamp().as_second() - 1));
        }
        return Ok(local(date.to_datetime(jiff::civil::Time::midnight()))?.timestamp().as_second());
    }
    Ok(local(text.parse().map_err(|_| wrong())?)?.timestamp().as_second())
}

/// A verification for a person.
#[must_use]
pub fn verification(verification: &Verification) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match (&verification.first_bad, &verification.head) {
        (None, Some(head)) => {
            writeln!(text, "whole: {} entries; entry {} is {}", verification.entries, head.id, head.hash)
        }
        (Some(first), _) => {
            let _ = writeln!(text, "NOT WHOLE");
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

/// Entries for a person.
#[must_use]
pub fn table(entries: &[Entry], zone: &TimeZone) -> String {
    if entries.is_empty() {
        return "no entries".into();
    }
    let heading = ["ID", "TIME", "OPERATION", "TARGET", "CALLER", "OUTCOME"];
    crate::table::render(heading, entries.iter().map(|entry| cells(entry, zone)))
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
pub(super) fn shown(text: &str, max: usize) -> String {
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
    use serde_json::json;

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
        let end = jiff::Timestamp::MAX.as_second();
        assert_eq!(point("9999-12-30", true, &TimeZone::UTC).unwrap(), end, "the last day there is");
        assert_eq!(point("9999-12-31", true, &zone).unwrap(), end);
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
