//! Sending a plugin: its snapshot as a btrfs send stream, with what it is before it.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::error::{PluginsError, io_error};
use super::manifest::Manifest;
use super::package::{self, Contents};
use crate::engine::Context;
use crate::name::PluginName;
use crate::run::{Ends, Invocation};
use crate::snapshots::{self, Record};
use crate::spec::Subject;
use crate::storage::subvolume;

/// The longest that btrfs may take for a stream.
pub(super) const LIMIT: Duration = Duration::from_secs(3600);

/// What is to be sent.
#[derive(Debug, Clone)]
pub struct Sending {
    /// The plugin.
    pub name: PluginName,
    /// Its snapshot.
    pub snapshot: Record,
    /// The snapshot that it builds on, which the receiver has.
    pub parent: Option<Record>,
    /// Whether keys may go along.
    pub secrets: bool,
}

/// The id by which a snapshot is known wherever it was received: the one it had where it was taken.
pub(super) fn identity(path: &Path) -> Result<String, PluginsError> {
    let info = subvolume::info(path)?;
    Ok(info.received.unwrap_or(info.uuid))
}

/// Sends a plugin to `to`, and says what was sent. The stream is kept in a nameless file until all of it is there, as its
/// length and checksum come first.
pub fn send(cx: &Context<'_>, sending: &Sending, to: &mut impl Write) -> Result<Contents, PluginsError> {
    let Sending { name, snapshot, parent, secrets } = sending;
    let directory = snapshots::directory(&cx.tree());
    let path = directory.join(&snapshot.name);
    for record in [Some(snapshot), parent.as_ref()].into_iter().flatten() {
        if record.subject != Subject::Plugin(name.clone()) {
            return Err(PluginsError::OfAnother { snapshot: record.name.clone(), name: name.clone() });
        }
    }
    let (manifest, _) =
        Manifest::check(&path, name).map_err(|why| PluginsError::Invalid { name: name.clone(), why })?;
    let keys = path.join("enrollment-keys");
    let has_keys = std::fs::read_dir(&keys).is_ok_and(|mut entries| entries.next().is_some());
    if has_keys && !secrets {
        return Err(PluginsError::Secrets(name.clone()));
    }
    cx.progress.report(&format!("reading {}", snapshot.name), None);
    let mut spool = tempfile::tempfile_in(&directory).map_err(io_error("make a file in", &directory))?;
    let mut call = Invocation::new("btrfs").args(["--quiet", "send", "--proto", "1"]).time_limit(LIMIT);
    if let Some(parent) = parent {
        call = call.arg("-p").arg(directory.join(&parent.name));
    }
    let output = spool.try_clone().map_err(io_error("share a file in", &directory))?;
    cx.host.run.stream(&call.arg(&path), Ends { input: None, output: Some(output.into()) })?;
    let spooled = io_error("read a file in", &directory);
    rewind(&mut spool).map_err(&spooled)?;
    let (size, sha256) = package::measure(&mut spool).map_err(&spooled)?;
    rewind(&mut spool).map_err(&spooled)?;
    let contents = Contents {
        name: name.clone(),
        version: manifest.version,
        snapshot: snapshot.name.clone(),
        uuid: identity(&path)?,
        parent: parent.as_ref().map(|parent| identity(&directory.join(&parent.name))).transpose()?,
        sent: Timestamp::now(),
        secrets: has_keys,
        size,
        sha256,
    };
    cx.progress.report(&format!("sending {size} bytes"), None);
    package::write(&contents, &mut spool, to)?;
    Ok(contents)
}

pub(super) fn rewind(file: &mut File) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0)).map(drop)
}
