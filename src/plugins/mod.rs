//! Plugins: each a subvolume of its own below `@plugins`, with what it is (`plugin.toml`), what may be
//! done through it (`semantic-mapping.toml`), and room for its `state/` and `cache/`.

mod component;
mod error;
mod manifest;
mod mapping;

pub use component::{PluginChange, PluginSeen, PluginsComponent, PluginsSeen};
pub use error::PluginsError;
pub use manifest::{MANIFEST, Manifest};
pub use mapping::{Effect, MAPPING, MappingError, Method, SemanticMapping};
