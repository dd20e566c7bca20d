//! What a monitoring system watches, in OpenMetrics' text form: what is counted while the daemon runs ([`Metrics`]), and
//! what is looked up when somebody asks ([`host`]). Nothing is looked at in between, and looking starts no program.

pub mod host;

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::engine;
use crate::ledger::Outcome;

/// The media type of what [`Metrics::text`] gives (OpenMetrics 1.0, section "Protocol Negotiation").
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What every metric of ours begins with.
const PREFIX: &str = "opdbus";

/// The operation of a call that named none there is: what strangers write is not a label.
pub const UNKNOWN: &str = "unknown";

/// Upper bounds of durations of calls, in seconds: from what a look takes to what a template takes to be built.
const DURATIONS: [f64; 10] = [0.005, 0.02, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    component: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// What is counted from the start of the daemon on. Threads may share it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Family<Called, Counter>,
    durations: Family<Named, Histogram>,
    unrecorded: Counter,
    changes: Family<Part, Counter>,
    connections: Gauge,
    turned_away: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let new = || Histogram::new(DURATIONS);
        let metrics = Self {
            registry: Registry::default(),
            calls: Family::default(),
            durations: Family::new_with_constructor(new),
            unrecorded: Counter::default(),
            changes: Family::default(),
            connections: Gauge::default(),
            turned_away: Counter::default(),
        };
        let mut registry = Registry::default();
        let started = ConstGauge::new(jiff::Timestamp::now().as_second());
        registry.register_with_unit("process_start_time", "When the daemon started", Unit::Seconds, started);
        let ours = registry.sub_registry_with_prefix(PREFIX);
        ours.register(
            "build",
            "The version of the daemon",
            Info::new(Build { version: env!("CARGO_PKG_VERSION") }),
        );
        ours.register(
            "calls",
            "Calls of operations that have ended, by how: ok, refused, failed",
            metrics.calls.clone(),
        );
        ours.register_with_unit(
            "call_duration",
            "How long calls of operations took, refused ones among them",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        ours.register(
            "ledger_unwritten_entries",
            "Entries of the ledger that could not be written",
            metrics.unrecorded.clone(),
        );
        ours.register(
            "changes",
            "Changes that apply and doctor --fix made to the host, by component",
            metrics.changes.clone(),
        );
        ours.register(
            "api_open_connections",
            "Connections to the API socket that are open",
            metrics.connections.clone(),
        );
        ours.register(
            "api_turned_away_connections",
            "Connections to the API socket that were closed because their user had too many",
            metrics.turned_away.clone(),
        );
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// Counts a call of an operation that has ended.
    pub fn called(&self, operation: &'static str, outcome: &Outcome, took: Duration) {
        self.calls.get_or_create(&Called { operation, outcome: outcome.name() }).inc();
        self.durations.get_or_create(&Named { operation }).observe(took.as_secs_f64());
    }

    /// Counts an entry of the ledger that could not be written.
    pub fn unrecorded(&self) {
        self.unrecorded.inc();
    }

    /// Counts the changes that a run made.
    pub fn changed(&self, outcome: &engine::Outcome) {
        for part in outcome.components.iter().filter(|part| !part.applied.is_empty()) {
            let label = Part { component: part.component.clone() };
            self.changes.get_or_create(&label).inc_by(part.applied.len() as u64);
        }
    }

    /// Counts a connection to the API socket as open.
    pub fn connected(&self) {
        self.connections.inc();
    }

    /// Counts it as closed.
    pub fn disconnected(&self) {
        self.connections.dec();
    }

    /// Counts a connection that was closed at once.
    pub fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// All of it, and what `seen` has, as OpenMetrics' text.
    pub fn text(&self, seen: &Registry) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, seen)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}
