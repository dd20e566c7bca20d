//! The containers' helper: the component's verbs, and what their units call.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
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
    if let What::StartHook = arguments.command {
        return start_hook(&host);
    }
    let spec = common.spec(&host)?;
    let cx = Context { host: &host, spec: &spec, progress: &Silent };
    let tree = Tree::new(&spec.btrfs.base_path);
    let lxc = |tool: &str, name: &ContainerName| {
        Invocation::new(tool).arg("--name").arg(name.as_str()).arg("--lxcpath").arg(host.paths.lxc())
    };
    match &arguments.command {
        What::Component(_) | What::StartHook => Ok(()),
        What::Run { name } => {
            let hook = opdbus::bridge::userspace(&cx)?
                .then(this_program)
                .transpose()?
                .map(|p| format!("{p} start-hook"));
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
        What::Wait { name } => wait(&host, || lxc("lxc-wait", name)),
        What::Halt { name } => {
            let call = lxc("lxc-stop", name).args(["--timeout", "30"]).time_limit(Duration::from_secs(60));
            let output = host.run.output(&call)?;
            // 2: it was not running.
            if output.status == 0 || output.status == 2 {
                return Ok(());
            }
            Err(Report::new(Kind::Failed, format!("{call} ended with status {}", output.status)))
        }
        What::StartAll => {
            let units: Vec<String> = containers::all(&tree)?
                .into_values()
                .filter(|record| record.spec.autostart)
                .map(|record| unit(&record.name))
                .collect();
            if units.is_empty() {
                return Ok(());
            }
            let call = Invocation::new("systemctl").args(["start", "--no-block"]).args(&units);
            Ok(host.run.run(&call).map(drop)?)
        }
    }
}

/// Waits for the container's init, for half a minute at most; no longer than the unit's main process lives
/// (systemd names it in `MAINPID`).
fn wait(host: &opdbus::engine::Host, lxc_wait: impl Fn() -> Invocation) -> Result<(), Report> {
    let main = std::env::var("MAINPID").ok().map(|pid| format!("/proc/{pid}"));
    for _ in 0..30 {
        let call = lxc_wait().args(["--state", "RUNNING", "--timeout", "1"]);
        if host.run.output(&call)?.status == 0 {
            return Ok(());
        }
        if main.as_ref().is_some_and(|main| !Path::new(main).exists()) {
            return Err(Report::new(Kind::Failed, "the container ended before its init ran"));
        }
    }
    Err(Report::new(Kind::Failed, "the container's init did not run within 30 s"))
}

fn this_program() -> Result<String, Report> {
    let path = std::env::current_exe()
        .map_err(|e| Report::new(Kind::Failed, format!("cannot tell where this program is: {e}")))?;
    Ok(path.display().to_string())
}

fn start_hook(host: &opdbus::engine::Host) -> Result<(), Report> {
    let missing = || Report::new(Kind::Invalid, "LXC_PID is not set: this is called by LXC");
    let pid: u32 = std::env::var("LXC_PID").ok().and_then(|pid| pid.parse().ok()).ok_or_else(missing)?;
    let namespace = format!("/proc/{pid}/ns/net");
    if !Path::new(&namespace).exists() {
        return Err(missing());
    }
    let call = Invocation::new("nsenter").arg(format!("--net={namespace}")).args([
        "ethtool",
        "--offload",
        "eth0",
        "tx",
        "off",
    ]);
    Ok(host.run.run(&call).map(drop)?)
}
