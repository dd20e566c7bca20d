//! The daemon.

use std::process::ExitCode;

use clap::Parser;
use opdbus::cli::{finish, init_logging};
use opdbus::engine::Host;
use opdbus::fault::Report;
use opdbus::paths::Paths;
use opdbus::run::Runner;

/// The daemon of operation-dbus.
///
/// Serves the operations as org.opdbus1 on the system bus and, where systemd hands it the socket, on the
/// API socket. It is started by systemd (opdbus.service) and takes no options.
#[derive(Parser)]
#[command(version)]
struct Arguments {}

fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    init_logging();
    let host = Host { paths: Paths::from_env(), run: Runner::default() };
    finish(false, opdbus::daemon::run(host).map_err(Report::from))
}
