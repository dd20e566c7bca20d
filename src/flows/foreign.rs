//! Flows of others on our bridge, kept over a restart of `ovs-vswitchd`, which forgets all flows. Ours are
//! made anew from the host spec; what the admin added is written down before and put back after.

use std::path::PathBuf;

use serde::Serialize;

use super::FlowsError;
use super::component::{everything, our_bridge, served};
use super::ofctl::Ofctl;
use crate::engine::Context;
use crate::files;

/// What was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Saved {
    /// How many flows; `None` where the bridge was not there to ask.
    pub flows: Option<usize>,
}

/// What was put back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Restored {
    /// How many flows were missing and are there again.
    pub restored: usize,
    /// Those that Open vSwitch refused, with its reason: a group or a port that is no longer there.
    pub refused: Vec<String>,
}

/// How many flows on our bridge are not ours; `None` where `ovs-vswitchd` does not serve it.
pub fn count_foreign(cx: &Context<'_>) -> Result<Option<usize>, FlowsError> {
    let Some(mut switch) = our_bridge(cx)? else { return Ok(None) };
    Ok(Some(everything(cx, &mut switch)?.iter().filter(|found| !found.is_ours()).count()))
}

fn file(cx: &Context<'_>) -> PathBuf {
    cx.host.paths.run.join("foreign-flows")
}

/// Writes down the flows on our bridge that are not ours. Those with a time limit are left out: they are
/// made anew by whoever made them. With nobody to ask, what was written before is left.
pub fn save(cx: &Context<'_>) -> Result<Saved, FlowsError> {
    if our_bridge(cx)?.is_none() {
        return Ok(Saved { flows: None });
    }
    let flows = Ofctl::new(cx).dump()?;
    let foreign: Vec<&str> =
        flows.iter().filter(|f| !f.is_ours() && !f.timeout).map(|f| f.text.as_str()).collect();
    let path = file(cx);
    let mut text = foreign.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    std::fs::create_dir_all(&cx.host.paths.run)
        .and_then(|()| files::replace(&path, text.as_bytes(), 0o600))
        .map_err(|source| FlowsError::File { verb: "write", path, source })?;
    Ok(Saved { flows: Some(foreign.len()) })
}

/// Puts back what was written down and is missing now; what is there already, under whatever cookie and with
/// whatever actions, stays as it is. The file is used up, so that a flow removed later does not come back.
pub fn restore(cx: &Context<'_>) -> Result<Restored, FlowsError> {
    let path = file(cx);
    let error = |verb| {
        let path = path.clone();
        move |source| FlowsError::File { verb, path, source }
    };
    let Some(bytes) = files::read_optional(&path).map_err(error("read"))? else {
        return Ok(Restored::default());
    };
    let mut restored = Restored::default();
    if !bytes.is_empty() {
        drop(served(cx)?);
        let switch = Ofctl::new(cx);
        let missing = switch.missing(&String::from_utf8_lossy(&bytes))?;
        let additions: Vec<String> = missing.iter().map(|f| format!("flow add {}", f.text)).collect();
        if switch.bundle(&additions).is_ok() {
            restored.restored = additions.len();
        } else {
            // One that is refused does not keep the others away.
            for (flow, addition) in missing.iter().zip(additions) {
                match switch.bundle(&[addition]) {
                    Ok(()) => restored.restored += 1,
                    Err(error) => restored.refused.push(format!("{}: {error}", flow.text)),
                }
            }
        }
    }
    std::fs::remove_file(&path).map_err(error("remove"))?;
    Ok(restored)
}
