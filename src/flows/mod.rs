//! The flow tables of the bridge.

mod model;
mod switch;

use std::path::PathBuf;

use serde::Serialize;

use crate::engine::{self, Action, Context};
use crate::fault::{Fault, Kind, Report};
use crate::files;
use crate::run::RunError;
use crate::spec::HostSpec;

pub use model::{COOKIE, Endpoint, Flow, desired};
use switch::Difference;

/// How flows fail.
#[derive(Debug, thiserror::Error)]
pub enum FlowsError {
    /// ovs-ofctl.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What it printed is not understood.
    #[error("ovs-ofctl printed a flow that is not understood: {0}")]
    Line(String),
    /// A foreign flow is where one of ours belongs.
    #[error("a flow that is not ours has the place of one of ours: {0}")]
    Foreign(String),
    /// The bridge is not there.
    #[error("the bridge {0} does not answer")]
    NoBridge(String),
    /// The containers could not be listed.
    #[error("{}", .0.message)]
    Endpoints(Box<Report>),
    /// The saved flows could not be read or written.
    #[error("cannot {verb} {}", .path.display())]
    Saved {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Fault for FlowsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Run(e) => e.kind(),
            Self::Line(_) | Self::Saved { .. } => Kind::Failed,
            Self::Foreign(_) => Kind::Conflict,
            Self::NoBridge(_) => Kind::Unavailable,
            Self::Endpoints(report) => report.kind,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Run(e) => e.next(),
            Self::Line(_) => Some("report it with the output of `ovs-vsctl --version`".into()),
            Self::Foreign(_) => Some("move that flow to another priority".into()),
            Self::NoBridge(_) => Some("start Open vSwitch, then `op-dbus apply bridge flows`".into()),
            Self::Endpoints(report) => report.next.clone(),
            Self::Saved { .. } => None,
        }
    }
}

/// The flows as a component.
#[derive(Debug, Clone, Copy)]
pub struct FlowsComponent {
    /// Lists the containers; they are a room above this one.
    pub endpoints: fn(&Context<'_>) -> Result<Vec<Endpoint>, Report>,
}

/// What there is of flows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Whether the bridge answers.
    pub bridge: bool,
    /// Our flows that are as they should be, as ovs-ofctl writes them, sorted.
    pub flows: Vec<String>,
    /// How many of ours are missing or wrong.
    pub missing: usize,
    /// How many with our cookie should not be there.
    pub stale: usize,
}

/// The one change there is: flows are changed together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// How many are added or put right.
    pub add: usize,
    /// How many are removed.
    pub remove: usize,
}

impl engine::Change for Change {
    fn action(&self) -> Action {
        Action::Update
    }
    fn object(&self) -> String {
        "flows of the bridge".into()
    }
    fn detail(&self) -> String {
        format!("{} to add or put right, {} to remove", self.add, self.remove)
    }
}

impl FlowsComponent {
    fn list(&self, cx: &Context<'_>) -> Result<Vec<Endpoint>, FlowsError> {
        (self.endpoints)(cx).map_err(|report| FlowsError::Endpoints(Box::new(report)))
    }
}

impl engine::Component for FlowsComponent {
    const NAME: &'static str = "flows";
    type Seen = Seen;
    type Change = Change;
    type Error = FlowsError;

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, FlowsError> {
        let desired = desired(cx.spec, &self.list(cx)?);
        if !switch::answers(cx) {
            return Ok(Seen { missing: desired.len(), ..Seen::default() });
        }
        let difference = switch::difference(cx, &desired)?;
        let mut flows: Vec<String> =
            switch::dump(cx)?.into_iter().filter(|line| switch::is_ours(line)).collect();
        flows.sort();
        Ok(Seen { bridge: true, flows, missing: difference.add.len(), stale: difference.remove.len() })
    }

    fn plan(&self, _: &HostSpec, seen: &Seen) -> Result<Vec<Change>, FlowsError> {
        if seen.missing == 0 && seen.stale == 0 {
            return Ok(Vec::new());
        }
        Ok(vec![Change { add: seen.missing, remove: seen.stale }])
    }

    fn apply(&self, cx: &Context<'_>, _: &Change) -> Result<(), FlowsError> {
        converge(cx, &self.list(cx)?)
    }
}

/// Makes the bridge's flows those of the given containers: one comparison, one bundle.
pub fn converge(cx: &Context<'_>, endpoints: &[Endpoint]) -> Result<(), FlowsError> {
    if !switch::answers(cx) {
        return Err(FlowsError::NoBridge(cx.spec.ovs.bridge.clone()));
    }
    let difference: Difference = switch::difference(cx, &desired(cx.spec, endpoints))?;
    switch::change(cx, &difference)
}

fn saved(cx: &Context<'_>) -> PathBuf {
    cx.host.paths.run.join("foreign-flows")
}

/// Keeps the admin's own flows on our bridge over a restart of ovs-vswitchd, which forgets them. Flows with
/// a time-out are left out: they are somebody's cache. Gives how many were kept.
pub fn save_foreign(cx: &Context<'_>) -> Result<usize, FlowsError> {
    if !switch::answers(cx) {
        return Ok(0);
    }
    let lines: Vec<String> = switch::dump(cx)?
        .into_iter()
        .filter(|line| !switch::is_ours(line) && !line.contains("timeout="))
        .map(|line| line.trim_start_matches("reset_counts ").to_owned())
        .collect();
    let path = saved(cx);
    let failed = |source| FlowsError::Saved { verb: "write", path: path.clone(), source };
    std::fs::create_dir_all(&cx.host.paths.run).map_err(failed)?;
    files::replace(&path, (lines.join("\n") + "\n").as_bytes(), 0o600).map_err(failed)?;
    Ok(lines.len())
}

/// Puts back what [`save_foreign`] kept and is not there. Gives how many were put back.
pub fn restore_foreign(cx: &Context<'_>) -> Result<usize, FlowsError> {
    let path = saved(cx);
    let bytes = files::read_optional(&path).map_err(|source| FlowsError::Saved {
        verb: "read",
        path: path.clone(),
        source,
    })?;
    let Some(bytes) = bytes else { return Ok(0) };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    switch::add_missing(cx, &lines)
}
