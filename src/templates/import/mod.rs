//! Root file systems from elsewhere: a tar archive, plain or compressed, or an OCI image in one. What comes in is
//! nobody's word: it is kept in a nameless file first, every name in it is checked, and it is written by
//! [`mod@unpack`] below the root and nowhere else.

mod decode;
mod image;
mod members;
mod unpack;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::decode::{Limited, TOO_MUCH, decoded};
use self::image::{Image, copy, is_image};
use self::unpack::Unpacker;
use super::build::{Fill, build_apart, build_with};
use super::error::{TemplateError, io_error};
use super::populate::Populated;
use super::record::{Origin, Source, TemplateRecord};
use super::request::{Wish, requested};
use crate::engine::{Context, Lock};
use crate::fault::Report;
use crate::files::{RootDir, Summed};
use crate::name::TemplateName;
use crate::spec::Template;

/// What a template was imported from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Imported {
    /// SHA-256 of the archive as it came in.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// Of an image, SHA-256 of its manifest, by which registries name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// What was in it and was left out: device nodes, pipes and sockets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// Why an import failed.
#[derive(Debug)]
enum Fail {
    /// What came in is not what it should be.
    Refused(String),
    /// This host could not read or write.
    Io(io::Error),
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for Fail {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

impl Fail {
    /// What was read cannot be.
    fn read(what: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::FileTooLarge || error.to_string().contains(TOO_MUCH) {
            return Self::too_large();
        }
        Self::Refused(format!("{what} is damaged: {error}"))
    }

    fn too_large() -> Self {
        Self::Refused(format!("{TOO_MUCH} (--max-size)"))
    }

    fn into_error(self, name: &TemplateName, at: &Path) -> TemplateError {
        match self {
            Self::Refused(why) => TemplateError::Import { name: name.clone(), why },
            Self::Io(error) => io_error("write", at)(error),
        }
    }
}

/// Makes a template of a user's own from an archive. `most` is how many bytes it may have, compressed and not. `lock` is
/// called when all of it has come in.
pub fn import(
    cx: &Context<'_>,
    name: &TemplateName,
    from: impl Read,
    most: u64,
    lock: impl FnOnce() -> Result<Lock, Report>,
) -> Result<TemplateRecord, Report> {
    made(cx, name, (from, most), lock, build_with)
}

/// What [`import`] would make, all of it checked, and discarded.
pub fn importable(
    cx: &Context<'_>,
    name: &TemplateName,
    from: impl Read,
    most: u64,
    lock: impl FnOnce() -> Result<Lock, Report>,
) -> Result<TemplateRecord, Report> {
    made(cx, name, (from, most), lock, build_apart)
}

type Build =
    fn(&Context<'_>, &TemplateName, &Template, Origin, &Fill<'_>) -> Result<TemplateRecord, TemplateError>;

fn made(
    cx: &Context<'_>,
    name: &TemplateName,
    (from, most): (impl Read, u64),
    lock: impl FnOnce() -> Result<Lock, Report>,
    build: Build,
) -> Result<TemplateRecord, Report> {
    let (declaration, origin) = requested(cx.spec, name, &Wish::default())?;
    if origin == Origin::System {
        return Err(TemplateError::Declared {
            name: name.clone(),
            why: "it is built as declared there, and not imported",
            next: "choose another name".into(),
        }
        .into());
    }
    let directory = cx.tree().templates();
    if !super::store::occupied(&directory)? {
        return Err(TemplateError::NotReady { path: directory }.into());
    }
    let spool = || tempfile::tempfile_in(&directory).map_err(Fail::Io);
    let failed = |fail: Fail| fail.into_error(name, &directory);
    cx.progress.report(&format!("{name}: reading the archive"), None);
    let mut archive = spool().map_err(failed)?;
    let mut from = Summed::new(Limited { from, left: most });
    copy(&mut from, &mut archive, "what comes in").map_err(failed)?;
    let size = from.size;
    let came = Imported { sha256: from.hex(), size, manifest: None, left_out: Vec::new() };
    let _lock = lock()?;
    let fill = |rootfs: &Path| {
        unpack(cx, name, (&archive, most), rootfs, &came, &spool)
            .map_err(|fail| fail.into_error(name, rootfs))
    };
    Ok(build(cx, name, &declaration, origin, &fill)?)
}

/// What an archive is when it is decompressed.
fn plain(mut archive: &File, most: u64) -> Result<Limited<Box<dyn Read + '_>>, Fail> {
    archive.rewind()?;
    let from = decoded(BufReader::new(archive)).map_err(|e| Fail::read("the archive", &e))?;
    Ok(Limited { from, left: most })
}

fn unpack(
    cx: &Context<'_>,
    name: &TemplateName,
    (archive, most): (&File, u64),
    rootfs: &Path,
    came: &Imported,
    spool: &dyn Fn() -> Result<File, Fail>,
) -> Result<Populated, Fail> {
    cx.progress.report(&format!("{name}: unpacking"), None);
    let mut into = Unpacker::new(rootfs, most)?;
    let (source, manifest) = if is_image(plain(archive, most)?)? {
        let mut whole = spool()?;
        copy(&mut plain(archive, most)?, &mut whole, "the archive")?;
        let progress = |number, all| {
            cx.progress.report(&format!("{name}: layer {number} of {all}"), None);
        };
        let manifest = Image::open(whole)?.unpack(&mut into, most, spool, &progress)?;
        (Source::Oci, Some(manifest))
    } else {
        let mut from = plain(archive, most)?;
        into.unpack(&mut from, false)?;
        // The checksum of what is compressed comes at its end.
        copy(&mut from, &mut io::sink(), "the archive")?;
        (Source::Tarball, None)
    };
    let root = RootDir::open(rootfs)?;
    if !root.exists("sbin/init") && !root.exists("usr/sbin/init") {
        return Err(Fail::Refused("it has no /sbin/init, so that nothing could start from it".into()));
    }
    let imported = Imported { manifest, left_out: into.left_out, ..came.clone() };
    Ok(Populated { source, packages: Vec::new(), imported: Some(imported) })
}
