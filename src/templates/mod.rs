//! Container templates: root file systems without identity, built beside the old one and swapped in whole.

mod component;
mod customise;
mod error;
mod manage;
mod record;
mod source;

pub use component::{Change, Seen, SeenTemplate, TemplatesComponent};
pub use customise::{identity_found, strip_identity};
pub use error::TemplateError;
pub use manage::{Listed, build, list, list_text, refresh, remove};
pub use record::{Found, Origin, Record, find};
