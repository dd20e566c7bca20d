//! The daemon: the operations on the system bus and on the API socket.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::engine::Host;
use crate::fault::{Fault, Kind};
use crate::ops::Service;
use crate::{api, dbus, uplink};

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The bus could not be joined, or the name was not had.
    #[error("cannot serve {} on the system bus", dbus::BUS_NAME)]
    Bus(#[source] zbus::Error),
    /// The bus ended, or somebody else took the name.
    #[error("the system bus ended, or another program took the name {}", dbus::BUS_NAME)]
    BusEnded,
    /// The socket that systemd handed over cannot be used.
    #[error("cannot serve the API socket")]
    Socket(#[source] std::io::Error),
    /// The runtime could not be started.
    #[error("cannot start")]
    Start(#[source] std::io::Error),
}

impl Fault for DaemonError {
    fn kind(&self) -> Kind {
        Kind::Failed
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Bus(_) => Some(format!(
                "is dbus running, is its policy {}.conf installed, and does no other opdbusd run?",
                dbus::BUS_NAME
            )),
            Self::BusEnded => Some("systemctl status dbus.service opdbus.service".into()),
            _ => None,
        }
    }
}

/// Runs the daemon until it is asked to stop.
pub fn run(host: Host) -> Result<(), DaemonError> {
    // Operations block on threads of their own; two workers carry the bus and the socket.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(DaemonError::Start)?;
    // A move of the uplink that an earlier daemon died of, before systemd watched over it.
    let moved = host.clone();
    std::thread::spawn(move || {
        if let Err(error) = uplink::rearm(&moved) {
            tracing::warn!("the uplink: {}", crate::fault::Report::from(error));
        }
    });
    let ended = runtime.block_on(serve(host));
    // An operation under way keeps the lock until the process ends; the next run converges from there.
    runtime.shutdown_timeout(Duration::from_secs(20));
    ended
}

async fn serve(host: Host) -> Result<(), DaemonError> {
    let mut stop = signal(SignalKind::terminate()).map_err(DaemonError::Start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Start)?;
    let service = Arc::new(Service::new(host));
    let socket = listenfd::ListenFd::from_env().take_unix_listener(0).map_err(DaemonError::Socket)?;
    let builder = zbus::connection::Builder::system();
    let bus = dbus::serve(builder, Arc::clone(&service)).await.map_err(DaemonError::Bus)?;
    let api = async {
        match socket {
            Some(listener) => {
                listener.set_nonblocking(true)?;
                api::serve(tokio::net::UnixListener::from_std(listener)?, service).await
            }
            // Started by hand or by the bus alone: the socket belongs to systemd.
            None => std::future::pending().await,
        }
    };
    notify(&[NotifyState::Ready, NotifyState::Status("serving operations")]);
    tokio::select! {
        ended = api => ended.map_err(DaemonError::Socket)?,
        // systemd starts the daemon again, with the bus.
        () = dbus::ended(&bus) => return Err(DaemonError::BusEnded),
        _ = stop.recv() => {}
        _ = interrupt.recv() => {}
    }
    notify(&[NotifyState::Stopping]);
    Ok(())
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("systemd was not notified: {error}");
    }
}
