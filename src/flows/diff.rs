//! What differs between the flows on the bridge and those that shall be there.

use std::collections::BTreeMap;

use serde::Serialize;

use super::model::COOKIE;
use super::openflow::{Found, Modification};
use super::rule::{Flow, Key};

/// A flow that is not ours in the place of one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collision {
    /// Where.
    pub(super) key: Key,
    /// Its cookie.
    pub(super) cookie: u64,
}

/// What differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Wanted, and not there.
    pub(super) missing: Vec<Flow>,
    /// Wanted, and there with other actions, a time limit or flags.
    pub(super) altered: Vec<Flow>,
    /// Ours, and not wanted.
    pub(super) surplus: Vec<Found>,
    /// Not ours, in a place that we want.
    pub(super) collisions: Vec<Collision>,
}

impl Difference {
    /// What makes `there` into `wanted`.
    pub(super) fn between(there: Vec<Found>, wanted: Vec<Flow>) -> Self {
        let mut wanted: BTreeMap<Key, Flow> = wanted.into_iter().map(|f| (f.key.clone(), f)).collect();
        let mut difference = Self::default();
        for found in there {
            let Some(flow) = found.key().and_then(|key| wanted.remove(&key)) else {
                if found.is_ours() {
                    difference.surplus.push(found);
                }
                continue;
            };
            if !found.is_ours() {
                difference.collisions.push(Collision { key: flow.key, cookie: found.cookie });
            } else if found.special || found.cookie != COOKIE || found.actions.as_ref() != Some(&flow.actions)
            {
                difference.altered.push(flow);
            }
        }
        difference.missing = wanted.into_values().collect();
        difference
    }

    /// The bundle that makes the bridge what it should be. Empty where it is.
    pub(super) fn bundle(&self) -> Bundle {
        let removals = self.surplus.iter().cloned().map(Modification::RemoveFound);
        let additions = self.missing.iter().chain(&self.altered).cloned().map(Modification::Add);
        Bundle(removals.chain(additions).collect())
    }
}

/// Changes that are made together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bundle(pub(super) Vec<Modification>);

impl Serialize for Bundle {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(ToString::to_string))
    }
}
