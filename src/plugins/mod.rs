//! Plugins: each a subvolume of its own below `@plugins`, with what it is (`plugin.toml`), what may be
//! done through it (`semantic-mapping.toml`), and room for its `state/` and `cache/`.

pub mod bus;
mod component;
mod discovery;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod manifest;
mod mapping;
mod package;
mod receive;
mod send;
mod stream;
mod switches;
pub mod text;

pub use component::{PluginChange, PluginSeen, PluginsComponent, PluginsSeen};
pub use discovery::{Discovered, Presence, discover, one};
pub use error::PluginsError;
pub use manifest::{MANIFEST, Manifest, ManifestError};
pub use mapping::{Effect, MAPPING, MappingError, Method, SemanticMapping};
pub use package::{Contents, PackageError};
pub use receive::{Received, receivable, receive};
pub use send::{Sending, send};
pub use stream::StreamError;
pub use switches::{enabled, switch, would_switch};
