//! One call, from whichever door: authorised, run, and written to the ledger however it ends.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::caller::Caller;
use super::registry::{Operation, Privilege, Registry};
use crate::deployment::Deployment;
use crate::engine::{Context, Host, Lock, Progress};
use crate::fault::{Kind, Report};
use crate::ledger::{self, Ledger, NewEntry, Outcome};
use crate::paths::Tree;
use crate::spec::{self, HostSpec};

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
    streams: Mutex<Option<Streams>>,
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

    /// The caller's streams, where the door could pass them.
    pub fn take_streams(&self) -> Option<Streams> {
        self.streams.lock().ok()?.take()
    }
}

/// The operations of a host, ready to be called.
pub struct Service {
    registry: Registry,
    host: Host,
    refusals: Mutex<Refusals>,
    ledger: Mutex<Option<(PathBuf, Arc<Ledger>)>>,
}

impl Service {
    /// The operations of `host`.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { registry: Registry::default(), host, refusals: Mutex::default(), ledger: Mutex::default() }
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Makes one call. Whatever comes of it is one entry of the ledger; a change whose entry cannot be
    /// written is reported as failed, so that nobody takes it for audited.
    pub fn call(
        &self,
        caller: &Caller,
        name: &str,
        arguments: Value,
        progress: &dyn Progress,
        streams: Option<Streams>,
    ) -> Result<Value, Report> {
        let started = Instant::now();
        let span = tracing::info_span!("call", operation = name, uid = caller.uid, via = ?caller.via);
        let _entered = span.enter();
        let call = Call { host: &self.host, caller, progress, streams: Mutex::new(streams) };
        let arguments = if arguments.is_null() { Value::Object(Map::new()) } else { arguments };
        let (target, result) = match self.registry.find(name) {
            Err(unknown) => (String::new(), Err(unknown)),
            Ok(operation) => {
                let target = (operation.target)(&arguments);
                let shown = target.clone().unwrap_or_else(|_| raw_target(&arguments));
                let allowed = authorise(caller, operation, Deployment::read(&self.host.paths.etc));
                (shown, allowed.and(target).and_then(|_| (operation.run)(&call, arguments.clone())))
            }
        };
        if let Err(report) = &result {
            tracing::warn!(kind = ?report.kind, "{}", report.message);
        }
        let recorded = self.record(caller, name, &target, &arguments, &result, started.elapsed());
        match (result, recorded) {
            (Ok(answer), Ok(())) => Ok(answer),
            (Ok(_), Err(report)) => Err(Report::new(
                report.kind,
                format!("{name} was done, but its ledger entry could not be written: {}", report.message),
            )
            .with_next("`op-dbus ledger verify` and the journal of opdbus.service say more")),
            (Err(report), Ok(())) => Err(report),
            (Err(report), Err(unwritten)) => {
                tracing::error!(
                    "the ledger entry of the failed {name} could not be written: {}",
                    unwritten.message
                );
                Err(report)
            }
        }
    }

    fn record(
        &self,
        caller: &Caller,
        name: &str,
        target: &str,
        arguments: &Value,
        result: &Result<Value, Report>,
        took: Duration,
    ) -> Result<(), Report> {
        let mut suppressed = 0;
        if !caller.may(Privilege::Operate) {
            let Ok(mut refusals) = self.refusals.lock() else { return Ok(()) };
            match refusals.admit(caller.uid, Instant::now()) {
                Some(before) => suppressed = before,
                None => return Ok(()),
            }
        }
        let Some(ledger) = self.ledger()? else { return Ok(()) };
        let recorded = caller.recorded();
        let mut entry = NewEntry::call(ledger::Call {
            operation: name,
            target,
            caller: &recorded,
            arguments: match arguments {
                Value::Object(map) => map.clone(),
                other => [("not_an_object".to_owned(), other.clone())].into_iter().collect(),
            },
            outcome: Outcome::of(result),
            duration: took,
            deployment: Deployment::read(&self.host.paths.etc),
        });
        if suppressed > 0 {
            entry.metadata.insert("refusals_not_recorded".into(), suppressed.into());
        }
        ledger.append(&entry)?;
        Ok(())
    }

    /// The ledger, opened once; `None` on a host where none was made yet, whose first entry `ledger.init` will be.
    fn ledger(&self) -> Result<Option<Arc<Ledger>>, Report> {
        let spec = spec::load(&self.host.paths.config())?;
        let path = Tree::new(&spec.btrfs.base_path).ledger();
        let Ok(mut open) = self.ledger.lock() else {
            return Err(Report::new(Kind::Failed, "an earlier call ended while it opened the ledger"));
        };
        if !path.exists() {
            *open = None;
            return Ok(None);
        }
        match &*open {
            Some((there, ledger)) if *there == path => Ok(Some(Arc::clone(ledger))),
            _ => {
                let ledger = Arc::new(Ledger::open(&path)?);
                *open = Some((path, Arc::clone(&ledger)));
                Ok(Some(ledger))
            }
        }
    }
}

fn authorise(caller: &Caller, operation: &Operation, deployment: Deployment) -> Result<(), Report> {
    if caller.may(operation.privilege) {
        return Ok(());
    }
    let (who, next) = match operation.privilege {
        Privilege::Operate => ("root and members of the group opdbus may", join(&caller.user, deployment)),
        Privilege::Admin => ("only root may", "run it as root".to_owned()),
    };
    Err(Report::new(Kind::Denied, format!("{} may not call {}: {who}", caller.user, operation.name))
        .with_next(next))
}

/// How a user comes to be one of those who may operate the host.
fn join(user: &str, deployment: Deployment) -> String {
    match deployment {
        Deployment::Traditional => format!("as root: usermod --append --groups {} {user}", super::GROUP),
        // What usermod writes there is not in the configuration, and does not outlive it.
        Deployment::NixOs => {
            format!("add \"{user}\" to services.operation-dbus.users, and nixos-rebuild switch")
        }
    }
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
