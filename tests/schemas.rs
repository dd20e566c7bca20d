//! What operations really answer, and commands really print, is what `op-dbus schema` says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as it must be")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use jsonschema::Validator;
use opdbus::cli::schema::Catalogue;
use opdbus::deployment::Deployment;
use opdbus::engine::{Host, Silent};
use opdbus::ledger::{self, Ledger, Via};
use opdbus::ops::{Caller, Nobody, Service, Streams};
use opdbus::paths::Tree;
use serde_json::{Value, json};

/// A validator that takes no field for granted: where an object's fields are listed, there are no others.
fn strict(schema: &Value) -> Validator {
    /// `open`: it is one of several that together say what an object has, as flattened variants do.
    fn close(schema: &mut Value, open: bool) {
        let Value::Object(map) = schema else { return };
        let fields = map.contains_key("properties");
        for (key, inner) in map.iter_mut() {
            let (each, open) = match (key.as_str(), inner) {
                ("properties" | "$defs", Value::Object(all)) => (all.values_mut().collect::<Vec<_>>(), false),
                ("items" | "additionalProperties", one) => (vec![one], false),
                ("anyOf" | "oneOf", Value::Array(all)) => (all.iter_mut().collect(), open || fields),
                ("allOf", Value::Array(all)) => (all.iter_mut().collect(), true),
                _ => continue,
            };
            for one in each {
                close(one, open);
            }
        }
        if fields && !open && !map.contains_key("additionalProperties") {
            map.insert("unevaluatedProperties".into(), json!(false));
        }
    }
    let mut schema = schema.clone();
    close(&mut schema, false);
    jsonschema::validator_for(&schema).unwrap()
}

/// Every answer there is a schema for, by operation or command.
fn answers() -> BTreeMap<String, Value> {
    let all = Catalogue::new();
    let mut answers: BTreeMap<String, Value> =
        all.operations.into_iter().map(|one| (one.name, one.answer)).collect();
    let alike: Vec<(String, Value)> = all
        .commands
        .into_iter()
        .filter_map(|one| {
            let answer = one.answer.or_else(|| answers.get(one.operation.as_deref()?).cloned())?;
            Some((one.command, answer))
        })
        .collect();
    answers.extend(alike);
    answers
}

fn expect(answers: &BTreeMap<String, Value>, name: &str, answer: &Value) {
    let validator = strict(answers.get(name).unwrap_or_else(|| panic!("{name} has no schema")));
    let wrong: Vec<String> =
        validator.iter_errors(answer).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(wrong.is_empty(), "{name} answered otherwise than its schema says:\n{wrong:#?}\n{answer:#}");
}

/// A host with a ledger, and nothing else.
struct Bare {
    dir: tempfile::TempDir,
    service: Service,
}

impl Bare {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::default();
        host.paths.etc = dir.path().join("etc");
        host.paths.run = dir.path().join("run");
        host.paths.ovsdb = dir.path().join("no-ovsdb");
        host.paths.uplink = dir.path().join("uplink");
        let tree = Tree::new(dir.path().join("base"));
        for directory in [&host.paths.etc, &host.paths.run, &tree.join("@timing"), &tree.containers()] {
            std::fs::create_dir_all(directory).unwrap();
        }
        let spec = json!({ "version": 1, "btrfs": { "basePath": tree.base() } });
        std::fs::write(host.paths.config(), spec.to_string()).unwrap();
        let by = ledger::Caller::this_process(Via::Helper);
        Ledger::init(&tree.ledger(), &by, Deployment::Traditional).unwrap();
        Self { dir, service: Service::new(host) }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn call(&self, name: &str, arguments: Value) -> Value {
        let root = Caller { uid: 0, user: "root".into(), member: false, via: Via::Cli, token: None };
        let file = |options: &mut std::fs::OpenOptions| options.open("/dev/null").unwrap().into();
        let out = File::create(self.at("out")).unwrap().into();
        let mut options = File::options();
        let streams: Streams = [file(options.read(true)), out, file(options.write(true))];
        let streams = (name == "ledger.export").then_some(streams);
        let answer = self.service.call(&root, &Nobody, name, arguments, &Silent, streams);
        answer.unwrap_or_else(|report| panic!("{name}: {report}"))
    }

    /// What a program prints with `--json`, on this host.
    fn prints(&self, program: &str, words: &[&str]) -> Value {
        let output = Command::new(program)
            .args(words)
            .arg("--json")
            .env("OPDBUS_ETC", self.at("etc"))
            .env("OPDBUS_RUN", self.at("run"))
            .env("OPDBUS_OVSDB", self.at("no-ovsdb"))
            .env("OPDBUS_UPLINK", self.at("uplink"))
            .output()
            .unwrap();
        let text = if output.status.success() { &output.stdout } else { &output.stderr };
        serde_json::from_slice(text).unwrap_or_else(|e| panic!("{program} {words:?}: {e}: {output:?}"))
    }
}

#[test]
fn every_operation_and_every_command_that_prints_json_has_a_schema_that_is_one() {
    let answers = answers();
    let operations = Catalogue::new().operations;
    assert!(operations.len() > 40);
    for one in &operations {
        assert!(answers.contains_key(&one.name));
        jsonschema::meta::validate(&one.arguments).unwrap_or_else(|e| panic!("{}: {e}", one.name));
    }
    for (name, schema) in &answers {
        jsonschema::meta::validate(schema).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_ne!(*schema, json!(true), "{name}");
    }
    let plan = strict(&answers["plan"]);
    assert!(plan.is_valid(&json!({ "changes": [] })));
    for wrong in
        [json!({}), json!({ "changes": [], "more": 1 }), json!({ "changes": [{ "action": "burn" }] })]
    {
        assert!(!plan.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn what_operations_answer_is_what_their_schemas_say() {
    let (bare, answers) = (Bare::new(), answers());
    let calls = [
        ("plan", json!({ "components": ["ledger", "sockets"] })),
        ("show", json!({ "components": ["ledger", "sockets", "uplink"] })),
        ("query", json!({ "subject": "plugins" })),
        ("doctor", json!({ "checks": ["clock", "disk-space", "ledger", "chain", "kernel", "bridge"] })),
        ("bridge.uplink.status", json!({})),
        ("container.list", json!({})),
        ("template.list", json!({})),
        ("snapshot.list", json!({})),
        ("plugin.list", json!({})),
        ("ledger.show", json!({})),
        ("ledger.verify", json!({})),
        ("ledger.export", json!({})),
    ];
    for (name, arguments) in calls {
        expect(&answers, name, &bare.call(name, arguments));
    }
}

#[test]
fn what_commands_print_is_what_their_schemas_say() {
    let (bare, answers) = (Bare::new(), answers());
    let spec = bare.at("etc/config.json");
    let spec = spec.to_str().unwrap();
    let (admin, keeper) = (env!("CARGO_BIN_EXE_op-dbus"), env!("CARGO_BIN_EXE_opdbus-ledger"));
    let templates = env!("CARGO_BIN_EXE_opdbus-template");
    let pages = bare.at("pages");
    let commands: [(&str, &str, &[&str]); 15] = [
        ("op-dbus config check", admin, &["config", "check", spec]),
        ("op-dbus config show", admin, &["config", "show", spec]),
        ("op-dbus config to-nix", admin, &["config", "to-nix", spec]),
        ("op-dbus schema", admin, &["schema"]),
        ("op-dbus man --all", admin, &["man", "--all", pages.to_str().unwrap()]),
        ("opdbus-ledger init", keeper, &["init"]),
        ("opdbus-ledger key create", keeper, &["key", "create"]),
        ("opdbus-ledger key show", keeper, &["key", "show"]),
        ("opdbus-ledger checkpoint", keeper, &["checkpoint"]),
        ("opdbus-ledger checkpoint --scheduled", keeper, &["checkpoint", "--scheduled"]),
        ("opdbus-ledger verify", keeper, &["verify"]),
        ("opdbus-ledger show", keeper, &["show"]),
        ("opdbus-ledger plan", keeper, &["plan"]),
        ("opdbus-ledger status", keeper, &["status"]),
        ("opdbus-template list", templates, &["list"]),
    ];
    for (name, program, words) in commands {
        expect(&answers, name, &bare.prints(program, words));
    }
    let due = bare.prints(env!("CARGO_BIN_EXE_opdbus-snapshot"), &["due"]);
    expect(&answers, "opdbus-snapshot due", &due);
    let plugins = bare.prints(env!("CARGO_BIN_EXE_opdbus-plugin"), &["list"]);
    expect(&answers, "opdbus-plugin list", &plugins);
}

#[test]
fn a_failure_is_what_its_schema_says() {
    let bare = Bare::new();
    let failure = bare.prints(env!("CARGO_BIN_EXE_op-dbus"), &["config", "check", "/nonexistent"]);
    let validator = strict(&Catalogue::new().error);
    assert!(validator.is_valid(&failure), "{failure:#}");
    assert!(!validator.is_valid(&json!({ "error": { "message": "without a kind" } })));
    let unknown = bare.prints(env!("CARGO_BIN_EXE_op-dbus"), &["schema", "container.fly"]);
    assert_eq!(unknown["error"]["kind"], "not-found");
}

#[test]
fn the_schema_of_one_operation_is_printed_however_it_is_named() {
    let bare = Bare::new();
    let admin = env!("CARGO_BIN_EXE_op-dbus");
    let dotted = bare.prints(admin, &["schema", "container.create"]);
    assert_eq!(dotted, bare.prints(admin, &["schema", "container", "create"]));
    assert!(dotted["arguments"]["properties"]["connect"].is_object(), "{dotted:#}");
    assert_eq!(bare.prints(admin, &["schema", "opdbus-plugin", "list"])["operation"], "plugin.list");
}

/// Replies that were taken elsewhere, as `OPERATION.json` in the directory of `OPDBUS_REPLIES`: of an installed host, where
/// there is more to answer.
#[test]
fn replies_that_were_taken_elsewhere_are_what_their_schemas_say() {
    let Some(directory) = std::env::var_os("OPDBUS_REPLIES") else { return };
    let answers = answers();
    let mut names = Vec::new();
    for file in std::fs::read_dir(Path::new(&directory)).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let answer = serde_json::from_slice(&std::fs::read(&path).unwrap());
        expect(&answers, &name, &answer.unwrap_or_else(|e| panic!("{name}: {e}")));
        names.push(name);
    }
    println!("{} replies are as their schemas say", names.len());
    assert!(names.len() >= 20, "{names:?}");
}
