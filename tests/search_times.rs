//! Phrases of time mean what `tests/search/times.tsv` says, to the second.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use opdbus::search::when::{self, TimeRange};

#[test]
fn phrases_of_time_are_the_ranges_that_the_table_says() {
    let mut wrong = Vec::new();
    let mut lines = 0;
    for line in include_str!("search/times.tsv").lines().filter(|line| !line.starts_with('#')) {
        let [phrase, now, zone, since, until] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not five columns: {line}");
        };
        lines += 1;
        let now: Zoned = now.parse::<Timestamp>().unwrap().to_zoned(TimeZone::get(zone).unwrap());
        let end = |text: &str| (text != "-").then(|| text.parse::<Timestamp>().unwrap());
        let expected = TimeRange { since: end(since), until: end(until) };
        // In the middle of a question, as it is in practice.
        let question = format!("what happened to web-01 {phrase}?");
        let found = when::find(&question, &now, &|_| None);
        let right =
            found.len() == 1 && found[0].range == expected && &question[found[0].span.clone()] == phrase;
        if !right {
            wrong.push(format!("{phrase} ({now}): {found:?}, expected {expected:?}"));
        }
    }
    assert!(lines >= 100, "only {lines} phrases");
    assert!(wrong.is_empty(), "{} of {lines}:\n{}", wrong.len(), wrong.join("\n"));
}
