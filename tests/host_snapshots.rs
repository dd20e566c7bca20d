//! Snapshots on a real btrfs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;
#[path = "support/tree.rs"]
mod tree;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use opdbus::engine::Context;
use opdbus::fault::{Fault, Kind, Report};
use opdbus::name::ContainerName;
use opdbus::snapshots::{self, Occupants, Order, Reason, Record, SnapshotError, State, What};
use opdbus::spec::{Every, Keep, SnapshotPolicy, Subject};
use opdbus::storage::subvolume;
use support::{Need, btrfs};
use tree::{Machine, leftovers, names};

/// Containers that there are none of.
struct Nobody;

impl Occupants for Nobody {
    fn running(&self, _: &Context<'_>, _: &ContainerName) -> Result<bool, Report> {
        Ok(false)
    }
    fn stop(&self, _: &Context<'_>, _: &ContainerName) -> Result<(), Report> {
        unreachable!()
    }
    fn start(&self, _: &Context<'_>, _: &ContainerName) -> Result<(), Report> {
        unreachable!()
    }
    fn refit(&self, _: &Context<'_>, _: &ContainerName, _: &Path) -> Result<(), Report> {
        Ok(())
    }
}

/// A container that runs, and what was done to it.
#[derive(Default)]
struct Running(RefCell<Vec<&'static str>>);

impl Occupants for Running {
    fn running(&self, _: &Context<'_>, _: &ContainerName) -> Result<bool, Report> {
        Ok(true)
    }
    fn stop(&self, _: &Context<'_>, _: &ContainerName) -> Result<(), Report> {
        self.0.borrow_mut().push("stop");
        Ok(())
    }
    fn start(&self, _: &Context<'_>, _: &ContainerName) -> Result<(), Report> {
        self.0.borrow_mut().push("start");
        Ok(())
    }
    fn refit(&self, _: &Context<'_>, _: &ContainerName, rootfs: &Path) -> Result<(), Report> {
        self.0.borrow_mut().push("refit");
        fs::write(rootfs.join("etc-hostname"), "now").unwrap();
        Ok(())
    }
}

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

fn manual() -> Order {
    Order::new("root", Reason::Manual)
}

fn take(machine: &Machine, of: &str) -> Record {
    snapshots::take(&machine.tree(), &subject(of), &manual()).unwrap()
}

fn restore(machine: &Machine, from: &Record) -> Result<snapshots::Restored, SnapshotError> {
    snapshots::restore(&machine.cx(), from, "root", false, &Nobody)
}

fn place(machine: &Machine, record: &Record) -> std::path::PathBuf {
    snapshots::directory(&machine.tree()).join(&record.name)
}

#[test]
fn a_snapshot_is_read_only_under_a_name_of_its_own_with_a_record_of_whom_and_why() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    let state = machine.base().join("@state");
    fs::write(state.join("f"), "one").unwrap();
    let order = Order {
        label: Some("before-upgrade".parse().unwrap()),
        why: Some("a reason".into()),
        ..Order::new("alice", Reason::Manual)
    };
    let first = snapshots::take(&machine.tree(), &subject("@state"), &order).unwrap();
    let others: BTreeSet<_> = (0..3).map(|_| take(&machine, "@state").name).collect();
    assert_eq!(others.len(), 3, "names of one second are told apart");
    fs::write(state.join("f"), "two").unwrap();

    let path = place(&machine, &first);
    assert_eq!(fs::read(path.join("f")).unwrap(), b"one");
    assert!(fs::write(path.join("g"), "").is_err(), "it cannot be written to");
    let all = snapshots::list(&machine.tree(), None).unwrap();
    assert_eq!(all.len(), 4);
    let listed = all.iter().find(|l| l.record.name == first.name).unwrap();
    assert_eq!((listed.state, &listed.record), (State::Whole, &first));
    assert_eq!((first.by.as_str(), first.why.as_deref()), ("alice", Some("a reason")));
    let (there, source) = (subvolume::info(&path).unwrap(), subvolume::info(&state).unwrap());
    assert_eq!((&first.uuid, first.origin.as_deref()), (&there.uuid, Some(source.uuid.as_str())));

    let again = snapshots::take(&machine.tree(), &subject("@state"), &order).unwrap_err();
    assert_eq!(again.kind(), Kind::Conflict, "a label stands for one snapshot of a thing");
    assert_eq!(snapshots::find(&machine.tree(), "before-upgrade", None).unwrap(), first);
    let none = snapshots::take(&machine.tree(), &subject("container/none"), &manual()).unwrap_err();
    assert_eq!(none.kind(), Kind::NotFound);
    assert_eq!(machine.plan(), Vec::<String>::new());
    assert_eq!(leftovers(&machine.base()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_label_of_several_is_ambiguous_until_it_is_said_of_what() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    let order = Order { label: Some("x".parse().unwrap()), ..manual() };
    for of in ["@state", "@plugins/lxc"] {
        snapshots::take(&machine.tree(), &subject(of), &order).unwrap();
    }
    let error = snapshots::find(&machine.tree(), "x", None).unwrap_err();
    assert!(error.to_string().contains("plugin-lxc-") && error.next().unwrap().contains("--of"), "{error}");
    let of = subject("@state");
    assert_eq!(snapshots::find(&machine.tree(), "x", Some(&of)).unwrap().subject, of);
    assert_eq!(snapshots::find(&machine.tree(), "y", None).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn what_is_put_back_is_what_it_was_and_what_was_there_is_kept_whole() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    for of in ["@state", "@plugins/lxc"] {
        let path = subject(of).path(&machine.tree());
        fs::write(path.join("f"), "one").unwrap();
        let marker = subvolume::marker(&path).unwrap();
        let from = take(&machine, of);
        fs::write(path.join("f"), "two").unwrap();
        fs::write(path.join("new"), "").unwrap();
        let old = subvolume::info(&path).unwrap();

        let done = restore(&machine, &from).unwrap();
        assert_eq!(fs::read(path.join("f")).unwrap(), b"one");
        assert!(!path.join("new").exists());
        fs::write(path.join("g"), "it can be written to").unwrap();
        assert_eq!(subvolume::marker(&path).unwrap(), marker);
        let before = snapshots::named(&machine.tree(), &done.before.unwrap()).unwrap();
        assert_eq!(before.uuid, old.uuid, "the very subvolume, not a copy of it");
        let kept = place(&machine, &before);
        assert_eq!(fs::read(kept.join("f")).unwrap(), b"two");
        assert!(kept.join("new").exists() && subvolume::is_read_only(&kept).unwrap());

        // There and back again.
        restore(&machine, &before).unwrap();
        assert_eq!(fs::read(path.join("f")).unwrap(), b"two");
        assert_eq!(machine.plan(), Vec::<String>::new(), "nothing is out of order after it");
    }
    assert!(leftovers(&machine.base()).is_empty());
}

#[test]
fn what_is_gone_is_put_back_where_nothing_is_in_its_way() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    let vectors = machine.base().join("@vectors");
    fs::write(vectors.join("f"), "x").unwrap();
    let from = take(&machine, "@vectors");
    subvolume::delete(&vectors).unwrap();
    fs::write(&vectors, "a file of somebody's").unwrap();
    assert_eq!(restore(&machine, &from).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(fs::read(&vectors).unwrap(), b"a file of somebody's");
    fs::remove_file(&vectors).unwrap();
    assert_eq!(restore(&machine, &from).unwrap().before, None);
    assert_eq!(fs::read(vectors.join("f")).unwrap(), b"x");
}

#[test]
fn the_ledger_is_never_put_back() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    let timing = machine.base().join("@timing");
    fs::write(timing.join("blockchain.db"), "one").unwrap();
    let from = take(&machine, "@timing");
    fs::write(timing.join("blockchain.db"), "two").unwrap();
    for force in [false, true] {
        let error = snapshots::restore(&machine.cx(), &from, "root", force, &Nobody).unwrap_err();
        assert!(matches!(error, SnapshotError::Ledger), "{error}");
    }
    assert_eq!(fs::read(timing.join("blockchain.db")).unwrap(), b"two");
}

#[test]
fn what_is_in_use_or_mounted_into_is_not_exchanged() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    let vectors = machine.base().join("@vectors");
    let from = take(&machine, "@vectors");
    let before = subvolume::info(&vectors).unwrap().uuid;
    fs::write(vectors.join("index"), "x").unwrap();

    let open = fs::File::open(vectors.join("index")).unwrap();
    let error = restore(&machine, &from).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(error, SnapshotError::InUse { .. }) && error.to_string().contains(&pid), "{error}");
    drop(open);

    fs::create_dir(vectors.join("mnt")).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(vectors.join("mnt")).status();
    assert!(mounted.unwrap().success());
    for force in [false, true] {
        let error = snapshots::restore(&machine.cx(), &from, "root", force, &Nobody).unwrap_err();
        assert!(matches!(error, SnapshotError::Mounted { .. }), "{error}");
    }
    btrfs::unmount(&vectors.join("mnt"));

    // Subvolumes inside are in no snapshot: an empty one is nobody's loss, another is.
    subvolume::create(&vectors.join("inner")).unwrap();
    fs::write(vectors.join("inner/data"), "x").unwrap();
    let error = restore(&machine, &from).unwrap_err();
    assert!(matches!(error, SnapshotError::Nested { .. }) && error.to_string().contains("inner"), "{error}");
    assert_eq!(subvolume::info(&vectors).unwrap().uuid, before, "nothing was exchanged");
    let done = snapshots::restore(&machine.cx(), &from, "root", true, &Nobody).unwrap();
    let kept = snapshots::directory(&machine.tree()).join(done.before.unwrap());
    assert_eq!(fs::read(kept.join("inner/data")).unwrap(), b"x", "by force, and still not lost");
}

fn container(machine: &Machine) -> std::path::PathBuf {
    let place = machine.base().join("containers/web-01");
    fs::create_dir_all(&place).unwrap();
    subvolume::create(&place.join("rootfs")).unwrap();
    place.join("rootfs")
}

#[test]
fn a_running_container_is_refused_and_by_force_stopped_fitted_and_started() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    let rootfs = container(&machine);
    fs::write(rootfs.join("etc-hostname"), "then").unwrap();
    // What systemd makes in every system.
    subvolume::create(&rootfs.join("portables")).unwrap();
    let from = take(&machine, "container/web-01");
    fs::write(rootfs.join("new"), "").unwrap();
    let occupants = Running::default();
    let refused = snapshots::restore(&machine.cx(), &from, "root", false, &occupants).unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert!(refused.next().unwrap().contains("op-dbus container stop web-01"));
    assert!(rootfs.join("new").exists() && occupants.0.borrow().is_empty());

    let done = snapshots::restore(&machine.cx(), &from, "root", true, &occupants).unwrap();
    assert!(done.restarted);
    assert_eq!(*occupants.0.borrow(), ["stop", "refit", "start"]);
    assert!(!rootfs.join("new").exists());
    assert_eq!(fs::read(rootfs.join("etc-hostname")).unwrap(), b"now");
}

/// A container that runs, and cannot be fitted.
struct Unfit(Running);

impl Occupants for Unfit {
    fn running(&self, cx: &Context<'_>, name: &ContainerName) -> Result<bool, Report> {
        self.0.running(cx, name)
    }
    fn stop(&self, cx: &Context<'_>, name: &ContainerName) -> Result<(), Report> {
        self.0.stop(cx, name)
    }
    fn start(&self, cx: &Context<'_>, name: &ContainerName) -> Result<(), Report> {
        self.0.start(cx, name)
    }
    fn refit(&self, _: &Context<'_>, _: &ContainerName, _: &Path) -> Result<(), Report> {
        Err(Report::new(Kind::Failed, "it does not fit"))
    }
}

#[test]
fn a_container_that_cannot_be_fitted_stays_as_it_is_and_runs_again() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    let rootfs = container(&machine);
    let from = take(&machine, "container/web-01");
    fs::write(rootfs.join("new"), "").unwrap();
    let occupants = Unfit(Running::default());
    let error = snapshots::restore(&machine.cx(), &from, "root", true, &occupants).unwrap_err();
    assert!(error.to_string().contains("does not fit"));
    assert_eq!(*occupants.0.0.borrow(), ["stop", "start"]);
    assert!(rootfs.join("new").exists() && leftovers(&machine.base()).is_empty());
}

#[test]
fn what_is_not_ours_is_not_deleted_and_what_is_kept_neither() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    let (tree, directory) = (machine.tree(), snapshots::directory(&machine.tree()));
    let record = take(&machine, "@state");
    snapshots::mark_kept(&tree, &record.name, true).unwrap();
    assert!(matches!(snapshots::delete(&tree, &record.name), Err(SnapshotError::Kept(_))));
    snapshots::mark_kept(&tree, &record.name, false).unwrap();

    // Somebody's own subvolume under the name of one of ours, and one that was never ours.
    fs::rename(place(&machine, &record), directory.join("aside")).unwrap();
    subvolume::create(&place(&machine, &record)).unwrap();
    fs::write(place(&machine, &record).join("thesis"), "x").unwrap();
    assert_eq!(snapshots::list(&tree, None).unwrap()[0].state, State::Foreign);
    assert!(matches!(snapshots::delete(&tree, &record.name), Err(SnapshotError::NotOurs { .. })));
    machine.apply();
    assert!(place(&machine, &record).join("thesis").exists() && directory.join("aside").exists());
    subvolume::delete(&place(&machine, &record)).unwrap();
    fs::rename(directory.join("aside"), place(&machine, &record)).unwrap();

    snapshots::delete(&tree, &record.name).unwrap();
    assert_eq!(names(&directory), Vec::<String>::new());
    assert_eq!(snapshots::delete(&tree, &record.name).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn differences_are_those_of_what_is_there_with_deletions_and_renames() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    let state = machine.base().join("@state");
    fs::create_dir(state.join("dir")).unwrap();
    for file in ["stays", "edited", "gone", "moved", "dir/inner", "moved-and-edited"] {
        fs::write(state.join(file), file).unwrap();
    }
    subvolume::create(&state.join("inner-subvolume")).unwrap();
    fs::write(state.join("inner-subvolume/unseen"), "").unwrap();
    let first = take(&machine, "@state");
    let path = place(&machine, &first);
    let none = snapshots::compare(&path, &state, 100).unwrap();
    assert_eq!(none, snapshots::Differences::default(), "a snapshot is what is there");
    // The content alone: size and time are as before.
    let time = state.join("edited").metadata().unwrap().modified().unwrap();
    fs::write(state.join("edited"), "EDITED").unwrap();
    fs::File::options().write(true).open(state.join("edited")).unwrap().set_modified(time).unwrap();
    fs::remove_file(state.join("gone")).unwrap();
    fs::rename(state.join("moved"), state.join("elsewhere")).unwrap();
    fs::rename(state.join("moved-and-edited"), state.join("there")).unwrap();
    fs::write(state.join("there"), "other").unwrap();
    fs::rename(state.join("dir"), state.join("directory")).unwrap();
    fs::write(state.join("new"), "").unwrap();
    let attribute =
        Command::new("setfattr").args(["-n", "user.x", "-v", "1"]).arg(state.join("stays")).status();
    let with_attribute = attribute.is_ok_and(|status| status.success());

    let now = snapshots::compare(&path, &state, 100).unwrap();
    let words: Vec<String> = now
        .changes
        .iter()
        .map(|d| {
            let how = d.how.join(",");
            format!("{:?} {} {} {how}", d.what, d.from.as_deref().unwrap_or("-"), d.path)
                .trim_end()
                .to_owned()
        })
        .collect();
    let mut wanted = vec![
        "Renamed dir directory",
        "Changed - edited content",
        "Renamed moved elsewhere",
        "Removed - gone",
        "Added - new",
    ];
    if with_attribute {
        wanted.push("Changed - stays attributes");
    }
    wanted.push("Renamed moved-and-edited there content");
    assert_eq!(words, wanted);
    let second = take(&machine, "@state");
    assert_eq!(snapshots::compare(&path, &place(&machine, &second), 100).unwrap(), now);
    let back = snapshots::compare(&place(&machine, &second), &path, 100).unwrap();
    assert_eq!((back.added, back.removed), (now.removed, now.added), "the other way round");
    assert!(back.changes.iter().any(|d| d.what == What::Added && d.path == "gone"));
}

#[test]
fn a_tree_that_is_hostile_is_compared_and_not_followed() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    let rootfs = container(&machine);
    let from = take(&machine, "container/web-01");
    std::os::unix::fs::symlink("/etc", rootfs.join("link")).unwrap();
    assert!(Command::new("mkfifo").arg(rootfs.join("pipe")).status().unwrap().success());
    assert!(Command::new("mknod").arg(rootfs.join("zero")).args(["c", "1", "5"]).status().unwrap().success());
    let mut deep = rootfs.clone();
    for _ in 0..60 {
        deep.push("d".repeat(50));
        // Beyond what a path may be long, a step at a time.
        if fs::create_dir(&deep).is_err() {
            break;
        }
    }
    let all = snapshots::compare(&place(&machine, &from), &rootfs, 10_000).unwrap();
    let paths: Vec<&str> = all.changes.iter().map(|d| d.path.as_str()).collect();
    for path in ["link", "pipe", "zero"] {
        assert!(paths.contains(&path), "{path}: {paths:?}");
    }
    assert!(!paths.iter().any(|path| path.starts_with("link/")), "{paths:?}");
}

#[test]
fn the_schedule_takes_one_a_period_and_removes_what_no_rule_keeps_and_nothing_else() {
    host_test!(Need::Root, Need::Btrfs);
    let mut machine = Machine::new();
    let by_hand = take(&machine, "@state");
    let keep = Keep { last: 2, hourly: 0, daily: 0, weekly: 0, monthly: 0 };
    for of in ["@state", "container/none"] {
        let policy = SnapshotPolicy { schedule: Every::Hourly, keep };
        machine.spec.snapshots.insert(subject(of), policy);
    }
    let start: Timestamp = Timestamp::now();
    let mut taken = Vec::new();
    for hour in 0..4 {
        let now = start + jiff::SignedDuration::from_hours(hour);
        let planned = snapshots::plan_round(&machine.cx(), now);
        let round = snapshots::round(&machine.cx(), now);
        let state = &round.subjects[0];
        assert_eq!(planned.subjects[0].taken.is_some(), state.taken.is_some());
        assert_eq!(planned.subjects[0].removed, state.removed);
        // What fails for one does not keep the others from theirs.
        assert_eq!(round.subjects[1].failed.as_ref().unwrap().kind, Kind::NotFound);
        taken.extend(state.taken.clone());
        if hour == 0 {
            let again = snapshots::round(&machine.cx(), now);
            assert!(!again.changed(), "once an hour: {again:?}");
            snapshots::mark_kept(&machine.tree(), &taken[0], true).unwrap();
        }
        // The next is of another hour, as far as the records know.
        age(&machine, taken.last().unwrap(), now);
    }
    assert_eq!(taken.len(), 4);
    let left: Vec<_> =
        snapshots::list(&machine.tree(), None).unwrap().into_iter().map(|l| l.record.name).collect();
    let mut wanted = vec![by_hand.name, taken[0].clone(), taken[2].clone(), taken[3].clone()];
    wanted.sort();
    assert_eq!(left, wanted);
}

/// Makes a record say that its snapshot was taken at another time.
fn age(machine: &Machine, name: &opdbus::snapshots::SnapshotName, taken: Timestamp) {
    let path = snapshots::directory(&machine.tree()).join(format!("{name}.json"));
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record["taken"] = taken.to_string().into();
    fs::write(path, record.to_string()).unwrap();
}

#[test]
fn a_state_that_a_stopped_run_left_is_planned_to_go_and_nothing_in_use_goes_with_it() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    let (base, directory) = (machine.base(), snapshots::directory(&machine.tree()));
    let state = base.join("@state");
    fs::write(state.join("f"), "old").unwrap();
    let from = take(&machine, "@state");
    let beside = base.join(".opdbus-restore-@state");

    // Stopped while it made a snapshot, removed one, wrote a record.
    subvolume::snapshot(&state, &directory.join(".opdbus-make-state-20260131T091500Z"), true).unwrap();
    subvolume::snapshot(&state, &directory.join(".opdbus-delete-state-20260131T091500Z"), true).unwrap();
    let record = fs::read_to_string(directory.join(format!("{}.json", from.name))).unwrap();
    let forgotten = record.replace(from.name.as_str(), "state-20260131T091500Z");
    fs::write(directory.join("state-20260131T091500Z.json"), forgotten).unwrap();
    fs::write(directory.join(".opdbus-new-x.json-AbC123"), "{").unwrap();
    // Stopped before the exchange: the new one goes.
    subvolume::snapshot(&place(&machine, &from), &beside, false).unwrap();
    subvolume::set_staged(&beside, true).unwrap();
    assert_eq!(machine.plan().len(), 5, "{:#?}", machine.plan());
    machine.apply();
    assert_eq!(machine.plan(), Vec::<String>::new());
    assert_eq!(snapshots::list(&machine.tree(), None).unwrap().len(), 1);
    assert_eq!(names(&directory).len(), 2);

    // Stopped after the exchange, before its mark was taken away: the old one is kept.
    fs::write(state.join("f"), "in use").unwrap();
    let uuid = subvolume::info(&state).unwrap().uuid;
    subvolume::snapshot(&place(&machine, &from), &beside, false).unwrap();
    subvolume::set_staged(&beside, true).unwrap();
    subvolume::exchange(&beside, &state).unwrap();
    assert_eq!(machine.plan().len(), 1, "{:#?}", machine.plan());
    machine.apply();
    assert_eq!(machine.plan(), Vec::<String>::new());
    let all = snapshots::list(&machine.tree(), None).unwrap();
    let kept = all.iter().find(|l| l.record.uuid == uuid).expect("what was in use is kept");
    assert_eq!(fs::read(directory.join(&kept.record.name).join("f")).unwrap(), b"in use");
    assert!(!subvolume::is_staged(&state).unwrap());

    // Stopped after the move, before it was closed.
    subvolume::set_read_only(&directory.join(&kept.record.name), false).unwrap();
    assert!(machine.plan()[0].contains("read-only"), "{:?}", machine.plan());
    machine.apply();
    assert!(subvolume::is_read_only(&directory.join(&kept.record.name)).unwrap());
}

/// Where the run that is killed works; set for the child alone.
const VICTIM: &str = "OPDBUS_TEST_VICTIM";

#[test]
fn the_run_that_is_killed() {
    // Does nothing but in the child that the next test starts.
    let Some(config) = std::env::var_os(VICTIM) else { return };
    let mut host = opdbus::engine::Host::default();
    Path::new(&config).parent().unwrap().clone_into(&mut host.paths.etc);
    let spec = opdbus::spec::load(Path::new(&config)).unwrap();
    let cx = Context { host: &host, spec: &spec, progress: &opdbus::engine::Silent };
    for _ in 0..1000 {
        let tree = cx.tree();
        let record = snapshots::take(&tree, &subject("@state"), &manual()).unwrap();
        let done = snapshots::restore(&cx, &record, "root", true, &Nobody).unwrap();
        snapshots::delete(&tree, &done.before.unwrap()).unwrap();
        snapshots::delete(&tree, &record.name).unwrap();
    }
}

#[test]
fn a_run_killed_at_any_instant_loses_nothing_and_the_next_leaves_nothing_half_done() {
    host_test!(Need::Root, Need::Btrfs);
    let machine = Machine::new();
    fs::write(machine.base().join("@state/precious"), "x").unwrap();
    let mut interrupted = 0;
    for n in 0..40_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_run_that_is_killed"])
            .env(VICTIM, machine.host.paths.config())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(20_000 + n * 1_777));
        child.kill().unwrap();
        child.wait().unwrap();
        interrupted += usize::from(!machine.plan().is_empty());
        machine.apply();
        assert_eq!(machine.plan(), Vec::<String>::new(), "killed in round {n}");
        assert!(leftovers(&machine.base()).is_empty(), "{:?}", leftovers(&machine.base()));
        assert_eq!(fs::read(machine.base().join("@state/precious")).unwrap(), b"x");
        assert!(snapshots::list(&machine.tree(), None).unwrap().iter().all(|l| l.state == State::Whole));
    }
    assert!(interrupted > 0, "no run was killed in time: the test shows nothing");
}

#[test]
fn the_program_takes_what_is_due_and_its_exit_status_tells_what_is_wrong() {
    host_test!(Need::Root, Need::Btrfs);
    let mut machine = Machine::new();
    let run = |machine: &Machine, verb: &str| {
        let program = env!("CARGO_BIN_EXE_opdbus-snapshot");
        let output = machine.program(program).args([verb, "--json"]).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (json, output.status.code(), tree::text(&output))
    };
    let (round, status, _) = run(&machine, "run");
    assert_eq!((round["subjects"].as_array().unwrap().len(), status), (0, Some(0)), "off by default");
    let policy = SnapshotPolicy { schedule: Every::Daily, keep: Keep::default() };
    machine.spec.snapshots.insert(subject("@state"), policy.clone());
    machine.write_spec();
    let (due, status, _) = run(&machine, "due");
    assert_eq!(status, Some(0));
    assert!(
        due["subjects"][0]["taken"].is_string() && snapshots::list(&machine.tree(), None).unwrap().is_empty()
    );
    let (round, status, said) = run(&machine, "run");
    assert_eq!(status, Some(0), "{said}");
    let (list, _, _) = run(&machine, "list");
    assert_eq!(list[0]["name"], round["subjects"][0]["taken"]);
    assert_eq!(list[0]["reason"], "schedule");
    machine.spec.snapshots.insert(subject("container/none"), policy);
    machine.write_spec();
    assert_eq!(run(&machine, "run").1, Some(4), "one that is not there is said");
    assert_eq!(run(&machine, "plan").1, Some(0));

    // The operations themselves, without a daemon.
    let call = |args: &[&str]| {
        let program = env!("CARGO_BIN_EXE_opdbus-snapshot");
        let output = machine.program(program).args(args).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), tree::text(&output))
    };
    fs::write(machine.base().join("@state/f"), "then").unwrap();
    let (status, said) = call(&["create", "before", "--of", "@state"]);
    assert_eq!(status, Some(0), "{said}");
    fs::write(machine.base().join("@state/f"), "now").unwrap();
    assert!(call(&["diff", "before"]).1.contains("~ f (content)"), "{}", call(&["diff", "before"]).1);
    assert_eq!(call(&["restore", "before"]).0, Some(0));
    assert_eq!(fs::read(machine.base().join("@state/f")).unwrap(), b"then");
    assert_eq!(call(&["delete", "before"]).0, Some(3), "what destroys is confirmed");
    assert_eq!(call(&["delete", "before", "--yes"]).0, Some(0));
    assert_eq!(call(&["restore", "before"]).0, Some(4));
    assert_eq!(call(&["create", "--of", "@plugins"]).0, Some(3));
}
