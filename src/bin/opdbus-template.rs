//! The helper for container templates.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use opdbus::cli::args::template::{Command, Program};
use opdbus::cli::{Common, TerminalProgress, answers, component_verb, finish, given, init_logging};
use opdbus::engine::{Context, Lock, Stage};
use opdbus::fault::{Kind, Report};
use opdbus::name::TemplateName;
use opdbus::templates::{self, TemplatesComponent};

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
            out.answer(&answers::Templates { templates: all }, |all| templates::text::table(&all.templates));
        }
        Command::Build { name, wish } => {
            let (declaration, origin) = templates::requested(&spec, &name, &wish.wish()?)?;
            let _lock = lock()?;
            let record = templates::build(&cx, &name, &declaration, origin)?;
            drop(progress);
            out.answer(&record, |r| templates::text::sentence("built", r));
        }
        Command::Import { name, file, max_size } => {
            let from = File::from(given(&file)?);
            let record = templates::import(&cx, &name, from, max_size.0, || {
                Ok(Lock::take(&host.paths.lock(), PATIENCE)?)
            })?;
            drop(progress);
            out.answer(&record, templates::text::imported);
        }
        Command::Refresh { name } => {
            let _lock = lock()?;
            let record = templates::refresh(&cx, &name)?;
            drop(progress);
            out.answer(&record, |r| templates::text::sentence("refreshed", r));
        }
        Command::Generations { name } => {
            let all = templates::generations(&cx.tree(), &name)?;
            out.answer(&answers::Generations { generations: all }, |all| {
                templates::text::generations(&all.generations)
            });
        }
        Command::Rollback { name, generation } => {
            let _lock = lock()?;
            let record = templates::rollback(&cx, &name, generation.as_deref())?;
            out.answer(&record, |r| templates::text::sentence("now in use:", r));
        }
        Command::Remove { name, force, yes } => {
            if !yes && !confirmed(&name, out.json)? {
                out.answer(&answers::Removed { removed: false }, |_| "nothing removed".into());
                return Ok(());
            }
            let _lock = lock()?;
            templates::remove(&cx, &name, force)?;
            out.answer(&answers::Removed { removed: true }, |_| format!("removed template {name}"));
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
