//! The chat and the MCP endpoint, over HTTP: a client of the daemon that decides nothing.
//!
//! Whoever asks is known by a token, which is passed on with every call; what its user may is the daemon's to say. This
//! process has no rights of its own, keeps no state but of the connections that are open, and may be killed at any time. `docs/chat.md` is
//! the contract: addresses and messages.

mod guard;
mod message;
mod page;
mod serve;
mod session;
mod socket;
mod talk;
mod tls;

pub use serve::{Settings, Shared, serve};
pub use tls::{TlsError, acceptor};
