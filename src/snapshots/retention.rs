//! Which of the snapshots that a schedule took may go: a pure function of what there is and what the host spec
//! keeps. The time now is no part of it, so that a clock that is wrong removes nothing: each rule keeps the newest
//! of so many hours, days, weeks or months in which there are any. What is newest is told by the order in which the
//! file system made them, not by the clock.

use std::collections::BTreeSet;

use super::record::{Record, SnapshotName};
use crate::spec::{Every, Keep};

/// The snapshots of one thing that no rule keeps, oldest first. Only what the schedule took is looked at, and of
/// that only what is not marked as kept; the newest of those always stays.
#[must_use]
pub fn expired(all: &[Record], keep: &Keep) -> Vec<SnapshotName> {
    let mut passing: Vec<&Record> = all.iter().filter(|record| record.passes()).collect();
    passing.sort_by_key(|record| std::cmp::Reverse(record.sequence));
    let last = usize::try_from(keep.last).unwrap_or(usize::MAX).max(1);
    let mut kept: BTreeSet<&SnapshotName> = passing.iter().take(last).map(|r| &r.name).collect();
    let rules = [
        (Every::Hourly, keep.hourly),
        (Every::Daily, keep.daily),
        (Every::Weekly, keep.weekly),
        (Every::Monthly, keep.monthly),
    ];
    for (every, count) in rules {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut periods = BTreeSet::new();
        for record in &passing {
            if periods.len() == count {
                break;
            }
            if periods.insert(every.period(record.taken)) {
                kept.insert(&record.name);
            }
        }
    }
    passing.iter().rev().filter(|r| !kept.contains(&r.name)).map(|r| r.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::record::{Reason, example};
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn keep(last: u32, hourly: u32, daily: u32, weekly: u32, monthly: u32) -> Keep {
        Keep { last, hourly, daily, weekly, monthly }
    }

    /// One a `step` seconds from 2026-01-01, the first being the oldest.
    fn series(count: u64, step: i64) -> Vec<Record> {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        (0..count)
            .map(|n| {
                let taken = start + jiff::SignedDuration::from_secs(step * i64::try_from(n).unwrap());
                example("@state", n, &taken.to_string(), Reason::Schedule)
            })
            .collect()
    }

    fn left(all: &[Record], keep: &Keep) -> Vec<String> {
        let gone = expired(all, keep);
        all.iter().filter(|r| !gone.contains(&r.name)).map(|r| r.taken.to_string()).collect()
    }

    #[test]
    fn each_rule_keeps_the_newest_of_its_periods() {
        let hours = series(24 * 60, 3600);
        assert_eq!(left(&hours, &keep(0, 0, 0, 0, 0)), ["2026-03-01T23:00:00Z"], "never the newest");
        assert_eq!(
            left(&hours, &keep(0, 0, 2, 0, 2)),
            ["2026-02-28T23:00:00Z", "2026-03-01T23:00:00Z"],
            "the newest of February is that of its last day, which daily keeps, too"
        );
        assert_eq!(
            left(&hours, &keep(0, 2, 0, 3, 0)),
            // Sunday the 15th and the 22nd end a week; the 1st of March is a Sunday.
            ["2026-02-15T23:00:00Z", "2026-02-22T23:00:00Z", "2026-03-01T22:00:00Z", "2026-03-01T23:00:00Z"]
        );
    }

    #[test]
    fn what_was_taken_by_hand_or_is_kept_stays_and_takes_nobodys_place() {
        let mut all = series(10, 3600);
        all[9].reason = Reason::Manual;
        all[8].kept = true;
        all[0].reason = Reason::Replaced;
        assert_eq!(
            left(&all, &keep(1, 0, 0, 0, 0)),
            ["2026-01-01T00:00:00Z", "2026-01-01T07:00:00Z", "2026-01-01T08:00:00Z", "2026-01-01T09:00:00Z"]
        );
    }

    #[test]
    fn a_clock_that_was_set_back_removes_neither_what_is_new_nor_everything() {
        // A week of days, then the clock jumps ten years ahead for three, and comes back.
        let mut all = series(14, 86_400);
        for record in &mut all[7..10] {
            record.taken += jiff::SignedDuration::from_hours(24 * 3650);
        }
        let left = left(&all, &keep(2, 0, 4, 0, 0));
        assert_eq!(left.len(), 4);
        assert!(left.iter().all(|t| t.starts_with("2026-01-1")), "{left:?}");
    }

    fn any_records() -> impl Strategy<Value = Vec<Record>> {
        let one = (0_i64..400_000_000, 0_u8..8, any::<bool>());
        proptest::collection::vec(one, 0..60).prop_map(|all| {
            all.into_iter()
                .enumerate()
                .map(|(n, (second, reason, kept))| {
                    let taken = Timestamp::from_second(1_700_000_000 + second).unwrap();
                    let reason = if reason == 0 { Reason::Manual } else { Reason::Schedule };
                    let mut record = example("@state", n as u64, &taken.to_string(), reason);
                    record.kept = kept && second % 7 == 0;
                    record
                })
                .collect()
        })
    }

    fn any_keep() -> impl Strategy<Value = Keep> {
        (0_u32..9, 0_u32..9, 0_u32..9, 0_u32..9, 0_u32..9).prop_map(|(a, b, c, d, e)| keep(a, b, c, d, e))
    }

    proptest! {
        #[test]
        fn the_newest_stays_and_only_what_passes_goes(all in any_records(), keep in any_keep()) {
            let gone = expired(&all, &keep);
            for record in &all {
                prop_assert!(record.passes() || !gone.contains(&record.name));
            }
            let newest = all.iter().filter(|r| r.passes()).max_by_key(|r| r.sequence);
            prop_assert!(newest.is_none_or(|r| !gone.contains(&r.name)));
        }

        #[test]
        fn to_keep_more_removes_no_more(all in any_records(), small in any_keep(), more in any_keep()) {
            let large = Keep {
                last: small.last + more.last, hourly: small.hourly + more.hourly, daily: small.daily + more.daily,
                weekly: small.weekly + more.weekly, monthly: small.monthly + more.monthly,
            };
            let gone = expired(&all, &small);
            prop_assert!(expired(&all, &large).iter().all(|name| gone.contains(name)));
        }

        #[test]
        fn a_second_run_removes_nothing_and_no_clock_matters(all in any_records(), keep in any_keep(), shift in 0_i64..10) {
            let gone = expired(&all, &keep);
            let left: Vec<Record> = all.iter().filter(|r| !gone.contains(&r.name)).cloned().collect();
            prop_assert_eq!(expired(&left, &keep), Vec::<SnapshotName>::new());
            // All of it years later is the same to it, by whole weeks of whole hours.
            let weeks = jiff::SignedDuration::from_hours(24 * 7 * 52 * shift);
            let without_months = Keep { monthly: 0, ..keep };
            let mut later = all.clone();
            for record in &mut later { record.taken += weeks; }
            prop_assert_eq!(expired(&all, &without_months), expired(&later, &without_months));
        }
    }
}
