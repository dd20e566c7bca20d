//! Who runs the containers: the seam between what operation-dbus does for every container and what a
//! container system does with it. LXC is the embedded one.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use super::error::ContainerError;
use super::record::Record;
use crate::engine::Context;
use crate::name::ContainerName;
use crate::paths::Tree;
use crate::run::{Invocation, Output};
use crate::systemd::{self, SystemdError};

/// A container system.
pub trait Backend: Send + Sync {
    /// The containers of ours that run.
    fn running(&self, cx: &Context<'_>) -> Result<BTreeSet<ContainerName>, ContainerError>;
    /// Whether one of them runs.
    fn is_running(&self, cx: &Context<'_>, name: &ContainerName) -> Result<bool, ContainerError> {
        Ok(self.running(cx)?.contains(name))
    }
    /// Starts a container; ends when its init runs.
    fn start(&self, cx: &Context<'_>, name: &ContainerName) -> Result<(), ContainerError>;
    /// Stops a container; ends when it is down.
    fn stop(&self, cx: &Context<'_>, name: &ContainerName) -> Result<(), ContainerError>;
    /// Runs a command in a running container and keeps what it prints.
    fn capture(
        &self,
        cx: &Context<'_>,
        name: &ContainerName,
        command: &[String],
        limit: Duration,
    ) -> Result<Output, ContainerError>;
    /// Runs a command in a running container on the caller's own standard input, output and error;
    /// gives its exit status.
    fn attach(
        &self,
        cx: &Context<'_>,
        name: &ContainerName,
        command: &[String],
        streams: [OwnedFd; 3],
    ) -> Result<i32, ContainerError>;
    /// The last lines of the container's console.
    fn logs(&self, cx: &Context<'_>, record: &Record, lines: u32) -> Result<String, ContainerError>;
}

/// LXC, each container a unit `opdbus-container@NAME.service`, so that it outlives the daemon.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lxc;

/// systemd's own limits in the unit (`TimeoutStartSec`, `TimeoutStopSec`) end a job that is stuck; this
/// one only guards against systemd itself being stuck.
const JOB_LIMIT: Duration = Duration::from_secs(150);

/// The unit that runs a container.
#[must_use]
pub fn unit(name: &ContainerName) -> String {
    format!("opdbus-container@{name}.service")
}

impl Lxc {
    fn attach_call(cx: &Context<'_>, name: &ContainerName, command: &[String]) -> Invocation {
        Invocation::new("lxc-attach")
            .arg("--name")
            .arg(name.as_str())
            .arg("--lxcpath")
            .arg(cx.host.paths.lxc())
            .args([
                "--clear-env",
                "--keep-var=TERM",
                "--set-var=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "--",
            ])
            .args(command)
    }
}

impl Backend for Lxc {
    fn running(&self, _: &Context<'_>) -> Result<BTreeSet<ContainerName>, ContainerError> {
        if !Path::new("/run/systemd/system").exists() {
            return Ok(BTreeSet::new());
        }
        let units = systemd::units("opdbus-container@*.service", &["active"])?;
        Ok(units.iter().filter_map(|unit| container_of(&unit.name)).collect())
    }

    fn is_running(&self, _: &Context<'_>, name: &ContainerName) -> Result<bool, ContainerError> {
        Ok(Path::new("/run/systemd/system").exists() && systemd::is_active(&unit(name))?)
    }

    fn start(&self, cx: &Context<'_>, name: &ContainerName) -> Result<(), ContainerError> {
        let error = match systemd::start(&unit(name), JOB_LIMIT) {
            Ok(()) => return Ok(()),
            Err(error @ SystemdError::Job { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        let journal =
            Invocation::new("journalctl").args(["--no-pager", "-o", "cat", "-n", "20", "-u"]).arg(unit(name));
        let why = cx.host.run.output(&journal).map(|o| o.text()).unwrap_or_default();
        let why = reasons(&why);
        Err(ContainerError::Start {
            name: name.clone(),
            why: if why.is_empty() { error.to_string() } else { why },
        })
    }

    fn stop(&self, _: &Context<'_>, name: &ContainerName) -> Result<(), ContainerError> {
        Ok(systemd::stop(&unit(name), JOB_LIMIT)?)
    }

    fn capture(
        &self,
        cx: &Context<'_>,
        name: &ContainerName,
        command: &[String],
        limit: Duration,
    ) -> Result<Output, ContainerError> {
        Ok(cx.host.run.output(&Self::attach_call(cx, name, command).time_limit(limit))?)
    }

    fn attach(
        &self,
        cx: &Context<'_>,
        name: &ContainerName,
        command: &[String],
        streams: [OwnedFd; 3],
    ) -> Result<i32, ContainerError> {
        Ok(cx.host.run.attach(&Self::attach_call(cx, name, command), streams)?)
    }

    fn logs(&self, cx: &Context<'_>, record: &Record, lines: u32) -> Result<String, ContainerError> {
        let path = console_log(&cx.tree(), record);
        let bytes = crate::files::read_optional(&path)
            .map_err(|source| ContainerError::Io { verb: "read", path, source })?
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().map(|l| l.trim_end_matches('\r')).collect();
        let from = all.len().saturating_sub(lines as usize);
        Ok(all[from..].join("\n"))
    }
}

fn console_log(tree: &Tree, record: &Record) -> std::path::PathBuf {
    tree.container(&record.name).join("console.log")
}

/// What LXC and our own program said in a unit's journal since it was last started; not what systemd said of it.
pub(super) fn reasons(journal: &str) -> String {
    let last = journal.rfind("Starting ").unwrap_or(0);
    let said = journal[last..].lines().map(str::trim);
    let said = said.filter(|line| line.starts_with("lxc-") || line.starts_with("error:"));
    let said = said.filter(|line| !line.contains("Additional information can be obtained"));
    said.collect::<Vec<_>>().join("; ")
}

/// The container of a unit.
pub(super) fn container_of(unit: &str) -> Option<ContainerName> {
    // systemd writes '-' in an instance name as it is when the caller did.
    unit.strip_prefix("opdbus-container@")?.strip_suffix(".service")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_failed_start_is_what_lxc_said_last() {
        let journal = "Starting x\nlxc-start: old\nFailed to start x\nStarting x\nlxc-start: no bridge\n\
                       x.service: Failed with result 'exit-code'.\nerror: ended\n";
        assert_eq!(reasons(journal), "lxc-start: no bridge; error: ended");
    }

    #[test]
    fn containers_are_told_by_their_units() {
        assert_eq!(container_of(&unit(&"web-01".parse().unwrap())).unwrap().as_str(), "web-01");
        assert_eq!(container_of("ssh.service"), None);
        assert_eq!(container_of(""), None);
    }
}
