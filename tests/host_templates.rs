//! Templates on a real btrfs, with the real tools.

#![allow(clippy::unwrap_used, reason = "a fixture that fails ends the test")]

#[path = "support/templates.rs"]
mod fixture;
mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fixture::{Lab, edition, from, name, names, stages, tar, tarball, tree, write};
use opdbus::engine::{self, Action};
use opdbus::fault::{Fault, Kind};
use opdbus::files::RootDir;
use opdbus::spec::{Template, TemplateUser};
use opdbus::storage::subvolume;
use opdbus::templates::{self, Origin, Source, TemplateError};
use support::Need;

fn mknod(path: &Path, kind: &str, major: &str, minor: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(Command::new("mknod").arg(path).args([kind, major, minor]).status().unwrap().success());
}

#[test]
fn a_template_from_a_tarball_is_whole_marked_and_without_identity_or_devices() {
    host_test!(Need::Root, Need::Btrfs);
    let lab = Lab::new();
    let file = tarball(&lab, "base.tar.zst", "one", |tree| {
        mknod(&tree.join("dev/null"), "c", "1", "3");
        mknod(&tree.join("srv/disk"), "b", "7", "0");
        std::os::unix::fs::chown(tree.join("srv/edition"), Some(4242), Some(4343)).unwrap();
        std::fs::set_permissions(tree, std::fs::Permissions::from_mode(0o700)).unwrap();
    });
    let rootfs = lab.build("mine", &from(&file)).unwrap();

    let found = templates::find(&lab.tree(), &name("mine")).unwrap();
    assert_eq!(
        (found.record.distribution.as_str(), found.record.release.as_str(), found.record.source),
        ("debian", "bookworm", Source::Tarball)
    );
    assert_eq!(templates::identity_found(&RootDir::open(&rootfs).unwrap()).unwrap(), Vec::<String>::new());
    for gone in [
        "etc/hostname",
        "etc/ssh/ssh_host_ed25519_key",
        "etc/netclient",
        "etc/netmaker",
        "dev/null",
        "srv/disk",
    ] {
        assert!(rootfs.join(gone).symlink_metadata().is_err(), "{gone} is still there");
    }
    let directory = lab.tree().template(&name("mine"));
    assert!(subvolume::is_subvolume(&rootfs).unwrap());
    assert_eq!(subvolume::marker(&directory).unwrap().as_deref(), Some("template"));
    assert_eq!(subvolume::marker(&rootfs).unwrap().as_deref(), Some("template"));
    assert_eq!(subvolume::compression(&rootfs).unwrap().as_deref(), Some("zstd"));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&directory), mode(&rootfs)), (0o700, 0o755));
    let owned = rootfs.join("srv/edition").metadata().unwrap();
    assert_eq!((owned.uid(), owned.gid()), (4242, 4343));
    assert!(lab.said.0.lock().unwrap().iter().any(|line| line.contains("mine: unpacking")));
    assert_eq!(names(&directory), ["rootfs", "template.json"]);
    assert_eq!(lab.names(), ["mine"]);
}

#[test]
fn a_refresh_exchanges_the_template_and_leaves_its_clones_alone() {
    host_test!(Need::Root, Need::Btrfs);
    let mut lab = Lab::new();
    let file = tarball(&lab, "base.tar", "one", |_| {});
    lab.declare(from(&file));
    assert_eq!(lab.apply(), [(Action::Create, "template debian-base".to_owned())]);
    let first = templates::find(&lab.tree(), &name("debian-base")).unwrap();
    let clone = lab.fs.path().join("clone");
    subvolume::snapshot(&first.rootfs, &clone, false).unwrap();

    tarball(&lab, "base.tar", "two", |_| {});
    assert!(lab.apply().is_empty(), "the declaration is the same, so that nothing is built unasked");
    templates::refresh(&lab.cx(), &name("debian-base")).unwrap();
    let second = templates::find(&lab.tree(), &name("debian-base")).unwrap();
    assert_eq!((edition(&clone).as_str(), edition(&second.rootfs).as_str()), ("one", "two"));
    assert_ne!(first.record.generation, second.record.generation);
    assert_eq!(lab.names(), ["debian-base"]);
}

#[test]
fn apply_follows_the_declaration_and_a_second_apply_changes_nothing() {
    host_test!(Need::Root, Need::Btrfs);
    let mut lab = Lab::new();
    let file = tarball(&lab, "base.tar.gz", "one", |_| {});
    lab.declare(from(&file));
    assert_eq!(lab.apply().len(), 1);
    assert!(lab.apply().is_empty());
    let user = TemplateUser { name: "anna".into(), ssh_keys: vec!["ssh-ed25519 AAAA".into()], sudo: false };
    lab.declare(Template { user: Some(user), ..from(&file) });
    assert_eq!(lab.apply(), [(Action::Update, "template debian-base".to_owned())]);
    assert!(lab.apply().is_empty());
    let rootfs = templates::find(&lab.tree(), &name("debian-base")).unwrap().rootfs;
    assert!(rootfs.join("home/anna/.ssh/authorized_keys").exists());
}

#[test]
fn a_user_template_is_never_refreshed() {
    host_test!(Need::Root, Need::Btrfs);
    let mut lab = Lab::new();
    let file = tarball(&lab, "base.tar", "mine", |_| {});
    let rootfs = lab.build("debian-base", &from(&file)).unwrap();
    // The host spec comes to declare the name, and differently.
    let other = tarball(&lab, "other.tar", "theirs", |_| {});
    lab.declare(from(&other));
    assert!(lab.apply().is_empty());
    let error = templates::refresh(&lab.cx(), &name("debian-base")).unwrap_err();
    assert!(matches!(error, TemplateError::UserTemplate { .. }), "{error}");
    assert_eq!(edition(&rootfs), "mine");
}

#[test]
fn a_directory_that_is_not_ours_is_a_conflict_and_stays() {
    host_test!(Need::Root, Need::Btrfs);
    let mut lab = Lab::new();
    let file = tarball(&lab, "base.tar", "one", |_| {});
    lab.declare(from(&file));
    write(&lab.tree().templates(), "debian-base/notes", "mine");
    write(&lab.tree().templates(), ".opdbus-build-other/notes", "mine");
    let report = engine::apply(&stages(), &lab.cx()).unwrap_err();
    assert_eq!(report.kind, Kind::Conflict);
    assert!(report.message.contains("debian-base") && report.next.unwrap().contains("mv "));
    for operation in [
        templates::build(&lab.cx(), &name("debian-base"), &from(&file), Origin::User).map(drop),
        templates::build(&lab.cx(), &name("other"), &from(&file), Origin::User).map(drop),
        templates::refresh(&lab.cx(), &name("debian-base")).map(drop),
        templates::remove(&lab.cx(), &name("debian-base"), true),
    ] {
        assert!(matches!(operation.unwrap_err(), TemplateError::Foreign { .. }));
    }
    assert_eq!(lab.names(), [".opdbus-build-other", "debian-base"]);
    assert!(lab.tree().templates().join("debian-base/notes").exists());
    assert!(lab.tree().templates().join(".opdbus-build-other/notes").exists());
}

#[test]
fn a_hostile_tarball_writes_nothing_outside() {
    host_test!(Need::Root, Need::Btrfs);
    let lab = Lab::new();
    let outside = lab.fs.beside("outside");
    write(&outside, "keep", "host");
    std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o751)).unwrap();
    let user = TemplateUser { name: "anna".into(), ssh_keys: vec!["ssh-ed25519 AAAA".into()], sudo: true };
    let places = [
        "etc",
        "etc/systemd/system",
        "etc/opdbus",
        "etc/default",
        "etc/ssh",
        "home/anna",
        "home/anna/.ssh",
        "var/lib/dbus",
        "var/log",
        "var/cache",
        "run",
        "tmp",
        "dev",
        "usr/share/zoneinfo",
    ];
    for (i, place) in places.into_iter().enumerate() {
        for target in [
            outside.as_path(),
            Path::new("../../../../../../../../..").join(outside.strip_prefix("/").unwrap()).as_path(),
        ] {
            let file = tarball(&lab, &format!("{i}.tar"), "x", |tree| {
                let path = tree.join(place);
                let _ = std::fs::remove_dir_all(&path);
                let _ = std::fs::remove_file(&path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                symlink(target, path).unwrap();
            });
            // Whether it can be built or not is the tarball's affair.
            let declaration = Template { user: Some(user.clone()), ..from(&file) };
            if lab.build(&format!("t{i}"), &declaration).is_ok() {
                templates::remove(&lab.cx(), &name(&format!("t{i}")), false).unwrap();
            }
            std::fs::remove_dir_all(lab.fs.beside(&format!("{i}.tar.tree"))).unwrap();
            assert_eq!(names(&outside), ["keep"], "{place} -> {}", target.display());
            assert_eq!(std::fs::read(outside.join("keep")).unwrap(), b"host");
            let meta = outside.metadata().unwrap();
            assert_eq!((meta.permissions().mode() & 0o7777, meta.uid()), (0o751, 0), "{place}");
        }
    }
    assert!(lab.names().is_empty(), "{:?}", lab.names());

    // A member that is written through a link, one that climbs out, and one that is absolute.
    let source = lab.fs.beside("climb");
    tree(&source, "x");
    symlink(&outside, source.join("out")).unwrap();
    let file = lab.fs.beside("climb.tar");
    tar(&source, &file);
    std::fs::remove_file(source.join("out")).unwrap();
    write(&source, "out/through", "x");
    write(&source, "climb", "x");
    let append = |transform: &str, member: &str| {
        let status = Command::new("tar")
            .args(["-P", "--append", "--transform", transform, "--file"])
            .arg(&file)
            .arg("-C")
            .arg(&source)
            .arg(member)
            .status()
            .unwrap();
        assert!(status.success());
    };
    append("s,^,./,", "out/through");
    append(&format!("s,^climb,../../../../../../../../..{}/climbed,", outside.display()), "climb");
    append(&format!("s,^climb,{}/absolute,", outside.display()), "climb");
    let _ = lab.build("climb", &from(&file));
    assert_eq!(names(&outside), ["keep"]);
}

#[test]
fn a_source_that_fails_leaves_the_old_template_and_nothing_else() {
    host_test!(Need::Root, Need::Btrfs, Need::Program("mmdebstrap"));
    let mut lab = Lab::new();
    let file = tarball(&lab, "base.tar", "one", |tree| write(tree, "srv/big", &"0123456789".repeat(100_000)));
    lab.declare(from(&file));
    lab.apply();
    let before = templates::find(&lab.tree(), &name("debian-base")).unwrap();
    let fails = |lab: &Lab, why: &[&str]| {
        let error = templates::refresh(&lab.cx(), &name("debian-base")).unwrap_err();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text.push_str(&error.to_string());
            cause = error.source();
        }
        assert!(why.iter().all(|why| text.contains(why)), "{text}");
        assert!(error.next().is_some(), "{text}");
        assert_eq!(lab.names(), ["debian-base"]);
        let after = templates::find(&lab.tree(), &name("debian-base")).unwrap();
        assert_eq!((after.record, edition(&after.rootfs)), (before.record.clone(), "one".into()));
    };
    // A mirror that is not there.
    lab.declare(Template { mirror: Some("http://127.0.0.1:1/debian".into()), ..Template::default() });
    fails(&lab, &["debian-base", "mmdebstrap", "127.0.0.1"]);
    // One that answers, and breaks off.
    let (address, server) = half_a_mirror();
    lab.declare(Template { mirror: Some(format!("http://{address}/debian")), ..Template::default() });
    fails(&lab, &["debian-base", "mmdebstrap"]);
    drop(server);
    // A tarball cut in half.
    std::fs::File::options().write(true).open(&file).unwrap().set_len(500_000).unwrap();
    lab.declare(from(&file));
    fails(&lab, &["debian-base", "tar", "Unexpected EOF"]);
    // One without a system in it.
    let empty = lab.fs.beside("empty.tree");
    std::fs::create_dir(&empty).unwrap();
    tar(&empty, &file);
    fails(&lab, &["/sbin/init"]);
    // One that lacks a declared package.
    let file = tarball(&lab, "base.tar", "two", |_| {});
    lab.declare(Template { packages: vec!["dbus".into(), "curl".into()], ..from(&file) });
    fails(&lab, &["lacks the declared packages curl"]);
}

/// A server that promises much and closes the connection after a few bytes.
fn half_a_mirror() -> (std::net::SocketAddr, impl Drop) {
    use std::io::{Read, Write};
    struct Stop(std::net::SocketAddr, std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.1.store(true, std::sync::atomic::Ordering::SeqCst);
            let _ = std::net::TcpStream::connect(self.0);
        }
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = stop.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if seen.load(std::sync::atomic::Ordering::SeqCst) {
                return;
            }
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 140000\r\n\r\nOrigin: Debian\nSuite: st");
        }
    });
    (address, Stop(address, stop))
}

#[test]
fn what_a_killed_run_left_at_any_stage_is_removed_by_the_next() {
    host_test!(Need::Root, Need::Btrfs);
    let mut lab = Lab::new();
    let file = tarball(&lab, "base.tar", "one", |_| {});
    lab.declare(from(&file));
    lab.apply();
    let all = lab.tree().templates();
    let staged = all.join(".opdbus-build-debian-base");
    let directory = |path: &Path| {
        std::fs::create_dir(path).unwrap();
        subvolume::mark(path, "template").unwrap();
    };
    let remains: [(&str, &dyn Fn()); 5] = [
        ("made, not marked yet", &|| std::fs::create_dir(&staged).unwrap()),
        ("an empty root file system", &|| {
            directory(&staged);
            std::fs::create_dir(staged.join("scratch")).unwrap();
            subvolume::create(&staged.join("rootfs")).unwrap();
        }),
        ("whole, not in place; a subvolume inside, as a machine's systemd makes one", &|| {
            directory(&staged);
            subvolume::create(&staged.join("rootfs")).unwrap();
            tree(&staged.join("rootfs"), "two");
            std::fs::create_dir_all(staged.join("rootfs/var/lib/machines")).unwrap();
            subvolume::create(&staged.join("rootfs/var/lib/machines/x")).unwrap();
            std::fs::write(staged.join("template.json"), "{}").unwrap();
        }),
        ("exchanged, the old one not removed, its subvolume gone", &|| {
            directory(&staged);
            std::fs::write(staged.join("template.json"), "{}").unwrap();
        }),
        ("removed by hand, half way", &|| {
            directory(&all.join(".opdbus-delete-gone"));
            subvolume::create(&all.join(".opdbus-delete-gone/rootfs")).unwrap();
        }),
    ];
    for (stage, make) in remains {
        make();
        let plan = engine::plan(&stages(), &lab.cx()).unwrap();
        assert_eq!(plan.iter().map(|c| c.action).collect::<Vec<_>>(), [Action::Remove], "{stage}");
        assert_eq!(lab.apply().len(), 1, "{stage}");
        assert_eq!(lab.names(), ["debian-base"], "{stage}");
        assert_eq!(edition(&all.join("debian-base/rootfs")), "one", "{stage}");
        assert!(lab.apply().is_empty(), "{stage}");
    }
    // A build of the same name clears the way itself.
    directory(&staged);
    templates::refresh(&lab.cx(), &name("debian-base")).unwrap();
    assert_eq!(lab.names(), ["debian-base"]);
}

#[test]
fn killed_at_any_instant_the_old_or_the_new_template_is_whole_and_the_next_run_converges() {
    host_test!(Need::Root, Need::Btrfs);
    let mut lab = Lab::new();
    let file = tarball(&lab, "base.tar.gz", "x", |tree| {
        for i in 0..1500 {
            write(tree, &format!("usr/share/x/{i}"), &i.to_string());
        }
    });
    lab.declare(from(&file));
    lab.write_spec();
    let start = Instant::now();
    assert!(lab.program(&["apply"]).output().unwrap().status.success());
    let mut whole_run = start.elapsed();
    let find = |lab: &Lab| templates::find(&lab.tree(), &name("debian-base"));
    let mut generation = find(&lab).unwrap().record.generation;
    let mut killed = 0;
    for i in 0..16_u32 {
        // Twelve through the whole of a refresh, four towards its end, where the exchange is.
        let after = if i < 12 { whole_run * (i + 1) / 13 } else { whole_run * (85 + 4 * (i - 12)) / 100 };
        let mut child = lab
            .program(&["refresh", "debian-base"])
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(after);
        let _ = child.kill();
        if child.wait().unwrap().success() {
            // The first run was slower than they are now: this one took no longer than that.
            whole_run = after;
        } else {
            killed += 1;
        }
        let found = find(&lab).unwrap_or_else(|error| panic!("killed after {after:?}: {error}"));
        assert_eq!(names(&found.rootfs.join("usr/share/x")).len(), 1500, "killed after {after:?}");
        assert!(found.rootfs.join("etc/opdbus/template").exists());
        let text = std::fs::read_to_string(found.rootfs.join("etc/opdbus/template")).unwrap();
        assert!(text.contains(&found.record.generation), "record and tree are of one build");
        generation = found.record.generation;
        if i % 3 == 0 {
            assert!(lab.program(&["apply"]).output().unwrap().status.success());
            assert_eq!(lab.names(), ["debian-base"]);
            assert_eq!(find(&lab).unwrap().record.generation, generation, "apply refreshes nothing unasked");
        }
    }
    assert!(killed >= 8, "only {killed} of 16 runs were killed before they ended");
    assert!(lab.program(&["apply"]).output().unwrap().status.success());
    assert_eq!(find(&lab).unwrap().record.generation, generation);
    let plan = lab.program(&["plan", "--json"]).output().unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan["changes"], serde_json::json!([]));
    assert_eq!(lab.names(), ["debian-base"]);
}

#[test]
fn a_bootstrap_dies_with_the_run_that_started_it() {
    host_test!(Need::Root, Need::Btrfs, Need::Program("mmdebstrap"));
    let mut lab = Lab::new();
    lab.declare(Template { suite: "bookworm".into(), ..Template::default() });
    lab.write_spec();
    let staged = lab.tree().templates().join(".opdbus-build-debian-base/rootfs");
    let busy = || -> Vec<String> {
        std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|e| std::fs::read(e.ok()?.path().join("cmdline")).ok())
            .map(|c| String::from_utf8_lossy(&c).replace('\0', " "))
            .filter(|c| c.contains(staged.to_str().unwrap()))
            .collect()
    };
    let mut child = lab.program(&["apply"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // dpkg is at work from here on, for seconds in which nothing is said and no broken pipe met.
    while !staged.join("var/lib/dpkg/info/libc-bin.list").exists() {
        assert!(Instant::now() < deadline, "mmdebstrap did not begin");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!busy().is_empty(), "mmdebstrap is at work");
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(1);
    while !busy().is_empty() {
        assert!(Instant::now() < deadline, "still at work: {:?}", busy());
        std::thread::sleep(Duration::from_millis(50));
    }
    // No mount of it is left either, and what it left is removed.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(".opdbus-build-"), "{mounts}");
    lab.spec.templates.clear();
    assert_eq!(lab.apply().len(), 1);
    assert!(lab.names().is_empty());
}

#[test]
fn a_template_is_removed_when_asked_and_a_declared_one_only_by_force() {
    host_test!(Need::Root, Need::Btrfs);
    let mut lab = Lab::new();
    let file = tarball(&lab, "base.tar.xz", "one", |_| {});
    lab.build("mine", &from(&file)).unwrap();
    lab.declare(from(&file));
    lab.apply();
    lab.write_spec();
    let run = |args: &[&str]| {
        let output = lab.program(args).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, error) = run(&["remove", "mine"]);
    assert_eq!(code, 3, "without a terminal nothing is removed unconfirmed: {error}");
    assert!(error.contains("--yes"), "{error}");
    assert_eq!(run(&["remove", "debian-base", "--yes"]).0, 5);
    assert_eq!(lab.names(), ["debian-base", "mine"]);
    assert_eq!(run(&["remove", "mine", "--yes"]).0, 0);
    assert_eq!(run(&["remove", "mine", "--yes"]).0, 4);
    assert_eq!(lab.names(), ["debian-base"]);
    assert_eq!(run(&["remove", "debian-base", "--yes", "--force"]).0, 0);
    assert!(lab.names().is_empty());
    assert_eq!(run(&["build", "../x"]).0, 2);
}

#[test]
fn the_list_tells_what_there_is_and_what_is_damaged() {
    host_test!(Need::Root, Need::Btrfs);
    let lab = Lab::new();
    let file = tarball(&lab, "base.tar", "one", |_| {});
    lab.build("good", &from(&file)).unwrap();
    lab.build("bad", &from(&file)).unwrap();
    std::fs::write(lab.tree().templates().join("bad/template.json"), "{").unwrap();
    lab.write_spec();
    let output = lab.program(&["list", "--json"]).output().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = list["templates"].as_array().unwrap();
    assert_eq!((list[0]["name"].as_str(), list[1]["name"].as_str()), (Some("bad"), Some("good")));
    assert!(list[0]["damage"].as_str().unwrap().contains("not JSON"));
    assert_eq!(list[1]["record"]["release"], "bookworm");
    let text = String::from_utf8(lab.program(&["list"]).output().unwrap().stdout).unwrap();
    assert!(text.contains("damaged") && text.contains("debian bookworm"), "{text}");
    let error = templates::find(&lab.tree(), &name("bad")).unwrap_err();
    assert!(matches!(error, TemplateError::Damaged { .. }), "{error}");
    let error = templates::find(&lab.tree(), &name("none")).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

/// What every true Debian template must be.
fn is_a_debian(rootfs: &Path) {
    assert_eq!(templates::identity_found(&RootDir::open(rootfs).unwrap()).unwrap(), Vec::<String>::new());
    for there in [
        "usr/lib/systemd/systemd-socket-proxyd",
        "usr/bin/ping",
        "etc/ssl/certs/ca-certificates.crt",
        "etc/apt/sources.list.d",
    ] {
        assert!(rootfs.join(there).exists(), "{there}");
    }
    assert!(rootfs.join("sbin/init").symlink_metadata().is_ok());
    assert!(names(&rootfs.join("dev")).is_empty() && names(&rootfs.join("run")).is_empty());
    assert!(names(&rootfs.join("var/lib/apt/lists")).is_empty());
    let passwd = std::fs::read_to_string(rootfs.join("etc/passwd")).unwrap();
    assert!(passwd.contains("\nanna:x:1000:1000::/home/anna:/bin/bash\n"), "{passwd}");
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--root"])
        .arg(rootfs)
        .args(["socket-network.socket", "socket-network.service"])
        .output();
    if let Ok(verify) = verify {
        let said = String::from_utf8_lossy(&verify.stderr).into_owned();
        assert!(!said.contains("socket-network"), "{said}");
    }
}

fn debian() -> Template {
    let user = TemplateUser { name: "anna".into(), ssh_keys: vec!["ssh-ed25519 AAAA".into()], sudo: true };
    Template {
        suite: "bookworm".into(),
        user: Some(user),
        time_zone: "Europe/Berlin".into(),
        locale: "de_DE.UTF-8".into(),
        ..Template::default()
    }
}

#[test]
fn a_true_debian_is_built_from_the_hosts_own_mirror() {
    host_test!(Need::Root, Need::Btrfs, Need::Program("mmdebstrap"));
    let lab = Lab::new();
    let rootfs = lab.build("debian", &debian()).unwrap();
    let record = templates::find(&lab.tree(), &name("debian")).unwrap().record;
    assert_eq!((record.source, record.release.as_str()), (Source::Mmdebstrap, "bookworm"));
    assert!(record.packages.iter().any(|p| p == "sudo") && record.packages.iter().any(|p| p == "locales"));
    is_a_debian(&rootfs);
    assert_eq!(std::fs::read_to_string(rootfs.join("etc/locale.conf")).unwrap(), "LANG=de_DE.UTF-8\n");
    assert!(rootfs.join("usr/lib/locale/locale-archive").exists());
    assert!(lab.said.0.lock().unwrap().iter().any(|l| l == "debian: installing essential packages..."));
    assert_eq!(lab.names(), ["debian"]);
}
