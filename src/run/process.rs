//! Foreign tools as real processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::{Ends, Exec, Invocation, Output, RunError, tail};

/// Runs calls as child processes, each in a process group of its own so that a time limit ends all of it.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl Exec for System {
    fn exec(&self, call: &Invocation, on_line: &mut dyn FnMut(&str)) -> Result<Output, RunError> {
        run(call, Ends::default(), on_line)
    }

    fn stream(&self, call: &Invocation, ends: Ends) -> Result<Output, RunError> {
        run(call, ends, &mut |_| {})
    }

    fn attach(&self, call: &Invocation, streams: [OwnedFd; 3]) -> Result<i32, RunError> {
        let [stdin, stdout, stderr] = streams;
        let mut command = command(call);
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        let status =
            spawn(call, command)?.wait().map_err(|source| RunError::Io { call: call.to_string(), source })?;
        Ok(exit_status(status))
    }
}

fn run(call: &Invocation, ends: Ends, on_line: &mut dyn FnMut(&str)) -> Result<Output, RunError> {
    let span = tracing::debug_span!("run", call = %call);
    let _entered = span.enter();
    let io = |source| RunError::Io { call: call.to_string(), source };
    let (stderr, stderr_end) = std::io::pipe().map_err(io)?;
    let stdout_end = match ends.output {
        Some(file) => file.into(),
        None if call.merged => stderr_end.try_clone().map_err(io)?.into(),
        None => Stdio::piped(),
    };
    let stdin_end = match ends.input {
        Some(file) => file.into(),
        None if call.stdin.is_empty() => Stdio::null(),
        None => Stdio::piped(),
    };
    let mut command = command(call);
    command.stdin(stdin_end).stdout(stdout_end).stderr(stderr_end);
    // It takes the command, and with it our own ends for writing: the pipes end when the tool's do.
    let mut child = spawn(call, command)?;
    let stdout = child.stdout.take();
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        let (line_sender, lines) = std::sync::mpsc::channel::<String>();
        let out = scope.spawn(move || stdout.map(read_all).unwrap_or_default());
        let err = scope.spawn(move || read_lines(stderr, &line_sender));
        if let Some(mut pipe) = stdin {
            // A tool that ends without reading its input says why on standard error.
            scope.spawn(move || drop(pipe.write_all(&call.stdin)));
        }
        let (done_sender, done) = std::sync::mpsc::channel();
        let pid = child.id();
        scope.spawn(move || drop(done_sender.send(wait(&mut child, call.time_limit))));
        // Ends when the tool has closed its standard error.
        for line in lines {
            on_line(&line);
        }
        let ended =
            done.recv().map_err(|_| io(std::io::Error::other("the waiting thread ended")))?.map_err(io)?;
        let stdout = out.join().unwrap_or_default();
        let stderr = err.join().unwrap_or_default();
        tracing::debug!(pid, status = ?ended, "ended");
        match ended {
            Some(status) => Ok(Output { status, stdout, stderr }),
            None => Err(RunError::TimedOut {
                call: call.to_string(),
                seconds: call.time_limit.as_secs(),
                stderr: tail(&stderr),
            }),
        }
    })
}
/// The command of a call, in a process group of its own.
fn command(call: &Invocation) -> Command {
    let mut command = Command::new(&call.program);
    command
        .args(&call.args)
        .envs(call.env.iter().map(|(k, v)| (k, v)))
        // Messages are parsed and shown; they must not depend on the admin's locale.
        .env("LC_ALL", "C.UTF-8")
        .process_group(0);
    command
}

fn spawn(call: &Invocation, mut command: Command) -> Result<Child, RunError> {
    command.spawn().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => {
            RunError::Missing { program: call.program.to_string_lossy().into_owned() }
        }
        _ => RunError::Io { call: call.to_string(), source },
    })
}

fn exit_status(status: std::process::ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A pipe of a killed tool ends early; what came is kept.
    let _ = from.read_to_end(&mut bytes);
    bytes
}

fn read_lines(from: impl Read, lines: &std::sync::mpsc::Sender<String>) -> Vec<u8> {
    let mut all = Vec::new();
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line) {
        all.extend_from_slice(&line);
        let _ = lines.send(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
    all
}

/// The exit status, or `None` where the time limit passed and the tool was killed.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<i32>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { return Err(std::io::Error::other("the process has no id")) };
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let timeout = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    let ready = loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if ready == 0 {
        let _ = kill_process_group(pid, Signal::KILL);
        child.wait()?;
        return Ok(None);
    }
    Ok(Some(exit_status(child.wait()?)))
}

#[cfg(test)]
mod tests {
    use super::super::Runner;
    use super::*;

    #[test]
    fn a_tool_gets_its_arguments_whole_and_no_shell() {
        let call = Invocation::new("printf").arg("%s").arg("a b; $(id) *");
        assert_eq!(Runner::default().run(&call).unwrap().text(), "a b; $(id) *");
    }

    #[test]
    fn standard_input_and_lines_of_standard_error_pass_through() {
        let call = Invocation::new("sh").args(["-c", "cat; echo one >&2; echo two >&2"]).stdin("in");
        let mut lines = Vec::new();
        let output = Runner::default().watch(&call, |l| lines.push(l.to_owned())).unwrap();
        assert_eq!((output.text().as_str(), lines), ("in", vec!["one".to_owned(), "two".to_owned()]));
    }

    #[test]
    fn a_tool_that_complains_on_standard_output_is_heard() {
        let call = Invocation::new("sh").args(["-c", "echo one; echo two >&2; exit 1"]).merged();
        let error = Runner::default().run(&call).unwrap_err();
        assert!(matches!(&error, RunError::Status { stderr, .. } if stderr == "one; two"), "{error}");
    }

    #[test]
    fn a_call_is_shown_as_a_shell_would_take_it() {
        let call = Invocation::new("tool").args(["a=b", "~", "#x", "{a,b}", "[x]", "!y", "it's", ""]);
        assert_eq!(call.to_string(), r"tool a=b '~' '#x' '{a,b}' '[x]' '!y' 'it'\''s' ''");
    }

    #[test]
    fn a_stuck_tool_is_stopped_with_everything_it_started() {
        let call = Invocation::new("sh")
            .args(["-c", "echo late >&2; sleep 60"])
            .time_limit(Duration::from_millis(200));
        let error = Runner::default().run(&call).unwrap_err();
        assert!(matches!(&error, RunError::TimedOut { stderr, .. } if stderr == "late"), "{error}");
    }

    #[test]
    fn failure_names_the_call_the_status_and_the_reason() {
        let call = Invocation::new("sh").args(["-c", "echo no such bridge >&2; exit 3"]);
        let error = Runner::default().run(&call).unwrap_err().to_string();
        assert!(error.contains("status 3: no such bridge"), "{error}");
    }

    #[test]
    fn a_missing_tool_is_named_with_its_package() {
        use crate::fault::Fault;
        let error = Runner::default().run(&Invocation::new("lxc-no-such")).unwrap_err();
        assert_eq!(error.to_string(), "lxc-no-such is not installed");
        assert_eq!(error.next().as_deref(), Some("on Debian: apt install lxc"));
    }
}
