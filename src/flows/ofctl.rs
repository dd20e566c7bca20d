//! Calls of `ovs-ofctl`, for flows of others: always through the bridge's management socket, as by name it would
//! look in the default run directory, and ask the database again.

use super::FlowsError;
use super::component::socket;
use super::printed::{Printed, missing};
use crate::engine::Context;
use crate::run::{Invocation, RunError};

/// Atomic bundles came with this version.
const VERSION: [&str; 2] = ["-O", "OpenFlow14"];

/// Our bridge, as `ovs-ofctl` reaches it.
pub(super) struct Ofctl<'a> {
    cx: &'a Context<'a>,
    target: String,
}

impl<'a> Ofctl<'a> {
    pub(super) fn new(cx: &'a Context<'a>) -> Self {
        Self { cx, target: format!("unix:{}", socket(cx).display()) }
    }

    fn call(&self, command: &str) -> Invocation {
        Invocation::new("ovs-ofctl")
            .args(VERSION)
            .args(["--no-names", "--no-stats"])
            .arg(command)
            .arg(&self.target)
    }

    /// Those of the given flows in whose place there is nothing.
    pub(super) fn missing(&self, wanted: &str) -> Result<Vec<Printed>, FlowsError> {
        // A path that begins with '/' is a file of flows to it; "-" is not.
        let call = self.call("diff-flows").arg("/dev/stdin").stdin(wanted);
        let output = self.cx.host.run.output(&call)?;
        match output.status {
            // Equal, and different.
            0 | 2 => Ok(missing(&output.text())),
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
