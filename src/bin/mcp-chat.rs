//! The chat page and the MCP endpoint: what mcp-chat.service runs, as a user of its own.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use listenfd::ListenFd;
use opdbus::cli::args::chat::Arguments;
use opdbus::cli::{finish, init_logging};
use opdbus::dbus::{Daemon, Peer};
use opdbus::fault::{Kind, Report};
use opdbus::grammar::Grammar;
use opdbus::ops::Registry;
use opdbus::paths::Paths;
use opdbus::spec;
use opdbus::web::{self, Settings, Shared};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    init_logging();
    // One thread: what takes time is done by the daemon.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(|error| Report::new(Kind::Failed, format!("cannot start: {error}")))
        .and_then(|runtime| runtime.block_on(run()));
    finish(false, done)
}

/// A file that systemd gives us alone, or else where the environment says.
fn given(name: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    Some(PathBuf::from(directory).join(name)).filter(|path| path.exists())
}

async fn run() -> Result<(), Report> {
    let config = given("host-spec").unwrap_or_else(|| Paths::from_env().config());
    let mcp = spec::load(&config)?.mcp;
    let tls = match &mcp.tls {
        None => None,
        Some(files) => {
            let certificate = given("certificate").unwrap_or_else(|| files.certificate.clone());
            let key = given("key").unwrap_or_else(|| files.key.clone());
            Some(web::acceptor(&certificate, &key)?)
        }
    };
    let none = || {
        Report::new(Kind::Invalid, "no socket was handed over")
            .with_next("systemctl start mcp-chat.socket, which starts this when somebody connects")
    };
    let listener = ListenFd::from_env().take_tcp_listener(0).ok().flatten().ok_or_else(none)?;
    let failed = |error: std::io::Error| Report::new(Kind::Failed, format!("the socket failed: {error}"));
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    let grammar = Grammar::new(&Registry::default())
        .map_err(|error| Report::new(Kind::Failed, format!("the grammar is wrong: {error}")))?;
    let daemon = Daemon::connect(&Peer::Here).await?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let shared = Shared::new(Settings::of(&mcp), Arc::clone(&daemon), grammar, host);
    tokio::select! {
        served = web::serve(listener, tls, Arc::new(shared)) => served.map_err(failed),
        () = daemon.ended() => Err(Report::new(Kind::Unavailable, "the system bus ended")),
    }
}
