//! What an operation says that it would change, and that it changes nothing meanwhile.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use opdbus::deployment::Deployment;
use opdbus::engine::{Host, Silent};
use opdbus::fault::{Kind, Report};
use opdbus::ledger::{self, Ledger, Via};
use opdbus::ops::{Caller, Nobody, Registry, Service};
use opdbus::paths::Tree;
use serde_json::{Value, json};

/// A host with a ledger and the directory of a plugin.
struct Bare {
    _dir: tempfile::TempDir,
    tree: Tree,
    service: Service,
}

impl Bare {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::default();
        host.paths.etc = dir.path().join("etc");
        host.paths.run = dir.path().join("run");
        let tree = Tree::new(dir.path().join("base"));
        let plugin = tree.join("@plugins/lxc");
        for directory in
            [&host.paths.etc, &host.paths.run, &tree.join("@timing"), &tree.join("@state"), &plugin]
        {
            std::fs::create_dir_all(directory).unwrap();
        }
        let spec = json!({ "version": 1, "btrfs": { "basePath": tree.base() } });
        std::fs::write(host.paths.config(), spec.to_string()).unwrap();
        let by = ledger::Caller::this_process(Via::Helper);
        Ledger::init(&tree.ledger(), &by, Deployment::Traditional).unwrap();
        Self { _dir: dir, tree, service: Service::new(host) }
    }

    fn call(&self, uid: u32, name: &str, arguments: Value) -> Result<Value, Report> {
        let caller = Caller { uid, user: format!("user{uid}"), member: false, via: Via::Cli, token: None };
        self.service.call(&caller, &Nobody, name, arguments, &Silent, None)
    }

    fn disabled(&self) -> bool {
        std::fs::read_to_string(self.tree.join("@state/plugins.json")).is_ok_and(|text| text.contains("lxc"))
    }
}

#[test]
fn a_rehearsal_says_what_would_change_and_changes_nothing() {
    let bare = Bare::new();
    let asked = bare.call(0, "plugin.disable", json!({ "name": "lxc", "dryRun": true })).unwrap();
    assert_eq!(asked["changes"][0]["object"], "plugin lxc");
    assert_eq!(
        (&asked["changes"][0]["action"], &asked["changes"][0]["detail"]),
        (&json!("update"), &json!("disabled"))
    );
    assert!(!bare.disabled(), "it was disabled");
    bare.call(0, "plugin.disable", json!({ "name": "lxc", "dryRun": false })).unwrap();
    assert!(bare.disabled());
    let again = bare.call(0, "plugin.disable", json!({ "name": "lxc", "dryRun": true })).unwrap();
    assert_eq!(again["changes"], json!([]), "there is nothing left to change");
}

#[test]
fn a_rehearsal_is_refused_where_the_change_would_be_and_is_in_the_ledger_as_one() {
    let bare = Bare::new();
    let refused = |uid, name: &str, arguments| bare.call(uid, name, arguments).unwrap_err().kind;
    assert_eq!(refused(0, "plugin.disable", json!({ "name": "mesh", "dryRun": true })), Kind::NotFound);
    assert_eq!(refused(1000, "plugin.disable", json!({ "name": "lxc", "dryRun": true })), Kind::Denied);
    bare.call(0, "plugin.disable", json!({ "name": "lxc", "dryRun": true })).unwrap();
    let entry = bare.call(0, "ledger.show", json!({ "limit": 1 })).unwrap();
    assert_eq!(entry[0]["operation"], "plugin.disable");
    assert_eq!(entry[0]["metadata"]["arguments"]["dryRun"], true);
}

#[test]
fn nobody_gets_a_change_who_asked_for_none() {
    let bare = Bare::new();
    for odd in [json!("true"), json!(1), Value::Null] {
        let refused = bare.call(0, "plugin.disable", json!({ "name": "lxc", "dryRun": odd })).unwrap_err();
        assert_eq!(refused.kind, Kind::Invalid, "{odd}: {refused}");
    }
    assert!(!bare.disabled());
    // What cannot tell what it would change refuses to be asked.
    for operation in Registry::default().iter().filter(|operation| !operation.rehearses()) {
        if operation.name == "bridge.uplink.set" {
            continue;
        }
        let refused = bare.call(0, operation.name, json!({ "dryRun": true })).unwrap_err();
        assert_eq!(refused.kind, Kind::Invalid, "{}: {refused}", operation.name);
    }
}
