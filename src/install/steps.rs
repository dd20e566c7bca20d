//! The thirteen steps, as data, and what each kind of step does.

use std::path::Path;

use serde_json::json;

use super::{Installer, programs};
use crate::deployment::Deployment;
use crate::drift;
use crate::engine::{self, Action, Context, PlannedChange};
use crate::fault::{Kind, Report};
use crate::files;
use crate::firewall;
use crate::ledger::key;
use crate::run::Invocation;
use crate::snapshots::{self, Order, Reason};
use crate::spec::{self, HostSpec, Subject};

/// What a step does.
pub(super) enum Work {
    /// Looks at the host, writes the host spec where there is none, validates every component.
    Detect,
    /// Applies components.
    Components(&'static [&'static str]),
    /// Makes the ledger, and the key that signs its checkpoints.
    Ledger,
    /// Programs, units, the daemon, and the declared containers.
    Programs,
    /// Keeps what is there, for `op-dbus drift`, and takes the first snapshots.
    State,
    /// Has the chat listen.
    Chat,
    /// Marks the installation as complete.
    Mark,
    /// Nothing yet, and says why.
    Later(&'static str),
}

impl Work {
    /// Why a step does nothing on this host, where it does not.
    pub(super) fn not_enabled(&self, spec: &HostSpec) -> Option<&'static str> {
        match self {
            Self::Later(why) => Some(why),
            Self::Chat if !spec.mcp.enable => Some("the host spec does not ask for it (mcp.enable, --chat)"),
            _ => None,
        }
    }
}

/// A step.
pub(super) struct Step {
    pub(super) title: &'static str,
    pub(super) work: Work,
}

/// The steps of the requirements, in their order. Plugins, sockets and the ledger lie on what step 2
/// makes; the bridge needs none of them.
pub(super) fn step(number: usize) -> Step {
    let (title, work) = match number {
        1 => ("Detect the environment", Work::Detect),
        2 => ("Subvolumes", Work::Components(&["leftovers", "storage"])),
        3 => ("Open vSwitch bridge and flows", Work::Components(&["bridge", "nat", "flows"])),
        4 => ("Netmaker", Work::Later("the mesh is not part of this version")),
        5 => ("Container templates", Work::Components(&["templates"])),
        6 => ("Proxmox VE", Work::Later("the Proxmox VE back end is not part of this version")),
        7 => ("Ledger", Work::Ledger),
        8 => ("Sockets", Work::Components(&["sockets"])),
        9 => ("Plugins", Work::Components(&["plugins"])),
        10 => ("Programs, services and declared containers", Work::Programs),
        11 => ("Chat server", Work::Chat),
        12 => ("Introspection", Work::State),
        _ => ("Upgrade mode", Work::Mark),
    };
    Step { title, work }
}

fn change(action: Action, object: impl Into<String>, detail: impl Into<String>) -> PlannedChange {
    PlannedChange { component: "installer".into(), action, object: object.into(), detail: detail.into() }
}

/// What a step would change.
pub(super) fn planned(
    work: &Work,
    installer: &Installer<'_>,
    cx: &Context<'_>,
) -> Result<Vec<PlannedChange>, Report> {
    let etc = &installer.host.paths.etc;
    match work {
        Work::Detect => {
            validate(installer, cx)?;
            Ok(if installer.configured {
                Vec::new()
            } else {
                vec![change(Action::Create, format!("host spec {}", cx.host.paths.config().display()), "")]
            })
        }
        Work::Components(names) => engine::plan(&installer.stages(names)?, cx),
        Work::Ledger => {
            let mut changes = engine::plan(&installer.stages(LEDGER)?, cx)?;
            if !key::is_there(etc) {
                let path = etc.join(key::KEY);
                let detail = "signs checkpoints of the ledger";
                changes.push(change(Action::Create, format!("key {}", path.display()), detail));
            }
            Ok(changes)
        }
        Work::Programs => {
            let mut changes =
                programs::planned(installer.request.bin_dir.as_deref(), &installer.request.prefix)?;
            changes.extend(programs::planned_shared(&installer.request.prefix)?);
            changes.extend(engine::plan(&installer.stages(programs_before(&installer.spec))?, cx)?);
            changes.extend(engine::plan(&installer.stages(&["containers"])?, cx)?);
            Ok(changes)
        }
        Work::State => {
            let path = drift::path(cx);
            let action = if path.exists() { Action::Update } else { Action::Create };
            let mut changes = engine::plan(&installer.stages(SNAPSHOTS)?, cx)?;
            if drift::unsettled(cx)? {
                let detail = "what is there, for op-dbus drift";
                changes.push(change(action, format!("file {}", path.display()), detail));
            }
            for subject in first_snapshots(etc, cx)? {
                changes.push(change(Action::Create, format!("snapshot of {subject}"), "the initial state"));
            }
            Ok(changes)
        }
        Work::Mark => Ok(marks(etc)
            .into_iter()
            .filter(|(path, _)| !path.exists())
            .map(|(path, _)| change(Action::Create, format!("file {}", path.display()), ""))
            .collect()),
        // Its socket is one of the units.
        Work::Chat => engine::plan(&installer.stages(CHAT)?, cx),
        Work::Later(_) => Ok(Vec::new()),
    }
}

/// Does a step, and says what it changed.
pub(super) fn apply(work: &Work, installer: &mut Installer<'_>) -> Result<Vec<PlannedChange>, Report> {
    match work {
        Work::Detect => {
            let cx = installer.context();
            // Validates every component, too.
            let changes = planned(work, installer, &cx)?;
            if !installer.configured {
                write(&installer.host.paths.config(), spec::render(&installer.spec).as_bytes())?;
                installer.configured = true;
            }
            Ok(changes)
        }
        Work::Components(names) => components(installer, names),
        Work::Ledger => {
            let cx = installer.context();
            let changes = planned(work, installer, &cx)?;
            components(installer, LEDGER)?;
            if !key::is_there(&installer.host.paths.etc) {
                key::create(&cx.tree().ledger(), &installer.host.paths.etc)?;
            }
            Ok(changes)
        }
        Work::Programs => {
            let mut changes =
                programs::apply(installer.request.bin_dir.as_deref(), &installer.request.prefix)?;
            changes.extend(programs::apply_shared(&installer.request.prefix)?);
            changes.extend(components(installer, programs_before(&installer.spec))?);
            // The units take the lock themselves.
            installer.lock = None;
            services(installer, &changes)?;
            installer.take_lock()?;
            changes.extend(components(installer, &["containers"])?);
            Ok(changes)
        }
        Work::State => {
            let cx = installer.context();
            let changes = planned(work, installer, &cx)?;
            components(installer, SNAPSHOTS)?;
            drift::settle(&installer.stages(&[])?, &cx)?;
            let label = INITIAL.parse().ok();
            let order = Order { label, ..Order::new("installer", Reason::Manual) };
            for subject in first_snapshots(&installer.host.paths.etc, &cx)? {
                snapshots::take(&cx.tree(), &subject, &order)?;
            }
            Ok(changes)
        }
        Work::Mark => {
            let cx = installer.context();
            let changes = planned(work, installer, &cx)?;
            for (path, content) in marks(&installer.host.paths.etc) {
                if !path.exists() {
                    write(&path, content.as_bytes())?;
                }
            }
            Ok(changes)
        }
        Work::Chat => {
            listen(installer)?;
            let changes = components(installer, CHAT)?;
            if let Some(why) = firewall::nothing_to_open(&installer.context())? {
                tracing::warn!("{why}");
            }
            Ok(changes)
        }
        Work::Later(_) => Ok(Vec::new()),
    }
}

/// Has the chat listen, and sees that it answers.
fn listen(installer: &Installer<'_>) -> Result<(), Report> {
    let run = &installer.host.run;
    run.run(&Invocation::new("systemctl").args(["start", "mcp-chat.socket"]))?;
    let (address, origin) = (installer.spec.mcp.listen(), installer.spec.mcp.origin());
    std::net::TcpStream::connect(&address).map(drop).map_err(|error| {
        Report::new(Kind::Failed, format!("the chat does not listen on {address}: {error}"))
            .with_next(format!("systemctl status mcp-chat.socket; it should be at {origin}/chat.html"))
    })
}

/// The components of the step of the chat: it is let out when it listens.
const CHAT: &[&str] = &["firewall"];

/// The components of the step of programs, before those that need the daemon. What was open for a chat that is no longer
/// asked for is closed here, as its own step then does nothing.
fn programs_before(spec: &HostSpec) -> &'static [&'static str] {
    if spec.mcp.enable { &["units"] } else { &["units", "firewall"] }
}

/// The components of the step that makes the ledger.
const LEDGER: &[&str] = &["ledger"];

/// The component of the step that takes the first snapshots: one that was killed there left one half made.
const SNAPSHOTS: &[&str] = &["snapshots"];

/// The label of the snapshots of the initial state.
const INITIAL: &str = "initial";

/// What has no snapshot of its initial state yet: the state and each plugin, on a host that is being installed. On one
/// that was, there is no initial state any more, and one that was deleted since is not wanted.
fn first_snapshots(etc: &Path, cx: &Context<'_>) -> Result<Vec<Subject>, Report> {
    if etc.join(INSTALLED).exists() {
        return Ok(Vec::new());
    }
    let all = snapshots::list(&cx.tree(), None)?;
    let taken = |subject: &Subject| {
        all.iter().any(|l| {
            l.record.subject == *subject
                && l.state != snapshots::State::Gone
                && l.record.label.as_ref().is_some_and(|l| l.as_str() == INITIAL)
        })
    };
    let state = "@state".parse().ok();
    let plugins = cx.spec.plugins.keys().cloned().map(Subject::Plugin);
    Ok(state.into_iter().chain(plugins).filter(|subject| !taken(subject)).collect())
}

/// The file that says that this host was installed.
const INSTALLED: &str = "installed";

fn write(path: &Path, content: &[u8]) -> Result<(), Report> {
    let failed =
        |e: std::io::Error| Report::new(Kind::Failed, format!("cannot write {}: {e}", path.display()));
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    files::replace(path, content, 0o644).map_err(failed)
}

/// The files that say that, how and when this host was installed.
fn marks(etc: &Path) -> [(std::path::PathBuf, String); 2] {
    let installed = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "time": jiff::Timestamp::now().to_string(),
        "steps": super::STEPS,
    });
    [
        (etc.join("deployment-type"), format!("{}\n", Deployment::Traditional)),
        (etc.join(INSTALLED), format!("{installed:#}\n")),
    ]
}

fn validate(installer: &Installer<'_>, cx: &Context<'_>) -> Result<(), Report> {
    for stage in installer.stages(&[])? {
        stage.validate(cx)?;
    }
    Ok(())
}

fn components(installer: &Installer<'_>, names: &[&str]) -> Result<Vec<PlannedChange>, Report> {
    let cx = installer.context();
    let outcome = drift::apply(&installer.stages(names)?, &cx)?;
    if let Some(failure) = outcome.failure() {
        return Err(Report { partial: serde_json::to_value(&outcome).ok(), ..failure.clone() });
    }
    Ok(outcome.components.into_iter().flat_map(|c| c.applied).collect())
}

/// Starts the services, and restarts the daemon where its program or unit is new. Containers run in units of
/// their own and are not touched.
fn services(installer: &Installer<'_>, changes: &[PlannedChange]) -> Result<(), Report> {
    if !Path::new("/run/systemd/system").exists() {
        return Err(Report::new(Kind::Unavailable, "systemd does not run here, and the services need it")
            .with_next("install on a booted system, not in a chroot"));
    }
    let run = &installer.host.run;
    let systemctl = |args: &[&str]| run.run(&Invocation::new("systemctl").args(args)).map(drop);
    let names = |what: &str| changes.iter().any(|change| change.object.ends_with(what));
    systemctl(&[
        "start",
        "opdbus-storage.service",
        "opdbus-ledger.service",
        "opdbus-network.service",
        "opdbus.socket",
        "opdbus-snapshots.timer",
        "opdbus-checkpoint.timer",
        "opdbus-search.socket",
    ])?;
    if names("/mcp-chat") || names("/mcp-chat.service") {
        systemctl(&["stop", "mcp-chat.service"])?;
    }
    if names("/opdbus-search") || names("/opdbus-search.service") {
        // It is started again when it is asked.
        systemctl(&["stop", "opdbus-search.service"])?;
    }
    if names("/opdbusd") || names("/opdbus.service") {
        systemctl(&["restart", "opdbus.service"])?;
    } else {
        systemctl(&["start", "opdbus.service"])?;
    }
    systemctl(&["start", "--no-block", "opdbus-containers.service", "opdbus-apply.service"])?;
    Ok(())
}
