//! The helper for container templates.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use opdbus::cli::{Common, TerminalProgress, Verb, component_verb, finish, init_logging};
use opdbus::engine::{Context, Lock, Stage};
use opdbus::fault::{Kind, Report};
use opdbus::name::TemplateName;
use opdbus::templates::{self, TemplatesComponent, Wish};
use serde_json::json;

/// Builds and keeps the container templates.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    long_about = "Builds and keeps the templates that containers are cloned from: root file systems without \
identity, below @templates. Those that the host spec declares are made by `apply`, and anew when their \
declaration changed. One built under another name is yours: nothing but `remove` touches it.\n\n\
A template is built beside its place and put there in one step, so that a run killed at any instant leaves the \
old one or the new one; the next run removes what was half made. Clones of an old one stay as they are.",
    after_long_help = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 wrong request or host spec, 4 no such template, \
5 something is in the way, 6 not permitted, 7 a tool is missing, 8 another run is going on.\n\n\
Examples:\n  \
opdbus-template plan\n  \
opdbus-template build debian-base\n  \
opdbus-template build lab --suite trixie --package openssh-server\n  \
opdbus-template build mine --rootfs /srv/rootfs.tar.zst\n  \
opdbus-template refresh debian-base\n  \
opdbus-template list --json"
)]
struct Program {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Component(Verb),
    /// Build a template: as the host spec declares it, or one of your own.
    Build {
        /// Its name.
        name: TemplateName,
        #[command(flatten)]
        wish: WishArgs,
    },
    /// Build a template of the host spec anew and exchange it; its clones stay as they are.
    Refresh {
        /// Its name.
        name: TemplateName,
    },
    /// List the templates.
    List,
    /// Remove a template; its clones stay as they are.
    Remove {
        /// Its name.
        name: TemplateName,
        /// Also one that the host spec declares, which the next `apply` makes anew.
        #[arg(long)]
        force: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct WishArgs {
    /// A tarball of a root file system to use instead of a mirror.
    #[arg(long, value_name = "FILE")]
    rootfs: Option<PathBuf>,
    /// The release [default: stable].
    #[arg(long, conflicts_with = "rootfs")]
    suite: Option<String>,
    /// Where packages come from [default: as the host's apt has it].
    #[arg(long, value_name = "URL", conflicts_with = "rootfs")]
    mirror: Option<String>,
    /// A package to have beside the base system; may be given again. A tarball must have it already.
    #[arg(long = "package", value_name = "NAME")]
    packages: Vec<String>,
    /// The time zone [default: Etc/UTC].
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// The locale [default: C.UTF-8].
    #[arg(long)]
    locale: Option<String>,
}

impl WishArgs {
    fn wish(self) -> Result<Wish, Report> {
        let rootfs = match self.rootfs {
            None => None,
            Some(path) => Some(
                std::path::absolute(&path)
                    .map_err(|e| Report::new(Kind::Invalid, format!("cannot use {}: {e}", path.display())))?,
            ),
        };
        let Self { suite, mirror, packages, time_zone, locale, .. } = self;
        Ok(Wish { rootfs, suite, mirror, packages, time_zone, locale })
    }
}

/// How long it waits for another run to end before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let Program { common, command } = Program::parse();
    init_logging();
    let json = common.json;
    finish(json, run(&common, command))
}

fn run(common: &Common, command: Command) -> Result<(), Report> {
    if let Command::Component(verb) = command {
        let stages: [Box<dyn Stage>; 1] = [Box::new(TemplatesComponent)];
        return component_verb(&stages, verb, common);
    }
    let (host, out) = (common.host(), common.out());
    let spec = common.spec(&host)?;
    let progress = TerminalProgress::new(out.json);
    let cx = Context { host: &host, spec: &spec, progress: &progress };
    let lock = || Lock::take(&host.paths.lock(), PATIENCE);
    match command {
        Command::Component(_) => {}
        Command::List => {
            let all = templates::list(&cx.tree())?;
            out.answer(&json!({ "templates": all }), |_| templates::text::table(&all));
        }
        Command::Build { name, wish } => {
            let (declaration, origin) = templates::requested(&spec, &name, &wish.wish()?)?;
            let _lock = lock()?;
            let record = templates::build(&cx, &name, &declaration, origin)?;
            drop(progress);
            out.answer(&record, |r| templates::text::sentence("built", r));
        }
        Command::Refresh { name } => {
            let _lock = lock()?;
            let record = templates::refresh(&cx, &name)?;
            drop(progress);
            out.answer(&record, |r| templates::text::sentence("refreshed", r));
        }
        Command::Remove { name, force, yes } => {
            if !yes && !confirmed(&name, out.json)? {
                out.answer(&json!({ "removed": false }), |_| "nothing removed".into());
                return Ok(());
            }
            let _lock = lock()?;
            templates::remove(&cx, &name, force)?;
            out.answer(&json!({ "removed": true }), |_| format!("removed template {name}"));
        }
    }
    Ok(())
}

/// Asks on the terminal; without one, the answer must have been given beforehand.
fn confirmed(name: &TemplateName, json: bool) -> Result<bool, Report> {
    if json || !std::io::stdin().is_terminal() {
        let why = format!("template {name} was not removed: that cannot be undone and was not confirmed");
        return Err(Report::new(Kind::Invalid, why).with_next("add --yes"));
    }
    // Where the question cannot be written nobody reads it, and the answer is no.
    let _ = write!(std::io::stderr(), "Remove template {name}? Its clones stay as they are. [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
