//! The door of `op-dbus mcp`: standard input and output, for the program that started it, as the user it runs as.

use std::sync::Arc;

use rmcp::serve_server;
use rmcp::service::ServerInitializeError;
use rmcp::transport::stdio_pipes;

use super::{Handler, Mcp, Visitor};
use crate::dbus::{Daemon, Peer, Voice};
use crate::fault::{Kind, Report};
use crate::grammar::Grammar;
use crate::ops::Registry;

/// Serves until standard input ends.
pub async fn serve(peer: &Peer) -> Result<(), Report> {
    let grammar = Grammar::new(&Registry::default())
        .map_err(|error| Report::new(Kind::Failed, format!("the grammar is wrong: {error}")))?;
    let daemon = Daemon::connect(peer).await?;
    let host = match peer {
        Peer::Here => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        Peer::Host(host) => host.clone(),
    };
    let visitor = Visitor { voice: Voice::User, uid: rustix::process::geteuid().as_raw() };
    let mcp = Mcp::new(Arc::clone(&daemon), Arc::new(grammar), host);
    let served = async {
        match serve_server(Handler::new(mcp, Some(visitor)), stdio_pipes()).await {
            Ok(running) => running.waiting().await.map(drop).map_err(|error| error.to_string()),
            // Whoever started it went away before a word was said.
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    };
    tokio::select! {
        served = served => served.map_err(|why| Report::new(Kind::Failed, format!("the client was not served: {why}"))),
        () = daemon.ended() => Err(Report::new(Kind::Unavailable, "the system bus ended")),
    }
}
