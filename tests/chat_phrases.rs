//! What is typed into the chat is read as the one operation that it asks for, or as nothing: every phrase of
//! `tests/chat/do.tsv` and `tests/chat/nothing.tsv`, and what hostile input makes of them.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "chat/declared.rs"]
mod declared;
#[path = "chat/hostile.rs"]
mod hostile;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;

use opdbus::grammar::{Grammar, LONGEST, Reading, Why};
use opdbus::ops::{DRY_RUN, Registry};
use serde_json::{Value, json};

fn registry() -> Registry {
    Registry::default()
}

fn grammar() -> &'static Grammar {
    static GRAMMAR: OnceLock<Grammar> = OnceLock::new();
    GRAMMAR.get_or_init(|| Grammar::new(&registry()).unwrap())
}

/// The name and the arguments of what a sentence asks for; none where it asks for nothing.
fn read(sentence: &str) -> Option<(String, Value)> {
    match grammar().read(sentence) {
        Reading::Call { operation, arguments } => Some((operation.name.to_owned(), arguments)),
        Reading::Help => Some(("help".into(), json!({}))),
        Reading::Tools => Some(("tools".into(), json!({}))),
        Reading::Nothing(_) => None,
    }
}

/// A phrase with its `\uXXXX` in place.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = u32::from_str_radix(&part[..4], 16).unwrap();
        whole.push(char::from_u32(code).unwrap());
        whole.push_str(&part[4..]);
    }
    whole
}

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| line.split('\t').collect())
}

/// The phrases that do something: the phrase, the operation, its arguments.
fn phrases() -> Vec<(String, String, Value)> {
    let rows = rows(include_str!("chat/do.tsv")).map(|row| {
        let [phrase, operation, arguments] = row[..] else { panic!("not three columns: {row:?}") };
        (unescaped(phrase), operation.to_owned(), serde_json::from_str(arguments).unwrap())
    });
    rows.collect()
}

/// What answers the same as another: the one that is taken for it.
fn equivalent() -> BTreeMap<String, (String, Value)> {
    let lines = include_str!("chat/do.tsv").lines().filter_map(|line| line.strip_prefix("# EQUIVALENT: "));
    let call = |text: &str| {
        let (name, arguments) = text.split_once(' ').unwrap();
        (name.to_owned(), serde_json::from_str::<Value>(arguments).unwrap())
    };
    lines
        .map(|line| {
            let (one, other) = line.split_once(" = ").unwrap();
            let (name, arguments) = call(one);
            (format!("{name} {arguments}"), call(other))
        })
        .collect()
}

fn same(a: (String, Value)) -> (String, Value) {
    equivalent().remove(&format!("{} {}", a.0, a.1)).unwrap_or(a)
}

/// Whether a phrase asks for a search by name: then what it is for may be any text.
fn searches(phrase: &str) -> bool {
    ["search ", "op-dbus search ", "find in the ledger "].iter().any(|begin| phrase.starts_with(begin))
}

#[test]
fn every_phrase_that_asks_for_something_is_read_as_that() {
    let phrases = phrases();
    assert!(phrases.len() >= 440, "only {}", phrases.len());
    let mut wrong = Vec::new();
    for (phrase, operation, arguments) in phrases {
        let found = read(&phrase);
        if found.clone().map(same) != Some(same((operation.clone(), arguments.clone()))) {
            let said = match grammar().read(&phrase) {
                Reading::Nothing(unclear) => unclear.to_string(),
                _ => format!("{found:?}"),
            };
            wrong.push(format!("{phrase:?} is {operation} {arguments}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_phrase_that_asks_for_nothing_is_read_as_nothing() {
    let mut wrong = Vec::new();
    let mut lines = 0;
    for row in rows(include_str!("chat/nothing.tsv")) {
        let [phrase, why] = row[..] else { panic!("not two columns: {row:?}") };
        lines += 1;
        if let Some((operation, arguments)) = read(&unescaped(phrase)) {
            wrong.push(format!("{phrase:?} ({why}): {operation} {arguments}"));
        }
    }
    assert!(lines >= 490, "only {lines}");
    assert!(wrong.is_empty(), "{} of {lines}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_operation_that_is_offered_has_a_phrase_and_its_example_asks_for_it() {
    let offered: Vec<&str> = grammar().offered().map(|offer| offer.operation.name).collect();
    let registry = registry();
    let left_out: Vec<&str> =
        registry.iter().map(|operation| operation.name).filter(|name| !offered.contains(name)).collect();
    assert_eq!(
        left_out,
        [
            "container.exec",
            "template.import",
            "plugin.send",
            "plugin.receive",
            "model.import",
            "ledger.export"
        ],
        "what takes a command or a file"
    );
    for offer in grammar().offered() {
        let name = offer.operation.name;
        assert!(!offer.operation.phrases.is_empty(), "{name} has no phrase");
        assert_eq!(read(offer.example).map(|(name, _)| name).as_deref(), Some(name), "{:?}", offer.example);
        assert_eq!(grammar().example(offer.operation), Some(offer.example));
    }
}

/// The words that a shell makes of each of these commands.
fn words(commands: &[String]) -> Vec<Vec<String>> {
    let script: String = commands.iter().map(|line| format!("printf '%s\\037' {line}; echo\n")).collect();
    let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.split_terminator('\u{1f}').map(str::to_owned).collect()).collect()
}

/// The operation that the command line of `op-dbus` finds in these words, and all of its arguments.
fn commanded(words: &[String]) -> (String, Value) {
    let root = opdbus::cli::admin::command().try_get_matches_from(words).unwrap();
    let mut path = Vec::new();
    let mut matches = &root;
    while let Some((name, inside)) = matches.subcommand() {
        path.push(name.to_owned());
        matches = inside;
    }
    let flag = ["fix", "save", "values"]
        .into_iter()
        .find(|flag| matches.try_get_one::<bool>(flag).ok().flatten() == Some(&true));
    path.extend(flag.map(str::to_owned));
    let registry = registry();
    let operation = registry.find(&path.join(".")).unwrap();
    let mut arguments = operation.arguments(matches).unwrap();
    if matches.try_get_one::<bool>("rehearse").ok().flatten() == Some(&true) {
        arguments[DRY_RUN] = true.into();
    }
    (operation.name.to_owned(), arguments)
}

#[test]
fn every_call_is_written_as_the_command_of_op_dbus_that_makes_it() {
    let registry = registry();
    let calls: Vec<(String, Value)> = phrases()
        .iter()
        .filter_map(|(phrase, ..)| read(phrase))
        .filter(|(name, _)| registry.find(name).is_ok())
        .collect();
    let commands: Vec<String> = calls
        .iter()
        .map(|(name, arguments)| grammar().command(registry.find(name).unwrap(), arguments).unwrap())
        .collect();
    let spec = read("create debian container named db-01 with socket networking").unwrap();
    assert_eq!(
        grammar().command(registry.find(&spec.0).unwrap(), &spec.1).unwrap(),
        "op-dbus container create db-01 --template debian-base --network socket"
    );
    for ((call, command), words) in calls.iter().zip(&commands).zip(words(&commands)) {
        let (name, arguments) = call;
        if name == "search" {
            assert_eq!(words[2..], [arguments["query"].as_str().unwrap()], "{command}");
            continue;
        }
        let all = |(name, mut arguments): (String, Value)| {
            let operation = registry.find(&name).unwrap();
            let own = arguments.as_object_mut().unwrap();
            let dry = if operation.rehearses() { own.remove(DRY_RUN) } else { None };
            let mut all = operation.filled(arguments).unwrap();
            if let Some(dry) = dry {
                all[DRY_RUN] = dry;
            }
            (name, all)
        };
        let call = all(call.clone());
        assert_eq!(read(command).map(all), Some(call.clone()), "typed into the chat: {command}");
        assert_eq!(commanded(&words), call, "{command}");
    }
}

#[test]
fn a_command_is_understood_whole_or_not_at_all() {
    for (typed, expected) in [
        (
            "op-dbus container create web-01 --network mesh",
            Some(json!({"name": "web-01", "network": "mesh"})),
        ),
        ("container create web-01 --memory=1024", Some(json!({"name": "web-01", "memory": 1024}))),
        ("container create web-01 --memory 1", None),
        ("container create web-01 --network wifi", None),
        ("container create Web-01", None),
        ("container create ../x", None),
        ("container create not", None),
        ("container delete web-01 --yes", None),
        ("container exec web-01 reboot", None),
        ("template import mine file.tar", None),
        ("ledger verify --against /etc/passwd", None),
        ("ledger verify --against=/etc/passwd", None),
        ("template build x --rootfs /etc/shadow", None),
        ("snapshot delete everything", None),
        ("snapshot diff not before-upgrade", None),
        ("template rollback debian-base later", None),
        ("container list --help", None),
        ("container list --json", None),
        ("apply the brakes", None),
        ("apply nonsense", None),
        ("doctor who", None),
        ("drift apart", None),
        ("introspect yourself", None),
    ] {
        assert_eq!(read(typed).map(|(_, arguments)| arguments), expected, "{typed}");
    }
}

#[test]
fn what_is_not_understood_is_told_apart_and_the_nearest_is_offered() {
    let unclear = |typed: &str| match grammar().read(typed) {
        Reading::Nothing(unclear) => unclear,
        other => panic!("{typed}: {other:?}"),
    };
    for (typed, why, understood, unknown, nearest) in [
        ("delete web-01 tomorrow", Why::Unknown, "delete web-01", "tomorrow", "container.delete"),
        ("delet container web-01", Why::Unknown, "", "delet container web-01", "container.delete"),
        ("create container", Why::Unfinished, "create container", "", "container.create"),
        ("please take a snapshot of", Why::Unfinished, "please take a snapshot of", "", "snapshot.create"),
        (
            "create container web-01 with 10 bananas",
            Why::Unknown,
            "create container web-01 with 10",
            "bananas",
            "container.create",
        ),
        (
            "create container web-01 with 1 MB of memory",
            Why::Refused,
            "create container web-01 with 1 MB of memory",
            "",
            "container.create",
        ),
        ("delete container web-0?", Why::Doubtful, "delete container web-0?", "", "container.delete"),
        ("verify the legder", Why::Unknown, "verify the", "legder", "ledger.verify"),
    ] {
        let found = unclear(typed);
        assert_eq!((found.why, &*found.understood, &*found.unknown), (why, understood, unknown), "{typed}");
        assert_eq!(found.nearest.first().map(|near| near.operation.name), Some(nearest), "{typed}");
        assert!(found.nearest.len() <= 3 && !found.to_string().is_empty());
    }
    assert_eq!(unclear("delete web-01\u{202e}").why, Why::Hidden('\u{202e}'));
    assert_eq!(unclear(&"x".repeat(LONGEST + 1)).why, Why::TooLong);
    assert_eq!(unclear("  ").why, Why::Empty);
    assert!(unclear("delete\u{1b}[2K").unknown.chars().all(|c| !c.is_control()), "what is shown is escaped");
}

#[test]
fn a_question_mark_leaves_open_what_an_order_would_close() {
    assert!(read("delete container web-01?").is_none());
    assert!(read("container delete web-01?").is_none());
    assert!(read("could you delete container web-01?").is_some());
    assert!(read("list containers?").is_some());
}
