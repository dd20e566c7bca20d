//! The installer's program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use opdbus::cli::args::install::Arguments;
use opdbus::cli::{Out, TerminalProgress, finish, init_logging};
use opdbus::engine::Host;
use opdbus::fault::{Kind, Report};
use opdbus::install::{
    Installer, NIXOS_ADVICE, Request, STEPS, StepOutcome, StepResult, Watcher, nix_config, write_new,
};
use opdbus::paths::Paths;
use opdbus::run::Runner;
use serde_json::json;

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
    let beside = std::env::current_exe().ok().and_then(|program| program.parent().map(PathBuf::from));
    let request = Request {
        bin_dir: arguments.bin_dir.or(beside),
        prefix: arguments.prefix,
        config: arguments.config,
        base_path: arguments.base_path,
        btrfs_image: arguments.btrfs_image,
        rootfs: arguments.rootfs,
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
        out.answer(&detected, |_| NIXOS_ADVICE.to_owned());
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
        return Ok(());
    }
    if !arguments.yes && !detected.upgrade {
        confirm()?;
    }
    let steps = installer.run(&Lines { out })?;
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
    Ok(())
}

fn generate_nix_config(path: &Path, host: &Host, request: &Request, out: Out) -> Result<(), Report> {
    let nix = nix_config(host, request)?;
    if path.as_os_str() == "-" {
        out.answer(&json!({ "nix": nix }), |_| nix.clone());
        return Ok(());
    }
    let written = write_new(path, &nix)?;
    out.answer(&json!({ "path": path, "written": written }), |_| {
        let verb = if written { "Wrote" } else { "Nothing to write: as it should be is" };
        format!(
            "{verb} {}. On NixOS, import it beside the module; docs/nixos.md is the guide.",
            path.display()
        )
    });
    Ok(())
}

fn confirm() -> Result<(), Report> {
    let refused = || {
        Report::new(Kind::Invalid, "the installation was not confirmed")
            .with_next("answer y, or give --yes; --plan shows the steps")
    };
    let mut err = std::io::stderr().lock();
    let mut answer = String::new();
    write!(err, "Install operation-dbus on this host? [y/N] ")
        .and_then(|()| err.flush())
        .and_then(|()| std::io::stdin().read_line(&mut answer))
        .map_err(|_| refused())?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused()) }
}
