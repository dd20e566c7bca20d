//! Calls of `ovs-ofctl`, always through the bridge's management socket: by name it would look in the
//! default run directory, and ask the database again.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::FlowsError;
use super::diff::{Difference, Printed};
use crate::engine::Context;
use crate::run::{Invocation, RunError};

/// Atomic bundles came with this version.
const VERSION: [&str; 2] = ["-O", "OpenFlow14"];

/// A bridge that is served.
pub(super) struct Switch<'a> {
    cx: &'a Context<'a>,
    target: String,
}

/// The management socket of our bridge.
pub(super) fn socket(cx: &Context<'_>) -> PathBuf {
    cx.host.paths.ovs_run.join(format!("{}.mgmt", cx.spec.ovs.bridge))
}

impl<'a> Switch<'a> {
    /// The switch behind our bridge; `None` where nothing serves it.
    pub(super) fn find(cx: &'a Context<'a>) -> Option<Self> {
        let path = socket(cx);
        // A killed ovs-vswitchd leaves its sockets behind.
        UnixStream::connect(&path).ok()?;
        Some(Self { cx, target: format!("unix:{}", path.display()) })
    }

    fn call(&self, command: &str) -> Invocation {
        Invocation::new("ovs-ofctl")
            .args(VERSION)
            .args(["--no-names", "--no-stats"])
            .arg(command)
            .arg(&self.target)
    }

    /// How the switch differs from the given flows.
    pub(super) fn difference(&self, wanted: &str) -> Result<Difference, FlowsError> {
        // A path that begins with '/' is a file of flows to it; "-" is not.
        let call = self.call("diff-flows").arg("/dev/stdin").stdin(wanted);
        let output = self.cx.host.run.output(&call)?;
        match output.status {
            // Equal, and different.
            0 | 2 => Ok(Difference::read(&output.text())),
            status => Err(RunError::Status {
                call: call.to_string(),
                status,
                stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            }
            .into()),
        }
    }

    /// Every flow of the switch.
    pub(super) fn dump(&self) -> Result<Vec<Printed>, FlowsError> {
        let output = self.cx.host.run.run(&self.call("dump-flows"))?;
        Ok(output.text().lines().filter_map(Printed::read).collect())
    }

    /// Makes the changes, all or none.
    pub(super) fn bundle(&self, lines: &[String]) -> Result<(), FlowsError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = lines.join("\n");
        text.push('\n');
        self.cx.host.run.run(&self.call("bundle").arg("-").stdin(text))?;
        Ok(())
    }
}
