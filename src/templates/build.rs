//! Building: beside, under a passing name, and put into place in one step when whole.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::error::{TemplateError, io_error};
use super::populate::Populated;
use super::record::{self, Origin, RECORD_VERSION, TemplateRecord, declaration_digest};
use super::store::{self, MARK, building, deleting, discard, is_ours, occupied};
use super::{customise, generations, identity, packages, populate};
use crate::deployment::Deployment;
use crate::engine::Context;
use crate::files::RootDir;
use crate::name::TemplateName;
use crate::paths::Tree;
use crate::spec::{Distribution, Template};
use crate::storage::subvolume;

/// While it is built, apt's own unprivileged user must reach the package lists inside.
const MODE_BUILDING: u32 = 0o711;
/// When it is done, nobody but root has business in it: it has programs that run as root.
const MODE_DONE: u32 = 0o700;

/// The place of a template that is not there yet.
fn free(cx: &Context<'_>, name: &TemplateName) -> Result<PathBuf, TemplateError> {
    let path = cx.tree().template(name);
    if !occupied(&path)? {
        return Ok(path);
    }
    Err(if is_ours(&path)? {
        TemplateError::Exists { name: name.clone() }
    } else {
        TemplateError::Foreign { path }
    })
}

/// Refuses what [`build`] would refuse before it builds.
pub fn buildable(cx: &Context<'_>, name: &TemplateName, declaration: &Template) -> Result<(), TemplateError> {
    free(cx, name)?;
    populate::check(cx.host, name, declaration)
}

/// Builds a template that is not there yet. The caller holds the engine's lock.
pub fn build(
    cx: &Context<'_>,
    name: &TemplateName,
    declaration: &Template,
    origin: Origin,
) -> Result<TemplateRecord, TemplateError> {
    build_with(cx, name, declaration, origin, &|rootfs| {
        populate::check(cx.host, name, declaration)?;
        populate::populate(cx, name, declaration, rootfs, &scratch(rootfs))
    })
}

/// What fills an empty root file system.
pub(super) type Fill<'f> = dyn Fn(&Path) -> Result<Populated, TemplateError> + 'f;

/// Builds a template that is not there yet, filled by `fill`.
pub(super) fn build_with(
    cx: &Context<'_>,
    name: &TemplateName,
    declaration: &Template,
    origin: Origin,
    fill: &Fill<'_>,
) -> Result<TemplateRecord, TemplateError> {
    let path = free(cx, name)?;
    let record = stage(cx, name, declaration, origin, fill)?;
    let tree = cx.tree();
    rename(&building(&tree, name), &path, RenameFlags::NOREPLACE)?;
    crate::files::sync_directory(&tree.templates()).map_err(io_error("sync", &tree.templates()))?;
    Ok(record)
}

/// Builds one as [`build_with`] does, and takes it away again: what it would be.
pub(super) fn build_apart(
    cx: &Context<'_>,
    name: &TemplateName,
    declaration: &Template,
    origin: Origin,
    fill: &Fill<'_>,
) -> Result<TemplateRecord, TemplateError> {
    free(cx, name)?;
    let record = stage(cx, name, declaration, origin, fill)?;
    discard(&building(&cx.tree(), name))?;
    Ok(record)
}

/// Builds a system template anew and exchanges it for the one that is there, which is kept as an earlier generation,
/// as many of them as its declaration says. Clones of the old one are snapshots, and stay as they are. The caller holds the engine's lock.
pub fn refresh(cx: &Context<'_>, name: &TemplateName) -> Result<TemplateRecord, TemplateError> {
    let declaration = refreshable(cx, name)?;
    generations::settle(&cx.tree(), name)?;
    let record = stage(cx, name, &declaration, Origin::System, &|rootfs| {
        populate::populate(cx, name, &declaration, rootfs, &scratch(rootfs))
    })?;
    generations::take_over(&cx.tree(), &record)?;
    // From here the new one is in place: what is left to do, the next run does if this one cannot.
    if let Err(error) = generations::prune(&cx.tree(), name, declaration.keep) {
        tracing::warn!(%name, %error, "earlier generations are still there and will be removed by the next run");
    }
    Ok(record)
}

/// What [`refresh`] would build a template by; refuses what it would refuse before it builds.
pub fn refreshable(cx: &Context<'_>, name: &TemplateName) -> Result<Template, TemplateError> {
    let path = cx.tree().template(name);
    if !occupied(&path)? {
        return Err(TemplateError::NotFound { name: name.clone() });
    }
    if !is_ours(&path)? {
        return Err(TemplateError::Foreign { path });
    }
    let declared = cx.spec.templates.get(name);
    let declaration = match (record::read(&path), declared) {
        (Ok(TemplateRecord { origin: Origin::User, .. }), _) => {
            return Err(TemplateError::UserTemplate { name: name.clone() });
        }
        // A damaged one is as good as none: what the host spec says is what shall be there.
        (Ok(_) | Err(TemplateError::Damaged { .. }), Some(declared)) => declared.clone(),
        (Ok(record), None) => record.declaration,
        (Err(error), _) => return Err(error),
    };
    populate::check(cx.host, name, &declaration)?;
    Ok(declaration)
}

/// Removes a template with its earlier generations. One that the host spec declares comes back with the next `apply`, so that it is
/// only removed with `force`. Clones are not affected. The caller holds the engine's lock.
pub fn remove(cx: &Context<'_>, name: &TemplateName, force: bool) -> Result<(), TemplateError> {
    let there = removable(cx, name, force)?;
    let tree = cx.tree();
    // Those that are not in use first: killed on the way, it is still there, and can be removed again.
    generations::remove_all(&tree, name)?;
    if there { put_away(&tree, name, &tree.template(name)) } else { Ok(()) }
}

/// Refuses what [`remove`] would refuse. Gives whether there is one in use, and not earlier generations alone.
pub fn removable(cx: &Context<'_>, name: &TemplateName, force: bool) -> Result<bool, TemplateError> {
    let tree = cx.tree();
    let path = tree.template(name);
    let there = occupied(&path)?;
    if !there && generations::kept(&tree, name)?.is_empty() {
        return Err(TemplateError::NotFound { name: name.clone() });
    }
    if there && !is_ours(&path)? {
        return Err(TemplateError::Foreign { path });
    }
    if cx.spec.templates.contains_key(name) && !force {
        return Err(TemplateError::Declared {
            name: name.clone(),
            why: "the next apply would make it anew",
            next: format!(
                "take {} out first, or add --force",
                Deployment::here().field(&format!("templates.{name}"))
            ),
        });
    }
    Ok(there)
}

/// Takes a template's directory, or an earlier generation's, out of its place in one step, and removes it.
pub(super) fn put_away(tree: &Tree, name: &TemplateName, path: &Path) -> Result<(), TemplateError> {
    let passing = deleting(tree, name);
    discard(&passing)?;
    rename(path, &passing, RenameFlags::NOREPLACE)?;
    crate::files::sync_directory(&tree.templates()).map_err(io_error("sync", &tree.templates()))?;
    discard(&passing)
}

/// Builds a template under its passing name, to the last byte and on the disk. A failure removes it.
fn stage(
    cx: &Context<'_>,
    name: &TemplateName,
    declaration: &Template,
    origin: Origin,
    filled: &Fill<'_>,
) -> Result<TemplateRecord, TemplateError> {
    let tree = cx.tree();
    if !occupied(&tree.templates())? {
        return Err(TemplateError::NotReady { path: tree.templates() });
    }
    let directory = building(&tree, name);
    discard(&directory)?;
    let built = fill(cx, name, declaration, origin, &directory, filled);
    if built.is_err()
        && let Err(error) = discard(&directory)
    {
        tracing::warn!(%name, %error, "what was built is still there and will be removed by the next run");
    }
    built
}

/// Where tools keep temporary files while a root file system is filled: beside it.
fn scratch(rootfs: &Path) -> PathBuf {
    rootfs.with_file_name("scratch")
}

fn fill(
    cx: &Context<'_>,
    name: &TemplateName,
    declaration: &Template,
    origin: Origin,
    directory: &Path,
    filled: &Fill<'_>,
) -> Result<TemplateRecord, TemplateError> {
    let make = |path: &Path, mode| {
        std::fs::DirBuilder::new().mode(mode).create(path).map_err(io_error("make", path))?;
        // Whatever the umask is.
        set_mode(path, mode)
    };
    make(directory, MODE_BUILDING)?;
    subvolume::mark(directory, MARK)?;
    let rootfs = store::rootfs(directory);
    let scratch = scratch(&rootfs);
    make(&scratch, 0o1777)?;
    subvolume::create(&rootfs)?;
    subvolume::mark(&rootfs, MARK)?;
    subvolume::set_compression(&rootfs, "zstd")?;

    let populated = filled(&rootfs)?;
    std::fs::remove_dir_all(&scratch).map_err(io_error("remove", &scratch))?;
    cx.progress.report(&format!("{name}: customising"), None);
    // A tarball may have had other ideas of its top directory.
    set_mode(&rootfs, 0o755)?;
    std::os::unix::fs::chown(&rootfs, Some(0), Some(0)).map_err(io_error("own", &rootfs))?;
    let root = RootDir::open(&rootfs).map_err(io_error("open", &rootfs))?;
    customise::clean(name, &root)?;
    let missing =
        packages::missing(&root, &declaration.packages).map_err(io_error("read packages of", &rootfs))?;
    if !missing.is_empty() {
        return Err(TemplateError::Declaration {
            name: name.clone(),
            why: format!("it lacks the declared packages {}", missing.join(", ")),
            next: "a tarball is taken as it is: build one that has them, or take them out of `packages`"
                .into(),
        });
    }
    identity::strip_identity(&root).map_err(io_error("strip the identity of", &rootfs))?;
    let built = jiff::Timestamp::now();
    let generation = generation(built).map_err(io_error("name", directory))?;
    customise::customise(cx, name, declaration, &generation, &root, &rootfs)?;
    let found = identity::identity_found(&root).map_err(io_error("check", &rootfs))?;
    if !found.is_empty() {
        return Err(TemplateError::Identity { name: name.clone(), found });
    }

    let (distribution, release) = release(&root, declaration, populated.imported.is_some())
        .map_err(io_error("read os-release of", &rootfs))?;
    let record = TemplateRecord {
        version: RECORD_VERSION,
        name: name.clone(),
        origin,
        distribution,
        release,
        architecture: packages::architecture(&root).map_err(io_error("read packages of", &rootfs))?,
        source: populated.source,
        generation,
        built,
        built_by: env!("CARGO_PKG_VERSION").to_owned(),
        packages: populated.packages,
        declaration_digest: declaration_digest(declaration),
        declaration: declaration.clone(),
        imported: populated.imported,
        replaced: None,
        held_against: None,
    };
    record::write(directory, &record)?;
    // Clones are made of it as it is here.
    subvolume::deepen(&rootfs)?;
    subvolume::set_read_only(&rootfs, true)?;
    set_mode(directory, MODE_DONE)?;
    subvolume::sync(directory)?;
    Ok(record)
}

pub(super) fn rename(from: &Path, to: &Path, how: RenameFlags) -> Result<(), TemplateError> {
    renameat_with(CWD, from, CWD, to, how).map_err(|e| io_error("put into place", to)(e.into()))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), TemplateError> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(io_error("set the mode of", path))
}

/// A generation's name: when it was built, so that they sort, and four random bytes, so that two differ.
fn generation(built: jiff::Timestamp) -> io::Result<String> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{}-{}", built.strftime("%Y%m%dT%H%M%SZ"), crate::hex::hex(&random)))
}

/// What the root file system says it is; what was asked for where it says nothing.
fn release(root: &RootDir, declaration: &Template, imported: bool) -> io::Result<(String, String)> {
    let text = root.read("etc/os-release")?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let value = |key| populate::os_release(&text, key);
    let declared = match declaration.distribution {
        Distribution::Debian => "debian",
        Distribution::Ubuntu => "ubuntu",
        Distribution::Alpine => "alpine",
    };
    let release = value("VERSION_CODENAME").or_else(|| value("VERSION_ID"));
    Ok((
        value("ID").unwrap_or_else(|| declared.to_owned()),
        release.unwrap_or_else(|| {
            if imported || declaration.rootfs.is_some() {
                "unknown".into()
            } else {
                declaration.suite.clone()
            }
        }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_sort_by_time_and_two_differ() {
        let at = |text: &str| generation(text.parse().unwrap()).unwrap();
        assert!(at("2026-01-02T03:04:05Z").starts_with("20260102T030405Z-"));
        assert!(at("2025-12-31T23:59:59Z") < at("2026-01-01T00:00:00Z"));
        assert_ne!(at("2026-01-02T03:04:05Z"), at("2026-01-02T03:04:05Z"));
    }
}
