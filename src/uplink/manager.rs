//! Whoever configures the interface is told what it is now to look after.

use std::path::Path;
use std::time::Duration;

use super::UplinkError;
use super::journal::{Journal, Manager};
use super::observe::Places;
use super::{ifupdown, keyfile};
use crate::files;
use crate::run::{Invocation, RunError, Runner};

/// How long a DHCP server may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// How many seconds `NetworkManager` may take to bring an interface up.
const UP: &str = "30";

/// Has the manager read its files anew, and look after `to` in place of `from`.
pub fn hand_over(
    run: &Runner,
    places: &Places,
    journal: &Journal,
    from: &str,
    to: &str,
) -> Result<(), UplinkError> {
    match &journal.manager {
        Manager::Networkd => {
            // Those of its links whose file is another one now are configured anew.
            run.run(&Invocation::new("networkctl").arg("reload"))?;
            Ok(())
        }
        Manager::Ifupdown { dhcp } => {
            if *dhcp {
                stop_client(from);
                start_client(run, to)?;
            }
            // The interface is up before and after; the bridge only in between.
            mark(&places.ifstate, &journal.bridge, to == journal.bridge)
        }
        Manager::NetworkManager { profile } => {
            let nmcli = |words: &[&str]| run.run(&Invocation::new("nmcli").args(words).time_limit(PATIENCE));
            // Whatever becomes of the one, the other is done: what came of both is looked at afterwards.
            let configured = nmcli(&["general", "reload", "conf"]);
            nmcli(&["connection", "reload"])?;
            configured?;
            let up = |profile: &str, interface: &str| {
                nmcli(&["--wait", UP, "connection", "up", "uuid", profile, "ifname", interface])
            };
            if to == journal.bridge {
                up(&keyfile::uuid(profile, "nic"), from)?;
                up(&keyfile::uuid(profile, "bridge"), to)?;
            } else {
                up(profile, to)?;
            }
            Ok(())
        }
    }
}

fn mark(ifstate: &Path, name: &str, up: bool) -> Result<(), UplinkError> {
    let failed = |source| UplinkError::File { verb: "write", path: ifstate.to_owned(), source };
    let Some(bytes) = files::read_optional(ifstate).map_err(failed)? else { return Ok(()) };
    let text = ifupdown::state(&String::from_utf8_lossy(&bytes), name, up);
    files::replace(ifstate, text.as_bytes(), 0o644).map_err(failed)
}

/// Ends the DHCP client of an interface so that it gives nothing back and takes nothing away.
fn stop_client(name: &str) {
    for file in [format!("/run/dhclient.{name}.pid"), format!("/run/dhclient6.{name}.pid")] {
        let pid = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i32>().ok());
        let Some(pid) = pid else { continue };
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = command.split(|byte| *byte == 0);
        let client = words.next().is_some_and(|program| program.ends_with(b"dhclient"));
        if client && words.any(|word| word == name.as_bytes()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// Starts it by ifupdown, in a unit of its own: it outlives whoever asked.
fn start_client(run: &Runner, name: &str) -> Result<(), UplinkError> {
    let unit = format!("opdbus-uplink-dhcp-{name}.service");
    let systemctl = |verb: &str| run.run(&Invocation::new("systemctl").args([verb, &unit]));
    // One of an earlier move, which is over.
    for verb in ["stop", "reset-failed"] {
        match systemctl(verb) {
            Ok(_) | Err(RunError::Status { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let call = Invocation::new("systemd-run")
        .args(["--quiet", "--unit", &unit])
        .args(["--property=Type=oneshot", "--property=RemainAfterExit=yes", "--property=KillMode=process"])
        .args(["ifup", "--force", name])
        .time_limit(PATIENCE);
    run.run(&call)?;
    Ok(())
}

/// Where the interface is one that ifupdown takes up when it is plugged in (`allow-hotplug`), has that done when its turn at
/// boot comes: udev saw it before the files were put back, and did not find it among those. The rest (`auto`) is ifupdown's
/// own affair.
pub fn plug(run: &Runner, name: &str) -> Result<(), RunError> {
    let plugged = run.run(&Invocation::new("ifquery").args(["--list", "--allow=hotplug"]))?.text();
    if !plugged.lines().any(|line| line.trim() == name) {
        return Ok(());
    }
    let unit = format!("ifup@{}.service", name.replace('-', "\\x2d"));
    run.run(&Invocation::new("systemctl").args(["--no-block", "start", &unit])).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Output;
    use crate::run::recorded::Recorded;

    #[test]
    fn only_what_ifupdown_takes_up_when_plugged_is_plugged_again() {
        for (listed, started) in [("eth0\neth1\n", true), ("eth01\n", false), ("", false)] {
            let recorded = Recorded::new(move |_| Ok(Output { stdout: listed.into(), ..Output::default() }));
            plug(&Runner::new(recorded.clone()), "eth0").unwrap();
            assert_eq!(recorded.calls().iter().any(|call| call.contains("start ifup@eth0.service")), started);
        }
    }
}
