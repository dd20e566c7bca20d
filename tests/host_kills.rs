//! Programs killed at random instants of their usual run: the next run converges, and nothing is lost or half made.
//! `OPDBUS_KILLS` says how many kills each test makes, 20 if it does not; `--nocapture` shows how many fell in time.
#![allow(clippy::unwrap_used, reason = "a fixture that fails ends the test")]

#[path = "support/templates.rs"]
mod fixture;
mod support;
#[path = "support/tree.rs"]
mod tree;

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fixture::{Lab, tarball, write};
use opdbus::snapshots::{self, State};
use opdbus::storage::subvolume;
use rustix::process::{Pid, Signal, kill_process_group};
use support::Need;
use tree::{Machine, leftovers, names, text};

const SNAPSHOT: &str = env!("CARGO_BIN_EXE_opdbus-snapshot");
const PLUGIN: &str = env!("CARGO_BIN_EXE_opdbus-plugin");

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Killed,
    Done,
}

/// Starts what `start` gives, over and over, and kills its process group at a random instant of the time that the first,
/// which is let to its end, takes; after each, `check` looks whether everything is as it must be. Half of the kills
/// at least have to fall before the end.
fn kills(what: &str, mut start: impl FnMut() -> Command, mut check: impl FnMut(End, &str)) {
    let runs: u32 = std::env::var("OPDBUS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let spawn = |mut command: Command| {
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let mut took = Vec::new();
    for round in ["the first run", "the second run"] {
        let began = Instant::now();
        let ended = spawn(start()).wait().unwrap();
        took.push(began.elapsed());
        assert!(ended.success(), "{what}: {round} failed by itself");
        check(End::Done, round);
    }
    let mut usual = *took.iter().min().unwrap();
    let mut killed = 0;
    for run in 1..=runs {
        let mut random = [0; 4];
        getrandom::fill(&mut random).unwrap();
        let after = usual.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX));
        let mut child = spawn(start());
        std::thread::sleep(after);
        let group = Pid::from_child(&child);
        // It may have ended, and is not reaped yet, so that the number is still its own.
        let _ = kill_process_group(group, Signal::KILL);
        let status = child.wait().unwrap();
        let end = if status.signal().is_some() { End::Killed } else { End::Done };
        let when = format!("{what}, run {run} of {runs}, killed after {after:?} of {usual:?}");
        assert!(end == End::Killed || status.success(), "{when}: it failed by itself: {status}");
        if end == End::Killed {
            killed += 1;
        } else {
            // The first ones were slower than they are now: this one took no longer than that.
            usual = after;
        }
        check(end, &when);
    }
    eprintln!("{what}: {killed} of {runs} kills fell before the end, which takes {usual:?}");
    assert!(killed * 2 >= runs, "{what}: only {killed} of {runs} kills fell before the end");
}

/// Waits for the processes that were killed with their parent by the kernel: they are gone in an instant.
fn until_none_works_in(directory: &Path) {
    let works = || {
        fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let process = process.path();
            let inside =
                |link: &str| fs::read_link(process.join(link)).is_ok_and(|path| path.starts_with(directory));
            let argument = fs::read(process.join("cmdline")).unwrap_or_default();
            let inside_of = directory.to_string_lossy();
            inside("cwd") || String::from_utf8_lossy(&argument).contains(&*inside_of)
        })
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while works() {
        assert!(Instant::now() < deadline, "something still works in {}", directory.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn mounts_below(path: &Path) -> Vec<String> {
    let inside = format!("{}/", path.display());
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.lines().filter(|line| line.contains(&inside)).map(str::to_owned).collect()
}

#[test]
fn a_template_build_that_is_killed_leaves_none_or_a_whole_one() {
    host_test!(Need::Root, Need::Btrfs);
    none_or_whole("opdbus-template build", |lab, file| lab.program(&["build", "mine", "--rootfs", file]));
}

#[test]
fn a_template_import_that_is_killed_leaves_none_or_a_whole_one() {
    host_test!(Need::Root, Need::Btrfs);
    none_or_whole("opdbus-template import", |lab, file| lab.program(&["import", "mine", file]));
}

/// Kills what makes the template `mine` from a tarball.
fn none_or_whole(what: &str, make: impl Fn(&Lab, &str) -> Command) {
    let lab = Lab::new();
    lab.write_spec();
    let file = tarball(&lab, "base.tar.gz", "one", |tree| {
        for i in 0..1500 {
            write(tree, &format!("usr/share/x/{i}"), &i.to_string());
        }
    });
    let file = file.to_str().unwrap();
    let templates = lab.tree().templates();
    let list = || {
        let output = lab.program(&["list", "--json"]).output().unwrap();
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        list["templates"].as_array().unwrap().clone()
    };
    let whole = |when: &str| {
        let all = list();
        assert_eq!((all.len(), all[0]["name"].as_str()), (1, Some("mine")), "{when}");
        assert!(all[0]["damage"].is_null(), "{when}: {all:?}");
        let rootfs = templates.join("mine/rootfs");
        assert_eq!(names(&rootfs.join("usr/share/x")).len(), 1500, "{when}");
        assert!(
            rootfs.join("etc/opdbus/template").exists() && subvolume::is_read_only(&rootfs).unwrap(),
            "{when}"
        );
    };
    let build = || make(&lab, file);
    let mut turn = 0;
    kills(what, build, |end, when| {
        turn += 1;
        until_none_works_in(&templates);
        let there = !list().is_empty();
        assert!(there || end == End::Killed, "{when}");
        if there {
            whole(when);
        }
        // The next run is one of the same, or what the host does at boot.
        if there || turn % 2 == 0 {
            let applied = lab.program(&["apply"]).output().unwrap();
            assert!(applied.status.success(), "{when}: {}", text(&applied));
            assert_eq!(names(&templates).len(), usize::from(there), "{when}: {:?}", names(&templates));
        } else {
            let again = build().output().unwrap();
            assert!(again.status.success(), "{when}: {}", text(&again));
            whole(when);
        }
        assert!(mounts_below(&templates).is_empty(), "{when}: {:?}", mounts_below(&templates));
        if templates.join("mine").exists() {
            assert!(lab.program(&["remove", "mine", "--yes"]).output().unwrap().status.success(), "{when}");
        }
        assert!(names(&templates).is_empty(), "{when}: {:?}", names(&templates));
    });
}

/// A host with a ledger.
fn machine() -> Machine {
    let machine = Machine::new();
    let made = machine.program(env!("CARGO_BIN_EXE_opdbus-ledger")).arg("init").output().unwrap();
    assert!(made.status.success(), "{}", text(&made));
    machine
}

fn done(machine: &Machine, program: &str, args: &[&str]) -> serde_json::Value {
    let output = machine.program(program).args(args).arg("--json").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The next run: it ends what was begun, and then there is nothing left to do, and the ledger is whole.
fn converges(machine: &Machine, program: &str, when: &str) {
    for program in [program, SNAPSHOT] {
        let applied = machine.program(program).arg("apply").stdin(Stdio::null()).output().unwrap();
        assert!(applied.status.success(), "{when}: {}", text(&applied));
    }
    assert!(leftovers(&machine.base()).is_empty(), "{when}: {:?}", leftovers(&machine.base()));
    assert_eq!(machine.plan(), Vec::<String>::new(), "{when}");
    let all = snapshots::list(&machine.tree(), None).unwrap();
    assert!(all.iter().all(|listed| listed.state == State::Whole), "{when}: {all:?}");
    let ledger = env!("CARGO_BIN_EXE_opdbus-ledger");
    let verified = machine.program(ledger).arg("verify").stdin(Stdio::null()).output().unwrap();
    assert!(verified.status.success(), "{when}: {}", text(&verified));
}

const FILES: usize = 200;

/// Has every file in a directory say the same.
fn fill(directory: &Path, content: &str) {
    for file in 0..FILES {
        fs::write(directory.join(format!("file-{file}")), content.repeat(3000)).unwrap();
    }
}

/// What the files say; it must be the same in all, and all must be there.
fn content(directory: &Path, when: &str) -> String {
    let read = |file| fs::read_to_string(directory.join(format!("file-{file}")));
    let mut all: Vec<String> = (0..FILES).map(|file| read(file).unwrap_or_default()).collect();
    all.dedup();
    assert!(
        all.len() == 1 && all[0].len() == 3000,
        "{when}: half of one and half of another, in {}",
        directory.display()
    );
    all.remove(0)[..1].to_owned()
}

#[test]
fn a_snapshot_restore_that_is_killed_puts_back_all_or_nothing_and_loses_nothing() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = machine();
    let state = machine.base().join("@state");
    fill(&state, "a");
    let taken = done(&machine, SNAPSHOT, &["create", "--of", "@state", "--keep"]);
    let from = taken[0]["name"].as_str().unwrap_or_else(|| panic!("{taken}")).to_owned();
    fill(&state, "b");
    let restore = || {
        let mut command = machine.program(SNAPSHOT);
        command.args(["restore", &from]);
        command
    };
    kills("opdbus-snapshot restore", restore, |end, when| {
        assert!(end == End::Killed || content(&state, when) == "a", "{when}");
        converges(&machine, SNAPSHOT, when);
        let back = content(&state, when) == "a";
        let all = snapshots::list(&machine.tree(), None).unwrap();
        let others: Vec<_> =
            all.iter().map(|l| &l.record.name).filter(|name| name.as_str() != from).collect();
        if back {
            assert_eq!(others.len(), 1, "{when}: what was in use is a snapshot");
            assert_eq!(content(&snapshots::directory(&machine.tree()).join(others[0]), when), "b", "{when}");
        } else {
            assert!(others.is_empty(), "{when}: {others:?}");
        }
        for name in others {
            done(&machine, SNAPSHOT, &["delete", name.as_str(), "--yes"]);
        }
        fill(&state, "b");
    });
}

#[test]
fn a_plugin_receive_that_is_killed_takes_all_or_nothing_and_the_next_one_goes_through() {
    host_test!(Need::Root, Need::Btrfs);
    let (a, b) = (machine(), machine());
    let own = |machine: &Machine| machine.base().join("@plugins/lxc/state");
    let stream = a.fs.beside("stream");
    let stream = stream.to_str().unwrap();
    fill(&own(&a), "a");
    done(&a, PLUGIN, &["send", "lxc", stream]);
    fill(&own(&b), "b");
    let receive = || {
        let mut command = b.program(PLUGIN);
        command.args(["receive", stream]);
        command
    };
    let mut turn = 0;
    kills("opdbus-plugin receive", receive, |end, when| {
        turn += 1;
        until_none_works_in(&b.base());
        assert!(end == End::Killed || content(&own(&b), when) == "a", "{when}");
        converges(&b, PLUGIN, when);
        if content(&own(&b), when) == "b" && turn % 2 == 0 {
            // Killed when all of it was received and not put in place yet, it is a snapshot, which is put in place.
            let subject = "@plugins/lxc".parse().unwrap();
            match snapshots::list(&b.tree(), Some(&subject)).unwrap().first() {
                None => done(&b, PLUGIN, &["receive", stream]),
                Some(received) => done(&b, SNAPSHOT, &["restore", received.record.name.as_str()]),
            };
            assert_eq!(content(&own(&b), when), "a", "{when}");
        }
        for listed in snapshots::list(&b.tree(), None).unwrap() {
            snapshots::mark_kept(&b.tree(), &listed.record.name, false).unwrap();
            snapshots::delete(&b.tree(), &listed.record.name).unwrap();
        }
        fill(&own(&b), "b");
    });
}
