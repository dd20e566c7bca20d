//! Somebody to ask for a password on this terminal: `pkttyagent`, as systemd's own tools start it.

use std::io::{IsTerminal, Read};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

use crate::ledger::Via;
use crate::ops::{Caller, Operation};

/// polkit's agent on this terminal, for as long as this lives.
pub(super) struct Agent(Option<Child>);

impl Agent {
    /// Starts one where the operation is not this user's to call and somebody is at the terminal. Without one, whether
    /// because there is no polkit here or no terminal, a call that polkit does not grant is simply refused.
    pub(super) fn start(operation: &Operation) -> Self {
        let needed = !Caller::this_process(Via::Dbus).may(operation.privilege);
        let attended = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Self(if needed && attended { spawn() } else { None })
    }

    /// Whether there is one.
    pub(super) fn runs(&self) -> bool {
        self.0.is_some()
    }
}

/// Starts the agent and waits until polkit knows it: then it closes the pipe that it was given.
fn spawn() -> Option<Child> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).ok()?;
    // The agent's end alone is inherited.
    rustix::io::fcntl_setfd(&write, rustix::io::FdFlags::empty()).ok()?;
    let child = Command::new("pkttyagent")
        .args(["--process", &std::process::id().to_string()])
        .args(["--notify-fd", &write.as_raw_fd().to_string(), "--fallback"])
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .spawn()
        .ok()?;
    drop(write);
    let _ = std::fs::File::from(read).read(&mut [0]);
    Some(child)
}

impl Drop for Agent {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // It puts the terminal back when it is asked to end.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = child.wait();
    }
}
