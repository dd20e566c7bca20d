//! The storage helper.

use std::process::ExitCode;

use clap::Parser;
use opdbus::cli::{Common, Verb, component_verb, finish, init_logging};
use opdbus::engine::Stage;
use opdbus::plugins::PluginsComponent;
use opdbus::sockets::SocketsComponent;
use opdbus::storage::StorageComponent;

/// Subvolumes, plugins and socket directories below the base path.
///
/// Works on the host spec without the daemon. What is not ours is never changed: a directory or subvolume
/// in the way is an error that says how to move it. A second apply changes nothing.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit status: 0 done, 1 failed, 2 usage, 3 invalid, 4 not found, 5 conflict, 6 denied,\n7 unavailable, 8 another run is under way."
)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    init_logging();
    let stages: Vec<Box<dyn Stage>> =
        vec![Box::new(StorageComponent), Box::new(PluginsComponent), Box::new(SocketsComponent)];
    finish(arguments.common.json, component_verb(&stages, arguments.verb, &arguments.common))
}
