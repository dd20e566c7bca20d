//! Receiving a plugin. What comes in is kept in a nameless file until its checksum is known to be right, then checked
//! command by command, and received by `btrfs receive` confined to a subvolume of its own, in which there is nothing but
//! a copy of what it builds on. Only when what came of it is a valid plugin does it become a snapshot, and the plugin.

use std::io::{BufWriter, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{PluginsError, io_error};
use super::manifest::Manifest;
use super::package::{self, Contents};
use super::send::{LIMIT, identity, rewind};
use super::stream::{RECEIVED, Rules, relay};
use crate::engine::{Context, Lock};
use crate::name::PluginName;
use crate::run::{Ends, Invocation};
use crate::snapshots::{self, Order, RECEIVING, Reason, Record, SnapshotName, State};
use crate::spec::Subject;
use crate::storage::place::{Found, Place};
use crate::storage::subvolume;

/// What was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// What it said it holds.
    pub contents: Contents,
    /// The snapshot that it is here.
    pub snapshot: SnapshotName,
    /// The snapshot that what was there before is now; none where there was no such plugin.
    pub before: Option<SnapshotName>,
}

/// A UUID as it is in a stream.
fn bytes(uuid: &str) -> Result<[u8; 16], PluginsError> {
    let digits: String = uuid.chars().filter(|c| *c != '-').collect();
    let wrong = || PluginsError::Differs(format!("\"{}\" is no id of a snapshot", uuid.escape_debug()));
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut bytes = [0; 16];
    for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}

/// The snapshots of a plugin that are here and whole, each with the id by which it is known elsewhere.
fn known(cx: &Context<'_>, name: &PluginName) -> Result<Vec<(String, Record)>, PluginsError> {
    let tree = cx.tree();
    let all = snapshots::list(&tree, Some(&Subject::Plugin(name.clone())))?;
    all.into_iter()
        .filter(|listed| listed.state == State::Whole)
        .map(|listed| Ok((identity(&snapshots::directory(&tree).join(&listed.record.name))?, listed.record)))
        .collect()
}

/// Receives a plugin from `from` and makes it active; what was there before is kept as a snapshot. `lock` is called
/// when all of it has come in. A stream of more than `most` bytes is refused.
pub fn receive(
    cx: &Context<'_>,
    from: &mut impl Read,
    by: &str,
    most: u64,
    force: bool,
    lock: impl FnOnce() -> Result<Lock, crate::fault::Report>,
) -> Result<Received, crate::fault::Report> {
    let (contents, mut spool) = read(cx, from, most)?;
    let _lock = lock()?;
    Ok(place(cx, contents, &mut spool, by, force)?)
}

/// What [`receive`] would make active, and whether a plugin of that name is there; refuses what it would refuse. All of it
/// is received, into a place apart.
pub fn receivable(
    cx: &Context<'_>,
    from: &mut impl Read,
    most: u64,
    force: bool,
    lock: impl FnOnce() -> Result<Lock, crate::fault::Report>,
) -> Result<(Contents, bool), crate::fault::Report> {
    let (contents, mut spool) = read(cx, from, most)?;
    let _lock = lock()?;
    stage(cx, &contents, &mut spool, force)?;
    let there = cx.tree().plugin(&contents.name).symlink_metadata().is_ok();
    Ok((contents, there))
}

/// Takes in what is sent, all of it.
fn read(
    cx: &Context<'_>,
    from: &mut impl Read,
    most: u64,
) -> Result<(Contents, std::fs::File), PluginsError> {
    let directory = snapshots::directory(&cx.tree());
    cx.progress.report("reading what is sent", None);
    let mut spool = tempfile::tempfile_in(&directory).map_err(io_error("make a file in", &directory))?;
    let contents = package::read(from, &mut spool, most)?;
    rewind(&mut spool).map_err(io_error("read a file in", &directory))?;
    Ok((contents, spool))
}

fn place(
    cx: &Context<'_>,
    contents: Contents,
    stream: &mut impl Read,
    by: &str,
    force: bool,
) -> Result<Received, PluginsError> {
    let tree = cx.tree();
    let (_stage, received) = stage(cx, &contents, stream, force)?;
    let subject = Subject::Plugin(contents.name.clone());
    let why = |what: &str| Some(format!("{what} {}", contents.snapshot));
    let order = Order { why: why("received as"), ..Order::new(by, Reason::Received) };
    let snapshot = snapshots::copy(&tree, &received, &subject, &order)?;
    let order = Order { why: why("before the plugin was received as"), ..Order::new(by, Reason::Replaced) };
    let source = snapshots::directory(&tree).join(&snapshot.name);
    // Where it cannot be put in place, what was received stays as a snapshot, from which it can be restored.
    let before = snapshots::activate(&tree, &subject, &source, &order, dress)?;
    Ok(Received { snapshot: snapshot.name, before: before.map(|record| record.name), contents })
}

/// Receives into a place apart, which is gone with the stage, and holds what came against what was said of it.
fn stage(
    cx: &Context<'_>,
    contents: &Contents,
    stream: &mut impl Read,
    force: bool,
) -> Result<(Stage, PathBuf), PluginsError> {
    let tree = cx.tree();
    let name = &contents.name;
    let known = known(cx, name)?;
    if let Some((_, record)) = known.iter().find(|(uuid, _)| *uuid == contents.uuid) {
        return Err(PluginsError::Received { name: name.clone(), snapshot: record.name.clone() });
    }
    let parent = match &contents.parent {
        None => None,
        Some(parent) => {
            Some(known.iter().find(|(uuid, _)| uuid == parent).map(|(_, r)| r).ok_or_else(|| {
                PluginsError::NoParent { name: name.clone(), parent: parent.escape_debug().to_string() }
            })?)
        }
    };
    let active = tree.plugin(name);
    if active.symlink_metadata().is_ok() {
        snapshots::check(&active, force)?;
    }
    let stage = Stage::make(&snapshots::directory(&tree), name)?;
    let received = stage.receive(cx, contents, parent, stream)?;
    let (manifest, _) =
        Manifest::check(&received, name).map_err(|why| PluginsError::Invalid { name: name.clone(), why })?;
    if manifest.version != contents.version {
        return Err(PluginsError::Differs(format!(
            "it is version {}, and was said to be {}",
            manifest.version, contents.version
        )));
    }
    Ok((stage, received))
}

/// Gives what was received the owner, mode, marker and compression that a plugin's subvolume has here.
fn dress(at: &Path) -> Result<(), snapshots::SnapshotError> {
    subvolume::mark(at, "plugins")?;
    let place = Place::subvolume(at, "plugins", 0o750);
    match place.compare(&Found::read(at)?)? {
        Some(change) => Ok(change.apply()?),
        None => Ok(()),
    }
}

/// The subvolume that `btrfs receive` is confined to; gone when this is.
struct Stage(PathBuf);

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = subvolume::delete(&self.0) {
            tracing::warn!("cleaning up after a receive: {error}");
        }
    }
}

impl Stage {
    fn make(directory: &Path, name: &PluginName) -> Result<Self, PluginsError> {
        let path = directory.join(format!("{RECEIVING}{name}"));
        // What a run left that was stopped.
        if subvolume::is_subvolume(&path).map_err(io_error("look at", &path))? {
            subvolume::delete(&path)?;
        }
        subvolume::create(&path)?;
        Ok(Self(path))
    }

    /// Receives into the stage; gives where it is.
    fn receive(
        &self,
        cx: &Context<'_>,
        contents: &Contents,
        parent: Option<&Record>,
        stream: &mut impl Read,
    ) -> Result<PathBuf, PluginsError> {
        let mut rules = Rules { uuid: bytes(&contents.uuid)?, parent: None };
        if let (Some(parent), Some(uuid)) = (parent, &contents.parent) {
            let copy = self.0.join("parent");
            subvolume::snapshot(&snapshots::directory(&cx.tree()).join(&parent.name), &copy, true)?;
            rules.parent = Some((bytes(uuid)?, bytes(&subvolume::info(&copy)?.uuid)?));
        }
        cx.progress.report(&format!("receiving {} of {}", contents.version, contents.name), None);
        let (input, pipe) = std::io::pipe().map_err(io_error("make a pipe for", &self.0))?;
        // Confined by chroot: whatever a stream names, there is nothing else.
        let call = Invocation::new("btrfs")
            .args(["--quiet", "receive", "--chroot", "-e"])
            .arg(&self.0)
            .time_limit(LIMIT);
        let (relayed, ran) = std::thread::scope(|scope| {
            let input = OwnedFd::from(input);
            let receiver =
                scope.spawn(|| cx.host.run.stream(&call, Ends { input: Some(input), output: None }));
            // The pipe ends with it, and with the pipe the receiver.
            let mut pipe = BufWriter::with_capacity(1 << 17, pipe);
            let relayed = relay(stream, &mut pipe, &rules);
            drop(pipe);
            (relayed, receiver.join())
        });
        let ran = ran.unwrap_or_else(|_| {
            let source = std::io::Error::other("the thread that ran it ended");
            Err(crate::run::RunError::Io { call: call.to_string(), source })
        });
        match relayed {
            // The receiver ended early, and says why.
            Err(super::StreamError::Io(_)) if ran.is_err() => {}
            Err(why) => return Err(PluginsError::Stream { name: contents.name.clone(), why }),
            Ok(()) => {}
        }
        ran?;
        let received = self.0.join(RECEIVED);
        if identity(&received)? != contents.uuid || !subvolume::is_read_only(&received)? {
            return Err(PluginsError::Differs("its id is another".into()));
        }
        Ok(received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_in_a_stream() {
        assert_eq!(bytes("e48ae43b-652c-e54e-b896-8e53bd1b055a").unwrap()[..4], [0xe4, 0x8a, 0xe4, 0x3b]);
        for bad in ["", "e48ae43b", "g48ae43b-652c-e54e-b896-8e53bd1b055a", "ää"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(
            subvolume::uuid_text(bytes("e48ae43b-652c-e54e-b896-8e53bd1b055a").unwrap()).unwrap(),
            "e48ae43b-652c-e54e-b896-8e53bd1b055a"
        );
    }
}
