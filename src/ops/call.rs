//! One call, from whichever door: authorised, run, and written to the ledger however it ends.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::caller::{Authority, Caller, Right};
use super::registry::{DRY_RUN, Effect, Operation, Privilege, Registry};
use super::said;
use crate::deployment::Deployment;
use crate::engine::{self, Context, Host, Lock, Progress};
use crate::fault::{Kind, Report};
use crate::ledger::{self, Ledger, NewEntry, Outcome};
use crate::metrics::{self, Metrics};
use crate::paths::{Paths, Tree};
use crate::search::wire::{self, Asked};
use crate::spec::{self, HostSpec};
use crate::storage::subvolume;

/// How long a call waits for another run to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many refusals of one user are written in one minute. Each is a durable write that a stranger
/// could otherwise ask for without end; those beyond are counted, and the count is written.
const REFUSALS_A_MINUTE: u32 = 30;

/// The caller's own standard input, output and error.
pub type Streams = [OwnedFd; 3];

/// What an operation gets to work with.
pub struct Call<'a> {
    /// The host.
    pub host: &'a Host,
    /// Who asks.
    pub caller: &'a Caller,
    /// Where progress goes.
    pub progress: &'a dyn Progress,
    metrics: &'a Metrics,
    streams: Mutex<Option<Streams>>,
    result: Mutex<Map<String, Value>>,
    commit: Mutex<Option<PathBuf>>,
}

impl Call<'_> {
    /// The host spec as it is on disk now.
    pub fn spec(&self) -> Result<HostSpec, Report> {
        Ok(spec::load(&self.host.paths.config())?)
    }

    /// What a component gets to work with.
    #[must_use]
    pub fn context<'c>(&'c self, spec: &'c HostSpec) -> Context<'c> {
        Context { host: self.host, spec, progress: self.progress }
    }

    /// The engine's lock, for an operation that changes something.
    pub fn lock(&self) -> Result<Lock, Report> {
        Ok(Lock::take(&self.host.paths.lock(), PATIENCE)?)
    }

    /// Puts something into the ledger entry of this call, beside the arguments: what came of it, where that matters later.
    pub fn record(&self, key: &str, value: impl Into<Value>) {
        if let Ok(mut result) = self.result.lock() {
            result.insert(key.to_owned(), value.into());
        }
    }

    /// Counts the changes that a run made to the host.
    pub fn changed(&self, outcome: &engine::Outcome) {
        self.metrics.changed(outcome);
    }

    /// Has the file system that a directory is on committed before the call is answered, together with the entry of the
    /// ledger: what the operation did is then on the disk.
    pub fn commit(&self, directory: PathBuf) {
        *self.commit.lock().unwrap_or_else(PoisonError::into_inner) = Some(directory);
    }

    /// The caller's streams, where the door could pass them.
    pub fn take_streams(&self) -> Option<Streams> {
        self.streams.lock().ok()?.take()
    }
}

/// How a call ended, for its entry.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) noted: Map<String, Value>,
    pub(super) took: Duration,
    /// What is committed together with the entry.
    pub(super) commit: Option<PathBuf>,
}

/// What became of a call's entry.
pub(super) enum Recorded {
    /// It is the entry of this number.
    As(i64),
    /// There is no ledger yet.
    Nowhere,
    /// It is one of too many refusals of a stranger, which are only counted.
    Counted,
}

impl Recorded {
    fn entry(&self) -> Option<i64> {
        if let Self::As(entry) = self { Some(*entry) } else { None }
    }
}

/// The operations of a host, ready to be called.
pub struct Service {
    registry: Registry,
    pub(super) host: Host,
    pub(super) metrics: Arc<Metrics>,
    refusals: Mutex<Refusals>,
    ledger: Mutex<Option<(PathBuf, Arc<Ledger>)>>,
}

impl Service {
    /// The operations of `host`.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self {
            registry: Registry::default(),
            host,
            metrics: Arc::default(),
            refusals: Mutex::default(),
            ledger: Mutex::default(),
        }
    }

    /// What is counted of the calls, for doors that have something to count, too.
    #[must_use]
    pub fn counters(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Where things lie on the host.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.host.paths
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The operations that a sentence may be about, by what it means; none where the host spec asks for no model. It is no
    /// call, and leaves no entry in the ledger.
    pub fn suggest(&self, sentence: &str) -> Result<Vec<String>, Report> {
        if !spec::load(&self.host.paths.config())?.ml.enable {
            return Ok(Vec::new());
        }
        wire::ask(&self.host.paths.run, &Asked::Nearest(sentence.to_owned()))
    }

    /// Makes one call. Whatever comes of it is one entry of the ledger; a change whose entry cannot be
    /// written is reported as failed, so that nobody takes it for audited. What only looks is answered all the same:
    /// it is how one finds out why.
    pub fn call(
        &self,
        caller: &Caller,
        authority: &dyn Authority,
        name: &str,
        arguments: Value,
        progress: &dyn Progress,
        streams: Option<Streams>,
    ) -> Result<Value, Report> {
        let started = Instant::now();
        let found = self.registry.find(name);
        // What is no operation is what a caller wrote: it names nothing in the log, nor in the metrics.
        let known = found.as_ref().map_or(metrics::UNKNOWN, |operation| operation.name);
        let recorded_caller = caller.recorded();
        let span = said::span(known, &recorded_caller);
        let _entered = span.enter();
        let call = Call {
            host: &self.host,
            caller,
            progress,
            metrics: &self.metrics,
            streams: Mutex::new(streams),
            result: Mutex::default(),
            commit: Mutex::default(),
        };
        let arguments = if arguments.is_null() { Value::Object(Map::new()) } else { arguments };
        let rehearsed = found.as_ref().is_ok_and(|op| op.rehearses()) && arguments[DRY_RUN] == true;
        let mut right = None;
        let (target, result) = match found {
            Err(unknown) => (String::new(), Err(unknown)),
            Ok(operation) => {
                let plain = if operation.rehearses() { without_flag(&arguments) } else { arguments.clone() };
                let target = (operation.target)(&plain);
                let shown = target.clone().unwrap_or_else(|_| raw_target(&arguments));
                said::aimed(&span, &shown);
                let deployment = Deployment::read(&self.host.paths.etc);
                let allowed = authorise(caller, authority, operation, &shown, deployment);
                right = allowed.as_ref().ok().copied();
                let done = allowed.and(target).and_then(|_| {
                    let run =
                        if rehearsed { operation.rehearse.unwrap_or(operation.run) } else { operation.run };
                    run(&call, plain)
                });
                (shown, done)
            }
        };
        let noted = call.result.into_inner().unwrap_or_default();
        let commit = call.commit.into_inner().unwrap_or_else(PoisonError::into_inner);
        let outcome = Outcome::of(&result);
        let ended = Ended { outcome: outcome.clone(), noted, took: started.elapsed(), commit };
        self.metrics.called(known, &outcome, ended.took);
        let looks = |op: &Operation| if rehearsed { Effect::Read } else { op.effect };
        let (took, effect) = (ended.took, self.registry.find(name).map_or(Effect::Read, looks));
        let recorded = self.record(caller, right, name, &target, &arguments, ended);
        if !matches!(recorded, Ok(Recorded::Counted)) {
            let entry = recorded.as_ref().ok().and_then(Recorded::entry);
            let caller = &recorded_caller;
            said::Ended { operation: known, target: &target, caller, effect, outcome: &outcome, took, entry }
                .log();
        }
        match (result, recorded) {
            (Ok(answer), Ok(_)) => Ok(answer),
            (Ok(answer), Err(report)) if effect == Effect::Read => {
                tracing::error!("the ledger entry of {name} could not be written: {}", report.message);
                Ok(answer)
            }
            (Ok(_), Err(report)) => Err(Report::new(
                report.kind,
                format!("{name} was done, but its ledger entry could not be written: {}", report.message),
            )
            .with_next("`op-dbus ledger verify` and the journal of opdbus.service say more")),
            (Err(report), Ok(_)) => Err(report),
            (Err(report), Err(unwritten)) => {
                tracing::error!(
                    "the ledger entry of the failed {name} could not be written: {}",
                    unwritten.message
                );
                Err(report)
            }
        }
    }

    /// Writes the entry of a call, and counts one that cannot be written.
    #[allow(clippy::too_many_arguments, reason = "what an entry says of a call")]
    pub(super) fn record(
        &self,
        caller: &Caller,
        right: Option<Right>,
        name: &str,
        target: &str,
        arguments: &Value,
        ended: Ended,
    ) -> Result<Recorded, Report> {
        let recorded = self.try_record(caller, right, name, target, arguments, ended);
        if recorded.is_err() {
            self.metrics.unrecorded();
        }
        recorded
    }

    #[allow(clippy::too_many_arguments, reason = "what an entry says of a call")]
    fn try_record(
        &self,
        caller: &Caller,
        right: Option<Right>,
        name: &str,
        target: &str,
        arguments: &Value,
        ended: Ended,
    ) -> Result<Recorded, Report> {
        let mut suppressed = 0;
        if right.is_none() && !caller.may(Privilege::Read) {
            let Ok(mut refusals) = self.refusals.lock() else { return Ok(Recorded::Counted) };
            match refusals.admit(caller.uid, Instant::now()) {
                Some(before) => suppressed = before,
                None => return Ok(Recorded::Counted),
            }
        }
        let commit = |with: &[&Path]| match &ended.commit {
            Some(directory) => subvolume::sync_all(&[&[directory.as_path()], with].concat()),
            None => Ok(()),
        };
        let (ledger, embedded) = match self.ledger() {
            Ok(Some(opened)) => opened,
            none => {
                commit(&[])?;
                return none.map(|_| Recorded::Nowhere);
            }
        };
        let recorded = caller.recorded();
        let mut entry = NewEntry::call(ledger::Call {
            operation: name,
            target,
            caller: &recorded,
            arguments: match arguments {
                Value::Object(map) => map.clone(),
                other => [("not_an_object".to_owned(), other.clone())].into_iter().collect(),
            },
            outcome: ended.outcome,
            duration: ended.took,
            deployment: Deployment::read(&self.host.paths.etc),
        });
        if let Some(token) = &caller.token {
            entry.metadata.insert("token".into(), token.name.clone().into());
        }
        if right == Some(Right::Granted) {
            entry.metadata.insert("authorised_by".into(), "polkit".into());
        }
        if !ended.noted.is_empty() {
            entry.metadata.insert("result".into(), ended.noted.into());
        }
        if suppressed > 0 {
            entry.metadata.insert("refusals_not_recorded".into(), suppressed.into());
        }
        let appended = match ledger.path().parent() {
            Some(directory) if ended.commit.is_some() => {
                // One commit for both. What was done is waited for whether or not it could be written down.
                let appended = ledger.append_unsynced(&entry);
                commit(&[directory])?;
                appended?
            }
            _ => ledger.append(&entry)?,
        };
        if embedded {
            wire::ring(&self.host.paths.run);
        }
        Ok(Recorded::As(appended.id))
    }

    /// The ledger, opened once, and whether its entries are embedded; `None` on a host where none was made yet, whose
    /// first entry `ledger.init` will be.
    fn ledger(&self) -> Result<Option<(Arc<Ledger>, bool)>, Report> {
        let Ok(mut open) = self.ledger.lock() else {
            return Err(Report::new(Kind::Failed, "an earlier call ended while it opened the ledger"));
        };
        let (path, embedded) = match (spec::load(&self.host.paths.config()), &*open) {
            (Ok(spec), _) => (Tree::new(&spec.btrfs.base_path).ledger(), spec.ml.enable),
            // While the host spec is damaged, the ledger is where it was.
            (Err(_), Some((there, _))) => (there.clone(), false),
            (Err(error), None) => return Err(error.into()),
        };
        if !path.exists() {
            *open = None;
            return Ok(None);
        }
        match &*open {
            Some((there, ledger)) if *there == path => Ok(Some((Arc::clone(ledger), embedded))),
            _ => {
                let ledger = Arc::new(Ledger::open(&path)?);
                *open = Some((path, Arc::clone(&ledger)));
                Ok(Some((ledger, embedded)))
            }
        }
    }
}

fn authorise(
    caller: &Caller,
    authority: &dyn Authority,
    operation: &Operation,
    target: &str,
    deployment: Deployment,
) -> Result<Right, Report> {
    if caller.may(operation.privilege) {
        return Ok(Right::Own);
    }
    if authority.grants(operation.name, target) {
        return Ok(Right::Granted);
    }
    if let Some(token) = &caller.token
        && (Caller { token: None, ..caller.clone() }).may(operation.privilege)
    {
        return Err(Report::new(
            Kind::Denied,
            format!(
                "{} may call {}, but not by this token, whose role is {}",
                caller.user, operation.name, token.role
            ),
        )
        .with_next("sign in with a role that may: op-dbus chat open --role, op-dbus token create --role"));
    }
    let (who, next) = match operation.privilege {
        Privilege::Read | Privilege::Operate => {
            ("root and members of the group opdbus may", join(&caller.user, deployment))
        }
        Privilege::Admin => ("only root may", "run it as root".to_owned()),
    };
    Err(Report::new(Kind::Denied, format!("{} may not call {}: {who}", caller.user, operation.name))
        .with_next(next))
}

/// How a user comes to be one of those who may operate the host.
pub(super) fn join(user: &str, deployment: Deployment) -> String {
    match deployment {
        Deployment::Traditional => format!("as root: usermod --append --groups {} {user}", super::GROUP),
        // What usermod writes there is not in the configuration, and does not outlive it.
        Deployment::NixOs => {
            format!("add \"{user}\" to services.operation-dbus.users, and nixos-rebuild switch")
        }
    }
}

/// The arguments without [`DRY_RUN`], which is no argument of the operation's own. What is neither true nor false is left, and
/// refused as any argument that is not there: nobody gets a change who asked for none.
fn without_flag(arguments: &Value) -> Value {
    let mut plain = arguments.clone();
    if let Value::Object(map) = &mut plain
        && map.get(DRY_RUN).is_some_and(Value::is_boolean)
    {
        map.remove(DRY_RUN);
    }
    plain
}

/// What a refused call was aimed at, as far as it can be told from arguments that did not parse.
fn raw_target(arguments: &Value) -> String {
    arguments["name"].as_str().unwrap_or_default().chars().take(64).collect()
}

/// Refusals by user in the current minute.
#[derive(Debug, Default)]
struct Refusals(std::collections::HashMap<u32, (Instant, u32)>);

impl Refusals {
    /// Whether this refusal is written: `Some` with the number of those before that were not.
    fn admit(&mut self, uid: u32, now: Instant) -> Option<u32> {
        let (since, count) = self.0.entry(uid).or_insert((now, 0));
        let mut unwritten = 0;
        if now.duration_since(*since) >= Duration::from_secs(60) {
            unwritten = count.saturating_sub(REFUSALS_A_MINUTE);
            (*since, *count) = (now, 0);
        }
        *count += 1;
        (*count <= REFUSALS_A_MINUTE).then_some(unwritten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Grants(&'static str);
    impl Authority for Grants {
        fn grants(&self, operation: &str, target: &str) -> bool {
            operation == self.0 && target == "web-01"
        }
    }

    #[test]
    fn a_grant_is_for_its_operation_and_target_alone_and_what_one_may_is_not_asked_for() {
        let registry = Registry::default();
        let stranger =
            Caller { uid: 1000, user: "alice".into(), member: false, via: ledger::Via::Dbus, token: None };
        let may = |caller: &Caller, authority: &dyn Authority, operation: &str, target: &str| {
            authorise(caller, authority, registry.find(operation).unwrap(), target, Deployment::Traditional)
        };
        let grants = Grants("container.start");
        assert_eq!(may(&stranger, &grants, "container.start", "web-01").unwrap(), Right::Granted);
        for (operation, target) in [("container.start", "web-02"), ("container.stop", "web-01")] {
            assert_eq!(may(&stranger, &grants, operation, target).unwrap_err().kind, Kind::Denied);
        }
        let member = Caller { member: true, ..stranger };
        assert_eq!(may(&member, &super::super::Nobody, "container.start", "web-02").unwrap(), Right::Own);
        assert_eq!(may(&member, &super::super::Nobody, "apply", "host").unwrap_err().kind, Kind::Denied);
        assert_eq!(may(&member, &Grants("apply"), "apply", "web-01").unwrap(), Right::Granted);
    }

    #[test]
    fn a_stranger_is_told_the_way_in_that_lasts() {
        assert!(join("alice", Deployment::Traditional).contains("usermod --append --groups opdbus alice"));
        let nixos = join("alice", Deployment::NixOs);
        assert!(nixos.contains("services.operation-dbus.users") && !nixos.contains("usermod"), "{nixos}");
    }

    #[test]
    fn a_stranger_cannot_fill_the_ledger_and_what_was_not_written_is_counted() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        let written = (0..1000).filter(|_| refusals.admit(1000, start).is_some()).count();
        assert_eq!(written, REFUSALS_A_MINUTE as usize);
        assert_eq!(refusals.admit(1001, start), Some(0), "another user is counted apart");
        assert_eq!(refusals.admit(1000, start + Duration::from_secs(60)), Some(1000 - REFUSALS_A_MINUTE));
    }
}
