//! What the benches share: medians, and a line of the table for each promise. Times differ from machine to machine and
//! from hour to hour; what is promised is how long one thing takes beside another in the same run.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(dead_code, reason = "every bench is a program of its own and uses a part of it")]

#[allow(clippy::unwrap_used, reason = "a fixture that fails ends the bench")]
#[path = "../../tests/support/sockets.rs"]
pub mod sockets;

use std::time::{Duration, Instant};

/// What a ratio may be.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// How long something takes, once.
pub fn timed(what: impl FnOnce()) -> Duration {
    let start = Instant::now();
    what();
    start.elapsed()
}

/// The median of some times.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A line of the table: `measured / beside`, held against the limit. `benches/run` reads these lines.
pub fn row(what: &str, measured: Duration, beside: Duration, limit: Limit) {
    ratio(
        what,
        measured.as_secs_f64() / beside.as_secs_f64(),
        limit,
        &format!("{measured:.1?} : {beside:.1?}"),
    );
}

/// The same for a ratio that is known already.
pub fn ratio(what: &str, ratio: f64, limit: Limit, how: &str) {
    let (holds, limit) = match limit {
        Limit::AtMost(most) => (ratio <= most, format!("at most {most}")),
        Limit::AtLeast(least) => (ratio >= least, format!("at least {least}")),
    };
    let verdict = if holds { "holds" } else { "short" };
    println!("bench | {what} | {ratio:.2} | {limit} | {verdict} | {how}");
}

/// A line of what nothing is promised of, to tell where the time goes.
pub fn told(what: &str, ratio: f64, how: &str) {
    println!("bench | {what} | {ratio:.2} | | | {how}");
}

/// A line of what could not be measured here, and why.
pub fn not_measured(what: &str, why: &str) {
    println!("bench | {what} | | | not measured | {why}");
}
