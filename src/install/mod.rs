//! The installer: the thirteen steps of the requirements over the same components that `op-dbus apply`
//! uses. Each step says what it did; one whose subject is not built yet says so and is never shown as done.

mod host;
mod programs;
mod purge;
mod steps;
mod uninstall;

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::engine::{Context, Host, Lock, PlannedChange, Progress, Stage};
use crate::fault::{Kind, Report};
use crate::ledger::{self, Caller, Ledger, LedgerComponent, NewEntry, Outcome, Via};
use crate::spec::{self, HostSpec, Image};
use crate::uplink;

pub use host::{Detected, NIXOS_ADVICE};
pub use programs::PROGRAMS;
pub use purge::Destroyed;
pub use uninstall::{UninstallPlan, Uninstalled, Uninstaller};

/// What was asked of the installer.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Where the built programs are; `None` where they are in place already.
    pub bin_dir: Option<PathBuf>,
    /// Where programs are installed.
    pub prefix: PathBuf,
    /// A host spec to begin with.
    pub config: Option<PathBuf>,
    /// The base path.
    pub base_path: Option<PathBuf>,
    /// A btrfs image of this size at the base path.
    pub btrfs_image: Option<spec::Size>,
    /// A tarball of a root file system for the template `debian-base`.
    pub rootfs: Option<PathBuf>,
    /// A network card to become a port of the bridge.
    pub uplink: Option<String>,
    /// Whether the chat is served.
    pub chat: bool,
    /// Whether the host's firewall lets the chat's port through.
    pub open_firewall: bool,
    /// Whether the search knows what is meant.
    pub ml: bool,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum StepResult {
    /// It made these changes.
    Changed {
        /// The changes.
        changes: Vec<PlannedChange>,
    },
    /// There was nothing to do.
    Unchanged,
    /// Its subject is not built yet, or not wanted on this host.
    NotEnabled {
        /// Why.
        why: String,
    },
}

/// A step and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct StepOutcome {
    /// Its number, 1 to 13.
    pub number: usize,
    /// What it is about.
    pub title: &'static str,
    /// How it ended.
    #[serde(flatten)]
    pub result: StepResult,
}

/// What hears of the steps as they go.
pub trait Watcher {
    /// A step begins.
    fn begins(&self, number: usize, title: &str);
    /// A step has ended.
    fn ended(&self, outcome: &StepOutcome);
}

/// How many steps there are.
pub const STEPS: usize = 13;

/// An installation on a host.
pub struct Installer<'a> {
    host: &'a Host,
    request: &'a Request,
    progress: &'a dyn Progress,
    /// What was found on the host.
    pub detected: Detected,
    spec: HostSpec,
    /// Whether the host spec is on disk already.
    configured: bool,
    lock: Option<Lock>,
}

impl<'a> Installer<'a> {
    /// Looks at the host and settles the host spec: the one on disk, else the one given, else the
    /// defaults with what the flags say. Changes nothing.
    pub fn new(host: &'a Host, request: &'a Request, progress: &'a dyn Progress) -> Result<Self, Report> {
        let detected = host::detect(host);
        let (spec, configured) = settle(host, request)?;
        Ok(Self { host, request, progress, detected, spec, configured, lock: None })
    }

    /// Whether the host is a NixOS, where nothing is installed.
    #[must_use]
    pub fn is_nixos(host: &Host) -> bool {
        host::detect(host).nixos
    }

    /// What the steps would do.
    pub fn plan(&self) -> Result<Vec<StepOutcome>, Report> {
        let cx = self.context();
        (1..=STEPS)
            .map(|number| {
                let step = steps::step(number);
                let result = match step.work.not_enabled(&self.spec) {
                    Some(why) => StepResult::NotEnabled { why: why.to_owned() },
                    None => result(steps::planned(&step.work, self, &cx)?),
                };
                Ok(outcome(number, step.title, result))
            })
            .collect()
    }

    /// Does it. Everything is validated before the first change; a failure stops at its step, and the
    /// next run goes on from there.
    pub fn run(&mut self, watcher: &dyn Watcher) -> Result<Vec<StepOutcome>, Report> {
        let started = Instant::now();
        self.take_lock()?;
        let mut done = Vec::new();
        let result = self.steps(watcher, &mut done);
        self.lock = None;
        let recorded = self.record(&done, result.as_ref().err(), started.elapsed());
        result?;
        recorded?;
        Ok(done)
    }

    fn take_lock(&mut self) -> Result<(), Report> {
        self.lock = Some(Lock::take(&self.host.paths.lock(), std::time::Duration::from_secs(30))?);
        Ok(())
    }

    fn steps(&mut self, watcher: &dyn Watcher, done: &mut Vec<StepOutcome>) -> Result<(), Report> {
        for number in 1..=STEPS {
            let step = steps::step(number);
            watcher.begins(number, step.title);
            let result = match step.work.not_enabled(&self.spec) {
                Some(why) => StepResult::NotEnabled { why: why.to_owned() },
                None => result(steps::apply(&step.work, self)?),
            };
            let outcome = outcome(number, step.title, result);
            watcher.ended(&outcome);
            done.push(outcome);
        }
        Ok(())
    }

    /// One entry for the run. A run that failed before there was a ledger has none.
    fn record(
        &self,
        done: &[StepOutcome],
        failure: Option<&Report>,
        took: std::time::Duration,
    ) -> Result<(), Report> {
        let path = self.context().tree().ledger();
        if !path.exists() {
            return Ok(());
        }
        let steps: Vec<Value> = done
            .iter()
            .filter_map(|step| match &step.result {
                StepResult::Changed { changes } => Some(json!({
                    "step": step.number,
                    "changes": changes.iter().map(|c| c.object.clone()).collect::<Vec<_>>(),
                })),
                _ => None,
            })
            .collect();
        let mode = if self.detected.upgrade { "upgrade" } else { "fresh" };
        let arguments = json!({ "mode": mode, "version": env!("CARGO_PKG_VERSION"), "steps": steps });
        let entry = NewEntry::call(ledger::Call {
            operation: "install",
            target: "host",
            caller: &Caller::this_process(Via::Installer),
            arguments: arguments.as_object().cloned().unwrap_or_default(),
            outcome: failure.map_or(Outcome::Ok, |report| Outcome::Failed(report.message.clone())),
            duration: took,
            deployment: Deployment::Traditional,
        });
        Ledger::open(&path)?.append(&entry)?;
        Ok(())
    }

    fn context(&self) -> Context<'_> {
        Context { host: self.host, spec: &self.spec, progress: self.progress }
    }

    /// What moving the card that was asked for would do. It needs the bridge: before that is there, it cannot be said.
    pub fn plan_uplink(&self, within: u64) -> Option<Result<uplink::Status, Report>> {
        let nic = self.request.uplink.clone()?;
        Some(uplink::show(&self.context(), &uplink::Order { nic, within }).map_err(Report::from))
    }

    /// Moves the card that was asked for, when all else is done: to be confirmed, or undone by itself.
    pub fn move_uplink(&self, within: u64) -> Option<Result<uplink::Status, Report>> {
        let nic = self.request.uplink.clone()?;
        let started = Instant::now();
        let cx = self.context();
        let result = Lock::take(&self.host.paths.lock(), std::time::Duration::from_secs(30))
            .map_err(Report::from)
            .and_then(|_lock| Ok(uplink::set(&cx, &uplink::Order { nic: nic.clone(), within })?));
        let ended =
            result.as_ref().err().map_or(Outcome::Ok, |report| Outcome::Failed(report.message.clone()));
        let entry = NewEntry::call(ledger::Call {
            operation: "bridge.uplink.set",
            target: &nic,
            caller: &Caller::this_process(Via::Installer),
            arguments: json!({ "nic": nic, "within": within }).as_object().cloned().unwrap_or_default(),
            outcome: ended,
            duration: started.elapsed(),
            deployment: Deployment::Traditional,
        });
        let recorded = Ledger::open(&cx.tree().ledger()).and_then(|ledger| ledger.append(&entry));
        Some(result.and_then(|status| {
            recorded?;
            Ok(status)
        }))
    }

    fn stages(&self, names: &[&str]) -> Result<Vec<Box<dyn Stage>>, Report> {
        stages(names, &self.request.prefix)
    }
}

/// The components of the given names, all where none is named, as the installer runs them.
fn stages(names: &[&str], prefix: &std::path::Path) -> Result<Vec<Box<dyn Stage>>, Report> {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let bin_dir = Some(prefix.to_owned());
    Ok(crate::system::select(&names)?
        .into_iter()
        .map(|stage| -> Box<dyn Stage> {
            match stage.name() {
                // The units name the programs where they will be, not where the installer was built.
                "units" => Box::new(crate::units::UnitsComponent { bin_dir: bin_dir.clone() }),
                "ledger" => Box::new(LedgerComponent::by(Caller::this_process(Via::Installer))),
                _ => stage,
            }
        })
        .collect())
}

fn outcome(number: usize, title: &'static str, result: StepResult) -> StepOutcome {
    StepOutcome { number, title, result }
}

fn result(changes: Vec<PlannedChange>) -> StepResult {
    if changes.is_empty() { StepResult::Unchanged } else { StepResult::Changed { changes } }
}

/// The host spec of this host, and whether it is on disk already: what is on disk, else what the flags say.
fn settle(host: &Host, request: &Request) -> Result<(HostSpec, bool), Report> {
    let path = host.paths.config();
    if !path.exists() {
        return Ok((initial_spec(request)?, false));
    }
    let spec = spec::load(&path)?;
    refuse_contradictions(request, &spec, &path)?;
    Ok((spec, true))
}

/// The host spec of this host, or what the flags would make it, as a NixOS configuration. Changes nothing.
pub fn nix_config(host: &Host, request: &Request) -> Result<String, Report> {
    let (spec, configured) = settle(host, request)?;
    let origin = if configured {
        host.paths.config().display().to_string()
    } else {
        "of the installer's flags".into()
    };
    Ok(spec::to_nix(&spec, spec::Extent::Changed, &origin))
}

/// Writes a file that is not there yet, whole or not at all. What is there already stays, also a link: the
/// directory may be everybody's. `false` where the file has this content already.
pub fn write_new(path: &std::path::Path, text: &str) -> Result<bool, Report> {
    let failed =
        |e: std::io::Error| Report::new(Kind::Failed, format!("cannot write {}: {e}", path.display()));
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".opdbus-new-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            let same = path.symlink_metadata().is_ok_and(|found| found.is_file())
                && std::fs::read(path).is_ok_and(|there| there == text.as_bytes());
            if same {
                return Ok(false);
            }
            Err(Report::new(
                Kind::Conflict,
                format!("{} is there already, with another content", path.display()),
            )
            .with_next("move it away, or name another file: --generate-nix-config FILE (- prints it)"))
        }
        Err(error) => Err(failed(error.error)),
    }
}

fn initial_spec(request: &Request) -> Result<HostSpec, Report> {
    let mut spec = match &request.config {
        Some(path) => spec::load(path)?,
        None => HostSpec::default(),
    };
    if let Some(base_path) = &request.base_path {
        spec.btrfs.base_path.clone_from(base_path);
    }
    if let Some(size) = request.btrfs_image {
        let mut path = spec.btrfs.base_path.clone().into_os_string();
        path.push(".btrfs");
        spec.btrfs.image = Some(Image { path: path.into(), size });
    }
    if let Some(rootfs) = &request.rootfs {
        let rootfs = std::path::absolute(rootfs)
            .map_err(|e| Report::new(Kind::Invalid, format!("cannot find {}: {e}", rootfs.display())))?;
        if !rootfs.is_file() {
            return Err(Report::new(
                Kind::NotFound,
                format!("there is no root file system tarball {}", rootfs.display()),
            ));
        }
        for template in spec.templates.values_mut().filter(|t| t.rootfs.is_none()) {
            template.rootfs = Some(rootfs.clone());
        }
    }
    if request.uplink.is_some() {
        spec.ovs.uplink.clone_from(&request.uplink);
    }
    spec.mcp.enable |= request.chat;
    spec.mcp.open_firewall |= request.open_firewall;
    spec.ml.enable |= request.ml;
    spec::check(&spec)?;
    Ok(spec)
}

/// A host spec on disk is the admin's: flags that say something else are refused, never written over it.
fn refuse_contradictions(request: &Request, spec: &HostSpec, path: &std::path::Path) -> Result<(), Report> {
    let contradiction = |flag: &str, value: String, there: String| {
        Err(Report::new(
            Kind::Conflict,
            format!("{flag} {value} contradicts the host spec {}, which says {there}", path.display()),
        )
        .with_next("leave the flag away, or edit the host spec and run `op-dbus apply`"))
    };
    if let Some(base) = &request.base_path
        && *base != spec.btrfs.base_path
    {
        return contradiction(
            "--base-path",
            base.display().to_string(),
            spec.btrfs.base_path.display().to_string(),
        );
    }
    if let Some(uplink) = &request.uplink
        && spec.ovs.uplink.as_ref().is_some_and(|declared| declared != uplink)
    {
        let there = spec.ovs.uplink.clone().unwrap_or_default();
        return contradiction("--uplink", uplink.clone(), there);
    }
    if let Some(size) = request.btrfs_image
        && spec.btrfs.image.is_none()
    {
        return contradiction("--btrfs-image", size.to_string(), "no image".into());
    }
    for (asked, flag, there, field) in [
        (request.chat, "--chat", spec.mcp.enable, "mcp.enable"),
        (request.open_firewall, "--open-firewall", spec.mcp.open_firewall, "mcp.openFirewall"),
        (request.ml, "--ml", spec.ml.enable, "ml.enable"),
    ] {
        if asked && !there {
            return contradiction(flag, String::new(), format!("{field} is false"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_thirteen_steps_and_what_comes_later_is_never_work() {
        let titles: std::collections::BTreeSet<&str> = (1..=STEPS).map(|n| steps::step(n).title).collect();
        assert_eq!(titles.len(), STEPS);
        let mut spec = HostSpec::default();
        let later = |spec: &HostSpec| -> Vec<usize> {
            (1..=STEPS).filter(|n| steps::step(*n).work.not_enabled(spec).is_some()).collect()
        };
        assert_eq!(later(&spec), [4, 6, 11]);
        spec.mcp.enable = true;
        assert_eq!(later(&spec), [4, 6]);
    }

    #[test]
    fn a_host_spec_on_disk_is_not_contradicted_by_flags() {
        let request = Request { base_path: Some("/srv/elsewhere".into()), ..Request::default() };
        let error = refuse_contradictions(&request, &HostSpec::default(), std::path::Path::new("/etc/x"))
            .unwrap_err();
        assert_eq!(error.kind, Kind::Conflict);
        assert!(
            error.message.contains("/srv/elsewhere") && error.message.contains("/var/lib/op-dbus"),
            "{error}"
        );
    }

    #[test]
    fn a_new_file_is_written_whole_and_what_is_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new.nix");
        assert!(write_new(&path, "{ }\n").unwrap());
        assert!(!write_new(&path, "{ }\n").unwrap(), "the same again");
        let error = write_new(&path, "other").unwrap_err();
        assert!(error.kind == Kind::Conflict && error.next.is_some_and(|next| next.contains("move it away")));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{ }\n");
        // A link that somebody laid into a directory of everybody's is not followed.
        let victim = directory.path().join("victim");
        let link = directory.path().join("link.nix");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert_eq!(write_new(&link, "{ }\n").unwrap_err().kind, Kind::Conflict);
        assert!(!victim.exists());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn flags_settle_the_first_host_spec() {
        let request = Request {
            base_path: Some("/srv/data".into()),
            btrfs_image: Some("8G".parse().unwrap()),
            ..Request::default()
        };
        let spec = initial_spec(&request).unwrap();
        assert_eq!(spec.btrfs.image.unwrap().path, PathBuf::from("/srv/data.btrfs"));
    }
}
