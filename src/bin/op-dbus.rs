//! The administrator's program: a thin client of the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    opdbus::cli::init_logging();
    opdbus::cli::admin::main()
}
