//! `opdbusd` as its command line has it.

use clap::Parser;

/// The daemon of operation-dbus.
///
/// Serves the operations as org.opdbus1 on the system bus and, where systemd hands it the socket, on the
/// API socket. It is started by systemd (opdbus.service) and takes no options.
#[derive(Parser)]
#[command(
    name = "opdbusd",
    version,
    after_help = "Exit status: 0 asked to stop, 1 failed (the bus or the socket cannot be served), 2 usage."
)]
pub struct Arguments {}
