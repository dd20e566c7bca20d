//! The flow installer.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use opdbus::cli::{Common, Verb, component_verb, finish, init_logging};
use opdbus::engine::{Context, Silent};
use opdbus::fault::Report;
use opdbus::{flows, system};
use serde_json::json;

/// The flow tables of the bridge: classification (0), socket network (10), mesh (20), the way out (30).
///
/// Works on the host spec and the containers there are, without the daemon. Our flows carry our cookie and
/// are changed by difference, in one atomic bundle; other flows stay. A second apply changes nothing.
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
    /// Keep the flows on our bridge that are not ours over a restart of ovs-vswitchd (the unit's `ExecStop`).
    Save,
    /// Put back the flows that `save` kept and that are not there.
    Restore,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    init_logging();
    finish(arguments.common.json, run(&arguments))
}

fn run(arguments: &Arguments) -> Result<(), Report> {
    let common = &arguments.common;
    if let What::Component(verb) = arguments.command {
        return component_verb(&[Box::new(system::flows())], verb, common);
    }
    let host = common.host();
    let spec = common.spec(&host)?;
    let cx = Context { host: &host, spec: &spec, progress: &Silent };
    let (count, done) = match arguments.command {
        What::Save => (flows::save_foreign(&cx)?, "kept"),
        _ => (flows::restore_foreign(&cx)?, "put back"),
    };
    common.out().answer(&json!({ "flows": count }), |_| format!("{count} foreign flows {done}"));
    Ok(())
}
