//! The helper of the bridge's flows.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use opdbus::cli::{Common, Verb, component_verb, finish, init_logging};
use opdbus::engine::{Context, Silent, Stage};
use opdbus::fault::Report;
use opdbus::{flows, system};

/// Keeps the flows on the Open vSwitch bridge.
///
/// They are made from the host spec and the containers there are: a container reaches another only where it
/// was granted, under its own address, and nothing is flooded. What differs is changed in one atomic bundle.
/// Flows of others on the bridge (with another cookie) are left as they are.
///
/// ovs-vswitchd forgets all flows when it restarts. `apply` brings ours back; `save` before and `restore` after
/// bring back the others'.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Exit status: 0 done, 1 failed, 2 usage, 3 host spec wrong, 4 no bridge, 5 something is in the way, 6 not allowed,
7 Open vSwitch is missing or does not run, 8 another run is at work.

Examples:
  opdbus-flows plan             what would be changed
  opdbus-flows apply            make it so
  opdbus-flows status --json    our flows on the bridge"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    #[command(flatten)]
    Component(Verb),
    /// Write down the flows of others on our bridge, to be put back by `restore`.
    Save,
    /// Put back what `save` wrote down and is missing now.
    Restore,
}

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
