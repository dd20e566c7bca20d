//! The operations for programs that think: the registry as an MCP server, by the protocol's own SDK.
//!
//! It is a client of the daemon and decides nothing. One tool for each operation that the chat offers, too; what the host is
//! like as resources, each read by an operation, so that it is in the ledger. Two doors: standard input and output
//! (`op-dbus mcp`), where whoever started it asks, and HTTP (`/mcp` of the chat's server), where each request shows a
//! token. What destroys is confirmed first, by the client's own user where the client can ask.

mod answer;
mod ask;
mod call;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handler;
mod http;
mod resources;
mod sessions;
mod stdio;
mod tools;
mod user;

use std::sync::Arc;

pub use handler::Handler;
pub use http::{Http, service};
pub use sessions::{Sessions, SessionsError, asked_by};
pub use stdio::serve;

use crate::dbus::{Daemon, Voice};
use crate::grammar::Grammar;
use tools::Tools;
use user::Users;

/// What all who are served by this process share.
#[derive(Debug)]
pub struct Mcp {
    daemon: Arc<Daemon>,
    grammar: Arc<Grammar>,
    tools: Tools,
    users: Users,
    host: String,
}

impl Mcp {
    /// A server for a host.
    #[must_use]
    pub fn new(daemon: Arc<Daemon>, grammar: Arc<Grammar>, host: String) -> Arc<Self> {
        let tools = Tools::new(&grammar);
        Arc::new(Self { daemon, grammar, tools, users: Users::default(), host })
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// How they are known to the daemon.
    pub voice: Voice,
    /// The number of the user, to whom what waits for a confirmation belongs.
    pub uid: u32,
}
