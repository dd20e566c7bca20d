//! What every error of the project can answer: what kind it is, and what to do next.
//!
//! Rooms define their own error enums (with `thiserror`); a door (CLI, D-Bus, API socket) turns
//! whichever it meets into a [`Report`], so that the same failure reads the same everywhere.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a failure means to the caller. Exit status, D-Bus error name and HTTP status follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It was tried and did not work.
    Failed,
    /// The request or the host spec is wrong; nothing was tried.
    Invalid,
    /// The thing named does not exist.
    NotFound,
    /// Something is in the way, perhaps something that is not ours.
    Conflict,
    /// The caller may not do this.
    Denied,
    /// A tool, a service or a feature that is needed is not there.
    Unavailable,
    /// Another run holds the lock; try again.
    Busy,
}

impl Kind {
    /// The exit status of a program that ends on such a failure (2 is left to usage errors, as clap has it).
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Invalid => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Denied => 6,
            Self::Unavailable => 7,
            Self::Busy => 8,
        }
    }
}

/// An error at the edge of a room.
pub trait Fault: std::error::Error + Send + Sync + 'static {
    /// What the failure means to the caller.
    fn kind(&self) -> Kind;
    /// What the reader can do about it, as a sentence; `None` where the message says all there is.
    fn next(&self) -> Option<String> {
        None
    }
}

/// A failure as every door shows it and as `--json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// What the failure means to the caller.
    pub kind: Kind,
    /// What failed, on what, and why: the error and its causes, outermost first, joined by ": ".
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What was done before it failed, as the operation would have answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<serde_json::Value>,
}

impl Report {
    /// A report made directly, where no room's error type fits.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), next: None, partial: None }
    }

    /// The same report with advice.
    #[must_use]
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl<F: Fault> From<F> for Report {
    fn from(fault: F) -> Self {
        let mut message = fault.to_string();
        let mut cause = std::error::Error::source(&fault);
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        Self { kind: fault.kind(), message, next: fault.next(), partial: None }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(next) = &self.next {
            write!(f, "\n  next: {next}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write /x")]
    struct Outer(#[source] std::io::Error);
    impl Fault for Outer {
        fn kind(&self) -> Kind {
            Kind::Failed
        }
        fn next(&self) -> Option<String> {
            Some("free some space".into())
        }
    }

    #[test]
    fn a_report_names_what_why_and_what_next() {
        let report = Report::from(Outer(std::io::Error::other("disk full")));
        assert_eq!(report.to_string(), "cannot write /x: disk full\n  next: free some space");
    }

    #[test]
    fn exit_codes_are_distinct_and_leave_usage_alone() {
        let all = [
            Kind::Failed,
            Kind::Invalid,
            Kind::NotFound,
            Kind::Conflict,
            Kind::Denied,
            Kind::Unavailable,
            Kind::Busy,
        ];
        let codes: std::collections::BTreeSet<u8> = all.iter().map(|k| k.exit_code()).collect();
        assert_eq!(codes.len(), all.len());
        assert!(!codes.contains(&0) && !codes.contains(&2));
    }
}
