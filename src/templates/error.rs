//! How operations on templates fail.

use std::path::PathBuf;

use crate::fault::{Fault, Kind};
use crate::name::TemplateName;
use crate::run::RunError;
use crate::storage::SubvolumeError;

/// How operations on templates fail.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// There is no such template.
    #[error("there is no template {0}")]
    NotFound(TemplateName),
    /// There is one already.
    #[error("there is a template {0} already")]
    Exists(TemplateName),
    /// Something that is no template of ours has its place.
    #[error("{} is in the way, and it is no template of ours", .0.display())]
    InTheWay(PathBuf),
    /// It is declared, so that removing it would not last.
    #[error("the template {0} is declared in the host spec")]
    Declared(TemplateName),
    /// It is not declared, so that there is nothing to build it from.
    #[error(
        "the template {0} is not declared in the host spec, so that it is not known what to build it from"
    )]
    NotDeclared(TemplateName),
    /// The tarball is not there.
    #[error("there is no root file system tarball {}", .0.display())]
    NoTarball(PathBuf),
    /// The tarball has no root file system of the wanted kind.
    #[error("{} holds no root file system with systemd: {missing} is missing", .path.display())]
    NotARoot {
        /// The tarball or tree.
        path: PathBuf,
        /// What was looked for.
        missing: &'static str,
    },
    /// Packages that are declared are not in the tarball.
    #[error("the tarball {} does not have the packages {}", .path.display(), .missing.join(", "))]
    PackagesMissing {
        /// The tarball.
        path: PathBuf,
        /// The packages.
        missing: Vec<String>,
    },
    /// Neither bootstrap tool is installed.
    #[error("neither mmdebstrap nor debootstrap is installed")]
    NoBootstrap,
    /// A locale that would have to be generated, without the means.
    #[error("the locale {0} cannot be generated: the template has no locale-gen")]
    NoLocaleGen(String),
    /// A time zone that the template does not know.
    #[error("the template does not know the time zone {0}")]
    NoTimeZone(String),
    /// Something of an identity was left.
    #[error("the template would carry an identity: {}", .0.join(", "))]
    Identity(Vec<String>),
    /// A record is damaged.
    #[error("the record {} is damaged", .path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file or directory.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A subvolume.
    #[error(transparent)]
    Subvolume(#[from] SubvolumeError),
    /// A foreign tool.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Fault for TemplateError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) | Self::NoTarball(_) => Kind::NotFound,
            Self::Exists(_) | Self::InTheWay(_) | Self::Declared(_) => Kind::Conflict,
            Self::NotDeclared(_)
            | Self::NotARoot { .. }
            | Self::PackagesMissing { .. }
            | Self::NoLocaleGen(_)
            | Self::NoTimeZone(_) => Kind::Invalid,
            Self::NoBootstrap => Kind::Unavailable,
            Self::Identity(_) | Self::Record { .. } | Self::Io { .. } => Kind::Failed,
            Self::Subvolume(e) => e.kind(),
            Self::Run(e) => e.kind(),
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::NotFound(name) => Some(format!(
                "`op-dbus template list` shows those there are; `op-dbus template build {name}` makes one"
            )),
            Self::Exists(name) => Some(format!(
                "`op-dbus template refresh {name}` builds a declared one anew; remove one of yours first"
            )),
            Self::InTheWay(path) => Some(format!("look at {} and move it away", path.display())),
            Self::Declared(name) => Some(format!("remove templates.{name} from the host spec first")),
            Self::NotDeclared(name) => {
                Some(format!("remove it and build it again, or declare templates.{name} in the host spec"))
            }
            Self::NoTarball(_) => {
                Some("give the path of a tarball, or leave rootfs away to build from a mirror".into())
            }
            Self::NotARoot { .. } => Some(
                "make it with: mmdebstrap --variant=minbase --include=systemd-sysv,dbus stable rootfs.tar"
                    .into(),
            ),
            Self::PackagesMissing { .. } => {
                Some("make the tarball with them: packages are only installed from a mirror".into())
            }
            Self::NoBootstrap => Some("on Debian: apt install mmdebstrap".into()),
            Self::NoLocaleGen(_) => Some("add the package locales to the template, or use C.UTF-8".into()),
            Self::NoTimeZone(_) => Some("add the package tzdata to the template, or use Etc/UTC".into()),
            Self::Subvolume(e) => e.next(),
            Self::Run(e) => e.next(),
            Self::Identity(_) | Self::Record { .. } | Self::Io { .. } => None,
        }
    }
}
