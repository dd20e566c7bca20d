//! The helper for plugins.

use std::process::ExitCode;

use opdbus::cli::args::plugin::{GROUP, command};
use opdbus::cli::{finish, init_logging, local};
use opdbus::engine::Stage;
use opdbus::plugins::PluginsComponent;

fn main() -> ExitCode {
    init_logging();
    let matches = command().get_matches();
    let stages: [Box<dyn Stage>; 1] = [Box::new(PluginsComponent)];
    finish(matches.get_flag("json"), local::run(&stages, GROUP, &matches))
}
