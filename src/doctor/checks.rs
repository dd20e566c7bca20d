//! The checks that are not a component's. Each reads, within its own time, and changes nothing.

use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{Finding, HostCheck, State};
use crate::bridge;
use crate::engine::Context;
use crate::fault::Report;
use crate::firewall;
use crate::ledger::{Filter, Ledger};
use crate::search::model;
use crate::systemd;
use crate::units::CHAT;
use crate::uplink::{self, Phase};

/// Those that components rest on.
pub(super) const BEFORE: [HostCheck; 3] = [
    HostCheck { id: "kernel", title: "what the kernel can do", run: kernel },
    HostCheck { id: "clock", title: "the clock", run: clock },
    HostCheck {
        id: "disk-space",
        title: "room on the disks, and whether they can be written",
        run: disk_space,
    },
];

/// Those that rest on components.
pub(super) const AFTER: [HostCheck; 7] = [
    HostCheck { id: "moved", title: "whether the uplink is moved as declared, and confirmed", run: moved },
    HostCheck { id: "open-port", title: "whether there is a firewall to open", run: open_port },
    HostCheck { id: "chain", title: "the ledger's chain of entries", run: chain },
    HostCheck { id: "services", title: "our units", run: services },
    HostCheck { id: "daemon", title: "the daemon and its API socket", run: daemon },
    HostCheck { id: "search", title: "the search's model", run: search },
    HostCheck { id: "chat", title: "the chat's socket and the files that it needs", run: chat },
];

/// The first Linux on which a btrfs file system can be mounted with other ids, as containers' are.
const KERNEL: (u32, u32) = (5, 15);

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The two first numbers of a kernel's release: `6.1.0-37-amd64`.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kernel(cx: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let text = read("/proc/sys/kernel/osrelease");
    if release(&text).is_none_or(|release| release < KERNEL) {
        found.push(Finding::new(
            State::Problem,
            format!("Linux {} cannot map the ids of a container's root file system", text.trim()),
            format!("run Linux {}.{} or newer", KERNEL.0, KERNEL.1),
        ));
    }
    if read("/proc/sys/user/max_user_namespaces").trim() == "0" {
        found.push(Finding::new(
            State::Problem,
            "user namespaces are switched off, and containers need them",
            "set user.max_user_namespaces in /etc/sysctl.d and reboot",
        ));
    }
    let controllers = read("/sys/fs/cgroup/cgroup.controllers");
    let missing: Vec<&str> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(|wanted| !controllers.split_whitespace().any(|there| there == *wanted))
        .collect();
    if !missing.is_empty() {
        found.push(Finding::new(
            State::Warning,
            format!("limits of containers are not enforced: no cgroup controller {}", missing.join(", ")),
            "boot with the unified control groups (systemd.unified_cgroup_hierarchy=1)",
        ));
    }
    if read("/sys/module/apparmor/parameters/enabled").trim() != "Y" {
        found.push(Finding::new(
            State::Warning,
            "containers are not confined by AppArmor: the kernel has none, or it is off",
            "boot with apparmor=1 security=apparmor",
        ));
    }
    if bridge::userspace(cx).unwrap_or(false) {
        found.push(Finding::new(
            State::Warning,
            format!("the bridge {} switches in userspace, at a fraction of the kernel's speed", cx.spec.ovs.bridge),
            "modprobe openvswitch, and take the bridge's datapath_type away when its containers may be cut off",
        ));
    }
    found
}

/// What `apply` leaves to an admin, who has to see that they still reach the host.
fn moved(cx: &Context<'_>) -> Vec<Finding> {
    let status = match uplink::status(cx.host) {
        Ok(status) => status,
        Err(error) => return vec![Finding::from(Report::from(error))],
    };
    let declared = cx.spec.ovs.uplink.as_ref();
    let warning = |what: String, mend: String| vec![Finding::new(State::Warning, what, mend)];
    match (status.nic, status.phase, declared) {
        (Some(nic), Some(Phase::Restoring), _) => vec![Finding::new(
            State::Problem,
            format!("{nic} is being moved back from the bridge, and that has not ended"),
            "systemctl status opdbus-uplink-rollback.service; journalctl -u opdbus-uplink-rollback.service",
        )],
        (Some(nic), Some(Phase::Applied | Phase::Preparing), _) => warning(
            format!("{nic} is moved back in {} s", status.seconds_left.unwrap_or(0)),
            "op-dbus bridge uplink confirm".into(),
        ),
        (Some(nic), _, Some(declared)) if nic != *declared => warning(
            format!("{nic} is the uplink, and the host spec has {declared}"),
            format!("op-dbus bridge uplink revert, then op-dbus bridge uplink set {declared}"),
        ),
        (None, _, Some(declared)) => warning(
            format!(
                "the uplink {declared} is declared and not moved: apply does not move it, as that could lock you out"
            ),
            format!("op-dbus bridge uplink set {declared}"),
        ),
        _ => Vec::new(),
    }
}

fn open_port(cx: &Context<'_>) -> Vec<Finding> {
    match firewall::nothing_to_open(cx) {
        Err(error) => vec![Report::from(error).into()],
        Ok(what) => what
            .map(|what| {
                let mend = "where a packet filter of yours is in the way, open the port in it; else set mcp.openFirewall to false";
                Finding::new(State::Warning, what, mend)
            })
            .into_iter()
            .collect(),
    }
}

fn clock(cx: &Context<'_>) -> Vec<Finding> {
    let path = cx.tree().ledger();
    if !path.exists() {
        return Vec::new();
    }
    let newest = Filter { limit: Some(1), ..Filter::default() };
    let last = match Ledger::read(&path, |ledger| ledger.entries(&newest)) {
        Ok(entries) => entries.first().map(|entry| entry.timestamp),
        // That of the chain says what is wrong with it.
        Err(_) => None,
    };
    let now = jiff::Timestamp::now().as_second();
    match last {
        // Seconds: two clocks may be a moment apart.
        Some(last) if last > now + 5 => vec![Finding::new(
            State::Problem,
            format!("the clock is {} s behind the newest entry of the ledger", last - now),
            "set the clock (timedatectl); entries made meanwhile are in order by number, not by time",
        )],
        _ => Vec::new(),
    }
}

/// A tenth free is what btrfs needs to work well, a fiftieth what it needs to work.
fn disk_space(cx: &Context<'_>) -> Vec<Finding> {
    let places = [cx.tree().base().to_owned(), cx.host.paths.etc.clone(), cx.host.paths.run.clone()];
    let mut found = Vec::new();
    let mut seen = Vec::new();
    for place in places.iter().filter(|place| place.exists()) {
        let Ok(stat) = rustix::fs::statvfs(place) else { continue };
        if seen.contains(&stat.f_fsid) && stat.f_fsid != 0 {
            continue;
        }
        seen.push(stat.f_fsid);
        // What a unit's sandbox keeps it from writing others may write: of /etc only the file system itself counts.
        let read_only = if *place == cx.host.paths.etc {
            crate::storage::read_only(place).unwrap_or_default()
        } else {
            stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY)
        };
        if read_only {
            found.push(Finding::new(
                State::Problem,
                format!("the file system of {} cannot be written", place.display()),
                "where the kernel made it so, `dmesg` says why: save what is there, then mount it again or repair it, and systemctl restart opdbus.service",
            ));
        }
        let room = [
            ("room", stat.f_bavail, stat.f_blocks),
            // A file system that makes inodes as it goes says that it has none.
            ("inodes", stat.f_favail, stat.f_files),
        ];
        for (what, free, all) in room {
            let Some(state) = fullness(free, all) else { continue };
            let percent = free * 100 / all.max(1);
            found.push(Finding::new(
                state,
                format!("the file system of {} has {percent} % of its {what} left", place.display()),
                "delete containers, templates or snapshots that are not needed, or make it larger",
            ));
        }
    }
    found
}

fn fullness(free: u64, all: u64) -> Option<State> {
    if all == 0 || free > all / 10 {
        None
    } else if free > all / 50 {
        Some(State::Warning)
    } else {
        Some(State::Problem)
    }
}

fn chain(cx: &Context<'_>) -> Vec<Finding> {
    let path = cx.tree().ledger();
    if !path.exists() {
        return Vec::new();
    }
    let advice =
        "keep a copy (sqlite3 blockchain.db \".backup copy.db\") and look at the entry: op-dbus ledger show";
    match Ledger::read(&path, Ledger::verify) {
        Err(error) => vec![Report::from(error).into()],
        Ok(verified) => verified
            .first_bad
            .iter()
            .chain(&verified.others)
            .map(|bad| Finding::new(State::Problem, bad.to_string(), advice))
            .collect(),
    }
}

fn services(_: &Context<'_>) -> Vec<Finding> {
    if !Path::new("/run/systemd/system").exists() {
        return vec![Finding::new(State::Problem, "systemd does not run here", "boot the host with systemd")];
    }
    match systemd::units("opdbus*", &["failed"]) {
        Err(error) => vec![Report::from(error).into()],
        Ok(units) => units
            .into_iter()
            .map(|unit| {
                Finding::new(
                    State::Problem,
                    format!("the unit {} has failed", unit.name),
                    format!("journalctl -u {0} says why; then systemctl restart {0}", unit.name),
                )
            })
            .collect(),
    }
}

fn daemon(cx: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    match systemd::units("opdbus.service", &["active"]) {
        Err(error) => found.push(Report::from(error).into()),
        Ok(units) if units.is_empty() => found.push(Finding::new(
            State::Problem,
            "the daemon opdbusd does not run",
            "systemctl start opdbus.service; journalctl -u opdbus.service",
        )),
        Ok(_) => {}
    }
    let socket = cx.tree().api_socket();
    if let Err(error) = UnixStream::connect(&socket) {
        found.push(Finding::new(
            State::Problem,
            format!("nothing answers at the API socket {}: {error}", socket.display()),
            "systemctl restart opdbus.socket",
        ));
    }
    found
}

/// Without its model a search goes by words alone, so that is a warning.
fn search(cx: &Context<'_>) -> Vec<Finding> {
    if !cx.spec.ml.enable {
        return Vec::new();
    }
    let found = model::check(&model::directory(cx.spec)).err().map(Report::from);
    found.map(|report| Finding { state: State::Warning, ..Finding::from(report) }).into_iter().collect()
}

fn chat(cx: &Context<'_>) -> Vec<Finding> {
    let mcp = &cx.spec.mcp;
    if !mcp.enable {
        return Vec::new();
    }
    let mut found = Vec::new();
    match systemd::is_active(CHAT) {
        Err(error) => found.push(Report::from(error).into()),
        Ok(false) => found.push(Finding::new(
            State::Problem,
            format!("nothing listens for the chat at {}, port {}", mcp.address, mcp.port),
            format!("systemctl start {CHAT}; journalctl -u {CHAT} says what is in the way"),
        )),
        Ok(true) => {}
    }
    let files = mcp.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]).chain(&mcp.root);
    found.extend(files.filter(|path| !path.exists()).map(|path| {
        Finding::new(
            State::Problem,
            format!("the chat needs {}, which is not there", path.display()),
            "put it there, or change mcp in the host spec",
        )
    }));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_kernels_write_them() {
        assert_eq!(release("6.1.0-37-amd64\n"), Some((6, 1)));
        assert_eq!(release("5.15.0"), Some((5, 15)));
        assert_eq!(release("6.12-rc1"), Some((6, 12)));
        assert_eq!(release("linux"), None);
        assert!((6, 1) > KERNEL && (5, 4) < KERNEL);
    }

    #[test]
    fn a_full_disk_is_a_problem_before_it_is_full() {
        assert_eq!(fullness(50, 100), None);
        assert_eq!(fullness(10, 100), Some(State::Warning));
        assert_eq!(fullness(2, 100), Some(State::Problem));
        assert_eq!(fullness(0, 0), None, "a file system without a fixed number of inodes");
    }
}
