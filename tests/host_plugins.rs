//! Plugins on a real btrfs, sent from one host to another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, unreachable_pub, reason = "what other tests need of it")]
#[path = "support/bus.rs"]
mod private;
mod support;
#[path = "support/tree.rs"]
mod tree;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use opdbus::plugins::{self, Presence};
use opdbus::snapshots::{self, Reason, State};
use opdbus::spec::Subject;
use opdbus::storage::subvolume;
use private::{Answer, PrivateBus};
use serde_json::Value;
use support::Need;
use tree::{Machine, leftovers, names, text};

const PLUGIN: &str = env!("CARGO_BIN_EXE_opdbus-plugin");

/// A host with a ledger.
fn machine() -> Machine {
    let machine = Machine::new();
    let made = machine.program(env!("CARGO_BIN_EXE_opdbus-ledger")).arg("init").output().unwrap();
    assert!(made.status.success(), "{}", text(&made));
    machine
}

fn run(machine: &Machine, args: &[&str]) -> Output {
    machine.program(PLUGIN).args(args).stdin(Stdio::null()).output().unwrap()
}

fn ok(machine: &Machine, args: &[&str]) -> Value {
    let output = run(machine, &[args, &["--json"]].concat());
    assert!(output.status.success(), "{args:?}: {}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs what must fail; its exit status and message.
fn refused(machine: &Machine, args: &[&str]) -> (i32, String) {
    let before = all(machine);
    let output = run(machine, args);
    assert!(!output.status.success(), "{args:?} was not refused");
    assert_eq!(all(machine), before, "{args:?} changed something");
    assert!(leftovers(&machine.base()).is_empty(), "{args:?} left {:?}", leftovers(&machine.base()));
    (output.status.code().unwrap(), text(&output))
}

/// What there is of plugins and snapshots.
fn all(machine: &Machine) -> Vec<String> {
    let mut all = names(&snapshots::directory(&machine.tree()));
    for plugin in names(&machine.base().join("@plugins")) {
        let path = machine.base().join("@plugins").join(&plugin);
        all.push(format!("{plugin} {}", subvolume::info(&path).map(|info| info.uuid).unwrap_or_default()));
    }
    all
}

fn lxc(machine: &Machine) -> PathBuf {
    machine.base().join("@plugins/lxc")
}

fn file(machine: &Machine, name: &str) -> (PathBuf, String) {
    let path = machine.fs.beside(name);
    let text = path.display().to_string();
    (path, text)
}

/// The metadata of the entries of the ledger for an operation.
fn ledger(machine: &Machine, operation: &str) -> Vec<Value> {
    let show = ["show", "--json", "--operation", operation];
    let output = machine.program(env!("CARGO_BIN_EXE_opdbus-ledger")).args(show).output().unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let entries = shown.as_array().or_else(|| shown["entries"].as_array()).expect("entries").clone();
    entries.into_iter().map(|entry| entry["metadata"].clone()).collect()
}

#[test]
fn a_plugin_goes_to_another_host_whole_and_then_in_parts_and_the_ledgers_have_its_checksum() {
    host_test!(Need::Root, Need::Btrfs);
    let (a, b) = (machine(), machine());
    fs::write(lxc(&a).join("state/one"), vec![7_u8; 300_000]).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", lxc(&a).join("state/link")).unwrap();
    let (path, first) = file(&a, "first.plugin");
    let sent = ok(&a, &["send", "lxc", &first]);
    use_mode(&path);
    let head = fs::read(&path).unwrap();
    assert!(head.starts_with(b"opdbus-plugin-stream 1\n{\"name\":\"lxc\",\"version\":\"1.0.0\""));

    let uuid = subvolume::info(&lxc(&b)).unwrap().uuid;
    fs::write(lxc(&b).join("state/mine"), "b's own").unwrap();
    let received = ok(&b, &["receive", &first]);
    assert_eq!(received["contents"], sent);
    assert_eq!(fs::read(lxc(&b).join("state/one")).unwrap(), vec![7_u8; 300_000]);
    assert_eq!(fs::read_link(lxc(&b).join("state/link")).unwrap(), Path::new("/etc/passwd"));
    fs::write(lxc(&b).join("state/two"), "it can be written to").unwrap();
    assert_eq!(b.plan(), Vec::<String>::new(), "owner, mode, marker and compression are a plugin's");
    let kept = snapshots::find(&b.tree(), received["before"].as_str().unwrap(), None).unwrap();
    assert_eq!((kept.uuid, kept.reason), (uuid, Reason::Replaced), "what was there is kept, itself");
    let mine = snapshots::directory(&b.tree()).join(&kept.name).join("state/mine");
    assert_eq!(fs::read(mine).unwrap(), b"b's own");

    // Only what changed, through a pipe.
    fs::remove_file(lxc(&a).join("state/link")).unwrap();
    fs::rename(lxc(&a).join("state/one"), lxc(&a).join("state/renamed")).unwrap();
    fs::write(lxc(&a).join("state/three"), "three").unwrap();
    let parent = sent["snapshot"].as_str().unwrap();
    let mut sender =
        a.program(PLUGIN).args(["send", "lxc", "--parent", parent]).stdout(Stdio::piped()).spawn().unwrap();
    let taken = b.program(PLUGIN).arg("receive").stdin(sender.stdout.take().unwrap()).output().unwrap();
    assert!(sender.wait().unwrap().success() && taken.status.success(), "{}", text(&taken));
    let three = lxc(&b).join("state");
    assert_eq!(fs::read(three.join("three")).unwrap(), b"three");
    assert!(!three.join("link").exists() && !three.join("one").exists() && !three.join("two").exists());
    assert_eq!(fs::metadata(three.join("renamed")).unwrap().len(), 300_000);
    assert!(leftovers(&b.base()).is_empty() && leftovers(&a.base()).is_empty());

    let checksum = sent["sha256"].as_str().unwrap();
    let parts = ledger(&a, "plugin.send");
    assert_eq!(parts.len(), 2);
    assert!(parts.iter().any(|m| m["result"]["stream"]["sha256"] == checksum), "{parts:?}");
    let parts = ledger(&b, "plugin.receive");
    assert!(parts.iter().any(|m| m["result"]["stream"]["sha256"] == checksum), "{parts:?}");
    assert!(parts[0]["result"]["stream"]["size"].as_u64().unwrap() < 100_000, "only what changed");
    assert_eq!(parts[0]["caller"]["via"], "helper");

    // And what was there before comes back.
    let back = snapshots::find(&b.tree(), received["before"].as_str().unwrap(), None).unwrap();
    let subject = Subject::Plugin("lxc".parse().unwrap());
    let order = snapshots::Order::new("root", Reason::Replaced);
    let source = snapshots::directory(&b.tree()).join(back.name);
    snapshots::activate(&b.tree(), &subject, &source, &order, |_| Ok(())).unwrap();
    assert!(lxc(&b).join("state/mine").exists());
}

fn use_mode(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "readable by nobody else");
}

#[test]
fn a_plugin_that_a_host_did_not_have_is_new_there_and_in_the_list() {
    host_test!(Need::Root, Need::Btrfs);
    let (mut a, b) = (machine(), machine());
    let resolved = serde_json::from_value(serde_json::json!({"introspection": "org.freedesktop.resolve1"}));
    a.spec.plugins.insert("resolved".parse().unwrap(), resolved.unwrap());
    a.write_spec();
    a.apply();
    let (_, sent) = file(&a, "x");
    ok(&a, &["send", "resolved", &sent]);
    let received = ok(&b, &["receive", &sent]);
    assert!(received["before"].is_null());
    let list = ok(&b, &["list"]);
    let found = list.as_array().unwrap().iter().find(|p| p["name"] == "resolved").unwrap();
    assert_eq!(
        (&found["valid"], &found["declared"], &found["offered"]),
        (&true.into(), &false.into(), &true.into())
    );
    assert_eq!(b.plan(), Vec::<String>::new(), "a plugin that is not declared is left alone");
}

#[test]
fn what_was_damaged_or_altered_or_is_another_thing_is_refused_and_nothing_is_changed() {
    host_test!(Need::Root, Need::Btrfs);
    let (a, b) = (machine(), machine());
    fs::write(lxc(&a).join("state/one"), vec![7_u8; 100_000]).unwrap();
    let (path, first) = file(&a, "first");
    let sent = ok(&a, &["send", "lxc", &first]);
    let good = fs::read(&path).unwrap();
    let (bad, name) = file(&b, "bad");
    let attempt = |bytes: &[u8], status: i32, why: &str| {
        fs::write(&bad, bytes).unwrap();
        let (ended, said) = refused(&b, &["receive", &name]);
        assert_eq!(ended, status, "{said}");
        assert!(said.contains(why), "{why}: {said}");
    };
    attempt(&good[..good.len() - 1], 3, "ends after");
    attempt(&good[..good.len() / 2], 3, "ends after");
    attempt(&good[..40], 3, "not a plugin that was sent");
    attempt(&[&good[..], b"more"].concat(), 3, "something follows");
    attempt(b"not one at all", 3, "not a plugin that was sent");
    let mut altered = good.clone();
    let at = good.len() - 50_000;
    altered[at] ^= 1;
    attempt(&altered, 3, "SHA-256");

    // With a checksum that is right: somebody made it.
    let stream_at = good.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(1).unwrap().0 + 1;
    let forged = |change: &dyn Fn(&mut Value, &mut Vec<u8>)| {
        let mut stream = good[stream_at..].to_vec();
        let mut contents: Value = serde_json::from_slice(&good[23..stream_at]).unwrap();
        change(&mut contents, &mut stream);
        contents["size"] = stream.len().into();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&stream).unwrap();
        let sum = Command::new("sha256sum").arg(file.path()).output().unwrap();
        contents["sha256"] = String::from_utf8(sum.stdout).unwrap()[..64].into();
        [&b"opdbus-plugin-stream 1\n"[..], contents.to_string().as_bytes(), b"\n", &stream].concat()
    };
    attempt(&forged(&|_, stream| drop(stream.split_off(1000))), 3, "ends in the middle");
    attempt(&forged(&|_, stream| stream[30_000] ^= 1), 3, "checksum is wrong");
    attempt(&forged(&|_, stream| stream.clear()), 3, "ends in the middle");
    attempt(
        &forged(&|said, _| said["uuid"] = "00000000-0000-0000-0000-000000000001".into()),
        3,
        "another snapshot",
    );
    attempt(&forged(&|said, _| said["name"] = "ovs".into()), 3, "it is \"lxc\"");
    attempt(&forged(&|said, _| said["version"] = "9.9.9".into()), 3, "was said to be 9.9.9");
    attempt(&forged(&|said, _| said["name"] = "../../etc".into()), 3, "wrong");
    attempt(&forged(&|said, _| said["uuid"] = "x".into()), 3, "no id");
    let nobody = "00000000-0000-0000-0000-000000000001";
    attempt(&forged(&|said, _| said["parent"] = nobody.into()), 5, "does not have");

    // More than is allowed.
    fs::write(&bad, &good).unwrap();
    let (status, said) = refused(&b, &["receive", &name, "--max-size", "50K"]);
    assert_eq!(status, 3);
    assert!(said.contains("at most 51200") && said.contains("--max-size"), "{said}");
    // The good one is taken, once.
    ok(&b, &["receive", &first]);
    let (status, said) = refused(&b, &["receive", &first]);
    assert_eq!(status, 5);
    assert!(said.contains("was received before") && said.contains("snapshot restore"), "{said}");

    // What builds on a snapshot that the other host does not have.
    fs::write(lxc(&a).join("state/two"), "2").unwrap();
    let (_, second) = file(&a, "second");
    let c = machine();
    ok(&a, &["send", "lxc", &second, "--parent", sent["snapshot"].as_str().unwrap()]);
    let (status, said) = refused(&c, &["receive", &second]);
    assert_eq!(status, 5);
    assert!(said.contains("without --parent"), "{said}");
}

#[test]
fn a_hostile_plugin_is_refused_after_it_was_received_and_leaves_nothing() {
    host_test!(Need::Root, Need::Btrfs);
    let (a, b) = (machine(), machine());
    // Sent as it is: the sender is not ours.
    let send = |change: &dyn Fn(&Path)| {
        let work = a.base().join("@cache/hostile");
        subvolume::snapshot(&lxc(&a), &work, false).unwrap();
        change(&work);
        subvolume::set_read_only(&work, true).unwrap();
        let stream = Command::new("btrfs").args(["-q", "send"]).arg(&work).output().unwrap().stdout;
        let mut sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        sum.stdin.take().unwrap().write_all(&stream).unwrap();
        let sum = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
        let contents = serde_json::json!({
            "name": "lxc", "version": "1.0.0", "snapshot": "plugin-lxc-20260131T091500Z",
            "uuid": subvolume::info(&work).unwrap().uuid, "sent": "2026-01-31T09:15:00Z",
            "size": stream.len(), "sha256": &sum[..64],
        });
        subvolume::delete(&work).unwrap();
        let (path, name) = file(&b, "hostile");
        let text =
            [&b"opdbus-plugin-stream 1\n"[..], contents.to_string().as_bytes(), b"\n", &stream].concat();
        fs::write(path, text).unwrap();
        name
    };
    let toml = |text: &'static str| move |work: &Path| fs::write(work.join("plugin.toml"), text).unwrap();
    for (change, why) in [
        (&toml("name = \"lxc\"\nversion = 1\n") as &dyn Fn(&Path), "plugin.toml:2: version"),
        (&|work: &Path| fs::remove_file(work.join("plugin.toml")).unwrap(), "plugin.toml: it is not there"),
        (
            &|work: &Path| {
                fs::remove_file(work.join("plugin.toml")).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", work.join("plugin.toml")).unwrap();
            },
            "plugin.toml: it is not there",
        ),
        (
            &|work: &Path| fs::write(work.join("semantic-mapping.toml"), "x").unwrap(),
            "semantic-mapping.toml:1",
        ),
        (
            &|work: &Path| {
                let made = Command::new("mknod").arg(work.join("disk")).args(["b", "8", "0"]).status();
                assert!(made.unwrap().success());
            },
            "holds no device",
        ),
        (
            &|work: &Path| {
                use std::os::unix::fs::PermissionsExt;
                fs::copy("/bin/true", work.join("true")).unwrap();
                fs::set_permissions(work.join("true"), fs::Permissions::from_mode(0o4755)).unwrap();
            },
            "no set-user-id program",
        ),
    ] {
        let name = send(change);
        let (status, said) = refused(&b, &["receive", &name]);
        assert_eq!(status, 3, "{said}");
        assert!(said.contains(why), "{why}: {said}");
    }
    let name = send(&|_| {});
    ok(&b, &["receive", &name]);
}

#[test]
fn a_file_that_is_there_is_not_written_to_and_one_half_made_is_made_anew() {
    host_test!(Need::Root, Need::Btrfs);
    let a = machine();
    let (path, name) = file(&a, "there");
    fs::write(&path, "mine").unwrap();
    let (status, said) = refused(&a, &["send", "lxc", &name]);
    assert_eq!((status, fs::read(&path).unwrap()), (5, b"mine".to_vec()), "{said}");
    let (path, name) = file(&a, "new");
    fs::write(path.with_file_name(".opdbus-send-new"), "half").unwrap();
    ok(&a, &["send", "lxc", &name]);
    assert!(path.exists() && !path.with_file_name(".opdbus-send-new").exists());
    assert_eq!(refused(&a, &["send", "none", "-"]).0, 4);
    assert_eq!(refused(&a, &["send", "../x", "-"]).0, 3);
    assert_eq!(refused(&a, &["receive", "/nonexistent"]).0, 4);
}

#[test]
fn keys_go_along_only_where_that_was_said_and_a_wrong_parent_is_refused() {
    host_test!(Need::Root, Need::Btrfs);
    let a = machine();
    fs::write(a.base().join("@plugins/netmaker/enrollment-keys/k"), "secret").unwrap();
    let (path, name) = file(&a, "keys");
    let (status, said) = refused(&a, &["send", "netmaker", &name]);
    assert_eq!(status, 5);
    assert!(said.contains("--with-secrets") && !path.exists(), "{said}");
    assert_eq!(ok(&a, &["send", "netmaker", &name, "--with-secrets"])["secrets"], true);
    let other = ok(&a, &["snapshot", "ovs"]);
    let parent = other["name"].as_str().unwrap();
    let (status, said) = refused(&a, &["send", "lxc", "-", "--parent", parent]);
    assert_eq!(status, 4, "a snapshot of another plugin: {said}");
}

#[test]
fn what_is_in_use_is_not_replaced_under_its_users() {
    host_test!(Need::Root, Need::Btrfs);
    let (a, b) = (machine(), machine());
    let (_, name) = file(&a, "x");
    ok(&a, &["send", "lxc", &name]);
    fs::write(lxc(&b).join("state/db"), "x").unwrap();
    let open = fs::File::open(lxc(&b).join("state/db")).unwrap();
    let (status, said) = refused(&b, &["receive", &name]);
    assert_eq!(status, 5);
    assert!(said.contains("in use by"), "{said}");
    ok(&b, &["receive", &name, "--force"]);
    drop(open);
}

#[test]
fn plugins_are_found_wherever_they_come_from_and_a_wrong_one_is_shown_with_the_reason() {
    host_test!(Need::Root, Need::Btrfs);
    let a = machine();
    let plugins = a.base().join("@plugins");
    fs::write(plugins.join("ovs/plugin.toml"), "name = \"ovs\"\nversion = 3\n").unwrap();
    fs::create_dir(plugins.join("plain")).unwrap();
    subvolume::create(&plugins.join("Upper")).unwrap();
    subvolume::create(&plugins.join("empty")).unwrap();
    let bus = Ok(plugins::bus::Names {
        present: ["org.freedesktop.systemd1".to_owned()].into(),
        ..plugins::bus::Names::default()
    });
    let all = plugins::discover(&a.cx(), &bus).unwrap();
    let one = |name: &str| all.iter().find(|p| p.name == name).unwrap();
    assert_eq!(all.len(), 7);
    assert_eq!((one("lxc").presence, one("lxc").offered), (Presence::BackEnd, true));
    assert_eq!(one("systemd").presence, Presence::Present);
    for (name, why) in [
        ("ovs", "plugin.toml:2: version: "),
        ("plain", "is not a subvolume"),
        ("Upper", "character other than"),
        ("empty", "plugin.toml: it is not there"),
    ] {
        let plugin = one(name);
        assert!(!plugin.valid && !plugin.offered, "{name}");
        assert!(plugin.reason.as_ref().unwrap().contains(why), "{plugin:?}");
    }
    let table = plugins::text::table(&all);
    assert!(table.contains("invalid") && table.contains("ovs: "), "{table}");
    let (status, said) = refused(&a, &["send", "ovs", "-"]);
    assert_eq!(status, 3);
    assert!(said.contains("plugin.toml:2"), "{said}");
}

#[test]
fn what_is_disabled_stays_so_and_loses_nothing() {
    host_test!(Need::Root, Need::Btrfs);
    let (a, b) = (machine(), machine());
    let (_, name) = file(&a, "x");
    ok(&a, &["send", "lxc", &name]);
    let before = names(&lxc(&b));
    ok(&b, &["disable", "lxc"]);
    let offered = |of: &str| ok(&b, &["show", of])["offered"].clone();
    assert_eq!((offered("lxc"), offered("ovs")), (false.into(), true.into()));
    assert_eq!(names(&lxc(&b)), before);
    b.apply();
    ok(&b, &["receive", &name]);
    assert_eq!(offered("lxc"), false, "what is received does not turn itself on");
    ok(&b, &["enable", "lxc"]);
    assert_eq!(offered("lxc"), true);
    assert_eq!(refused(&b, &["disable", "none"]).0, 4);
    assert_eq!(ledger(&b, "plugin.disable").len(), 2, "what was refused, too");
}

#[test]
fn a_receive_killed_at_any_instant_changes_all_or_nothing_and_the_next_run_cleans_up() {
    host_test!(Need::Root, Need::Btrfs);
    let (a, b) = (machine(), machine());
    let mut interrupted = 0;
    let mut received = 0;
    for n in 0..25_u64 {
        for file in 0..40 {
            fs::write(lxc(&a).join(format!("state/{file}")), format!("{n}").repeat(9000)).unwrap();
        }
        let (path, name) = file(&a, &format!("p{n}"));
        ok(&a, &["send", "lxc", &name]);
        let mut child = b
            .program(PLUGIN)
            .args(["receive", &name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(8 + n * 15));
        child.kill().unwrap();
        let whole = child.wait().unwrap().success();
        // btrfs itself ends when its input does.
        std::thread::sleep(Duration::from_millis(60));
        interrupted += usize::from(!leftovers(&b.base()).is_empty());
        b.apply();
        assert_eq!(b.plan(), Vec::<String>::new(), "killed in round {n}");
        assert!(leftovers(&b.base()).is_empty(), "round {n}: {:?}", leftovers(&b.base()));
        assert!(snapshots::list(&b.tree(), None).unwrap().iter().all(|l| l.state == State::Whole));
        let contents: std::collections::BTreeSet<Vec<u8>> =
            (0..40).filter_map(|file| fs::read(lxc(&b).join(format!("state/{file}"))).ok()).collect();
        assert!(contents.len() <= 1, "round {n}: half of one and half of another");
        received += usize::from(whole || contents.contains(format!("{n}").repeat(9000).as_bytes()));
        fs::remove_file(path).unwrap();
    }
    assert!(interrupted > 0, "no run was killed in time: the test shows nothing");
    assert!(received > 0, "none came through: the test shows little");
}

#[test]
fn a_method_is_called_where_the_plugins_mapping_allows_it_and_nowhere_else() {
    host_test!(Need::Root, Need::Btrfs, Need::Program("dbus-daemon"));
    let machine = machine();
    let bus = PrivateBus::start();
    let _thing = bus.serve(&["org.example.Thing"], |path, _, member| match (path, member) {
        ("/org/example/Thing", "Introspect") => Some(Ok(Answer::Text(
            "<node><interface name='org.example.Thing'><method name='Do'><arg type='u' direction='in'/></method>\
             <method name='Erase'/><method name='Halt'/></interface></node>"
                .into(),
        ))),
        ("/org/example/Thing", member) => Some(Ok(Answer::Text(format!("{member} was called")))),
        _ => Some(Err("not for you")),
    });
    let plugin = machine.base().join("@plugins/thing");
    subvolume::create(&plugin).unwrap();
    let manifest = "name = \"thing\"\nversion = \"1\"\nintrospection_path = \"org.example.Thing\"\n\
                    capabilities = [\"read\", \"write\"]\n";
    fs::write(plugin.join("plugin.toml"), manifest).unwrap();
    let method = |name: &str, effect: &str, allow: bool| {
        let operation = name.to_lowercase();
        format!(
            "[[method]]\nname = \"org.example.Thing.{name}\"\noperation = \"thing.{operation}\"\n\
             effect = \"{effect}\"\nallow = {allow}\n"
        )
    };
    let methods =
        [method("Do", "change", true), method("Erase", "destroy", true), method("Halt", "change", false)];
    fs::write(plugin.join("semantic-mapping.toml"), format!("version = 1\n{}", methods.concat())).unwrap();
    let call = |args: &[&str]| {
        let mut command = machine.program(PLUGIN);
        command.args(args).arg("--json").env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address);
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.code().unwrap(), text(&output))
    };
    let (status, said) = call(&["call", "thing", "thing.do", "7"]);
    assert!(status == 0 && said.contains("Do was called") && said.contains("thing.do"), "{said}");
    let (status, said) = call(&["call", "thing", "thing.do", "7", "--dry-run"]);
    assert!(status == 0 && !said.contains("was called") && said.contains("thing.do, by"), "{said}");
    let (status, said) = call(&["destroy", "thing", "thing.erase", "--yes"]);
    assert!(status == 0 && said.contains("Erase was called"), "{said}");
    for (args, expected) in [
        (vec!["call", "thing", "thing.halt"], 6),
        (vec!["call", "thing", "org.example.Thing.Halt"], 6),
        (vec!["call", "thing", "thing.erase"], 3),
        (vec!["destroy", "thing", "thing.erase"], 3),
        (vec!["call", "thing", "thing.do", "-7"], 3),
        (vec!["call", "thing", "thing.do"], 3),
        (vec!["call", "lxc", "create"], 3),
        (vec!["call", "none", "create"], 4),
    ] {
        let (status, said) = call(&args);
        assert!(status == expected && !said.contains("was called"), "{args:?}: {status} {said}");
    }
    call(&["disable", "thing"]);
    assert_eq!(call(&["call", "thing", "thing.do", "7"]).0, 7, "it is disabled");
}
