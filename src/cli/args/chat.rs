//! `mcp-chat` as its command line has it.

use clap::Parser;

/// The chat page and the MCP endpoint of operation-dbus.
///
/// Serves /chat.html, its WebSocket and /mcp on the socket that systemd hands over (mcp-chat.socket), as `mcp` in the host
/// spec says. It runs as a user of its own and asks the daemon in the name of whoever signed in; `op-dbus chat open` prints
/// a link that signs a browser in. It takes no options.
#[derive(Parser)]
#[command(
    name = "mcp-chat",
    version,
    after_help = "Exit status: 1 failed, 2 usage, 3 the host spec is wrong or no socket was handed over, 7 there is no system bus."
)]
pub struct Arguments {}
