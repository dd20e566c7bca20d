//! Building, refreshing, listing and removing templates.

use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::customise;
use super::error::TemplateError;
use super::record::{self, Origin, RECORD_VERSION, Record};
use super::source;
use crate::engine::Context;
use crate::files::{self, RootDir};
use crate::hex::hex;
use crate::name::TemplateName;
use crate::spec::Template;
use crate::storage::subvolume;

/// The prefix of a template that is being built, or of an old one that is being removed.
pub(super) const STAGING: &str = ".opdbus-build-";
const COMPONENT: &str = "templates";

fn io<'p>(verb: &'static str, path: &'p Path) -> impl Fn(std::io::Error) -> TemplateError + 'p {
    move |source| TemplateError::Io { verb, path: path.to_owned(), source }
}

/// Builds a template beside the one there may be and puts it in place in one step. Clones of the old one are
/// not touched; on failure the old one stays and nothing is left of the new one.
pub(super) fn build_and_swap(
    cx: &Context<'_>,
    name: &TemplateName,
    template: &Template,
    origin: Origin,
) -> Result<(), TemplateError> {
    let tree = cx.tree();
    let place = tree.template(name);
    let old = record::look(&tree, name)?;
    let stage = tree.templates().join(format!("{STAGING}{name}"));
    remove_directory(&stage)?;
    let built = assemble(cx, &stage, name, template, origin).and_then(|()| {
        let flags = if old.is_some() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, &stage, CWD, &place, flags).map_err(|e| io("put in place", &place)(e.into()))?;
        files::sync_directory(&tree.templates()).map_err(io("sync", &place))
    });
    if let Err(error) = built {
        if let Err(left) = remove_directory(&stage) {
            tracing::warn!(template = %name, "cleaning up after a failed build: {left}");
        }
        return Err(error);
    }
    // What is under the staging name now is the old one.
    remove_directory(&stage)
}

fn assemble(
    cx: &Context<'_>,
    stage: &Path,
    name: &TemplateName,
    template: &Template,
    origin: Origin,
) -> Result<(), TemplateError> {
    std::fs::create_dir(stage).map_err(io("make", stage))?;
    rustix::fs::chmod(stage, rustix::fs::Mode::from_raw_mode(0o755))
        .map_err(|e| io("open up", stage)(e.into()))?;
    subvolume::mark(stage, COMPONENT)?;
    let rootfs = stage.join("rootfs");
    subvolume::create(&rootfs)?;
    subvolume::mark(&rootfs, COMPONENT)?;
    subvolume::set_compression(&rootfs, "zstd")?;
    let source = source::fill(cx, &rootfs, template)?;
    cx.progress.report("customising", None);
    customise::customise(cx, &rootfs, template)?;
    let root = RootDir::open(&rootfs).map_err(io("open", &rootfs))?;
    let generation = generation().map_err(io("name the generation of", stage))?;
    let marker = format!("TEMPLATE={name}\nGENERATION={generation}\n");
    root.write("etc/opdbus/template", marker.as_bytes(), 0o644).map_err(io("mark", &rootfs))?;
    customise::strip_identity(&root).map_err(io("strip", &rootfs))?;
    let found = customise::identity_found(&root).map_err(io("check", &rootfs))?;
    if !found.is_empty() {
        return Err(TemplateError::Identity(found));
    }
    let record = Record {
        version: RECORD_VERSION,
        name: name.clone(),
        origin,
        spec: template.clone(),
        generation,
        release: release(&root),
        source: source.to_owned(),
        built: jiff::Timestamp::now().as_second(),
    };
    let path = stage.join("template.json");
    let text = serde_json::to_vec_pretty(&record)
        .map_err(|source| TemplateError::Record { path: path.clone(), source })?;
    files::replace(&path, &text, 0o644).map_err(io("write", &path))?;
    cx.progress.report("writing to disk", None);
    Ok(subvolume::sync(stage)?)
}

fn generation() -> std::io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| std::io::Error::other(e.to_string()))?;
    Ok(hex(&bytes))
}

fn release(root: &RootDir) -> String {
    let text = root.read("etc/os-release").ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.map_or_else(|| "unknown".into(), |value| value.trim_matches('"').to_owned())
}

/// Builds a template that is not there yet.
pub fn build(
    cx: &Context<'_>,
    name: &TemplateName,
    template: &Template,
    origin: Origin,
) -> Result<(), TemplateError> {
    if record::look(&cx.tree(), name)?.is_some() {
        return Err(TemplateError::Exists(name.clone()));
    }
    build_and_swap(cx, name, template, origin)
}

/// Builds a declared template anew. One that somebody made by hand is theirs: refused.
pub fn refresh(cx: &Context<'_>, name: &TemplateName) -> Result<(), TemplateError> {
    record::find(&cx.tree(), name)?;
    let declared = cx.spec.templates.get(name).ok_or_else(|| TemplateError::NotDeclared(name.clone()))?;
    build_and_swap(cx, name, declared, Origin::System)
}

/// Removes a template. One that is declared would come back: refused.
pub fn remove(cx: &Context<'_>, name: &TemplateName) -> Result<(), TemplateError> {
    let tree = cx.tree();
    record::find(&tree, name)?;
    if cx.spec.templates.contains_key(name) {
        return Err(TemplateError::Declared(name.clone()));
    }
    let place = tree.template(name);
    let doomed = tree.templates().join(format!("{STAGING}{name}"));
    remove_directory(&doomed)?;
    std::fs::rename(&place, &doomed).map_err(io("put aside", &place))?;
    files::sync_directory(&tree.templates()).map_err(io("sync", &place))?;
    remove_directory(&doomed)
}

pub(super) fn remove_directory(path: &Path) -> Result<(), TemplateError> {
    let rootfs = path.join("rootfs");
    if subvolume::is_subvolume(&rootfs).map_err(io("look at", &rootfs))? {
        subvolume::delete(&rootfs)?;
    }
    match std::fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io("remove", path)(source)),
    }
}

/// A template as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// Its name.
    pub name: TemplateName,
    /// The release, as its os-release names it.
    pub release: String,
    /// Which build this is.
    pub generation: String,
    /// Whether the host spec declares it or somebody made it.
    pub origin: Origin,
    /// How it was made.
    pub source: String,
    /// When it was built, RFC 3339.
    pub built: String,
}

/// The templates there are.
pub fn list(cx: &Context<'_>) -> Result<Vec<Listed>, TemplateError> {
    let tree = cx.tree();
    let directory = tree.templates();
    let mut all = Vec::new();
    for name in names(&directory)? {
        let Ok(name) = name.parse::<TemplateName>() else { continue };
        let Ok(Some(found)) = record::look(&tree, &name) else { continue };
        let built =
            jiff::Timestamp::from_second(found.record.built).map(|t| t.to_string()).unwrap_or_default();
        all.push(Listed {
            name,
            release: found.record.release,
            generation: found.record.generation,
            origin: found.record.origin,
            source: found.record.source,
            built,
        });
    }
    Ok(all)
}

/// The templates for a person.
#[must_use]
pub fn list_text(all: &[Listed]) -> String {
    if all.is_empty() {
        return "no templates; `op-dbus apply templates` builds those of the host spec".into();
    }
    let rows = all.iter().map(|t| {
        let origin = if t.origin == Origin::System { "declared" } else { "yours" };
        [
            t.name.to_string(),
            t.release.clone(),
            origin.into(),
            t.source.clone(),
            t.built.clone(),
            t.generation.clone(),
        ]
    });
    crate::table::render(["NAME", "RELEASE", "ORIGIN", "SOURCE", "BUILT", "GENERATION"], rows)
}

/// The names in a directory, sorted; none where it is not there.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, TemplateError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io("read", directory)(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(io("read", directory))?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}
