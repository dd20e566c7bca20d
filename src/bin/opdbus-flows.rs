//! The helper of the bridge's flows.

use std::process::ExitCode;

use clap::Parser;
use opdbus::cli::args::flows::{Arguments, Command};
use opdbus::cli::{component_verb, finish, init_logging};
use opdbus::engine::{Context, Silent, Stage};
use opdbus::fault::Report;
use opdbus::{flows, system};

fn run(arguments: &Arguments) -> Result<(), Report> {
    let common = &arguments.common;
    if let Command::Component(verb) = arguments.command {
        let stages: [Box<dyn Stage>; 1] = [Box::new(system::flows())];
        return component_verb(&stages, verb, common);
    }
    let host = common.host();
    let spec = common.spec(&host)?;
    let cx = Context { host: &host, spec: &spec, progress: &Silent };
    let out = common.out();
    if let Command::Save = arguments.command {
        out.answer(&flows::save(&cx)?, |saved| match saved.flows {
            None => "the bridge is not there: nothing is written down".into(),
            Some(count) => format!("flows of others written down: {count}"),
        });
    } else {
        out.answer(&flows::restore(&cx)?, |restored| {
            let mut lines = vec![format!("flows of others put back: {}", restored.restored)];
            lines.extend(restored.refused.iter().map(|refused| format!("refused: {refused}")));
            lines.join("\n")
        });
    }
    Ok(())
}

fn main() -> ExitCode {
    init_logging();
    let arguments = Arguments::parse();
    finish(arguments.common.json, run(&arguments))
}
