//! Container templates: root file systems without identity, from which containers are cloned.
//!
//! A template is a directory below `@templates` with `template.json`, the record, and `rootfs`, the
//! subvolume that is cloned. It is built beside its place under a passing name (`.opdbus-build-NAME`),
//! and put into place in one step when it is whole; what a killed run leaves under such a name is
//! removed by the next. Directories of others are left alone.
//!
//! A refresh keeps what it replaces as an earlier generation, below `.generations`, to go back to.

mod alpine;
mod apt;
mod build;
mod component;
mod customise;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod generations;
mod identity;
mod import;
mod openrc;
mod packages;
mod populate;
mod record;
mod request;
mod store;
pub mod text;
mod ubuntu;
mod user;

pub use build::{build, buildable, refresh, refreshable, removable, remove};
pub use component::{SeenTemplate, TemplateChange, TemplatesComponent, TemplatesSeen};
pub use error::TemplateError;
pub use generations::{Generation, generations, rollback, would_roll_back};
pub use identity::{identity_found, strip_identity};
pub use import::{Imported, import, importable};
pub use packages::BASE_PACKAGES;
pub use record::{Origin, RECORD_VERSION, Source, TemplateRecord, declaration_digest};
pub use request::{Wish, requested};
pub use store::{Found, Listed, find, list};
