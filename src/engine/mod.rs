//! The engine: every piece of infrastructure is a component with the same three verbs. Observe reads
//! what is there, plan compares it with the host spec and changes nothing, apply makes one change.

mod lock;
mod retire;
mod run;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fault::Fault;
use crate::paths::{Paths, Tree};
use crate::run::Runner;
use crate::spec::HostSpec;

pub use lock::{Lock, LockError};
pub use retire::{Kept, Retirement, plan_retirement};
pub use run::{ComponentOutcome, Outcome, Stage, apply, lasting, plan, show};

/// The host a run works on.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Where things lie.
    pub paths: Paths,
    /// How foreign tools are called.
    pub run: Runner,
}

/// What a component gets to work with.
pub struct Context<'a> {
    /// The host.
    pub host: &'a Host,
    /// What the host should be.
    pub spec: &'a HostSpec,
    /// Where progress goes.
    pub progress: &'a dyn Progress,
}

impl Context<'_> {
    /// The tree below the base path.
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree::new(&self.spec.btrfs.base_path)
    }
}

/// Where a long operation says how far it is.
pub trait Progress: Send + Sync {
    /// What is being done now; `fraction` from 0 to 1 where it is known.
    fn report(&self, message: &str, fraction: Option<f64>);
}

/// Progress that nobody watches.
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: &str, _: Option<f64>) {}
}

/// What a change does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is not there and will be.
    Create,
    /// It is there and will be different.
    Update,
    /// It is ours, is there, and will not be.
    Remove,
}

/// One change of a plan, as the admin reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedChange {
    /// The component that makes it.
    pub component: String,
    /// What it does.
    pub action: Action,
    /// To what: `subvolume /var/lib/op-dbus/@cache`.
    pub object: String,
    /// In which way, where the object alone does not say: `compression zstd instead of none`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// A component's own type of change.
pub trait Change: Serialize {
    /// What it does to its object.
    fn action(&self) -> Action;
    /// To what.
    fn object(&self) -> String;
    /// In which way; empty where the object says it all.
    fn detail(&self) -> String {
        String::new()
    }
}

/// A piece of infrastructure.
pub trait Component: Send + Sync {
    /// The component's name, as in `op-dbus plan storage`.
    const NAME: &'static str;
    /// What it sees of the host. Serialised for `op-dbus show`, so it holds nothing that differs
    /// between two hosts built from the same spec (no inode, no time, no random id).
    type Seen: Serialize;
    /// One change.
    type Change: Change;
    /// How it fails.
    type Error: Fault;

    /// Finds what would make `apply` fail, before anything is changed: a foreign thing in the way,
    /// a tool that is missing. Changes nothing. It may run on a bare host.
    fn validate(&self, cx: &Context<'_>) -> Result<(), Self::Error> {
        let _ = cx;
        Ok(())
    }
    /// Reads what is there. Changes nothing; works on a bare host, where nothing is there yet.
    fn observe(&self, cx: &Context<'_>) -> Result<Self::Seen, Self::Error>;
    /// What of that stays as it is unless somebody changes it, for `op-dbus drift`: without what comes and goes by
    /// itself (whether a container runs), and without what people make and unmake by hand.
    fn lasting(&self, seen: &Self::Seen) -> serde_json::Result<Value> {
        serde_json::to_value(seen)
    }
    /// Compares: a pure function, so that it can be tested without a host.
    fn plan(&self, spec: &HostSpec, seen: &Self::Seen) -> Result<Vec<Self::Change>, Self::Error>;
    /// What is to be taken away so that nothing of ours is left, and what stays and why: the plan of an uninstall.
    /// With `data`, also what the user keeps in it. A component whose making leaves nothing outside of the data has
    /// nothing to take away. It changes nothing; the changes are made by [`Component::apply`].
    fn retire(
        &self,
        cx: &Context<'_>,
        seen: &Self::Seen,
        data: bool,
    ) -> Result<Retirement<Self::Change>, Self::Error> {
        let _ = (cx, seen, data);
        Ok(Retirement::default())
    }
    /// Makes one change of the plan. Killed at any instant, it leaves what the next run can plan from.
    fn apply(&self, cx: &Context<'_>, change: &Self::Change) -> Result<(), Self::Error>;
}
