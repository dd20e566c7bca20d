//! Promises of the storage, plugins and sockets rooms, on a real btrfs.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use opdbus::engine::{self, Component, Context, Host, Outcome, Silent, Stage};
use opdbus::fault::{Fault, Kind, Report};
use opdbus::plugins::PluginsComponent;
use opdbus::sockets::SocketsComponent;
use opdbus::spec::{HostSpec, Image};
use opdbus::storage::{StorageComponent, SubvolumeError, subvolume};
use support::Need;
use support::btrfs::{Btrfs, unmount};

#[test]
fn a_subvolume_is_made_marked_compressed_and_deleted() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let path = fs.path().join("one");
    subvolume::create(&path).unwrap();
    assert!(subvolume::is_subvolume(&path).unwrap());
    assert_eq!(subvolume::marker(&path).unwrap(), None);
    subvolume::mark(&path, "storage").unwrap();
    assert_eq!(subvolume::marker(&path).unwrap().as_deref(), Some("storage"));
    assert_eq!(subvolume::compression(&path).unwrap(), None);
    subvolume::set_compression(&path, "zstd").unwrap();
    assert_eq!(subvolume::compression(&path).unwrap().as_deref(), Some("zstd"));
    subvolume::sync(&path).unwrap();
    subvolume::delete(&path).unwrap();
    assert!(!path.exists());
}

#[test]
fn an_existing_target_is_refused_and_never_nested_into() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let (source, there) = (fs.path().join("source"), fs.path().join("there"));
    subvolume::create(&source).unwrap();
    std::fs::create_dir(&there).unwrap();
    for error in [
        subvolume::create(&there).unwrap_err(),
        subvolume::snapshot(&source, &there, false).unwrap_err(),
        subvolume::snapshot(&source, &source, false).unwrap_err(),
    ] {
        assert!(matches!(&error, SubvolumeError::Exists { .. }), "{error:?}");
    }
    assert_eq!(std::fs::read_dir(&there).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(&source).unwrap().count(), 0);
}

#[test]
fn subvolumes_inside_a_subvolume_go_with_it_read_only_ones_too() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let top = fs.path().join("top");
    subvolume::create(&top).unwrap();
    std::fs::create_dir_all(top.join("var/lib")).unwrap();
    subvolume::create(&top.join("right-inside")).unwrap();
    let machines = top.join("var/lib/machines");
    subvolume::create(&machines).unwrap();
    subvolume::create(&machines.join("deeper")).unwrap();
    std::fs::create_dir_all(machines.join("deeper/a/b")).unwrap();
    subvolume::create(&machines.join("deeper/a/b/deepest")).unwrap();
    std::fs::write(machines.join("deeper/a/b/deepest/file"), "x").unwrap();
    for path in [&top, &machines, &machines.join("deeper"), &machines.join("deeper/a/b/deepest")] {
        subvolume::set_read_only(path, true).unwrap();
        assert!(subvolume::is_read_only(path).unwrap());
    }
    for n in 0..300 {
        // More than one answer of the kernel holds (255).
        subvolume::create(&top.join("right-inside").join(format!("s{n}"))).unwrap();
    }
    subvolume::delete(&top).unwrap();
    assert!(!top.exists());
    assert_eq!(std::fs::read_dir(fs.path()).unwrap().count(), 0);
}

#[test]
fn a_snapshot_is_a_writable_or_read_only_copy_with_the_marker() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let (source, copy, frozen) = (fs.path().join("source"), fs.path().join("copy"), fs.path().join("frozen"));
    subvolume::create(&source).unwrap();
    subvolume::mark(&source, "templates").unwrap();
    std::fs::write(source.join("f"), "1").unwrap();
    subvolume::snapshot(&source, &copy, false).unwrap();
    subvolume::snapshot(&source, &frozen, true).unwrap();
    std::fs::write(copy.join("f"), "2").unwrap();
    assert_eq!(std::fs::read(source.join("f")).unwrap(), b"1");
    assert_eq!(subvolume::marker(&copy).unwrap().as_deref(), Some("templates"));
    assert!(std::fs::write(frozen.join("f"), "3").is_err());
    assert!(subvolume::is_read_only(&frozen).unwrap() && !subvolume::is_read_only(&copy).unwrap());
}

/// The heights of the blocks of a subvolume's tree that are no leaves, from the top, as they are on the disk.
fn heights(fs: &Btrfs, path: &Path) -> Vec<String> {
    subvolume::sync(path).unwrap();
    let id = subvolume::info(path).unwrap().id.to_string();
    let dump = Command::new("btrfs")
        .args(["inspect-internal", "dump-tree", "-t", &id])
        .arg(fs.beside("image"))
        .output()
        .unwrap();
    let text = String::from_utf8(dump.stdout).unwrap();
    let height = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
    text.lines().filter(|l| l.starts_with("node ") && l.contains(" level ")).filter_map(height).collect()
}

#[test]
fn a_tree_whose_top_is_nearly_full_is_made_higher_and_nothing_else_of_the_subvolume_changes() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let path = fs.path().join("template");
    subvolume::create(&path).unwrap();
    // A leaf each.
    for n in 0..430 {
        let file = path.join(n.to_string());
        std::fs::write(&file, "").unwrap();
        rustix::fs::setxattr(&file, "user.long", &[1; 15_000], rustix::fs::XattrFlags::empty()).unwrap();
    }
    let before = (everything(&path), std::fs::metadata(&path).unwrap().modified().unwrap());
    assert_eq!(heights(&fs, &path), ["1"], "a top with all leaves below it");
    subvolume::deepen(&path).unwrap();
    assert_eq!(heights(&fs, &path), ["2", "1", "1"], "a top with two blocks below it");
    subvolume::deepen(&path).unwrap();
    assert_eq!(heights(&fs, &path), ["2", "1", "1"], "and so it stays");
    assert_eq!((everything(&path), std::fs::metadata(&path).unwrap().modified().unwrap()), before);

    let small = fs.path().join("small");
    subvolume::create(&small).unwrap();
    subvolume::deepen(&small).unwrap();
    assert_eq!(heights(&fs, &small), Vec::<String>::new());
}

#[test]
fn what_was_written_before_a_commit_of_the_file_system_is_on_the_disk_after_it() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let subvolume_in_it = fs.path().join("subvolume");
    subvolume::create(&subvolume_in_it).unwrap();
    std::fs::write(fs.path().join("file"), "what was written").unwrap();
    subvolume::sync_all(&[&subvolume_in_it, fs.path()]).unwrap();
    // As after a power cut: what the disk has, and nothing of what the kernel has in memory.
    let (disk, found) = (fs.beside("disk"), fs.beside("found"));
    std::fs::copy(fs.beside("image"), &disk).unwrap();
    std::fs::create_dir(&found).unwrap();
    let restored = Command::new("btrfs").arg("restore").arg(&disk).arg(&found).output().unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    assert_eq!(std::fs::read_to_string(found.join("file")).unwrap(), "what was written");
    let error = subvolume::sync_all(&[fs.path(), &fs.path().join("gone")]).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
}

#[test]
fn what_is_not_a_subvolume_is_neither_called_one_nor_deleted_nor_cloned() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let (plain, link, real) = (fs.path().join("plain"), fs.path().join("link"), fs.path().join("real"));
    std::fs::create_dir(&plain).unwrap();
    subvolume::create(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    for path in [&plain, &link, &fs.path().join("missing"), Path::new("/"), Path::new("/proc/self")] {
        assert!(!subvolume::is_subvolume(path).unwrap(), "{}", path.display());
    }
    for path in [&plain, &link] {
        let error = subvolume::delete(path).unwrap_err();
        assert!(matches!(&error, SubvolumeError::NotASubvolume { .. }), "{error:?}");
        assert!(subvolume::snapshot(path, &fs.path().join("new"), false).is_err());
    }
    assert!(plain.exists() && real.exists());
}

#[test]
fn the_file_system_is_that_of_the_nearest_directory_that_exists() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    assert!(subvolume::is_btrfs(&fs.path().join("not/yet")).unwrap());
    assert!(!subvolume::is_btrfs(Path::new("/proc/none/yet")).unwrap());
    let error = subvolume::create(Path::new("/dev/shm/opdbus-not-btrfs")).unwrap_err();
    assert!(matches!(&error, SubvolumeError::NotBtrfs { .. }), "{error:?}");
}

/// A host with everything of its own in a directory, and the three components that storage is made of.
struct Machine {
    host: Host,
    spec: HostSpec,
    stages: [Box<dyn Stage>; 3],
}

impl Machine {
    fn new(etc: &Path, base: &Path) -> Self {
        let mut host = Host::default();
        etc.clone_into(&mut host.paths.etc);
        host.paths.units = etc.join("units");
        let mut spec = HostSpec::default();
        base.clone_into(&mut spec.btrfs.base_path);
        // A group that every Debian has: the tests must not make one on the machine.
        let sockets = SocketsComponent::with_group("daemon");
        Self {
            host,
            spec,
            stages: [Box::new(StorageComponent), Box::new(PluginsComponent), Box::new(sockets)],
        }
    }

    /// A machine whose base path is a directory, not there yet, on `fs`.
    fn on(fs: &Btrfs) -> Self {
        Self::new(&fs.beside("etc"), &fs.path().join("base"))
    }

    fn base(&self) -> &Path {
        &self.spec.btrfs.base_path
    }

    fn plan(&self) -> Result<Vec<String>, Report> {
        let cx = Context { host: &self.host, spec: &self.spec, progress: &Silent };
        let changes = engine::plan(&self.stages, &cx)?;
        Ok(changes.iter().map(|c| format!("{:?} {} {}", c.action, c.object, c.detail)).collect())
    }

    fn apply(&self) -> Result<Outcome, Report> {
        let cx = Context { host: &self.host, spec: &self.spec, progress: &Silent };
        let outcome = engine::apply(&self.stages, &cx)?;
        outcome.failure().cloned().map_or(Ok(outcome), Err)
    }

    fn show(&self) -> String {
        let cx = Context { host: &self.host, spec: &self.spec, progress: &Silent };
        serde_json::to_string_pretty(&engine::show(&self.stages, &cx).unwrap()).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Every path below `top` with its mode and inode: what must not change.
fn everything(top: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut all = Vec::new();
    let mut left = vec![top.to_owned()];
    while let Some(path) = left.pop() {
        let data = std::fs::symlink_metadata(&path).unwrap();
        all.push(format!("{} {:o} {} {}", path.display(), data.mode(), data.ino(), data.ctime_nsec()));
        if data.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_bare_host_becomes_what_the_spec_says_and_a_second_run_changes_nothing() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let machine = Machine::on(&fs);
    let planned = machine.plan().unwrap();
    assert!(!machine.base().exists(), "a plan changes nothing");
    assert_eq!(machine.apply().unwrap().changes(), planned.len());

    for (name, wanted) in [("@timing", 0o700), ("@state", 0o755), ("@templates", 0o700), ("@plugins", 0o700)]
    {
        let path = machine.base().join(name);
        assert!(subvolume::is_subvolume(&path).unwrap(), "{name}");
        assert_eq!(mode(&path), wanted, "{name}");
        assert_eq!(subvolume::compression(&path).unwrap().as_deref(), Some("zstd"), "{name}");
        assert_eq!(subvolume::marker(&path).unwrap().as_deref(), Some("storage"), "{name}");
    }
    for plugin in ["lxc", "netmaker", "ovs", "systemd"] {
        let path = machine.base().join("@plugins").join(plugin);
        assert!(subvolume::is_subvolume(&path).unwrap(), "{plugin}");
        for inside in ["plugin.toml", "semantic-mapping.toml", "state", "cache"] {
            assert!(path.join(inside).exists(), "{plugin}/{inside}");
        }
    }
    assert_eq!(mode(&machine.base().join("@plugins/netmaker/enrollment-keys")), 0o700);
    for directory in
        ["containers", "sockets/containers/by-name", "sockets/plugins", "sockets/api", "@cache/blocks"]
    {
        assert!(machine.base().join(directory).is_dir(), "{directory}");
    }

    let before = everything(machine.base());
    assert_eq!(machine.plan().unwrap(), Vec::<String>::new());
    assert_eq!(machine.apply().unwrap().changes(), 0);
    assert_eq!(everything(machine.base()), before);
}

#[test]
fn what_is_shown_is_the_same_on_two_hosts_of_the_same_spec() {
    host_test!(Need::Root, Need::Btrfs);
    let shown: Vec<String> = (0..2)
        .map(|n| {
            let fs = Btrfs::new(256);
            for _ in 0..n {
                // So that ids of subvolumes and inodes differ.
                subvolume::create(&fs.path().join("other")).unwrap();
            }
            let machine = Machine::on(&fs);
            machine.apply().unwrap();
            machine.show().replace(&*fs.path().to_string_lossy(), "FS")
        })
        .collect();
    assert_eq!(shown[0], shown[1]);
}

#[test]
fn what_was_changed_on_our_subvolumes_is_put_right_and_their_content_kept() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let machine = Machine::on(&fs);
    machine.apply().unwrap();
    let (timing, vectors) = (machine.base().join("@timing"), machine.base().join("@vectors"));
    std::fs::write(timing.join("blockchain.db"), "ledger").unwrap();
    std::fs::set_permissions(&timing, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    std::os::unix::fs::chown(&vectors, Some(1), Some(1)).unwrap();
    subvolume::set_compression(&vectors, "lzo").unwrap();
    let plan = machine.plan().unwrap();
    assert_eq!(plan.len(), 2, "{plan:?}");
    assert!(plan[0].contains("@timing mode 0700 instead of 0777"), "{plan:?}");
    assert!(plan[1].contains("compression zstd instead of lzo"), "{plan:?}");
    machine.apply().unwrap();
    assert_eq!(machine.plan().unwrap(), Vec::<String>::new());
    assert_eq!(std::fs::read(timing.join("blockchain.db")).unwrap(), b"ledger");
}

#[test]
fn a_plain_directory_in_the_way_stops_everything_and_stays() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let machine = Machine::on(&fs);
    let theirs = machine.base().join("@vectors");
    std::fs::create_dir_all(&theirs).unwrap();
    std::fs::write(theirs.join("thesis"), "x").unwrap();
    let before = everything(machine.base());
    for report in [machine.plan().unwrap_err(), machine.apply().unwrap_err()] {
        assert_eq!(report.kind, Kind::Conflict);
        let (old, at) = (format!("{}.old", theirs.display()), theirs.display());
        assert!(report.next.unwrap().contains(&format!("`mv {at} {old}`")));
    }
    assert_eq!(everything(machine.base()), before, "nothing was changed, not even beside it");

    // The advice, followed to the letter, leads out.
    let old = theirs.with_file_name("@vectors.old");
    std::fs::rename(&theirs, &old).unwrap();
    machine.apply().unwrap();
    assert!(subvolume::is_subvolume(&theirs).unwrap() && old.join("thesis").exists());
}

#[test]
fn a_foreign_subvolume_is_refused_until_it_is_handed_over_and_then_keeps_its_content() {
    host_test!(Need::Root, Need::Btrfs);
    for name in ["@snapshots", "@plugins/ovs"] {
        let fs = Btrfs::new(256);
        let machine = Machine::on(&fs);
        let theirs = machine.base().join(name);
        if name.contains('/') {
            machine.apply().unwrap();
            subvolume::delete(&theirs).unwrap();
        } else {
            std::fs::create_dir(machine.base()).unwrap();
        }
        subvolume::create(&theirs).unwrap();
        std::fs::write(theirs.join("theirs"), "x").unwrap();
        let before = everything(machine.base());
        let report = machine.apply().unwrap_err();
        assert_eq!(report.kind, Kind::Conflict);
        assert!(report.next.unwrap().contains("setfattr -n user.opdbus"), "{name}");
        assert_eq!(everything(machine.base()), before, "{name}");
        subvolume::mark(&theirs, "storage").unwrap();
        machine.apply().unwrap();
        assert_eq!(std::fs::read(theirs.join("theirs")).unwrap(), b"x");
    }
}

#[test]
fn what_a_stopped_run_left_half_made_is_planned_to_go_and_goes() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let machine = Machine::on(&fs);
    machine.apply().unwrap();
    let left = |name: &str| machine.base().join(name);
    // Stopped right after it was made, after it was marked, and in a plugin while a file was written.
    subvolume::create(&left(".opdbus-new-@extra")).unwrap();
    subvolume::create(&left("@plugins/.opdbus-new-dns")).unwrap();
    subvolume::mark(&left("@plugins/.opdbus-new-dns"), "plugins").unwrap();
    std::fs::create_dir(left("@plugins/.opdbus-new-dns/state")).unwrap();
    std::fs::write(left("@plugins/lxc/.opdbus-new-Xy12ab"), "half").unwrap();
    std::fs::create_dir(left("sockets/.opdbus-new-api")).unwrap();
    std::fs::write(left("@state/.opdbus-new-managed-files.json-Xy12ab"), "half").unwrap();
    // Another program's, which is being written as we look.
    std::fs::write(left("@state/.opdbus-new-current-state.json-Xy12ab"), "half").unwrap();
    let plan = machine.plan().unwrap();
    assert_eq!(plan.len(), 5, "{plan:#?}");
    assert!(plan.iter().all(|change| change.starts_with("Remove ")), "{plan:#?}");
    machine.apply().unwrap();
    std::fs::remove_file(left("@state/.opdbus-new-current-state.json-Xy12ab")).unwrap();
    assert!(!everything(machine.base()).iter().any(|path| path.contains(".opdbus-new-")));
    assert_eq!(machine.plan().unwrap(), Vec::<String>::new());

    // A name of ours on someone's data is not enough to remove it.
    subvolume::create(&left(".opdbus-new-@theirs")).unwrap();
    std::fs::write(left(".opdbus-new-@theirs/thesis"), "x").unwrap();
    assert_eq!(machine.apply().unwrap_err().kind, Kind::Conflict);
    assert!(left(".opdbus-new-@theirs/thesis").exists());
}

/// Makes the first change of a component's plan and forgets the rest, as a run that is stopped does.
fn first_change<C: Component>(component: &C, cx: &Context<'_>) -> bool {
    let seen = component.observe(cx).unwrap();
    let plan = component.plan(cx.spec, &seen).unwrap();
    plan.first().is_some_and(|change| component.apply(cx, change).map(|()| true).unwrap())
}

#[test]
fn runs_that_are_stopped_after_each_change_end_where_one_run_does() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let machine = Machine::on(&fs);
    let whole = machine.plan().unwrap().len();
    let cx = Context { host: &machine.host, spec: &machine.spec, progress: &Silent };
    let sockets = SocketsComponent::with_group("daemon");
    let mut made = 0;
    while first_change(&StorageComponent, &cx)
        || first_change(&PluginsComponent, &cx)
        || first_change(&sockets, &cx)
    {
        made += 1;
        assert!(made <= whole, "a change is planned again after it was made");
    }
    assert_eq!(made, whole);
    assert_eq!(machine.plan().unwrap(), Vec::<String>::new());
}

/// Where the run that is killed works; set for the child alone.
const VICTIM: &str = "OPDBUS_TEST_VICTIM";

#[test]
fn the_run_that_is_killed() {
    // Does nothing but in the child that the next test starts.
    let Some(base) = std::env::var_os(VICTIM) else { return };
    let base = Path::new(&base);
    Machine::new(&base.with_extension("etc"), base).apply().unwrap();
}

#[test]
fn a_run_killed_at_any_instant_is_finished_by_the_next() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(512);
    let mut interrupted = 0;
    for n in 0..30 {
        let base = fs.path().join(format!("base-{n}"));
        let machine = Machine::new(&base.with_extension("etc"), &base);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_run_that_is_killed"])
            .env(VICTIM, &base)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The clock starts when the run does.
        while !base.exists() && child.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_micros(n * 400));
        child.kill().unwrap();
        child.wait().unwrap();
        interrupted += usize::from(!machine.plan().unwrap().is_empty());
        machine.apply().unwrap();
        assert_eq!(machine.plan().unwrap(), Vec::<String>::new(), "killed after {n} steps");
        assert!(!everything(&base).iter().any(|path| path.contains(".opdbus-new-")));
    }
    assert!(interrupted > 0, "no run was killed in time: the test shows nothing");
}

/// `opdbus-storage` with a host spec of its own; what it printed and how it ended.
fn program(fs: &Btrfs, verb: &str, spec: &HostSpec) -> (String, String, Option<i32>) {
    let etc = fs.beside("etc");
    std::fs::create_dir_all(&etc).unwrap();
    std::fs::write(etc.join("config.json"), opdbus::spec::render(spec)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_opdbus-storage"))
        .args([verb, "--json"])
        .env("OPDBUS_ETC", &etc)
        .env("OPDBUS_RUN", fs.beside("run"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn the_program_plans_and_its_exit_status_tells_what_is_wrong() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let mut spec = HostSpec::default();
    spec.btrfs.base_path = fs.path().join("base");
    let (out, err, status) = program(&fs, "plan", &spec);
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let components: Vec<&str> =
        plan["changes"].as_array().unwrap().iter().filter_map(|c| c["component"].as_str()).collect();
    for component in ["storage", "plugins", "sockets"] {
        assert!(components.contains(&component), "{component}: {out}");
    }
    assert!(!spec.btrfs.base_path.exists());
    let (out, _, status) = program(&fs, "status", &spec);
    let seen: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &seen["storage"]["base"]["kind"]), (Some(0), &"missing".into()));

    std::fs::create_dir_all(spec.btrfs.base_path.join("@state/x")).unwrap();
    let (out, err, status) = program(&fs, "plan", &spec);
    let error: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!((status, out.as_str()), (Some(5), ""));
    assert_eq!(error["error"]["kind"], "conflict");

    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    spec.btrfs.base_path = elsewhere.path().join("base");
    assert_eq!(program(&fs, "apply", &spec).2, Some(3));
    assert!(!spec.btrfs.base_path.exists());
}

#[test]
fn an_edited_plugin_file_is_kept_and_a_newer_one_laid_beside() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let mut machine = Machine::on(&fs);
    machine.apply().unwrap();
    let file = machine.base().join("@plugins/systemd/plugin.toml");
    let mapping = machine.base().join("@plugins/systemd/semantic-mapping.toml");
    let edited = std::fs::read_to_string(&file).unwrap().replace("1.0.0", "1.0.0-mine");
    std::fs::write(&file, &edited).unwrap();
    std::fs::write(&mapping, "version = 1\n").unwrap();
    assert_eq!(machine.plan().unwrap(), Vec::<String>::new(), "an edit is not a difference to undo");

    let name = "systemd".parse().unwrap();
    machine.spec.plugins.get_mut(&name).unwrap().introspection = "org.example.Other".into();
    let plan = machine.plan().unwrap();
    assert!(plan[0].contains("edited, and kept"), "{plan:?}");
    machine.apply().unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), edited);
    assert_eq!(std::fs::read_to_string(&mapping).unwrap(), "version = 1\n");
    let beside = std::fs::read_to_string(file.with_file_name("plugin.toml.opdbus-new")).unwrap();
    assert!(beside.contains("org.example.Other"), "{beside}");
    assert_eq!(machine.plan().unwrap(), Vec::<String>::new());
}

#[test]
fn a_plugin_that_left_the_spec_keeps_its_subvolume() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let mut machine = Machine::on(&fs);
    machine.apply().unwrap();
    let state = machine.base().join("@plugins/ovs/state/mine");
    std::fs::write(&state, "x").unwrap();
    machine.spec.plugins.remove(&"ovs".parse::<opdbus::name::PluginName>().unwrap());
    assert_eq!(machine.apply().unwrap().changes(), 0);
    assert!(state.exists());
}

#[test]
fn a_host_without_btrfs_is_told_both_ways_out_and_nothing_is_made() {
    host_test!(Need::Root, Need::Btrfs);
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let machine = Machine::new(&dir.path().join("etc"), &dir.path().join("base"));
    let report = machine.apply().unwrap_err();
    assert_eq!(report.kind, Kind::Invalid);
    assert!(report.message.contains("not on btrfs"), "{report}");
    let next = report.next.unwrap();
    assert!(next.contains("mount a btrfs file system") && next.contains("--btrfs-image"), "{next}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Unmounts the base path of a test with an image, also when it fails.
struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        unmount(self.0);
    }
}

#[test]
fn an_image_is_made_mounted_and_found_again_with_all_that_is_in_it() {
    host_test!(Need::Root, Need::Btrfs);
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("var/base");
    let image = dir.path().join("images/data.btrfs");
    let mut machine = Machine::new(&dir.path().join("etc"), &base);
    machine.spec.btrfs.compression_level = 5;
    machine.spec.btrfs.image = Some(Image { path: image.clone(), size: "256M".parse().unwrap() });
    let _unmount = Unmount(&base);

    // A run that was stopped while it made the image.
    std::fs::create_dir(image.parent().unwrap()).unwrap();
    let half = image.with_file_name(".opdbus-new-data.btrfs");
    std::fs::write(&half, "half").unwrap();
    let plan = machine.plan().unwrap();
    assert!(plan[0].starts_with("Remove ") && plan[1].contains("256M, sparse"), "{plan:#?}");
    assert!(half.exists() && !base.exists());

    machine.apply().unwrap();
    assert!(!half.exists());
    assert_eq!(machine.plan().unwrap(), Vec::<String>::new());
    assert!(machine.show().contains("compress=zstd:5"), "{}", machine.show());
    assert!(subvolume::is_subvolume(&base.join("@plugins/lxc")).unwrap());
    let on_disk = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(&image).unwrap()) * 512;
    assert!(on_disk < 64 << 20, "sparse: {on_disk} bytes on disk");
    assert_eq!(mode(&image), 0o600);

    // Not mounted (a reboot without systemd): the next run mounts it and finds its content.
    std::fs::write(base.join("@state/mine"), "x").unwrap();
    unmount(&base);
    assert_eq!(std::fs::read_dir(&base).unwrap().count(), 0);
    machine.spec.btrfs.image = Some(Image { path: image.clone(), size: "512M".parse().unwrap() });
    machine.apply().unwrap();
    assert_eq!(std::fs::read(base.join("@state/mine")).unwrap(), b"x");
    assert_eq!(std::fs::metadata(&image).unwrap().len(), 256 << 20, "never resized");
    assert_eq!(machine.plan().unwrap(), Vec::<String>::new());

    // What the image would hide is not hidden.
    unmount(&base);
    std::fs::write(base.join("thesis"), "x").unwrap();
    let report = machine.apply().unwrap_err();
    assert_eq!(report.kind, Kind::Conflict);
    assert!(report.message.contains("would hide"), "{report}");
    std::fs::remove_file(base.join("thesis")).unwrap();
}

#[test]
fn another_mount_at_the_base_path_and_another_file_in_the_images_place_are_refused() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let mut machine = Machine::new(&fs.beside("etc"), fs.path());
    let path = fs.beside("other-image");
    machine.spec.btrfs.image = Some(Image { path: path.clone(), size: "256M".parse().unwrap() });
    let report = machine.apply().unwrap_err();
    assert!(
        report.kind == Kind::Conflict && report.message.contains("something else is mounted"),
        "{report}"
    );
    assert!(!path.exists());

    machine.spec.btrfs.base_path = fs.beside("base");
    std::fs::write(&path, "thesis").unwrap();
    let report = machine.apply().unwrap_err();
    assert!(report.kind == Kind::Conflict && report.message.contains("holds no btrfs"), "{report}");
    assert_eq!(std::fs::read(&path).unwrap(), b"thesis");
}

#[test]
fn the_image_alone_is_made_once_and_neither_hides_nor_overwrites_anything() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let path = fs.beside("images/data.btrfs");
    let mut spec = HostSpec::default();
    spec.btrfs.base_path = fs.beside("base");
    let image = |spec: &HostSpec| {
        let (out, err, status) = program(&fs, "image", spec);
        (out + &err, status)
    };
    assert_eq!(image(&spec), ("{\n  \"made\": false\n}\n".into(), Some(0)), "no image is asked for");
    spec.btrfs.image = Some(Image { path: path.clone(), size: "256M".parse().unwrap() });
    assert_eq!(image(&spec), ("{\n  \"made\": true\n}\n".into(), Some(0)));
    assert!(!spec.btrfs.base_path.exists(), "nothing is mounted");
    let made = std::fs::metadata(&path).unwrap();
    spec.btrfs.image = Some(Image { path: path.clone(), size: "512M".parse().unwrap() });
    assert_eq!(image(&spec), ("{\n  \"made\": false\n}\n".into(), Some(0)));
    let again = std::fs::metadata(&path).unwrap();
    assert_eq!((made.len(), made.modified().unwrap()), (again.len(), again.modified().unwrap()));

    std::fs::create_dir(&spec.btrfs.base_path).unwrap();
    std::fs::write(spec.btrfs.base_path.join("thesis"), "x").unwrap();
    let (said, status) = image(&spec);
    assert!(status == Some(5) && said.contains("would hide"), "{said}");
    std::fs::remove_dir_all(&spec.btrfs.base_path).unwrap();
    std::fs::write(&path, "thesis").unwrap();
    let (said, status) = image(&spec);
    assert!(status == Some(5) && said.contains("holds no btrfs"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), b"thesis");
}

/// The retirement of the data as planned now.
fn retirement(cx: &Context<'_>) -> engine::Retirement<opdbus::storage::StorageChange> {
    let seen = StorageComponent.observe(cx).unwrap();
    Component::retire(&StorageComponent, cx, &seen, true).unwrap()
}

/// Makes the first change of the retirement and plans anew, as runs do that are stopped, until nothing is left.
/// Gives how many were made.
fn retire_in_steps(cx: &Context<'_>) -> usize {
    let mut made = 0;
    while let Some(change) = retirement(cx).changes.first() {
        StorageComponent.apply(cx, change).unwrap();
        made += 1;
        assert!(made < 100, "a change is planned again after it was made: {change:?}");
    }
    made
}

#[test]
fn a_purge_takes_our_data_with_subvolumes_in_it_and_nothing_of_others() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let machine = Machine::on(&fs);
    let cx = Context { host: &machine.host, spec: &machine.spec, progress: &Silent };
    let storage: [Box<dyn Stage>; 1] = [Box::new(StorageComponent)];
    engine::apply(&storage, &cx).unwrap();
    let base = machine.base().to_owned();
    // As a container's systemd makes them, and as a killed run leaves them.
    let rootfs = base.join("containers/web-01/rootfs");
    std::fs::create_dir_all(rootfs.parent().unwrap()).unwrap();
    subvolume::create(&rootfs).unwrap();
    subvolume::create(&rootfs.join("machines")).unwrap();
    subvolume::set_read_only(&rootfs.join("machines"), true).unwrap();
    std::fs::create_dir(base.join("@snapshots/of")).unwrap();
    subvolume::snapshot(&rootfs, &base.join("@snapshots/of/web-01"), true).unwrap();
    subvolume::create(&base.join(".opdbus-new-@x")).unwrap();
    // Without the data nothing is taken.
    let seen = StorageComponent.observe(&cx).unwrap();
    let without = Component::retire(&StorageComponent, &cx, &seen, false).unwrap();
    assert_eq!((without.changes.len(), without.kept.len()), (0, 1));

    // A snapshot of ours that the admin took, and a link to elsewhere.
    let theirs = base.join("@state-before");
    subvolume::snapshot(&base.join("@state"), &theirs, true).unwrap();
    std::os::unix::fs::symlink("/etc", base.join("etc")).unwrap();
    let before = everything(&theirs);
    let whole = retirement(&cx);
    assert_eq!(whole.kept.len(), 2, "{whole:?}");
    assert_eq!(retire_in_steps(&cx), whole.changes.len());
    let mut left: Vec<_> = std::fs::read_dir(&base).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["@state-before", "etc"]);
    assert_eq!(everything(&theirs), before);
    subvolume::delete(&theirs).unwrap();
    std::fs::remove_file(base.join("etc")).unwrap();
    assert_eq!(retire_in_steps(&cx), 1, "then the base path goes, too");
    assert!(!base.exists());

    // Something mounted in it would be destroyed with it.
    engine::apply(&storage, &cx).unwrap();
    let inside = base.join("containers/mount");
    std::fs::create_dir(&inside).unwrap();
    assert!(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&inside).status().unwrap().success());
    let _unmount = Unmount(&inside);
    let seen = StorageComponent.observe(&cx).unwrap();
    let error = Report::from(Component::retire(&StorageComponent, &cx, &seen, true).unwrap_err());
    assert_eq!(error.kind, Kind::Conflict, "{error}");
}

#[test]
fn a_purge_of_an_image_that_is_stopped_after_each_change_goes_on() {
    host_test!(Need::Root, Need::Btrfs);
    let dir = tempfile::tempdir().unwrap();
    let (base, path) = (dir.path().join("var/base"), dir.path().join("data.btrfs"));
    let mut machine = Machine::new(&dir.path().join("etc"), &base);
    machine.spec.btrfs.image = Some(Image { path: path.clone(), size: "256M".parse().unwrap() });
    let _unmount = Unmount(&base);
    let cx = Context { host: &machine.host, spec: &machine.spec, progress: &Silent };
    let storage: [Box<dyn Stage>; 1] = [Box::new(StorageComponent)];
    engine::apply(&storage, &cx).unwrap();
    // What the admin put into it keeps it.
    std::fs::write(base.join("thesis"), "x").unwrap();
    retire_in_steps(&cx);
    assert_eq!(std::fs::read(base.join("thesis")).unwrap(), b"x");
    let kept = retirement(&cx).kept;
    assert_eq!(kept[0].object, format!("file {}", base.join("thesis").display()));
    assert!(opdbus::storage::keeps_image(&machine.spec.btrfs, &kept));
    // So does what comes between the look and the deed.
    let emptied = std::fs::rename(base.join("thesis"), dir.path().join("thesis"));
    emptied.unwrap_or_else(|_| std::fs::remove_file(base.join("thesis")).unwrap());
    let change = retirement(&cx).changes.remove(0);
    std::fs::write(base.join("late"), "x").unwrap();
    assert!(StorageComponent.apply(&cx, &change).is_err());
    std::fs::remove_file(base.join("late")).unwrap();

    let whole = retirement(&cx).changes.len();
    assert_eq!(retire_in_steps(&cx), whole);
    assert!(!path.exists() && !path.with_file_name(".opdbus-new-data.btrfs").exists());
    assert!(!base.exists() || subvolume::marker(&base).unwrap().is_none());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(base.to_str().unwrap()));
}
