//! The template builder.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use opdbus::cli::{Common, TerminalProgress, Verb, component_verb, finish, init_logging};
use opdbus::engine::{Context, Lock, Stage};
use opdbus::fault::{Kind, Report};
use opdbus::name::TemplateName;
use opdbus::spec::{self, Template};
use opdbus::templates::{self, Origin, TemplatesComponent};
use serde_json::json;

/// Container templates: root file systems from which containers are cloned.
///
/// plan, apply and status work on the templates that the host spec declares; the other verbs on one by name,
/// without the daemon. A template is built beside the old one and put in place in one step; clones of the old
/// one are not touched, and a template of yours (one that the host spec does not declare) never is.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit status: 0 done, 1 failed, 2 usage, 3 invalid, 4 not found, 5 conflict, 6 denied,\n7 unavailable, 8 another run is under way."
)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    #[command(flatten)]
    Component(Verb),
    /// Build a template that is not there yet.
    Build {
        /// Its name. One that the host spec declares is built as declared.
        name: TemplateName,
        /// The release.
        #[arg(long, default_value = "stable")]
        suite: String,
        /// Where packages come from; by default where the host's own come from.
        #[arg(long, value_name = "ADDRESS")]
        mirror: Option<String>,
        /// A tarball of a root file system to use instead of a mirror.
        #[arg(long, value_name = "FILE")]
        rootfs: Option<PathBuf>,
        /// A package to have beside the base system; may be given again.
        #[arg(long = "package", value_name = "NAME")]
        packages: Vec<String>,
    },
    /// Build a declared template anew and swap it in.
    Refresh {
        /// Its name.
        name: TemplateName,
    },
    /// List the templates there are.
    List,
    /// Remove a template of yours. There is no way back.
    Remove {
        /// Its name.
        name: TemplateName,
        /// Really do it.
        #[arg(long)]
        yes: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    init_logging();
    let json = arguments.common.json;
    finish(json, run(arguments))
}

fn run(arguments: Arguments) -> Result<(), Report> {
    let common = arguments.common;
    if let What::Component(verb) = arguments.command {
        let stages: Vec<Box<dyn Stage>> = vec![Box::new(TemplatesComponent)];
        return component_verb(&stages, verb, &common);
    }
    let host = common.host();
    let mut spec = common.spec(&host)?;
    let out = common.out();
    let progress = TerminalProgress::new(out.json);
    let lock = || Lock::take(&host.paths.lock(), Duration::from_secs(30));
    let done = match arguments.command {
        What::Component(_) => return Ok(()),
        What::List => {
            let all = templates::list(&Context { host: &host, spec: &spec, progress: &progress })?;
            drop(progress);
            out.answer(&all, |all| templates::list_text(all));
            return Ok(());
        }
        What::Build { name, suite, mirror, rootfs, packages } => {
            let (template, origin) = match spec.templates.get(&name) {
                Some(declared) => (declared.clone(), Origin::System),
                None => (Template { suite, mirror, rootfs, packages, ..Template::default() }, Origin::User),
            };
            // The same checks as for a declared one.
            spec.templates.insert(name.clone(), template.clone());
            spec::check(&spec)?;
            let _lock = lock()?;
            templates::build(
                &Context { host: &host, spec: &spec, progress: &progress },
                &name,
                &template,
                origin,
            )?;
            format!("template {name} is built")
        }
        What::Refresh { name } => {
            let _lock = lock()?;
            templates::refresh(&Context { host: &host, spec: &spec, progress: &progress }, &name)?;
            format!("template {name} is refreshed")
        }
        What::Remove { name, yes } => {
            if !yes {
                return Err(Report::new(
                    Kind::Invalid,
                    format!("removing template {name} was not confirmed"),
                )
                .with_next("give --yes"));
            }
            let _lock = lock()?;
            templates::remove(&Context { host: &host, spec: &spec, progress: &progress }, &name)?;
            format!("template {name} is removed")
        }
    };
    drop(progress);
    out.answer(&json!({ "done": done }), |_| done.clone());
    Ok(())
}
