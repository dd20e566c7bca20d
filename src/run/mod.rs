//! The one way in which foreign tools are called: a fixed argument vector and never a shell, a
//! time limit, standard error kept for the message, a trace span, and a seam for tests.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod process;
#[cfg(test)]
#[allow(clippy::missing_panics_doc, reason = "it is for tests")]
pub mod recorded;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::deployment::Deployment;
use crate::fault::{Fault, Kind};

pub use process::System;

/// Most foreign tools answer in milliseconds; one that has not after this long is stuck.
pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(60);

/// One call of a foreign tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program, looked up in `PATH`.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables set beside the inherited ones.
    pub env: Vec<(OsString, OsString)>,
    /// What it reads from standard input; nothing by default.
    pub stdin: Vec<u8>,
    /// How long it may run.
    pub time_limit: Duration,
    /// Whether what it writes to standard output is taken as standard error: for tools that give
    /// their reasons there.
    pub merged: bool,
}

impl Invocation {
    /// A call of `program` with no arguments and the default time limit.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            time_limit: DEFAULT_TIME_LIMIT,
            merged: false,
        }
    }

    /// Fetches an address into a file by `curl`, over these protocols and no others, also where it is led elsewhere.
    /// `largest` is in bytes.
    #[must_use]
    pub fn download(url: &str, to: &Path, protocols: &str, largest: u64) -> Self {
        Self::new("curl")
            .args(["--silent", "--show-error", "--fail", "--location"])
            .args(["--proto", &format!("={protocols}"), "--max-filesize", &largest.to_string()])
            .arg("--output")
            .arg(to)
            .args(["--", url])
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives it standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Takes standard output as standard error.
    #[must_use]
    pub fn merged(mut self) -> Self {
        self.merged = true;
        self
    }

    /// Changes the time limit.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.to_string_lossy())?;
        for arg in &self.args {
            let arg = arg.to_string_lossy();
            let means_something = |c: char| c.is_whitespace() || "'\"\\$`;&|<>()*?[]{}!".contains(c);
            if arg.is_empty() || arg.starts_with(['~', '#']) || arg.contains(means_something) {
                write!(f, " '{}'", arg.replace('\'', "'\\''"))?;
            } else {
                write!(f, " {arg}")?;
            }
        }
        Ok(())
    }
}

/// What a tool left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; 128 + the signal where it was killed by one.
    pub status: i32,
    /// Standard output, whole.
    pub stdout: Vec<u8>,
    /// Standard error, whole.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Why a call of a foreign tool failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program is not in `PATH`.
    #[error("{program} is not installed")]
    Missing {
        /// The program.
        program: String,
    },
    /// It could not be started or its pipes broke.
    #[error("cannot run {call}")]
    Io {
        /// The call.
        call: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ran past its time limit and was killed.
    #[error("{call} was stopped after {seconds} s without an answer{}", said(.stderr))]
    TimedOut {
        /// The call.
        call: String,
        /// The limit.
        seconds: u64,
        /// The end of its standard error.
        stderr: String,
    },
    /// It ended with a status other than 0.
    #[error("{call} ended with status {status}{}", said(.stderr))]
    Status {
        /// The call.
        call: String,
        /// Its exit status.
        status: i32,
        /// The end of its standard error.
        stderr: String,
    },
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}

impl Fault for RunError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } => Kind::Unavailable,
            _ => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Missing { program } => Some(match package_of(program) {
                Some(package) => Deployment::here().package(package),
                None => format!("install {program} and make sure it is in PATH"),
            }),
            _ => None,
        }
    }
}

/// The Debian package that ships a tool, for advice only.
fn package_of(program: &str) -> Option<&'static str> {
    Some(match program {
        "ovs-vsctl" | "ovs-ofctl" | "ovs-appctl" => "openvswitch-switch",
        "mmdebstrap" => "mmdebstrap",
        "debootstrap" => "debootstrap",
        "mkfs.btrfs" | "btrfs" => "btrfs-progs",
        "nft" => "nftables",
        "ufw" => "ufw",
        "firewall-cmd" | "firewall-offline-cmd" => "firewalld",
        "ip" => "iproute2",
        "ethtool" => "ethtool",
        "tar" => "tar",
        "curl" => "curl",
        "systemctl" | "journalctl" => "systemd",
        "mount" | "losetup" => "mount",
        p if p.starts_with("lxc-") => "lxc",
        _ => return None,
    })
}

/// What a call reads from and writes to, where that is too large to be held.
#[derive(Debug, Default)]
pub struct Ends {
    /// Its standard input.
    pub input: Option<OwnedFd>,
    /// Its standard output.
    pub output: Option<OwnedFd>,
}

/// Where invocations end up: the operating system, or a recording in tests.
pub trait Exec: Send + Sync {
    /// Runs the call to its end; each complete line of standard error goes to `on_line` as it comes.
    fn exec(&self, call: &Invocation, on_line: &mut dyn FnMut(&str)) -> Result<Output, RunError>;

    /// Runs the call to its end with a file as its standard input, or as its output, where one is given.
    fn stream(&self, call: &Invocation, ends: Ends) -> Result<Output, RunError> {
        drop(ends);
        self.exec(call, &mut |_| {})
    }

    /// Runs the call on the given standard input, output and error, without a time limit, and gives its
    /// exit status.
    fn attach(&self, call: &Invocation, streams: [OwnedFd; 3]) -> Result<i32, RunError> {
        drop(streams);
        self.exec(call, &mut |_| {}).map(|output| output.status)
    }
}

/// Runs foreign tools.
#[derive(Clone)]
pub struct Runner(Arc<dyn Exec>);

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runner")
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self::new(System)
    }
}

impl Runner {
    /// A runner over the given executor.
    pub fn new(exec: impl Exec + 'static) -> Self {
        Self(Arc::new(exec))
    }

    /// Runs a call whose exit status is looked at by the caller.
    pub fn output(&self, call: &Invocation) -> Result<Output, RunError> {
        self.0.exec(call, &mut |_| {})
    }

    /// Runs a call on the caller's own standard input, output and error, for as long as it takes; gives
    /// its exit status.
    pub fn attach(&self, call: &Invocation, streams: [OwnedFd; 3]) -> Result<i32, RunError> {
        self.0.attach(call, streams)
    }

    /// Runs a call that must end with status 0, with a file as its standard input or output.
    pub fn stream(&self, call: &Invocation, ends: Ends) -> Result<Output, RunError> {
        let output = self.0.stream(call, ends)?;
        if output.status == 0 { Ok(output) } else { Err(failed(call, &output)) }
    }

    /// Runs a call that must end with status 0.
    pub fn run(&self, call: &Invocation) -> Result<Output, RunError> {
        self.watch(call, |_| {})
    }

    /// Runs a call that must end with status 0, handing each line of its standard error to `on_line`.
    pub fn watch(&self, call: &Invocation, mut on_line: impl FnMut(&str)) -> Result<Output, RunError> {
        let output = self.0.exec(call, &mut on_line)?;
        if output.status == 0 { Ok(output) } else { Err(failed(call, &output)) }
    }
}

fn failed(call: &Invocation, output: &Output) -> RunError {
    RunError::Status { call: call.to_string(), status: output.status, stderr: tail(&output.stderr) }
}

/// The last lines of a tool's standard error: what fits an error message.
fn tail(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    let from = lines.len().saturating_sub(4);
    lines[from..].join("; ")
}
