//! Who sits at the API socket. Each user has so many connections at once and no more, so that nobody can use up
//! the daemon's file descriptors by holding them open.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{UnixListener, UnixStream};

use crate::metrics::Metrics;

/// The most connections of one user at a time. With the daemon's limit of 1,024 descriptors it takes more users
/// than a host has to fill it.
const MOST: u32 = 32;

/// The open connections by user id, and where they are counted.
#[derive(Debug, Clone, Default)]
struct Seats {
    open: Arc<Mutex<HashMap<u32, u32>>>,
    counters: Arc<Metrics>,
}

impl Seats {
    /// Takes one for a user; `None` where all of theirs are taken. Root is not counted.
    fn take(&self, uid: u32) -> Option<Visitor> {
        if uid != 0 {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = open.entry(uid).or_default();
            if *taken == MOST {
                self.counters.turned_away();
                return None;
            }
            *taken += 1;
        }
        self.counters.connected();
        Some(Visitor(Arc::new(Seat { uid, seats: self.clone() })))
    }
}

#[derive(Debug)]
struct Seat {
    uid: u32,
    seats: Seats,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.counters.disconnected();
        let mut open = self.seats.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = open.get_mut(&self.uid) {
            *taken -= 1;
            if *taken == 0 {
                open.remove(&self.uid);
            }
        }
    }
}

/// Who has the other end of a connection; the seat is free again when the last copy is gone, which is when the
/// connection is closed.
#[derive(Debug, Clone)]
pub struct Visitor(Arc<Seat>);

impl Visitor {
    /// Somebody with no right to anything.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn stranger() -> Self {
        Self(Arc::new(Seat { uid: 65_534, seats: Seats::default() }))
    }

    /// Root.
    #[cfg(test)]
    pub(super) fn root() -> Self {
        Self(Arc::new(Seat { uid: 0, seats: Seats::default() }))
    }

    /// The user id that the kernel gives for the other end.
    pub fn uid(&self) -> u32 {
        self.0.uid
    }
}

/// A listener that gives each user so many connections at a time; those beyond are closed at once.
#[derive(Debug)]
pub struct Seated {
    listener: UnixListener,
    seats: Seats,
}

impl Seated {
    /// Seats whoever connects to `listener`, and counts them.
    pub fn new(listener: UnixListener, counters: Arc<Metrics>) -> Self {
        Self { listener, seats: Seats { counters, ..Seats::default() } }
    }
}

impl Listener for Seated {
    type Io = UnixStream;
    type Addr = Visitor;

    async fn accept(&mut self) -> (UnixStream, Visitor) {
        loop {
            let (stream, _) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: some will be closed.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let Ok(peer) = stream.peer_cred() else {
                tracing::warn!("the kernel does not say who connected");
                continue;
            };
            if let Some(visitor) = self.seats.take(peer.uid()) {
                return (stream, visitor);
            }
            tracing::warn!(uid = peer.uid(), "has {MOST} connections; one more was closed");
        }
    }

    fn local_addr(&self) -> io::Result<Visitor> {
        let this = rustix::process::geteuid().as_raw();
        Ok(Visitor(Arc::new(Seat { uid: this, seats: Seats::default() })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_connections_and_gets_those_back_that_are_closed() {
        let seats = Seats::default();
        let mut held: Vec<Visitor> = (0..MOST).map_while(|_| seats.take(1000)).collect();
        assert_eq!(held.len(), MOST as usize);
        assert!(seats.take(1000).is_none(), "one more");
        assert!(seats.take(1001).is_some(), "another user's");
        let copy = held.pop();
        drop(copy.clone());
        assert!(seats.take(1000).is_none(), "a copy is not the connection");
        drop(copy);
        assert!(seats.take(1000).is_some());
        drop(held);
        assert!(seats.open.lock().unwrap().is_empty(), "nobody is remembered who left");
    }

    #[test]
    fn connections_are_counted_while_they_are_open_and_so_are_those_turned_away() {
        let seats = Seats::default();
        let shown = || seats.counters.text(&prometheus_client::registry::Registry::default()).unwrap();
        let held: Vec<Option<Visitor>> =
            (0..MOST + 3).map(|_| seats.take(1000)).chain([seats.take(0)]).collect();
        assert!(shown().contains(&format!("opdbus_api_open_connections {}\n", MOST + 1)), "{}", shown());
        assert!(shown().contains("opdbus_api_turned_away_connections_total 3\n"), "{}", shown());
        drop(held);
        assert!(shown().contains("opdbus_api_open_connections 0\n"), "{}", shown());
    }

    #[test]
    fn root_is_never_turned_away() {
        let seats = Seats::default();
        let held: Vec<Option<Visitor>> = (0..=MOST).map(|_| seats.take(0)).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
