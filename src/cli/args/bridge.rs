//! `opdbus-bridge` as its command line has it.

use clap::Parser;

use crate::cli::{Common, Verb};

/// Keeps the Open vSwitch bridge and the host's packet filter around it.
///
/// The bridge named in the host spec (ovsbr0) with the host's ports veth-socket and veth-mesh, the gateway
/// address on veth-socket, and the nftables table `inet opdbus`: what containers may reach of the host, and
/// their way out. Flows are `opdbus-flows`.
///
/// A bridge, a port, or an interface of these names that it did not make is refused and left as it is; other
/// bridges, ports and tables are not touched.
#[derive(Parser)]
#[command(
    name = "opdbus-bridge",
    version,
    after_help = "\
Exit status: 0 done, 1 failed, 2 usage, 3 host spec wrong, 5 something is in the way, 6 not allowed,
7 Open vSwitch or a tool is missing, 8 another run is at work.

Examples:
  opdbus-bridge plan            what would be changed
  opdbus-bridge apply           make it so
  opdbus-bridge status --json   what is there"
)]
pub struct Arguments {
    /// What it is to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Options that every helper has.
    #[command(flatten)]
    pub common: Common,
}
