//! Sockets: the directories that the containers', plugins' and API sockets lie in (requirements,
//! section 9), and the group that may use them.

mod component;
mod error;

pub use component::{GROUP, SocketsChange, SocketsComponent, SocketsSeen};
pub use error::SocketsError;
