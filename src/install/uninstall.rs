//! Taking operation-dbus off a host: the components give up what they made, in the reverse of the order in which it
//! was made, and then the installer what it put there. The data stays, unless it is purged. Run again after it was
//! stopped, it goes on: what tells it where things are (the host spec, this program) goes last.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::purge::Destroyed;
use super::{host, programs};
use crate::deployment::Deployment;
use crate::engine::{self, Action, Context, Host, Kept, Lock, PlannedChange, Progress, Retirement, Stage};
use crate::fault::{Kind, Report};
use crate::ledger::{self, Caller, Ledger, NewEntry, Outcome, Via, key};
use crate::run::Invocation;
use crate::spec::{self, HostSpec};
use crate::storage::{self, place};
use crate::{systemd, units};

/// The components that keep everything outside of the data, in the order in which they are applied.
const OUTSIDE: [&str; 6] = ["units", "bridge", "nat", "flows", "uplink", "firewall"];

/// How long all units together may take to stop; each has 90 s.
const STOP_LIMIT: Duration = Duration::from_secs(240);

/// What an uninstall is going to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct UninstallPlan {
    /// Whether the data goes, too.
    pub purge: bool,
    /// What goes.
    pub changes: Vec<PlannedChange>,
    /// What stays.
    pub kept: Vec<Kept>,
    /// What of the data goes, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destroys: Option<Destroyed>,
}

/// What an uninstall did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Uninstalled {
    /// Whether the data went, too.
    pub purge: bool,
    /// What went.
    pub applied: Vec<PlannedChange>,
    /// What stayed.
    pub kept: Vec<Kept>,
    /// What of the data went, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destroyed: Option<Destroyed>,
}

/// The uninstalling of a host.
pub struct Uninstaller<'a> {
    host: &'a Host,
    prefix: PathBuf,
    purge: bool,
    progress: &'a dyn Progress,
    spec: HostSpec,
}

/// What is refused on NixOS, and why.
fn nixos(base: &Path) -> Report {
    Report::new(Kind::Conflict, "this host is NixOS: it is declared, and nothing is uninstalled by hand")
        .with_next(format!(
            "set services.operation-dbus.enable = false and run nixos-rebuild switch; the data at {} stays",
            base.display()
        ))
}

impl<'a> Uninstaller<'a> {
    /// Reads the host spec, by which things are found. Changes nothing.
    pub fn new(
        host: &'a Host,
        prefix: PathBuf,
        purge: bool,
        progress: &'a dyn Progress,
    ) -> Result<Self, Report> {
        let path = host.paths.config();
        let on_nixos = host::detect(host).nixos || Deployment::read(&host.paths.etc) == Deployment::NixOs;
        let spec = if path.exists() { spec::load(&path) } else { Ok(HostSpec::default()) };
        if on_nixos {
            return Err(nixos(&spec.unwrap_or_default().btrfs.base_path));
        }
        Ok(Self { host, prefix, purge, progress, spec: spec? })
    }

    fn context(&self) -> Context<'_> {
        Context { host: self.host, spec: &self.spec, progress: self.progress }
    }

    /// The components in the reverse of the order in which they are applied: those outside of the data first.
    fn stages(&self) -> Result<[Vec<Box<dyn Stage>>; 2], Report> {
        let mut all = super::stages(&[], &self.prefix)?;
        all.reverse();
        let (outside, data) = all.into_iter().partition(|stage| OUTSIDE.contains(&stage.name()));
        Ok([outside, data])
    }

    /// What would go and what would stay. Changes nothing.
    pub fn plan(&self) -> Result<UninstallPlan, Report> {
        let cx = self.context();
        let mut changes: Vec<PlannedChange> = running()?.iter().map(|unit| stopped(unit)).collect();
        let mut kept = Vec::new();
        for stages in self.stages()? {
            let Retirement { changes: more, kept: stays } =
                engine::plan_retirement(&stages, &cx, self.purge)?;
            changes.extend(more);
            kept.extend(stays);
        }
        let own = self.own_files(&kept);
        changes.extend(own.changes.iter().map(|path| removal("file", path)));
        kept.extend(own.kept);
        changes.extend(programs::planned_shared_removal(&self.prefix)?);
        changes.extend(programs::installed(&self.prefix).iter().map(|path| removal("program", path)));
        let destroys = self.purge.then(|| Destroyed::read(&cx));
        Ok(UninstallPlan { purge: self.purge, changes, kept, destroys })
    }

    /// Does what was planned and shown. `on` hears of each change when it is made.
    pub fn run(&self, plan: &UninstallPlan, on: &dyn Fn(&PlannedChange)) -> Result<Uninstalled, Report> {
        let started = Instant::now();
        let lock = Lock::take(&self.host.paths.lock(), Duration::from_secs(30))?;
        let shown = plan.destroys.as_ref();
        if shown.is_some_and(|shown| !shown.names_the_same(&Destroyed::read(&self.context()))) {
            return Err(Report::new(Kind::Busy, "there is other data now than what was shown")
                .with_next("run it again and look at the list"));
        }
        let mut applied = Vec::new();
        let mut done = |change: PlannedChange| {
            on(&change);
            applied.push(change);
        };
        let result = self.take_away(plan, started, &mut done);
        drop(lock);
        if let Err(report) = result {
            // What cannot be written down any more is said all the same.
            let _ = self.record(&applied, Some(&report), started);
            return Err(Report { partial: serde_json::to_value(&applied).ok(), ..report });
        }
        let (kept, destroyed) = (plan.kept.clone(), plan.destroys.clone());
        Ok(Uninstalled { purge: self.purge, applied, kept, destroyed })
    }

    fn take_away(
        &self,
        plan: &UninstallPlan,
        started: Instant,
        done: &mut dyn FnMut(PlannedChange),
    ) -> Result<(), Report> {
        let cx = self.context();
        let [outside, data] = self.stages()?;
        self.stop(done)?;
        retire(&outside, &cx, self.purge, done)?;
        if self.purge {
            // While there is a ledger to write to.
            self.record(&plan.changes, None, started)?;
        }
        retire(&data, &cx, self.purge, done)?;
        let remove = |path: &PathBuf| programs::remove(std::slice::from_ref(path));
        for path in self.own_files(&plan.kept).changes {
            let change = removal("file", &path);
            if path == self.host.paths.etc {
                remove_if_empty(&path)?;
            } else if path == self.host.paths.run {
                remove_all(&path)?;
            } else {
                remove(&path)?;
            }
            done(change);
        }
        if let Some(change) = programs::planned_shared_removal(&self.prefix)? {
            programs::remove(&programs::installed_shared(&self.prefix)?)?;
            done(change);
        }
        let paths = &self.host.paths;
        let made =
            [&paths.units, &paths.dbus_policy, &paths.polkit_actions, &paths.udev_rules].map(Clone::clone);
        for directory in made.into_iter().chain(programs::directories(&self.prefix)?) {
            place::remove_made(&directory).map_err(|e| failed("remove", &directory, &e))?;
        }
        if !self.purge {
            self.record(&plan.changes, None, started)?;
        }
        for program in programs::installed(&self.prefix) {
            remove(&program)?;
            done(removal("program", &program));
        }
        Ok(())
    }

    /// Stops what runs of ours, containers too. None of it waits for the lock when it is stopped.
    fn stop(&self, done: &mut dyn FnMut(PlannedChange)) -> Result<(), Report> {
        let units = running()?;
        if units.is_empty() {
            return Ok(());
        }
        self.progress.report("stopping containers and services", None);
        let systemctl =
            |verb: &str| Invocation::new("systemctl").arg(verb).args(&units).time_limit(STOP_LIMIT);
        self.host.run.run(&systemctl("stop"))?;
        // A unit that failed, now or before, would be listed for ever. One that is not loaded has nothing to forget.
        self.host.run.output(&systemctl("reset-failed"))?;
        for unit in &units {
            done(stopped(unit));
        }
        Ok(())
    }

    /// The installer's own files that are there, in the order in which they go, and what else is in `/etc/opdbus`.
    fn own_files(&self, kept: &[Kept]) -> Retirement<PathBuf> {
        let etc = &self.host.paths.etc;
        let mut own = vec![etc.join("installed"), etc.join("deployment-type")];
        if self.purge && !storage::keeps_image(&self.spec.btrfs, kept) {
            // By the host spec a run that was stopped finds the rest again.
            own.extend([etc.join("managed-files.json"), self.host.paths.config()]);
        }
        let keys = [key::KEY, key::PUBLIC].map(|name| etc.join(name));
        if self.purge {
            // It signs for a ledger that is no more.
            own.splice(0..0, keys.clone());
        }
        let mut all = Retirement::default();
        let entries = std::fs::read_dir(etc).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut others: Vec<PathBuf> = entries.filter(|path| !own.contains(path)).collect();
        others.sort();
        let there = |path: &PathBuf| path.symlink_metadata().is_ok();
        all.changes.extend(own.into_iter().filter(there));
        if others.is_empty() && there(etc) {
            all.changes.push(etc.clone());
        }
        all.changes.extend(Some(self.host.paths.run.clone()).filter(there));
        for path in others {
            let why = if path == self.host.paths.config() {
                "the host spec: an installation takes it up again"
            } else if keys.contains(&path) {
                "the key of the ledger, which stays"
            } else {
                "it is not one of the installer's own"
            };
            all.kept.push(Kept::new(format!("file {}", path.display()), why));
        }
        all
    }

    /// The entry of the run. In a purge it is the ledger's last.
    fn record(
        &self,
        changes: &[PlannedChange],
        failure: Option<&Report>,
        started: Instant,
    ) -> Result<(), Report> {
        let path = self.context().tree().ledger();
        if !path.exists() {
            return Ok(());
        }
        let objects: Vec<&str> = changes.iter().map(|change| change.object.as_str()).collect();
        let arguments =
            json!({ "purge": self.purge, "version": env!("CARGO_PKG_VERSION"), "changes": objects });
        let entry = NewEntry::call(ledger::Call {
            operation: "uninstall",
            target: "host",
            caller: &Caller::this_process(Via::Installer),
            arguments: arguments.as_object().cloned().unwrap_or_default(),
            outcome: failure.map_or(Outcome::Ok, |report| Outcome::Failed(report.message.clone())),
            duration: started.elapsed(),
            deployment: Deployment::Traditional,
        });
        Ledger::open(&path)?.append(&entry)?;
        Ok(())
    }
}

fn retire(
    stages: &[Box<dyn Stage>],
    cx: &Context<'_>,
    data: bool,
    done: &mut dyn FnMut(PlannedChange),
) -> Result<(), Report> {
    for stage in stages {
        let outcome = stage.retire(cx, data);
        outcome.applied.into_iter().for_each(&mut *done);
        if let Some(failure) = outcome.failure {
            return Err(failure);
        }
    }
    Ok(())
}

/// The units of ours that run, or failed.
fn running() -> Result<Vec<String>, Report> {
    if !Path::new("/run/systemd/system").exists() {
        return Ok(Vec::new());
    }
    let states = ["active", "activating", "reloading", "deactivating", "failed"];
    let all = systemd::units("opdbus*", &states)?;
    Ok(all.into_iter().map(|unit| unit.name).filter(|name| is_ours(name)).collect())
}

/// Whether a unit is one of ours, and not one of the admin's with a similar name.
fn is_ours(unit: &str) -> bool {
    units::names().any(|ours| match ours.split_once('@') {
        Some((prefix, suffix)) => {
            unit.strip_suffix(suffix).and_then(|u| u.strip_prefix(prefix)).is_some_and(|u| u.starts_with('@'))
        }
        None => ours == unit,
    })
}

fn stopped(unit: &str) -> PlannedChange {
    PlannedChange {
        component: "services".into(),
        action: Action::Update,
        object: format!("unit {unit}"),
        detail: "stopped".into(),
    }
}

fn removal(kind: &str, path: &Path) -> PlannedChange {
    let kind = if path.is_dir() { "directory" } else { kind };
    PlannedChange {
        component: "installer".into(),
        action: Action::Remove,
        object: format!("{kind} {}", path.display()),
        detail: String::new(),
    }
}

fn failed(verb: &str, path: &Path, error: &std::io::Error) -> Report {
    Report::new(Kind::Failed, format!("cannot {verb} {}: {error}", path.display()))
}

/// Removes an empty directory; one in which there is something stays.
fn remove_if_empty(path: &Path) -> Result<(), Report> {
    match std::fs::remove_dir(path) {
        Err(error)
            if !matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(failed("remove", path, &error))
        }
        _ => Ok(()),
    }
}

/// Removes the run directory, with the lock that is held in it: there is no program left that would take it.
fn remove_all(path: &Path) -> Result<(), Report> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Silent;

    #[test]
    fn units_of_ours_are_told_from_those_with_a_similar_name() {
        for unit in ["opdbus.service", "opdbus.socket", "opdbus-container@web-01.service"] {
            assert!(is_ours(unit), "{unit}");
        }
        for unit in ["opdbus-backup.timer", "opdbus-containers@x.service", "opdbus-container@web-01.socket"] {
            assert!(!is_ours(unit), "{unit}");
        }
    }

    fn own(purge: bool, files: &[&str]) -> (Vec<String>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::default();
        host.paths.etc = dir.path().join("etc");
        host.paths.run = dir.path().join("run");
        std::fs::create_dir_all(&host.paths.etc).unwrap();
        for file in files {
            std::fs::write(host.paths.etc.join(file), "x").unwrap();
        }
        let it = Uninstaller {
            host: &host,
            prefix: dir.path().into(),
            purge,
            progress: &Silent,
            spec: HostSpec::default(),
        };
        let all = it.own_files(&[]);
        let strip = |path: &Path| path.strip_prefix(dir.path()).unwrap().display().to_string();
        let kept = |kept: &Kept| kept.object.rsplit('/').next().unwrap_or_default().to_owned();
        (all.changes.iter().map(|p| strip(p)).collect(), all.kept.iter().map(kept).collect())
    }

    #[test]
    fn the_host_spec_stays_or_goes_last_and_what_others_put_beside_it_stays() {
        let files = ["config.json", "installed", "deployment-type", "notes.txt"];
        let (goes, stays) = own(false, &files);
        assert_eq!(goes, ["etc/installed", "etc/deployment-type"]);
        assert_eq!(stays, ["config.json", "notes.txt"]);
        let (goes, stays) = own(true, &files);
        assert_eq!(goes, ["etc/installed", "etc/deployment-type", "etc/config.json"]);
        assert_eq!(stays, ["notes.txt"]);
        let (goes, stays) = own(true, &files[..3]);
        assert_eq!(goes.last().unwrap(), "etc");
        assert!(stays.is_empty());
    }

    #[test]
    fn the_key_stays_with_the_ledger_and_goes_with_it() {
        let files = ["config.json", "installed", "ledger-key", "ledger-key.pub"];
        assert_eq!(own(false, &files).1, ["config.json", "ledger-key", "ledger-key.pub"]);
        let (goes, stays) = own(true, &files);
        assert_eq!(goes, ["etc/ledger-key", "etc/ledger-key.pub", "etc/installed", "etc/config.json", "etc"]);
        assert!(stays.is_empty());
    }
}
