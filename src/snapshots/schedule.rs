//! One round of the timer: snapshots that are due are taken, and those that no rule keeps are removed.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::{Reason, Record, SnapshotName};
use super::retention::expired;
use super::store::{self, Order, State};
use crate::engine::Context;
use crate::fault::Report;
use crate::spec::{Every, SnapshotPolicy, Subject};

/// What a round did to one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// What.
    pub subject: Subject,
    /// The snapshot that was taken, if one was due.
    pub taken: Option<SnapshotName>,
    /// The snapshots that were removed.
    pub removed: Vec<SnapshotName>,
    /// What failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Report>,
}

/// What a round did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Round {
    /// To each thing that has a schedule.
    pub subjects: Vec<Done>,
}

impl Round {
    /// Whether anything was taken or removed.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.subjects.iter().any(|done| done.taken.is_some() || !done.removed.is_empty())
    }

    /// The first failure.
    #[must_use]
    pub fn failure(&self) -> Option<&Report> {
        self.subjects.iter().find_map(|done| done.failed.as_ref())
    }
}

/// Whether a snapshot is due: the schedule took none yet in the hour, day, week or month that it is now. With a
/// clock that was set back that is one for each period that it runs through again, and no more.
#[must_use]
pub fn due(every: Every, now: Timestamp, all: &[Record]) -> bool {
    let this = every.period(now);
    !all.iter().any(|record| record.reason == Reason::Schedule && every.period(record.taken) == this)
}

/// Takes what is due and removes what no rule keeps. What fails for one thing does not keep the others from theirs. The
/// caller holds the engine's lock.
#[must_use]
pub fn round(cx: &Context<'_>, now: Timestamp) -> Round {
    let mut round = Round::default();
    for (subject, policy) in &cx.spec.snapshots {
        cx.progress.report(&format!("snapshots of {subject}"), None);
        let mut done = Done { subject: subject.clone(), taken: None, removed: Vec::new(), failed: None };
        done.failed = one(cx, subject, policy, now, &mut done).err();
        round.subjects.push(done);
    }
    round
}

/// What [`round`] would do; the snapshots that it would take have no names yet and are shown by that of now.
#[must_use]
pub fn plan_round(cx: &Context<'_>, now: Timestamp) -> Round {
    let tree = cx.tree();
    let one = |(subject, policy): (&Subject, &SnapshotPolicy)| {
        let mut done = Done { subject: subject.clone(), taken: None, removed: Vec::new(), failed: None };
        match whole(&tree, subject) {
            Ok(mut all) => {
                if due(policy.schedule, now, &all) {
                    let next = all.iter().map(|record| record.sequence).max().unwrap_or_default() + 1;
                    let record = Record::planned(subject, now, next);
                    done.taken = Some(record.name.clone());
                    all.push(record);
                }
                done.removed = expired(&all, &policy.keep);
            }
            Err(report) => done.failed = Some(report),
        }
        done
    };
    Round { subjects: cx.spec.snapshots.iter().map(one).collect() }
}

fn one(
    cx: &Context<'_>,
    subject: &Subject,
    policy: &SnapshotPolicy,
    now: Timestamp,
    done: &mut Done,
) -> Result<(), Report> {
    let tree = cx.tree();
    let mut all = whole(&tree, subject)?;
    if due(policy.schedule, now, &all) {
        let record = store::take(&tree, subject, &Order::new("schedule", Reason::Schedule))?;
        done.taken = Some(record.name.clone());
        all.push(record);
    }
    for name in expired(&all, &policy.keep) {
        store::delete(&tree, &name)?;
        done.removed.push(name);
    }
    Ok(())
}

fn whole(tree: &crate::paths::Tree, subject: &Subject) -> Result<Vec<Record>, Report> {
    let all = store::list(tree, Some(subject))?;
    let there = all.into_iter().filter(|l| matches!(l.state, State::Whole | State::Writable));
    Ok(there.map(|listed| listed.record).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::record::example;

    #[test]
    fn one_is_due_in_each_period_that_has_none_whatever_the_clock_did_before() {
        let at = |time: &str| time.parse::<Timestamp>().unwrap();
        let all = [
            example("@state", 1, "2026-01-31T09:15:00Z", Reason::Schedule),
            example("@state", 2, "2036-01-01T00:00:00Z", Reason::Schedule),
            example("@state", 3, "2026-02-02T10:00:00Z", Reason::Manual),
        ];
        assert!(!due(Every::Hourly, at("2026-01-31T09:59:59Z"), &all));
        assert!(due(Every::Hourly, at("2026-01-31T10:00:00Z"), &all));
        assert!(!due(Every::Daily, at("2026-01-31T10:00:00Z"), &all));
        assert!(due(Every::Daily, at("2026-02-02T11:00:00Z"), &all), "one by hand is not the schedule's");
        assert!(!due(Every::Weekly, at("2026-02-01T23:00:00Z"), &all), "Sunday is of the same week");
        assert!(due(Every::Weekly, at("2026-02-02T00:00:00Z"), &all));
        assert!(!due(Every::Monthly, at("2026-01-01T00:00:00Z"), &all));
        assert!(due(Every::Monthly, at("2026-02-01T00:00:00Z"), &all));
    }
}
