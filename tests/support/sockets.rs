//! A program that is given sockets, as systemd does it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};

/// A call of a program that gets these sockets as descriptors 3, 4, …
pub fn handed_over(program: impl AsRef<OsStr>, sockets: &[&dyn AsFd]) -> Command {
    let (mut aside, mut given, mut closed) = (String::new(), String::new(), String::new());
    for (at, socket) in sockets.iter().enumerate() {
        let socket = socket.as_fd();
        fcntl_setfd(socket, FdFlags::empty()).unwrap();
        // By way of higher numbers, so that none is overwritten before it is copied.
        let (through, to) = (200 + at, 3 + at);
        aside.push_str(&format!(" {through}<&{}", socket.as_raw_fd()));
        given.push_str(&format!(" {to}<&{through}"));
        closed.push_str(&format!(" {through}<&-"));
    }
    // The process that it is for is the one that bash becomes.
    let script =
        format!("exec{aside}; exec{given}{closed}; LISTEN_PID=$$ LISTEN_FDS={} exec \"$0\"", sockets.len());
    let mut command = Command::new("bash");
    command.args(["-c", &script]).arg(program);
    command
}
