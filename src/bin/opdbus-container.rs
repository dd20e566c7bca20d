//! The containers' helper: the component's verbs, and what their units call.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use opdbus::bridge;
use opdbus::cli::args::container::{Arguments, What};
use opdbus::cli::{component_verb, finish, init_logging};
use opdbus::containers::{self, Containers, ContainersComponent, Lxc, unit};
use opdbus::deployment::Deployment;
use opdbus::engine::{Context, Silent, Stage};
use opdbus::fault::{Kind, Report};
use opdbus::name::ContainerName;
use opdbus::paths::Tree;
use opdbus::run::Invocation;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    init_logging();
    finish(arguments.common.json, run(&arguments))
}

fn run(arguments: &Arguments) -> Result<(), Report> {
    let common = &arguments.common;
    if let What::Component(verb) = arguments.command {
        let stages: Vec<Box<dyn Stage>> = vec![Box::new(ContainersComponent)];
        return component_verb(&stages, verb, common);
    }
    let host = common.host();
    let spec = common.spec(&host)?;
    let cx = Context { host: &host, spec: &spec, progress: &Silent };
    let tree = Tree::new(&spec.btrfs.base_path);
    let lxc = |tool: &str, name: &ContainerName| {
        Invocation::new(tool).arg("--name").arg(name.as_str()).arg("--lxcpath").arg(host.paths.lxc())
    };
    match &arguments.command {
        What::Component(_) => Ok(()),
        What::StartHook => start_hook(&cx),
        What::Run { name } => {
            let hook = format!("{} start-hook", this_program()?);
            Containers::new(&cx, &Lxc).prepare_start(name, hook)?;
            let error = Command::new("lxc-start")
                .arg("--foreground")
                .args(["--name", name.as_str()])
                .arg("--lxcpath")
                .arg(host.paths.lxc())
                .exec();
            Err(Report::new(Kind::Unavailable, format!("cannot run lxc-start: {error}"))
                .with_next(Deployment::here().package("lxc")))
        }
        What::Wait { name } => wait(&host, || lxc("lxc-wait", name))
            .map_err(|report| report.with_next(format!("`journalctl --unit {}` says why", unit(name)))),
        What::Halt { name } => {
            let call = lxc("lxc-stop", name).args(["--timeout", "30"]).time_limit(Duration::from_secs(60));
            let output = host.run.output(&call)?;
            // 2: it was not running.
            if output.status == 0 || output.status == 2 {
                return Ok(());
            }
            Err(Report::new(Kind::Failed, format!("{call} ended with status {}", output.status)))
        }
        What::Ended { name } => Ok(Containers::new(&cx, &Lxc).ended(name)?),
        What::StartAll => {
            let (records, damaged) = containers::readable(&tree)?;
            for error in damaged {
                eprintln!("error: {error}");
            }
            let units: Vec<String> = records
                .into_values()
                .filter(|record| record.spec.autostart)
                .map(|record| unit(&record.name))
                .collect();
            if units.is_empty() {
                return Ok(());
            }
            // What comes after this unit at boot, opdbus-apply.service for one, finds them running. One that does not
            // start is a failure of its own unit, not of this one.
            let call = Invocation::new("systemctl").arg("start").args(&units).time_limit(ALL_STARTED);
            let output = host.run.output(&call)?;
            if output.status != 0 {
                eprintln!("{}", String::from_utf8_lossy(&output.stderr).trim());
            }
            Ok(())
        }
    }
}

/// How long a container may take until its init runs. A second on a quiet machine; but with all others of the host, which
/// start at the same time, it waits its turn. The unit's own limit (`TimeoutStartSec=`) is above it.
const STARTED: u32 = 90;

/// How long all of them may take: what the bridge takes before them (`opdbus-network.service`), and the units' own limit.
const ALL_STARTED: Duration = Duration::from_secs(240);

/// Waits for the container's init; no longer than the unit's main process lives (systemd names it in `MAINPID`).
fn wait(host: &opdbus::engine::Host, lxc_wait: impl Fn() -> Invocation) -> Result<(), Report> {
    let main = std::env::var("MAINPID").ok().map(|pid| format!("/proc/{pid}"));
    for _ in 0..STARTED {
        let call = lxc_wait().args(["--state", "RUNNING", "--timeout", "1"]);
        if host.run.output(&call)?.status == 0 {
            return Ok(());
        }
        if main.as_ref().is_some_and(|main| !Path::new(main).exists()) {
            return Err(Report::new(Kind::Failed, "the container ended before its init ran"));
        }
    }
    Err(Report::new(Kind::Failed, format!("the container's init did not run within {STARTED} s")))
}

fn this_program() -> Result<String, Report> {
    let path = std::env::current_exe()
        .map_err(|e| Report::new(Kind::Failed, format!("cannot tell where this program is: {e}")))?;
    Ok(path.display().to_string())
}

fn start_hook(cx: &Context<'_>) -> Result<(), Report> {
    let missing =
        |variable| Report::new(Kind::Invalid, format!("{variable} is not set: this is called by LXC"));
    let value = |variable| std::env::var(variable).map_err(|_| missing(variable));
    let name: ContainerName = value("LXC_NAME")?.parse().map_err(|_| missing("LXC_NAME"))?;
    let pid: u32 = value("LXC_PID")?.parse().map_err(|_| missing("LXC_PID"))?;
    let namespace = format!("/proc/{pid}/ns/net");
    if !Path::new(&namespace).exists() {
        return Err(missing("LXC_PID"));
    }
    if bridge::userspace(cx)? {
        let offload = ["ethtool", "--offload", "eth0", "tx", "off"];
        cx.host.run.run(&Invocation::new("nsenter").arg(format!("--net={namespace}")).args(offload))?;
    }
    Ok(Containers::new(cx, &Lxc).seat(&name)?)
}
