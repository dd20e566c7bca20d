//! `search`

use std::fmt::Write;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::ledger::time;
use super::registry::{Effect, Op};
use crate::fault::{Kind, Report};
use crate::ledger::text;
use crate::search::wire::{self, Asked, By, Found, MOST, Search as Query};

/// `search`
pub(super) struct Search;

/// The arguments of `search`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchArgs {
    /// What to look for, in words: containers created last week.
    query: String,
    /// No more than this many.
    #[arg(short = 'n', long, default_value_t = default_limit())]
    #[serde(default = "default_limit")]
    limit: u32,
    /// Only entries at or after this time, beside what the words say: a date, or a date and time in the host's time zone, or RFC 3339.
    #[arg(long, value_name = "TIME")]
    #[serde(default)]
    since: Option<String>,
    /// Only entries at or before this time; a date includes that whole day.
    #[arg(long, value_name = "TIME")]
    #[serde(default)]
    until: Option<String>,
    /// Say of each entry why it was found.
    #[arg(long)]
    #[serde(default)]
    explain: bool,
}

fn default_limit() -> u32 {
    10
}

impl Op for Search {
    const NAME: &'static str = "search";
    const SUMMARY: &'static str = "Search the ledger, by words, by meaning and by time";
    const HELP: &'static str = "Phrases of time become an exact range in the host's time zone: yesterday, last Tuesday, in March, since the last\nsnapshot, between 9:00 and 10:00. How it ended (failed, refused), by whom, and what was done, where the question is about\nnothing else (containers created), are filters, too; all of it is said with the answer. The rest is looked for in the words of each entry and, with `ml.enable` in the host spec and the model there\n(op-dbus model status), by what it means.\n\nExamples:\n  op-dbus search 'containers created last week'\n  op-dbus search 'what did alice change since the last snapshot' --explain\n  op-dbus search 'why did web-01 not start' --since 2026-01-31 --json";
    // What asks for a search by name gives what it is for; else it is a question about what was done, and passed on whole.
    const PHRASES: &'static [&'static str] = &[
        "[op-dbus] search [for|the ledger for] {query…}",
        "find in the ledger {query…}",
        "<things> = containers|snapshots|templates|plugins|checkpoints|operations|changes",
        "<a thing> = container|snapshot|template|plugin|ledger|bridge|uplink",
        "<do> = create|make|delete|remove|start|stop|restore|apply|enable|disable|refresh|build|confirm|revert|take|change|do",
        "<did> = created|made|deleted|removed|started|stopped|restored|applied|enabled|disabled|refreshed|built|confirmed|reverted|took|changed|did",
        "<done> = created|made|deleted|removed|started|stopped|restored|applied|enabled|disabled|refreshed|built|confirmed|reverted|taken|changed|done|refused|denied",
        "{query=…} <which> <things> were <done> […]",
        "{query=…} <which> <things> failed […]",
        "{query=…} what was <done> […]",
        "{query=…} what happened […]",
        "{query=…} what did _ <do> […]",
        "{query=…} who <did> …",
        "{query=…} did _ <do> …",
        "{query=…} when was [the] [<a thing>] _ [last] <done> […]",
        "{query=…} how many <things> were <done> […]",
        "{query=…} <show> [all] [the] [failed] <a thing> operations […]",
    ];
    const EFFECT: Effect = Effect::Read;
    type Args = SearchArgs;
    type Answer = Found;

    fn target(_: &SearchArgs) -> String {
        "ledger".into()
    }
    fn run(call: &Call<'_>, args: SearchArgs) -> Result<Found, Report> {
        if args.query.trim().is_empty() {
            return Err(Report::new(Kind::Invalid, "there is nothing to look for")
                .with_next("op-dbus ledger show shows the newest entries"));
        }
        if !(1..=MOST).contains(&args.limit) {
            return Err(Report::new(Kind::Invalid, format!("--limit is from 1 to {MOST}")));
        }
        let asked = Asked::Search(Query {
            query: args.query,
            limit: args.limit,
            since: time(args.since, false)?,
            // What is asked for is the last second, and what is sent the first after it.
            until: time(args.until, true)?.map(|last| last.saturating_add(1)),
            explain: args.explain,
        });
        wire::ask(&call.host.paths.run, &asked)
    }
    fn text(found: &Found) -> String {
        told(found, &TimeZone::system())
    }
}

fn told(found: &Found, zone: &TimeZone) -> String {
    let mut told = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(told, "{}", understood(found, zone));
    for note in &found.notes {
        let _ = writeln!(told, "note: {note}");
    }
    told.push('\n');
    let entries: Vec<_> = found.matches.iter().map(|found| found.entry.clone()).collect();
    told.push_str(&text::table(&entries, zone));
    let whys: Vec<_> = found.matches.iter().filter_map(|found| Some((&found.entry, found.why?))).collect();
    if !whys.is_empty() {
        told.push('\n');
        let rows = whys.into_iter().map(|(entry, why)| {
            let meaning = why.meaning.map_or_else(|| "-".into(), |meaning| format!("{meaning:.2}"));
            [
                entry.id.to_string(),
                format!("{:.2}", why.score),
                meaning,
                format!("{:.2}", why.words),
                format!("{:.2}", why.names),
            ]
        });
        told.push_str(&crate::table::render(["ID", "SCORE", "MEANING", "WORDS", "NAMES"], rows));
    }
    told
}

/// How the question was understood, in a line.
fn understood(found: &Found, zone: &TimeZone) -> String {
    let asked = &found.understood;
    let at = |second: i64| {
        Timestamp::from_second(second).map_or_else(
            |_| second.to_string(),
            |at| at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S").to_string(),
        )
    };
    let mut parts = Vec::new();
    match (asked.since, asked.until) {
        (None, None) => {}
        (Some(since), None) => parts.push(format!("from {}", at(since))),
        (None, Some(until)) => parts.push(format!("before {}", at(until))),
        (Some(since), Some(until)) => parts.push(format!("from {} up to {}", at(since), at(until))),
    }
    parts.extend(asked.outcome.iter().map(|outcome| format!("outcome {outcome}")));
    parts.extend(asked.caller.iter().map(|caller| format!("by {caller}")));
    if !asked.operations.is_empty() {
        let names =
            if asked.names.is_empty() { String::new() } else { format!(" with {}", quoted(&asked.names)) };
        parts.push(format!("operation {}{names}", asked.operations.join(" or ")));
    }
    let looked = match found.by {
        By::Time => "the newest first".to_owned(),
        By::Words => format!("for the words {}", quoted(&asked.words)),
        By::Meaning => format!("for the words {} and the meaning", quoted(&asked.words)),
    };
    parts.push(looked);
    format!("searched {}", parts.join(", "))
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::wire::Understood;

    #[test]
    fn how_it_was_understood_is_said_in_the_hosts_time() {
        let understood = Understood {
            since: Some(1_794_870_000),
            until: Some(1_794_956_400),
            outcome: Some("failed".into()),
            caller: Some("carol".into()),
            words: vec!["containers".into(), "we\u{202e}b".into()],
            ..Understood::default()
        };
        let found = Found { understood, by: By::Words, notes: vec!["no model".into()], matches: Vec::new() };
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(
            told(&found, &zone),
            "searched from Tue 2026-11-17 00:00:00 up to Wed 2026-11-18 00:00:00, outcome failed, by carol, for the words \
             \"containers\" \"we\\u{202e}b\"\nnote: no model\n\nno entries"
        );
    }
}
