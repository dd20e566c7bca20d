//! Container templates: root file systems without identity, from which containers are cloned.
//!
//! A template is a directory below `@templates` with `template.json`, the record, and `rootfs`, the
//! subvolume that is cloned. It is built beside its place under a passing name (`.opdbus-build-NAME`),
//! and put into place in one step when it is whole; what a killed run leaves under such a name is
//! removed by the next. Directories of others are left alone.

mod apt;
mod build;
mod component;
mod customise;
mod error;
mod identity;
mod packages;
mod populate;
mod record;
mod request;
mod store;
pub mod text;
mod user;

pub use build::{build, refresh, remove};
pub use component::{SeenTemplate, TemplateChange, TemplatesComponent, TemplatesSeen};
pub use error::TemplateError;
pub use identity::{identity_found, strip_identity};
pub use packages::BASE_PACKAGES;
pub use record::{Origin, RECORD_VERSION, Source, TemplateRecord, declaration_digest};
pub use request::{Wish, requested};
pub use store::{Found, Listed, find, list};
