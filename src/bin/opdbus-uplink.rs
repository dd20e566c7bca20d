//! The helper of the uplink: what its units call.

use std::process::ExitCode;

use clap::FromArgMatches;
use opdbus::cli::args::uplink::{GROUP, RESTORE, SETTLE, WATCH, command};
use opdbus::cli::{Common, answers, finish, init_logging, local};
use opdbus::engine::Host;
use opdbus::fault::{Kind, Report};
use opdbus::uplink::{self, UplinkError};

/// What a unit has it do, and what came of it.
type Work = fn(&Host) -> Result<&'static str, UplinkError>;

fn main() -> ExitCode {
    init_logging();
    let matches = command().get_matches();
    let json = matches.get_flag("json");
    let unit: Option<Work> = match matches.subcommand_name() {
        Some(WATCH) => Some(uplink::watch),
        Some(RESTORE) => Some(uplink::boot_files),
        Some(SETTLE) => Some(uplink::settle),
        _ => None,
    };
    let done = match unit {
        None => local::call(GROUP, &matches),
        Some(unit) => Common::from_arg_matches(&matches)
            .map_err(|error| Report::new(Kind::Invalid, error.to_string()))
            .and_then(|common| {
                let done = unit(&common.host())?;
                common.out().answer(&answers::Done { done: done.to_owned() }, |_| done.to_owned());
                Ok(())
            }),
    };
    finish(json, done)
}
