//! The bridge's helper.

use std::process::ExitCode;

use clap::Parser;
use opdbus::bridge::BridgeComponent;
use opdbus::cli::{Common, Verb, component_verb, finish, init_logging};
use opdbus::engine::Stage;
use opdbus::nat::NatComponent;

/// The Open vSwitch bridge, its internal ports, the gateway's address, and address translation.
///
/// Works on the host spec without the daemon. Other bridges, ports and nftables tables are never changed,
/// and the bridge is never deleted and made again. A second apply changes nothing.
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
    let stages: Vec<Box<dyn Stage>> = vec![Box::new(BridgeComponent), Box::new(NatComponent)];
    finish(arguments.common.json, component_verb(&stages, arguments.verb, &arguments.common))
}
