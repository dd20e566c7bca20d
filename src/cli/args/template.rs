//! `opdbus-template` as its command line has it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::cli::{Common, Verb};
use crate::fault::{Kind, Report};
use crate::name::TemplateName;
use crate::spec::{Distribution, Size};
use crate::templates::Wish;

/// Builds and keeps the container templates.
#[derive(Debug, Parser)]
#[command(
    name = "opdbus-template",
    version,
    about,
    long_about = "Builds and keeps the templates that containers are cloned from: root file systems without \
identity, below @templates. Those that the host spec declares are made by `apply`, and anew when their \
declaration changed. One built under another name is yours: nothing but `remove` touches it.\n\n\
A template is built beside its place and put there in one step, so that a run killed at any instant leaves the \
old one or the new one; the next run removes what was half made. Clones of an old one stay as they are.\n\n\
A refresh keeps what it replaces, as many generations as the host spec says (`keep`, 2 by default); `rollback` puts one \
of them back in one step, and `apply` builds no newer one until the declaration changes.",
    after_long_help = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 wrong request or host spec, 4 no such template, \
5 something is in the way, 6 not permitted, 7 a tool is missing, 8 another run is going on.\n\n\
Examples:\n  \
opdbus-template plan\n  \
opdbus-template build debian-base\n  \
opdbus-template build lab --suite trixie --package openssh-server\n  \
opdbus-template build small --distribution alpine --suite 3.22\n  \
opdbus-template build noble --distribution ubuntu --suite noble\n  \
opdbus-template build mine --rootfs /srv/rootfs.tar.zst\n  \
opdbus-template import other image.oci.tar\n  \
opdbus-template refresh debian-base\n  \
opdbus-template rollback debian-base\n  \
opdbus-template list --json"
)]
pub struct Program {
    /// Options that every helper has.
    #[command(flatten)]
    pub common: Common,
    /// What it is to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What it can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The verbs of its components.
    #[command(flatten)]
    Component(Verb),
    /// Build a template: as the host spec declares it, or one of your own.
    Build {
        /// Its name.
        name: TemplateName,
        /// What is to be built.
        #[command(flatten)]
        wish: WishArgs,
    },
    /// Make a template of your own from a root file system in a tar archive, or from an OCI image.
    Import {
        /// Its name.
        name: TemplateName,
        /// The archive (plain, or compressed by gzip, xz or zstd), or the directory of an OCI image layout.
        #[arg(value_name = "FILE|DIR")]
        file: PathBuf,
        /// The most that is taken, compressed and not: a number and K, M, G or T.
        #[arg(long, value_name = "SIZE", default_value = "8G")]
        max_size: Size,
    },
    /// Build a template of the host spec anew and exchange it; its clones stay as they are.
    Refresh {
        /// Its name.
        name: TemplateName,
    },
    /// List the generations of a template: the one in use, and those that a refresh replaced.
    Generations {
        /// Its name.
        name: TemplateName,
    },
    /// Go back to an earlier generation; the one in use is kept, and clones stay as they are.
    Rollback {
        /// The template's name.
        name: TemplateName,
        /// The generation [default: the one built before that in use].
        generation: Option<String>,
    },
    /// List the templates.
    List,
    /// Remove a template with its earlier generations; its clones stay as they are.
    Remove {
        /// Its name.
        name: TemplateName,
        /// Also one that the host spec declares, which the next `apply` makes anew.
        #[arg(long)]
        force: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// What is to be built.
#[derive(Debug, Args)]
pub struct WishArgs {
    /// A tarball of a root file system to use instead of a mirror; of Alpine, the mini root file system.
    #[arg(long, value_name = "FILE")]
    pub rootfs: Option<PathBuf>,
    /// What it is made of [default: debian].
    #[arg(long, value_enum)]
    pub distribution: Option<Distribution>,
    /// The release: bookworm, noble, 3.22 [default: stable, which Ubuntu has none of].
    #[arg(long, conflicts_with = "rootfs")]
    pub suite: Option<String>,
    /// Where packages come from [default: for Debian as the host's apt has it, else the distribution's own].
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// A package to have beside the base system; may be given again. A tarball must have it already.
    #[arg(long = "package", value_name = "NAME")]
    pub packages: Vec<String>,
    /// The time zone [default: Etc/UTC].
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// The locale [default: C.UTF-8].
    #[arg(long)]
    pub locale: Option<String>,
}

impl WishArgs {
    /// The wish; a path in it is made absolute.
    pub fn wish(self) -> Result<Wish, Report> {
        let rootfs = match self.rootfs {
            None => None,
            Some(path) => Some(
                std::path::absolute(&path)
                    .map_err(|e| Report::new(Kind::Invalid, format!("cannot use {}: {e}", path.display())))?,
            ),
        };
        let Self { distribution, suite, mirror, packages, time_zone, locale, .. } = self;
        Ok(Wish { rootfs, distribution, suite, mirror, packages, time_zone, locale })
    }
}
