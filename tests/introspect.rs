//! A service that hangs, refuses, or answers nonsense has an entry that says so and never fails the others; what is
//! bounded is bounded; nothing is started that was not running.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test program: helpers outside of the test functions fail the test, too"
)]

#[path = "support/bus.rs"]
mod private;
mod support;

use std::time::{Duration, Instant};

use opdbus::engine::{Progress, Silent};
use opdbus::fault::{Fault, Kind};
use opdbus::introspect::{self, Bus, Cache, IntrospectError, Invocation, Limits, Request, Service};
use opdbus::paths::Tree;
use private::{Answer, PrivateBus};
use support::Need;
use zbus::wire::{OwnedVariant, Variant};

macro_rules! needs_a_bus {
    () => {
        let needs = [Need::Root, Need::Program("dbus-daemon"), Need::Program("busctl")];
        if !support::can_run("unit", std::thread::current().name().unwrap_or("?"), &needs) {
            return;
        }
    };
}

const FROB: &str = "<interface name='org.example.Frob'><method name='Do'><arg type='s' direction='in'/></method>\
    <property name='Size' type='t' access='read'/><property name='Secret' type='s' access='write'/></interface>";

#[allow(clippy::unnecessary_wraps, reason = "what a service answers")]
fn text(text: impl Into<String>) -> Option<Result<Answer, &'static str>> {
    Some(Ok(Answer::Text(text.into())))
}

/// A service as they should be: a root, and three objects below it.
fn sound(path: &str, _: &str, member: &str) -> Option<Result<Answer, &'static str>> {
    if member == "GetAll" {
        let size = OwnedVariant::try_from(Variant::U64(7)).unwrap();
        return Some(Ok(Answer::Values([("Size".to_owned(), size)].into())));
    }
    match path {
        "/" => text("<node><node name='org'/></node>"),
        "/org" => text("<node><node name='a'/><node name='b'/></node>"),
        _ => text(format!("<node>{FROB}</node>")),
    }
}

/// As the daemon's does, it waits on a loop of its own.
struct Waits;
impl Progress for Waits {
    fn report(&self, _: &str, _: Option<f64>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {});
    }
}

fn look(bus: &PrivateBus, request: &Request) -> Result<Vec<Service>, IntrospectError> {
    introspect::introspect(&Bus::At(bus.address.clone()), request, None, &Waits)
}

fn of(name: &str) -> Request {
    Request { service: Some(name.to_owned()), ..Request::default() }
}

fn one(bus: &PrivateBus, request: &Request) -> Service {
    look(bus, request).unwrap().remove(0)
}

#[test]
fn a_service_is_walked_through_and_its_definitions_are_given_once() {
    needs_a_bus!();
    let bus = PrivateBus::start();
    let _sound = bus.serve(&["org.example.Sound"], sound);
    let service = one(&bus, &of("org.example.Sound"));
    assert_eq!(service.objects.keys().collect::<Vec<_>>(), ["/", "/org", "/org/a", "/org/b"]);
    assert_eq!(service.objects["/org/a"].interfaces, ["org.example.Frob"]);
    assert_eq!(service.interfaces.len(), 1);
    assert_eq!(service.interfaces["org.example.Frob"].methods["Do"].takes[0].kind, "s");
    assert!(service.objects["/org/a"].values.is_empty(), "values were not asked for");
    let below = one(&bus, &Request { path: "/org/b".into(), ..of("org.example.Sound") });
    assert_eq!(below.objects.keys().collect::<Vec<_>>(), ["/org/b"]);
    let values = one(&bus, &Request { values: true, ..of("org.example.Sound") });
    assert_eq!(values.objects["/org/b"].values["org.example.Frob"], serde_json::json!({ "Size": 7 }));
}

#[test]
fn two_objects_that_mean_different_things_by_one_name_have_both_definitions() {
    needs_a_bus!();
    let bus = PrivateBus::start();
    let _service = bus.serve(&["org.example.Two"], |path, _, _| match path {
        "/" => text("<node><node name='a'/><node name='b'/><node name='c'/></node>"),
        "/b" => text("<node><interface name='org.example.Frob'><method name='Other'/></interface></node>"),
        _ => text(format!("<node>{FROB}</node>")),
    });
    let service = one(&bus, &of("org.example.Two"));
    let of = |path: &str| service.objects[path].interfaces.join(" ");
    assert_eq!((of("/a"), of("/c")), ("org.example.Frob".into(), "org.example.Frob".into()));
    assert_eq!(of("/b"), "org.example.Frob (2)");
    assert!(service.interfaces["org.example.Frob (2)"].methods.contains_key("Other"));
}

#[test]
fn whatever_others_do_the_rest_is_answered_in_time() {
    needs_a_bus!();
    let bus = PrivateBus::start();
    let _sound = bus.serve(&["org.example.Sound", "org.example.Alias"], sound);
    let _silent = bus.serve(&["org.example.Silent"], |_, _, _| None);
    // Answers for its root, and for nothing else.
    let _half = bus.serve(&["org.example.Half"], |path, _, _| {
        let children: String = (0..500).map(|n| format!("<node name='c{n}'/>")).collect();
        if path == "/" { text(format!("<node>{children}</node>")) } else { None }
    });
    let _denies = bus.serve(&["org.example.Denies"], |_, _, _| Some(Err("not for you")));
    let _malformed = bus.serve(&["org.example.Malformed"], |_, _, _| text("<node><interface name='a.b'>"));
    let _bomb = bus.serve(&["org.example.Bomb"], |_, _, _| text("<node>".repeat(500_000)));
    let _large = bus.serve(&["org.example.Large"], |path, _, _| match path {
        "/" => text("<node><node name='a'/></node>"),
        _ => text(format!("<node>{}</node>", " ".repeat(24 << 20))),
    });
    let _circle = bus.serve(&["org.example.Circle"], |_, _, _| {
        text("<node><node name='.'/><node name='..'/><node name=''/></node>")
    });
    let _deep = bus.serve(&["org.example.Deep"], |_, _, _| text("<node><node name='a'/></node>"));
    let _wide = bus.serve(&["org.example.Wide"], |path, _, _| {
        let children: String = (0..19_000).map(|n| format!("<node name='c{n}'/>")).collect();
        text(if path == "/" { format!("<node>{children}</node>") } else { "<node/>".into() })
    });
    let mark = bus.activatable("org.example.Asleep");

    let started = Instant::now();
    let limits = Limits { objects: 2_000, time: Duration::from_secs(8), ..Limits::default() };
    let services = look(&bus, &Request { limits, ..Request::default() }).unwrap();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let get = |name: &str| {
        services.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("{name} is not among them"))
    };
    let failed = |name: &str, why: &str| {
        let error = get(name).error.clone().unwrap_or_else(|| panic!("{name} has no error: {:?}", get(name)));
        assert!(error.contains(why), "{name}: {error}");
    };
    let sound = get("org.example.Alias");
    assert_eq!(sound.aliases, ["org.example.Sound"], "one connection is looked at once");
    assert_eq!((sound.objects.len(), &sound.error), (4, &None));
    failed("org.example.Silent", "did not answer in time");
    failed("org.example.Denies", "not for you");
    failed("org.example.Malformed", "middle");
    failed("org.example.Bomb", "nests more");
    assert!(get("org.example.Large").objects["/a"].error.as_ref().unwrap().contains("bytes"));
    assert!(get("org.example.Circle").error.as_ref().unwrap().contains("left out"));
    assert!(get("org.example.Half").truncated[0].contains("given up"));
    assert_eq!(
        (get("org.example.Deep").objects.len(), get("org.example.Deep").truncated[0].as_str()),
        (17, "objects deeper than 16")
    );
    assert_eq!(
        (get("org.example.Wide").objects.len(), get("org.example.Wide").truncated[0].as_str()),
        (2_000, "more than 2000 objects")
    );
    assert!(!services.iter().any(|s| s.name == "org.example.Asleep"));
    assert!(!mark.exists(), "a service was started");
}

#[test]
fn the_time_given_is_kept() {
    needs_a_bus!();
    let bus = PrivateBus::start();
    let _slow = bus.serve(&["org.example.Slow"], |_, _, _| {
        std::thread::sleep(Duration::from_millis(100));
        text("<node><node name='a'/><node name='b'/></node>")
    });
    let limits = Limits { time: Duration::from_secs(1), ..Limits::default() };
    let started = Instant::now();
    let service = one(&bus, &Request { limits, ..of("org.example.Slow") });
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
    assert_eq!(service.truncated, ["the time was over"]);
    assert!(service.objects.len() > 2, "what came in time is there");
}

#[test]
fn a_service_is_started_only_when_that_was_asked_for() {
    needs_a_bus!();
    let bus = PrivateBus::start();
    let mark = bus.activatable("org.example.Asleep");
    let names = introspect::names(&Bus::At(bus.address.clone())).unwrap();
    let asleep = names.iter().find(|n| n.name == "org.example.Asleep").unwrap();
    assert!(!asleep.running && asleep.activatable && asleep.owner.is_none());
    let error = look(&bus, &of("org.example.Asleep")).unwrap_err();
    assert!(
        matches!(error, IntrospectError::Asleep { .. }) && error.next().unwrap().contains("--activate"),
        "{error}"
    );
    assert!(!mark.exists());
    // It ends without taking its name.
    let error = look(&bus, &Request { activate: true, ..of("org.example.Asleep") }).unwrap_err();
    assert!(matches!(error, IntrospectError::Start { .. }), "{error}");
    assert!(mark.exists());
}

#[test]
fn what_is_not_there_or_no_name_at_all_is_said_to_be() {
    needs_a_bus!();
    let bus = PrivateBus::start();
    assert_eq!(look(&bus, &of("org.example.None")).unwrap_err().kind(), Kind::NotFound);
    for name in ["", "x", "a b.c", "../x", "-rf"] {
        assert_eq!(look(&bus, &of(name)).unwrap_err().kind(), Kind::Invalid, "{name}");
    }
    for path in ["", "x", "/x/", "/a b"] {
        let request = Request { path: path.into(), ..of("org.freedesktop.DBus") };
        assert_eq!(look(&bus, &request).unwrap_err().kind(), Kind::Invalid, "{path}");
    }
    let nowhere = Bus::At("unix:path=/nonexistent/socket".into());
    assert_eq!(introspect::names(&nowhere).unwrap_err().kind(), Kind::Unavailable);
}

#[test]
fn the_names_tell_the_process_behind_them() {
    needs_a_bus!();
    let bus = PrivateBus::start();
    let _sound = bus.serve(&["org.example.Sound"], sound);
    let names = introspect::names(&Bus::At(bus.address.clone())).unwrap();
    let of = |name: &str| names.iter().find(|n| n.name == name).unwrap();
    assert_eq!(of("org.example.Sound").pid, Some(std::process::id()));
    assert_eq!(of("org.example.Sound").uid, Some(0));
    assert_eq!(of("org.freedesktop.DBus").process.as_deref(), Some("dbus-daemon"));
    assert!(names.iter().all(|n| !n.name.starts_with(':')));
}

#[test]
fn interfaces_are_remembered_for_the_process_and_objects_never() {
    needs_a_bus!();
    let bus = PrivateBus::start();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("@cache")).unwrap();
    let cache = Cache::of(&Tree::new(dir.path()));
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&asked);
    let _sound = bus.serve(&["org.example.Sound"], move |path, interface, member| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        sound(path, interface, member)
    });
    let calls = || asked.swap(0, std::sync::atomic::Ordering::Relaxed);
    let look = |request: &Request| {
        introspect::introspect(&Bus::At(bus.address.clone()), request, Some(&cache), &Silent)
            .unwrap()
            .remove(0)
    };
    let interfaces = Request { interfaces: true, ..of("org.example.Sound") };
    let first = look(&interfaces);
    assert!(!first.cached && first.objects.is_empty() && calls() == 4);
    let second = look(&interfaces);
    assert!(second.cached && calls() == 0, "it was not asked again");
    assert_eq!(second.interfaces, first.interfaces);
    assert!(
        !look(&of("org.example.Sound")).objects.is_empty() && calls() == 4,
        "objects are looked at each time"
    );
    // As if another process had it: what is remembered counts no more.
    let file = dir.path().join("@cache/introspection/org.example.Sound.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    kept["identity"]["started"] = 1.into();
    std::fs::write(&file, kept.to_string()).unwrap();
    assert!(!look(&interfaces).cached && calls() == 4);
}

#[test]
fn an_outline_has_what_stays_and_nothing_is_started_for_it() {
    needs_a_bus!();
    let bus = PrivateBus::start();
    let _sound = bus.serve(&["org.example.Sound"], |path, _, _| match path {
        "/" => text("<node><interface name='org.freedesktop.DBus.Peer'/><node name='org'/></node>"),
        "/org" => text(format!("<node>{FROB}<node name='session_1'/></node>")),
        _ => text("<node><interface name='org.example.Session'/></node>"),
    });
    let _silent = bus.serve(&["org.example.Silent"], |_, _, _| None);
    let mark = bus.activatable("org.example.Asleep");
    let outline = introspect::outline(&Bus::At(bus.address.clone())).unwrap();
    assert_eq!(outline["org.example.Sound"], Some(vec!["org.example.Frob".to_owned()]));
    assert_eq!((&outline["org.example.Silent"], &outline["org.example.Asleep"]), (&None, &None));
    assert!(!mark.exists());
}

#[test]
fn a_method_is_called_with_what_it_takes_and_with_nothing_else() {
    needs_a_bus!();
    let bus = PrivateBus::start();
    let called = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&called);
    let _service = bus.serve(&["org.example.Sound"], move |path, _, member| match (path, member) {
        ("/a", "Introspect") => text(format!("<node>{FROB}</node>")),
        ("/a", "Do") => {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            text("done")
        }
        _ => Some(Err("not for you")),
    });
    let of = |path: &str, method: &str, arguments: serde_json::Value| Invocation {
        service: "org.example.Sound".into(),
        path: path.into(),
        interface: "org.example.Frob".into(),
        method: method.into(),
        arguments: serde_json::from_value(arguments).unwrap(),
    };
    let at = Bus::At(bus.address.clone());
    let call = |call: &Invocation, rehearse| introspect::invoke(&at, call, rehearse);
    let good = of("/a", "Do", serde_json::json!(["x"]));
    assert!(call(&good, true).unwrap().is_empty());
    assert_eq!(called.load(std::sync::atomic::Ordering::Relaxed), 0, "it was rehearsed");
    assert_eq!(call(&good, false).unwrap(), [serde_json::json!("done")]);
    for (wrong, kind) in [
        (of("/a", "Do", serde_json::json!([])), Kind::Invalid),
        (of("/a", "Do", serde_json::json!(["x", "y"])), Kind::Invalid),
        (of("/a", "Do", serde_json::json!([5])), Kind::Invalid),
        (of("/a", "Other", serde_json::json!([])), Kind::NotFound),
        (of("/a", "not a name", serde_json::json!([])), Kind::NotFound),
        (of("x", "Do", serde_json::json!(["x"])), Kind::Invalid),
        (of("/b", "Do", serde_json::json!(["x"])), Kind::Failed),
        (Invocation { service: "x".into(), ..good.clone() }, Kind::Invalid),
        (Invocation { service: "org.example.None".into(), ..good.clone() }, Kind::Failed),
        (Invocation { interface: "org.example.Other".into(), ..good.clone() }, Kind::NotFound),
    ] {
        for rehearse in [true, false] {
            let error = call(&wrong, rehearse).unwrap_err();
            assert_eq!(error.kind(), kind, "{wrong:?}: {error}");
        }
    }
    assert_eq!(called.load(std::sync::atomic::Ordering::Relaxed), 1);
}
