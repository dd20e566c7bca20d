//! The daemon.

use std::process::ExitCode;

use clap::Parser;
use opdbus::cli::args::daemon::Arguments;
use opdbus::cli::{finish, init_logging};
use opdbus::engine::Host;
use opdbus::fault::Report;
use opdbus::paths::Paths;
use opdbus::run::Runner;

fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    init_logging();
    let host = Host { paths: Paths::from_env(), run: Runner::default() };
    finish(false, opdbus::daemon::run(host).map_err(Report::from))
}
