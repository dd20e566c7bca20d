//! Templates from a mirror that breaks off: what is said, what is left, and how the next run goes on.
#![allow(clippy::unwrap_used, reason = "a fixture that fails ends the test")]

#[path = "support/templates.rs"]
mod fixture;
#[path = "support/mirror.rs"]
mod mirror;
mod support;

use std::path::Path;

use fixture::Lab;
use mirror::Mirror;
use opdbus::templates;
use support::Need;

/// What the programs say of mounts below a path.
fn mounts(below: &Path) -> Vec<String> {
    let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let inside = format!("{}/", below.display());
    all.lines().filter(|line| line.contains(&inside)).map(str::to_owned).collect()
}

#[test]
fn a_mirror_that_dies_half_way_is_named_nothing_half_made_stays_and_the_next_run_goes_on() {
    host_test!(Need::Root, Need::Btrfs, Need::Program("mmdebstrap"), Need::Program("apt-config"));
    let lab = Lab::new();
    lab.write_spec();
    let mirror = Mirror::new(lab.fs.beside("mirror"));
    let url = mirror.url();
    let build = || {
        let output = lab
            .program(&["build", "mine", "--suite", "bookworm", "--mirror", &url, "--json"])
            .env("no_proxy", "127.0.0.1")
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // In the middle of the packages that are unpacked by hand, and of those that dpkg installs then.
    for packages in [5, 70] {
        mirror.dies_after(Some(packages));
        let before = mirror.served();
        let (code, text) = build();
        assert_eq!(code, 1, "{text}");
        let error: serde_json::Value =
            text.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("the template mine from {url}")), "{message}");
        assert!(message.contains(&format!("Failed to fetch {url}/pool/")), "{message}");
        assert!(error["error"]["next"].as_str().unwrap().contains("whether the mirror answers"), "{error}");
        assert_eq!(mirror.served() - before, usize::from(packages), "it died on the way, not at once");
        assert!(lab.names().is_empty(), "{:?}", lab.names());
        assert!(mounts(lab.fs.path()).is_empty(), "{:?}", mounts(lab.fs.path()));
        assert!(templates::list(&lab.tree()).unwrap().is_empty());
    }
    mirror.dies_after(None);
    let (code, text) = build();
    assert_eq!(code, 0, "{text}");
    assert_eq!(lab.names(), ["mine"]);
    let found = templates::find(&lab.tree(), &fixture::name("mine")).unwrap();
    assert_eq!(found.record.release, "bookworm");
    assert!(found.rootfs.join("usr/bin/ping").exists());
    assert!(mounts(lab.fs.path()).is_empty());
}
