//! How templates fail.

use std::io;
use std::path::{Path, PathBuf};

use super::record::RECORD_VERSION;
use crate::deployment::Deployment;
use crate::fault::{Fault, Kind};
use crate::name::TemplateName;
use crate::run::RunError;
use crate::spec::{Distribution, SpecError};
use crate::storage::SubvolumeError;

/// Why something about a template did not work.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// There is no template of that name.
    #[error("there is no template {name}")]
    NotFound {
        /// The name.
        name: TemplateName,
    },
    /// It has no such generation, or none before the one in use.
    #[error("the template {name} has no {what}")]
    NoGeneration {
        /// The template.
        name: TemplateName,
        /// What it does not have.
        what: String,
    },
    /// There is one already.
    #[error("the template {name} exists already")]
    Exists {
        /// The name.
        name: TemplateName,
    },
    /// Something that is not ours is where a template would be.
    #[error("{} is in the way: it was not made by operation-dbus", .path.display())]
    Foreign {
        /// What is in the way.
        path: PathBuf,
    },
    /// The name is declared in the host spec, and what was asked contradicts that.
    #[error("the template {name} is declared in the host spec: {why}")]
    Declared {
        /// The name.
        name: TemplateName,
        /// The contradiction.
        why: &'static str,
        /// The way out.
        next: String,
    },
    /// A refresh of a template that the user made.
    #[error("the template {name} is a user template, and those are never refreshed")]
    UserTemplate {
        /// The name.
        name: TemplateName,
    },
    /// The declaration of a template is wrong.
    #[error("the template {name} cannot be made: {why}")]
    Declaration {
        /// The name.
        name: TemplateName,
        /// What is wrong.
        why: String,
        /// What to do about it.
        next: String,
    },
    /// What was to be imported is not what it should be, or would write where it must not.
    #[error("the template {name} is not imported: {why}")]
    Import {
        /// The name.
        name: TemplateName,
        /// What is wrong with it.
        why: String,
    },
    /// Neither mmdebstrap nor debootstrap is installed.
    #[error("a Debian template needs mmdebstrap or debootstrap, and neither is installed")]
    NoBootstrap,
    /// The keys that a distribution is signed with are not there.
    #[error("a template of {distribution} is held to the keys in {}, and that is not there", .path.display())]
    Keyring {
        /// The distribution.
        distribution: Distribution,
        /// Where they would be.
        path: PathBuf,
    },
    /// Something could not be fetched.
    #[error("cannot fetch {url} for the template {name}")]
    Fetch {
        /// The template.
        name: TemplateName,
        /// The address.
        url: String,
        /// What curl said.
        #[source]
        source: RunError,
    },
    /// A tool that fills the root file system failed.
    #[error("cannot fill the template {name} from {from}")]
    Populate {
        /// The template.
        name: TemplateName,
        /// The addresses, or the file, it was to be filled from.
        from: String,
        /// What the tool said.
        #[source]
        source: Box<RunError>,
        /// What to do about it.
        next: &'static str,
    },
    /// Something that tells one machine from another was left in it.
    #[error("the template {name} still holds an identity: {}", .found.join(", "))]
    Identity {
        /// The template.
        name: TemplateName,
        /// What was found.
        found: Vec<String>,
    },
    /// The directory of templates is not there.
    #[error("{} is not there", .path.display())]
    NotReady {
        /// The directory.
        path: PathBuf,
    },
    /// A template's record is not readable, or its root file system is missing.
    #[error("the template at {} is damaged: {why}", .path.display())]
    Damaged {
        /// Its directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A template's record was written by a newer program.
    #[error("{} has version {found}, and this program knows versions up to {RECORD_VERSION}", .path.display())]
    TooNew {
        /// The record.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// What was asked for breaks a rule of the host spec.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Whether something is in use could not be told.
    #[error(transparent)]
    Busy(#[from] crate::snapshots::SnapshotError),
    /// btrfs refused.
    #[error(transparent)]
    Storage(#[from] SubvolumeError),
    /// A foreign tool failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file could not be read or written.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Fault for TemplateError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } | Self::NoGeneration { .. } => Kind::NotFound,
            Self::Exists { .. }
            | Self::Foreign { .. }
            | Self::Declared { .. }
            | Self::UserTemplate { .. } => Kind::Conflict,
            Self::Declaration { .. } | Self::Import { .. } => Kind::Invalid,
            Self::NoBootstrap | Self::NotReady { .. } | Self::Keyring { .. } => Kind::Unavailable,
            Self::Populate { source, .. } => source.kind(),
            Self::Fetch { source, .. } | Self::Run(source) => source.kind(),
            Self::Spec(error) => error.kind(),
            Self::Busy(error) => error.kind(),
            Self::Storage(error) => error.kind(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Identity { .. } | Self::Damaged { .. } | Self::TooNew { .. } | Self::Io { .. } => {
                Kind::Failed
            }
        }
    }

    fn next(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { name } => format!(
                "`opdbus-template list` shows those there are; `opdbus-template build {name}` makes it"
            ),
            Self::NoGeneration { name, .. } => {
                format!("`opdbus-template generations {name}` shows those there are")
            }
            Self::Exists { name } => format!("`opdbus-template refresh {name}` builds it anew"),
            Self::Foreign { path } => {
                format!("move it away (mv {0} {0}.old), or choose another name", path.display())
            }
            Self::UserTemplate { name } => format!(
                "to make it anew: `opdbus-template remove {name}` and then `opdbus-template build {name}`"
            ),
            Self::Declared { next, .. } | Self::Declaration { next, .. } => next.clone(),
            Self::Import { .. } => {
                "nothing was kept of it; find out where it comes from before you try again".into()
            }
            Self::NoBootstrap => format!(
                "{}; or give a tarball of a root file system (`rootfs`)",
                Deployment::here().package("mmdebstrap")
            ),
            Self::Keyring { .. } => format!(
                "{} (in Debian since 13; it is of no release and can be installed on 12), or give a tarball (`rootfs`)",
                Deployment::here().package("ubuntu-keyring")
            ),
            Self::Fetch { source, .. } => source.next().unwrap_or_else(|| {
                "see whether the mirror answers, or give another (`mirror`), or a tarball (`rootfs`)".into()
            }),
            Self::Populate { source, next, .. } => source.next().unwrap_or_else(|| (*next).into()),
            Self::Identity { .. } => "remove it from the tarball and build again".into(),
            Self::NotReady { .. } => "`opdbus-storage apply` makes it".into(),
            Self::Damaged { path, .. } => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                format!(
                    "`opdbus-template refresh {name}` builds it anew if the host spec declares it; else remove it"
                )
            }
            Self::TooNew { .. } => "update operation-dbus".into(),
            Self::Spec(_) => "see the rules: `op-dbus config schema`".into(),
            Self::Run(error) => return error.next(),
            Self::Storage(error) => return error.next(),
            Self::Busy(error) => return error.next(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run it as root".into()
            }
            Self::Io { .. } => return None,
        })
    }
}

/// Turns an I/O error into one that names what was tried on what.
pub(super) fn io_error(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TemplateError {
    let path = path.to_owned();
    move |source| TemplateError::Io { verb, path, source }
}
