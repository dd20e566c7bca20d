//! The installer's program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use opdbus::cli::args::install::Arguments;
use opdbus::cli::{Out, TerminalProgress, answers, finish, init_logging};
use opdbus::engine::Host;
use opdbus::fault::{Kind, Report};
use opdbus::install::{
    Installer, NIXOS_ADVICE, Request, STEPS, StepOutcome, StepResult, UninstallPlan, Uninstaller, Watcher,
    nix_config, write_new,
};
use opdbus::paths::Paths;
use opdbus::plan_text;
use opdbus::run::Runner;
use opdbus::uplink;

struct Lines {
    out: Out,
}

impl Watcher for Lines {
    fn begins(&self, number: usize, title: &str) {
        self.out.note(&format!("[{number:2}/{STEPS}] {title}"));
    }
    fn ended(&self, outcome: &StepOutcome) {
        self.out.note(&result_text(outcome, "done"));
    }
}

fn result_text(outcome: &StepOutcome, verb: &str) -> String {
    match &outcome.result {
        StepResult::Unchanged => "        nothing to change".into(),
        StepResult::NotEnabled { why } => format!("        not enabled: {why}"),
        StepResult::Changed { changes } => {
            let mut lines: Vec<String> = changes
                .iter()
                .map(|c| {
                    let detail = if c.detail.is_empty() { String::new() } else { format!(": {}", c.detail) };
                    format!("        {}{detail}", c.object)
                })
                .collect();
            let noun = if changes.len() == 1 { "change" } else { "changes" };
            lines.push(format!("        {verb}: {} {noun}", changes.len()));
            lines.join("\n")
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    init_logging();
    let json = arguments.json;
    finish(json, run(arguments))
}

fn run(arguments: Arguments) -> Result<(), Report> {
    let out = Out { json: arguments.json };
    if arguments.uninstall {
        return uninstall(&arguments, out);
    }
    let beside = std::env::current_exe().ok().and_then(|program| program.parent().map(PathBuf::from));
    let request = Request {
        bin_dir: arguments.bin_dir.or(beside),
        prefix: arguments.prefix,
        config: arguments.config,
        base_path: arguments.base_path,
        btrfs_image: arguments.btrfs_image,
        rootfs: arguments.rootfs,
        uplink: arguments.uplink,
        chat: arguments.chat,
        open_firewall: arguments.open_firewall,
        ml: arguments.ml,
    };
    let host = Host { paths: Paths::from_env(), run: Runner::default() };
    if let Some(path) = arguments.generate_nix_config {
        return generate_nix_config(&path, &host, &request, out);
    }
    // On NixOS the advice is for everybody; elsewhere only root sees what is there.
    if !rustix::process::geteuid().is_root() && !Installer::is_nixos(&host) {
        return Err(Report::new(Kind::Denied, "only root can see what is there and install")
            .with_next("run it as root"));
    }
    let progress = TerminalProgress::new(out.json);
    let mut installer = Installer::new(&host, &request, &progress)?;
    let detected = installer.detected.clone();
    if detected.nixos {
        out.answer(&answers::Installation::NixOs(detected), |_| NIXOS_ADVICE.to_owned());
        return Ok(());
    }
    out.note(&format!(
        "{}, {}{}",
        if detected.upgrade { "Existing installation detected, upgrading" } else { "Fresh installation" },
        detected.distribution,
        if detected.kernel_datapath {
            ""
        } else {
            "; no openvswitch kernel module, so the userspace datapath is used"
        },
    ));
    if arguments.plan {
        let steps = installer.plan()?;
        out.answer(&steps, |steps| {
            steps
                .iter()
                .map(|s| format!("[{:2}/{STEPS}] {}\n{}\n", s.number, s.title, result_text(s, "to do")))
                .collect::<String>()
        });
        match installer.plan_uplink(arguments.within) {
            Some(Ok(planned)) => out.note(&uplink::text::status(&planned)),
            Some(Err(report)) => out.note(&format!("the uplink cannot be planned yet: {report}")),
            None => {}
        }
        return Ok(());
    }
    if !arguments.yes && !detected.upgrade {
        confirm()?;
    }
    let steps = installer.run(&Lines { out })?;
    // Last of all: all is installed, should somebody have to come back by the console.
    let moved = installer.move_uplink(arguments.within);
    drop(progress);
    out.answer(&steps, |steps| {
        let changes: usize = steps
            .iter()
            .map(|s| if let StepResult::Changed { changes } = &s.result { changes.len() } else { 0 })
            .sum();
        match changes {
            0 => "Nothing to change: this host is as its host spec says.".into(),
            n => format!("Installed: {n} changes. Next: op-dbus container list, op-dbus --help"),
        }
    });
    if let Some(moved) = moved {
        let status = moved?;
        out.note(&uplink::text::status(&status));
    }
    Ok(())
}

fn generate_nix_config(path: &Path, host: &Host, request: &Request, out: Out) -> Result<(), Report> {
    let nix = nix_config(host, request)?;
    if path.as_os_str() == "-" {
        out.answer(&answers::Nix { nix }, |made| made.nix.clone());
        return Ok(());
    }
    let written = write_new(path, &nix)?;
    out.answer(&answers::WrittenNix { path: path.to_owned(), written }, |_| {
        let verb = if written { "Wrote" } else { "Nothing to write: as it should be is" };
        format!(
            "{verb} {}. On NixOS, import it beside the module; docs/nixos.md is the guide.",
            path.display()
        )
    });
    Ok(())
}

fn confirm() -> Result<(), Report> {
    let answer = ask("Install operation-dbus on this host? [y/N] ");
    if is_yes(answer.as_deref()) {
        return Ok(());
    }
    Err(Report::new(Kind::Invalid, "the installation was not confirmed")
        .with_next("answer y, or give --yes; --plan shows the steps"))
}

/// Asks a person, on standard error; `None` where nobody is there.
fn ask(question: &str) -> Option<String> {
    let mut err = std::io::stderr().lock();
    let mut answer = String::new();
    write!(err, "{question}")
        .and_then(|()| err.flush())
        .and_then(|()| std::io::stdin().read_line(&mut answer))
        .ok()?;
    Some(answer.trim().to_owned())
}

fn is_yes(answer: Option<&str>) -> bool {
    matches!(answer, Some("y" | "Y" | "yes"))
}

fn uninstall(arguments: &Arguments, out: Out) -> Result<(), Report> {
    let host = Host { paths: Paths::from_env(), run: Runner::default() };
    if !rustix::process::geteuid().is_root() && !Installer::is_nixos(&host) {
        return Err(Report::new(Kind::Denied, "only root can see what is there and take it away")
            .with_next("run it as root"));
    }
    let progress = TerminalProgress::new(out.json);
    let uninstaller = Uninstaller::new(&host, arguments.prefix.clone(), arguments.purge, &progress)?;
    let plan = uninstaller.plan()?;
    if arguments.plan || plan.changes.is_empty() {
        drop(progress);
        out.answer(&plan, plan_of_uninstall);
        return Ok(());
    }
    if arguments.yes {
        if let Some(destroyed) = &plan.destroys {
            out.note(&destroyed.text());
        }
    } else {
        confirm_uninstall(&plan)?;
    }
    let done = uninstaller.run(&plan, &|change| out.note(&plan_text::sentence(change)))?;
    drop(progress);
    out.answer(&done, |done| {
        let what = if done.purge { "Uninstalled, with its data" } else { "Uninstalled" };
        format!("{}{what}: {} changes.", kept(&plan), done.applied.len())
    });
    Ok(())
}

fn kept(plan: &UninstallPlan) -> String {
    plan.kept.iter().map(|kept| format!("= {} stays: {}\n", kept.object, kept.why)).collect()
}

fn plan_of_uninstall(plan: &UninstallPlan) -> String {
    let kept = kept(plan);
    if plan.changes.is_empty() {
        return format!(
            "{kept}Nothing to uninstall: there is nothing of operation-dbus on this host{}.",
            if kept.is_empty() { "" } else { " but what stays" }
        );
    }
    let destroyed = plan.destroys.as_ref().map(|destroyed| destroyed.text() + "\n").unwrap_or_default();
    format!("{destroyed}{}\n{kept}", plan_text::planned(&plan.changes))
}

/// A purge is confirmed by the name of the host, so that it is not done on the wrong one by habit.
fn confirm_uninstall(plan: &UninstallPlan) -> Result<(), Report> {
    let declined = |next: String| {
        Report::new(Kind::Invalid, "nothing was changed: it was not confirmed").with_next(next)
    };
    let Some(destroyed) = &plan.destroys else {
        let answer = ask("Take operation-dbus off this host? Its containers stop, its data stays. [y/N] ");
        return if is_yes(answer.as_deref()) {
            Ok(())
        } else {
            Err(declined("answer y, or give --yes; --plan shows what goes".into()))
        };
    };
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let answer =
        ask(&format!("{}\nType the name of this host ({name}) to destroy that data: ", destroyed.text()));
    if answer.as_deref() == Some(&name) {
        return Ok(());
    }
    Err(declined(format!("type {name}, or give --yes with --purge; without --purge the data stays")))
}
