//! The whole of a bus beside `busctl tree`, service by service: a private bus with services of several sizes, each
//! measured ten times in turn.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    dead_code,
    reason = "a bench: what fails ends it, and it prints what it measured"
)]

#[path = "../tests/support/bus.rs"]
mod private;
mod support;

use opdbus::engine::Silent;
use opdbus::introspect::{Bus, Request, introspect};
use private::{Answer, PrivateBus};
use support::{Limit, median, ratio, timed};

/// How many times each is measured.
const TIMES: usize = 10;
/// The services: how many objects each has, and how many methods each object.
const SERVICES: [(usize, usize); 30] = {
    let mut services = [(8, 20); 30];
    services[0] = (250, 200);
    services[1] = (60, 40);
    services
};

fn main() {
    let bus = PrivateBus::start();
    let mut names = Vec::new();
    let mut services = Vec::new();
    for (number, (objects, methods)) in SERVICES.into_iter().enumerate() {
        let name = format!("org.example.Bench{number}");
        let children: String = (0..objects).map(|n| format!("<node name='o{n}'/>")).collect();
        let root = format!("<node>{children}</node>");
        let method = "<arg type='s' name='what' direction='in'/><arg type='a{sv}' name='options' direction='in'/><arg type='o' direction='out'/>";
        let members: String =
            (0..methods).map(|n| format!("<method name='Method{n}'>{method}</method>")).collect();
        let object = format!("<node><interface name='org.example.Bench'>{members}</interface></node>");
        services.push(bus.serve(&[&name], move |path, _, _| {
            Some(Ok(Answer::Text(if path == "/" { root.clone() } else { object.clone() })))
        }));
        names.push(name);
    }
    let there = Bus::At(bus.address.clone());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        ours.push(timed(|| {
            let found = introspect(&there, &Request::default(), None, &Silent).unwrap();
            let objects: usize = found.iter().map(|service| service.objects.len()).sum();
            assert!(objects >= SERVICES.iter().map(|(objects, _)| objects + 1).sum());
        }));
        theirs.push(timed(|| {
            for name in &names {
                assert!(bus.busctl(&["tree", "--list", name]).success());
            }
        }));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    ratio(
        "`introspect --all` to `busctl tree` of each service: times as fast",
        theirs.as_secs_f64() / ours.as_secs_f64(),
        Limit::AtLeast(5.0),
        &format!("{theirs:.1?} : {ours:.1?}"),
    );
}
