//! Changing one flow among a thousand, beside a bundle of one flow by `ovs-ofctl`. Needs root and Open vSwitch.

#![allow(clippy::unwrap_used, reason = "a bench ends where its set-up fails")]

#[path = "../tests/support/ovs.rs"]
#[allow(dead_code, unreachable_pub)]
mod ovs;
mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use opdbus::containers::{Origin, Record};
use opdbus::engine::{self, Context, Silent, Stage};
use opdbus::flows::{self, FlowsComponent};
use opdbus::spec::{self, Container, HostSpec};
use ovs::Ovs;
use support::{Limit, median, row, timed};

const CONTAINERS: u8 = 130;
const ROUNDS: usize = 20;

fn main() {
    let ovs = Ovs::start();
    let mut spec = HostSpec::default();
    spec.btrfs.base_path = ovs.dir.path().join("data");
    let cx = Context { host: &ovs.host, spec: &spec, progress: &Silent };
    for n in 0..CONTAINERS {
        let name: opdbus::name::ContainerName = format!("c{n}").parse().unwrap();
        let record = Record {
            version: 1,
            origin: Origin::Manual,
            spec: Container::default(),
            generation: "g".into(),
            slot: n.into(),
            address: [10, 0, 0, 2 + n].into(),
            mac: opdbus::mac::MacAddr([2, 0, 0, 0, 0, n]),
            dns: Vec::new(),
            created: 0,
            name: name.clone(),
        };
        let place = cx.tree().container(&name);
        std::fs::create_dir_all(place.join("rootfs")).unwrap();
        std::fs::write(place.join("container.json"), serde_json::to_vec(&record).unwrap()).unwrap();
    }
    let stages: Vec<Box<dyn Stage>> = vec![
        Box::new(opdbus::bridge::BridgeComponent::default()),
        Box::new(FlowsComponent::new(|cx| opdbus::containers::endpoints(cx).map_err(Into::into))),
    ];
    assert!(engine::apply(&stages, &cx).unwrap().failure().is_none());
    let endpoints = opdbus::containers::endpoints(&cx).unwrap();
    assert!(flows::desired(&spec, &endpoints).len() > 1000);

    let config = ovs.dir.path().join("config.json");
    std::fs::write(&config, spec::render(&spec)).unwrap();
    let ours = || {
        let status = Command::new(env!("CARGO_BIN_EXE_opdbus-flows"))
            .args(["apply", "--config", config.to_str().unwrap()])
            .env("OPDBUS_OVSDB", &ovs.host.paths.ovsdb)
            .env("OPDBUS_OVS_RUN", &ovs.host.paths.ovs_run)
            .env("OPDBUS_RUN", &ovs.host.paths.run)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    };
    let target = format!("unix:{}/ovsbr0.mgmt", ovs.dir.path().display());
    let bundle = || {
        let mut child = Command::new("ovs-ofctl")
            .args(["-O", "OpenFlow14", "bundle", &target, "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let flow = format!("flow add cookie={:#x},table=20,priority=0 actions=drop\n", flows::COOKIE);
        child.stdin.take().unwrap().write_all(flow.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    let break_one = || ovs.ofctl("mod-flows", "ovsbr0", &["table=20,priority=0 actions=NORMAL"]);
    let (mut of_ours, mut of_bundle) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        break_one();
        of_ours.push(timed(ours));
        assert_eq!(flows::converge(&cx, &endpoints).unwrap(), 0, "it was mended");
        break_one();
        of_bundle.push(timed(bundle));
    }
    row(
        "one of 1,000 flows mended by opdbus-flows, to an ovs-ofctl bundle of one",
        median(of_ours),
        median(of_bundle),
        Limit::AtMost(1.0),
    );
}
