//! The vectors of all entries in memory, a byte a number, and the nearest of them to a question's.
//!
//! A byte a number is a quarter of the memory and of the time; what it loses is put right by looking at more than is asked
//! for and computing those anew from the index, where each number has two bytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pulp::{Arch, Simd, WithSimd};

use super::embed::Vector;
use super::model::DIMENSIONS;

/// A vector, a byte a number, and what one of them is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Code {
    pub(super) bytes: [i8; DIMENSIONS],
    pub(super) scale: f32,
}

impl Code {
    /// Rounds a vector.
    #[must_use]
    pub fn of(vector: &Vector) -> Self {
        let largest = vector.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        #[allow(clippy::cast_possible_truncation, reason = "rounded to -127 to 127")]
        let bytes = vector.map(|value| (value / scale).round() as i8);
        Self { bytes, scale }
    }
}

/// What of an entry a question may be about beside its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The entry's number.
    pub id: i64,
    /// When it was appended, in seconds since 1970-01-01T00:00:00Z.
    pub timestamp: i64,
    /// Its caller, as [`super::store::Store`] numbers them.
    pub caller: u32,
    /// How it ended.
    pub outcome: u8,
}

/// The entries that have a vector.
#[derive(Debug, Default)]
pub struct Rows {
    facts: Vec<Facts>,
    scales: Vec<f32>,
    bytes: Vec<i8>,
}

/// Rows that are looked at together.
const BLOCK: usize = 256;

/// The scalar products of some codes with one, without their scales, where they are wanted. Compiled once for each set of
/// instructions that a processor may have, of which the best is taken: it multiplies sixteen numbers at a time or more.
struct Products<'a> {
    codes: &'a [i8],
    to: &'a [i16; DIMENSIONS],
    wanted: &'a [bool; BLOCK],
    sums: &'a mut [i32; BLOCK],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[allow(
        clippy::inline_always,
        reason = "it has to become a part of what was compiled for the instructions"
    )]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { codes, to, wanted, sums } = self;
        let (codes, _) = codes.as_chunks::<DIMENSIONS>();
        for ((code, wanted), whole) in codes.iter().zip(wanted).zip(sums) {
            if *wanted {
                let mut sum = 0;
                #[allow(clippy::needless_range_loop, reason = "an iterator over both is not inlined here")]
                for i in 0..DIMENSIONS {
                    sum += i32::from(code[i]) * i32::from(to[i]);
                }
                *whole = sum;
            }
        }
    }
}

impl Rows {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Adds one.
    pub fn push(&mut self, facts: Facts, code: &Code) {
        self.facts.push(facts);
        self.scales.push(code.scale);
        self.bytes.extend_from_slice(&code.bytes);
    }

    /// The numbers of the entries nearest to a vector, the nearest first, of those that are let through.
    #[must_use]
    pub fn nearest(&self, to: &Vector, count: usize, through: impl Fn(&Facts) -> bool) -> Vec<i64> {
        let to = Code::of(to).bytes.map(i16::from);
        let processor = Arch::new();
        let (mut wanted, mut near) = ([false; BLOCK], [0; BLOCK]);
        let mut best: BinaryHeap<Reverse<(Near, usize)>> = BinaryHeap::with_capacity(count + 1);
        let blocks = self.facts.chunks(BLOCK).zip(self.bytes.chunks(BLOCK * DIMENSIONS));
        for (number, (facts, codes)) in blocks.enumerate() {
            wanted.fill(false);
            wanted.iter_mut().zip(facts).for_each(|(wanted, facts)| *wanted = through(facts));
            if wanted == [false; BLOCK] {
                continue;
            }
            processor.dispatch(Products { codes, to: &to, wanted: &wanted, sums: &mut near });
            for (at, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
                let row = number * BLOCK + at;
                #[allow(clippy::cast_precision_loss, reason = "below 384 · 127², which f32 holds exactly")]
                let near = Near(near[at] as f32 * self.scales[row]);
                if best.len() < count {
                    best.push(Reverse((near, row)));
                } else if best.peek().is_some_and(|Reverse((worst, _))| near > *worst) {
                    best.pop();
                    best.push(Reverse((near, row)));
                }
            }
        }
        let mut rows: Vec<(Near, usize)> = best.into_iter().map(|Reverse(one)| one).collect();
        rows.sort_unstable_by(|a, b| b.cmp(a));
        rows.into_iter().map(|(_, row)| self.facts[row].id).collect()
    }
}

/// How near; a number that can be put in order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Near(f32);

impl Eq for Near {}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors that are the same in each run.
    fn vectors(count: usize) -> Vec<Vector> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f32::from(u16::try_from(state >> 48).unwrap()) / 65_535.0 - 0.5
        };
        let mut all = Vec::new();
        for _ in 0..count {
            let raw: Vector = std::array::from_fn(|_| next());
            let length = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
            all.push(raw.map(|v| v / length));
        }
        all
    }

    fn facts(id: usize) -> Facts {
        Facts { id: i64::try_from(id).unwrap(), timestamp: 0, caller: 0, outcome: 0 }
    }

    #[test]
    fn the_nearest_are_found_as_if_nothing_had_been_rounded() {
        let all = vectors(2000);
        let mut rows = Rows::default();
        for (id, vector) in all.iter().enumerate() {
            rows.push(facts(id), &Code::of(vector));
        }
        let mut found = 0;
        for question in vectors(2050).split_off(2000) {
            let cosine = |v: &Vector| v.iter().zip(&question).map(|(a, b)| a * b).sum::<f32>();
            let mut exact: Vec<usize> = (0..all.len()).collect();
            exact.sort_by(|a, b| cosine(&all[*b]).total_cmp(&cosine(&all[*a])));
            let near = rows.nearest(&question, 40, |_| true);
            found += exact[..10].iter().filter(|id| near.contains(&i64::try_from(**id).unwrap())).count();
        }
        assert!(found >= 499, "{found} of 500");
    }

    #[test]
    fn what_is_not_let_through_is_not_found_and_zero_is_no_fault() {
        let mut rows = Rows::default();
        for (id, vector) in vectors(20).iter().enumerate() {
            rows.push(facts(id), &Code::of(vector));
        }
        rows.push(facts(20), &Code::of(&[0.0; DIMENSIONS]));
        let odd = rows.nearest(&[0.0; DIMENSIONS], 100, |facts| facts.id % 2 == 1);
        assert_eq!(odd.len(), 10);
        assert!(odd.iter().all(|id| id % 2 == 1));
        assert!(rows.nearest(&[0.0; DIMENSIONS], 0, |_| true).is_empty());
    }
}
