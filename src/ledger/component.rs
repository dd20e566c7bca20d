//! The ledger as a component: it is there, and it is root's alone.

use serde::Serialize;

use super::entry::{Caller, Via};
use super::error::LedgerError;
use super::store::{self, Ledger, State};
use super::{format, schema};
use crate::deployment::Deployment;
use crate::engine::{Action, Change, Component, Context};
use crate::spec::HostSpec;

/// The component.
#[derive(Debug, Clone)]
pub struct LedgerComponent {
    caller: Caller,
}

impl LedgerComponent {
    /// The component, run by this caller: the first entry names who made the ledger.
    #[must_use]
    pub fn by(caller: Caller) -> Self {
        Self { caller }
    }
}

impl Default for LedgerComponent {
    /// The component, run by the user of this program through a helper.
    fn default() -> Self {
        Self::by(Caller::this_process(Via::Helper))
    }
}

/// What is seen of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LedgerSeen {
    /// Whether there is one.
    pub present: bool,
    /// Its format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<i64>,
    /// Whether its genesis entry is there and as it should be. This is a glance, not a verification.
    pub genesis: bool,
    /// Whether nobody else can read or write it.
    pub private: bool,
}

/// A change to the ledger.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum LedgerChange {
    /// Make it.
    Create {
        /// Its file.
        path: std::path::PathBuf,
    },
    /// Make it root's alone.
    Restrict {
        /// Its file.
        path: std::path::PathBuf,
    },
}

impl Change for LedgerChange {
    fn action(&self) -> Action {
        match self {
            Self::Create { .. } => Action::Create,
            Self::Restrict { .. } => Action::Update,
        }
    }
    fn object(&self) -> String {
        let (Self::Create { path } | Self::Restrict { path }) = self;
        format!("ledger {}", path.display())
    }
    fn detail(&self) -> String {
        match self {
            Self::Create { .. } => "with its genesis entry".into(),
            Self::Restrict { .. } => "owner root and mode 0600".into(),
        }
    }
}

impl Component for LedgerComponent {
    const NAME: &'static str = "ledger";
    type Seen = LedgerSeen;
    type Change = LedgerChange;
    type Error = LedgerError;

    fn validate(&self, cx: &Context<'_>) -> Result<(), LedgerError> {
        let path = cx.tree().ledger();
        match store::inspect(&path)? {
            State::Foreign(what) => Err(LedgerError::InTheWay { path, what }),
            State::Newer(found) => Err(LedgerError::Newer { path, found }),
            State::Absent | State::Empty | State::Ledger => Ok(()),
        }
    }

    fn observe(&self, cx: &Context<'_>) -> Result<LedgerSeen, LedgerError> {
        self.validate(cx)?;
        let path = cx.tree().ledger();
        if store::inspect(&path)? != State::Ledger {
            return Ok(LedgerSeen { present: false, format: None, genesis: false, private: false });
        }
        let private = store::is_private(&path).map_err(|source| LedgerError::Io {
            verb: "read",
            path: path.clone(),
            source,
        })?;
        let filter = super::Filter { ids: Some(0..=0), ..super::Filter::default() };
        let first = Ledger::read(&path, |ledger| ledger.entries(&filter))?;
        let genesis = first.first().is_some_and(|entry| {
            entry.operation == format::GENESIS_OPERATION && entry.current_hash == format::GENESIS_HASH
        });
        Ok(LedgerSeen { present: true, format: Some(schema::VERSION), genesis, private })
    }

    fn plan(&self, spec: &HostSpec, seen: &LedgerSeen) -> Result<Vec<LedgerChange>, LedgerError> {
        let path = crate::paths::Tree::new(&spec.btrfs.base_path).ledger();
        Ok(if !seen.present {
            vec![LedgerChange::Create { path }]
        } else if !seen.private {
            vec![LedgerChange::Restrict { path }]
        } else {
            Vec::new()
        })
    }

    fn apply(&self, cx: &Context<'_>, change: &LedgerChange) -> Result<(), LedgerError> {
        match change {
            LedgerChange::Create { path } => {
                Ledger::init(path, &self.caller, Deployment::read(&cx.host.paths.etc)).map(drop)
            }
            LedgerChange::Restrict { path } => store::secure(path).map_err(|source| LedgerError::Io {
                verb: "restrict",
                path: path.clone(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{self, Host, Silent, Stage};
    use std::os::unix::fs::PermissionsExt;

    struct Bare {
        _dir: tempfile::TempDir,
        host: Host,
        spec: HostSpec,
    }

    impl Bare {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut host = Host::default();
            host.paths.etc = dir.path().join("etc");
            let mut spec = HostSpec::default();
            spec.btrfs.base_path = dir.path().join("base");
            Self { _dir: dir, host, spec }
        }
        fn cx(&self) -> Context<'_> {
            Context { host: &self.host, spec: &self.spec, progress: &Silent }
        }
        fn stages() -> Vec<Box<dyn Stage>> {
            vec![Box::new(LedgerComponent::default())]
        }
    }

    #[test]
    fn a_bare_host_is_planned_and_a_second_run_changes_nothing() {
        let bare = Bare::new();
        let cx = bare.cx();
        let changes = engine::plan(&Bare::stages(), &cx).unwrap();
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(!bare.spec.btrfs.base_path.exists(), "a plan changes nothing");

        let outcome = engine::apply(&Bare::stages(), &cx).unwrap();
        let failure = outcome.failure().unwrap();
        assert_eq!(failure.kind, crate::fault::Kind::Unavailable, "the storage comes first: {failure}");

        std::fs::create_dir_all(cx.tree().join("@timing")).unwrap();
        assert_eq!(engine::apply(&Bare::stages(), &cx).unwrap().changes(), 1);
        assert_eq!(engine::apply(&Bare::stages(), &cx).unwrap().changes(), 0);
        assert_eq!(
            engine::show(&Bare::stages(), &cx).unwrap(),
            serde_json::json!({ "ledger": { "present": true, "format": 1, "genesis": true, "private": true } })
        );
        let left: Vec<_> = std::fs::read_dir(cx.tree().join("@timing")).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_ledger_that_others_may_read_is_restricted() {
        let bare = Bare::new();
        let cx = bare.cx();
        std::fs::create_dir_all(cx.tree().join("@timing")).unwrap();
        engine::apply(&Bare::stages(), &cx).unwrap();
        std::fs::set_permissions(cx.tree().ledger(), PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(engine::apply(&Bare::stages(), &cx).unwrap().changes(), 1);
        let mode = std::fs::metadata(cx.tree().ledger()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn a_foreign_file_in_the_way_is_a_conflict_and_stays() {
        let bare = Bare::new();
        let cx = bare.cx();
        std::fs::create_dir_all(cx.tree().join("@timing")).unwrap();
        std::fs::write(cx.tree().ledger(), "mine").unwrap();
        let report = engine::apply(&Bare::stages(), &cx).unwrap_err();
        assert_eq!(report.kind, crate::fault::Kind::Conflict);
        assert_eq!(std::fs::read(cx.tree().ledger()).unwrap(), b"mine");
    }
}
