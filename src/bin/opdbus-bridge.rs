//! The helper of the bridge and of the packet filter around it.

use std::process::ExitCode;

use clap::Parser;
use opdbus::bridge::BridgeComponent;
use opdbus::cli::args::bridge::Arguments;
use opdbus::cli::{component_verb, finish, init_logging};
use opdbus::engine::Stage;
use opdbus::nat::NatComponent;

fn main() -> ExitCode {
    init_logging();
    let arguments = Arguments::parse();
    let stages: [Box<dyn Stage>; 2] = [Box::<BridgeComponent>::default(), Box::<NatComponent>::default()];
    finish(arguments.common.json, component_verb(&stages, arguments.verb, &arguments.common))
}
