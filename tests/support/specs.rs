//! Random host specs that are valid, with the strings that are hardest on whoever writes them down elsewhere.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test program is a crate of its own and uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "this is the tests' own")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use opdbus::spec::{HostSpec, REQUIRED_SUBVOLUMES};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

/// Fields that are there or not; what is not there has its default.
fn some_of(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| option::of(value).prop_map(move |value| value.map(|v| (name.to_owned(), v))))
        .collect();
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect())).boxed()
}

fn name() -> impl Strategy<Value = String> {
    let keywords =
        ["if", "then", "else", "let", "in", "rec", "with", "inherit", "assert", "or", "true", "null"];
    prop_oneof![9 => "[a-z]([a-z0-9-]{0,30}[a-z0-9])?", 1 => select(keywords.to_vec()).prop_map(String::from)]
}

fn path() -> impl Strategy<Value = String> {
    // No component is '.' or '..', or begins like an option.
    vec("[a-zA-Z0-9_ü€$][a-zA-Z0-9._@+:{}$ü€-]{0,9}", 1..4).prop_map(|parts| format!("/{}", parts.join("/")))
}

/// Text without control characters, rich in what Nix, JSON and shells read as something else.
fn text() -> impl Strategy<Value = String> {
    r#"([$"\\{}'`#;=%]|\$\{|''|[a-zA-Z0-9 /._-]|[äß€語😀]){0,24}"#
}

fn json_of<T: serde::Serialize + std::fmt::Debug>(
    of: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Value> {
    of.prop_map(|value| json!(value)).boxed()
}

fn btrfs() -> BoxedStrategy<Value> {
    let image = (path(), 256_u64..1 << 20, any::<bool>()).prop_map(|(path, size, with_path)| {
        let mut image = json!({ "size": format!("{size}M") });
        if with_path {
            image["path"] = format!("/images{path}").into();
        }
        image
    });
    let subvolumes = (Just(REQUIRED_SUBVOLUMES.map(String::from).to_vec()), vec("@x[a-z0-9-]{0,29}", 0..3))
        .prop_map(|(required, more)| [required, more].concat())
        .prop_shuffle();
    some_of(vec![
        ("basePath", json_of(path().prop_map(|path| format!("/data{path}")))),
        ("compressionLevel", json_of(1..=15)),
        ("subvolumes", json_of(subvolumes)),
        ("image", image.boxed()),
    ])
}

fn ovs(subnet: &str) -> BoxedStrategy<Value> {
    let subnet = subnet.to_owned();
    let dns = prop_oneof![
        any::<Ipv4Addr>().prop_map(|a| a.to_string()),
        any::<Ipv6Addr>().prop_map(|a| a.to_string())
    ];
    some_of(vec![
        ("bridge", json_of("[A-Za-z][A-Za-z0-9_-]{0,14}")),
        ("datapath", json_of(select(&["auto", "kernel", "userspace"][..]))),
        ("nat", json_of(any::<bool>())),
        ("hostAccess", json_of(any::<bool>())),
        ("dns", json_of(vec(dns, 0..4))),
    ])
    .prop_map(move |mut ovs| {
        ovs["subnet"] = subnet.clone().into();
        ovs
    })
    .boxed()
}

fn plugins() -> BoxedStrategy<Value> {
    let served = [
        "org.freedesktop.systemd1",
        "org.freedesktop.resolve1",
        "opdbus:lxc",
        "opdbus:ovs",
        "opdbus:netmaker",
    ];
    let plugin =
        (select(served.to_vec()), option::of(subsequence(vec!["read", "write"], 0..=2).prop_shuffle()))
            .prop_map(|(introspection, capabilities)| match capabilities {
                Some(capabilities) => json!({ "introspection": introspection, "capabilities": capabilities }),
                None => json!({ "introspection": introspection }),
            });
    let names = prop_oneof![name(), select(&["lxc", "systemd"][..]).prop_map(String::from)];
    json_of(btree_map(names, plugin, 0..4))
}

fn template() -> BoxedStrategy<Value> {
    let user = ("[a-z_][a-z0-9_-]{0,31}", vec(("[!-~]{1,9}", text()), 0..3), any::<bool>())
        .prop_filter("root is always there", |(name, _, _)| name != "root")
        .prop_map(|(name, keys, sudo)| {
            let keys: Vec<String> = keys.iter().map(|(kind, rest)| format!("{kind} k{rest}")).collect();
            json!({ "name": name, "sshKeys": keys, "sudo": sudo })
        });
    some_of(vec![
        ("suite", json_of("[a-zA-Z0-9.][a-zA-Z0-9.-]{0,11}")),
        ("mirror", json_of(r#"(https?://|file:///)[a-z0-9.:/~$\{}"'%\\ü-]{1,20}"#)),
        ("rootfs", json_of(text().prop_map(|rest| format!("/srv/{rest}")))),
        ("packages", json_of(vec("[a-zA-Z0-9][a-zA-Z0-9+.:-]{0,11}", 0..4))),
        ("user", user.boxed()),
        ("timeZone", json_of("[A-Z][a-z]{1,8}(/[A-Z][A-Za-z_+-]{0,11}){0,2}")),
        ("locale", json_of("[a-zA-Z0-9@.][a-zA-Z0-9_.@-]{0,11}")),
    ])
}

fn container(template: &str) -> BoxedStrategy<Value> {
    let template = template.to_owned();
    let service = prop_oneof![
        (1..=65535_u16).prop_map(|port| port.to_string()),
        (any::<Ipv4Addr>(), 1..=65535_u16).prop_map(|(a, port)| format!("{a}:{port}")),
        (any::<Ipv6Addr>(), 1..=65535_u16).prop_map(|(a, port)| format!("[{a}]:{port}")),
        "/[a-zA-Z0-9/._@+-]{1,40}",
    ];
    let limits = some_of(vec![
        ("cores", json_of(1..=4096_u32)),
        ("memory", json_of(64..=1_u64 << 30)),
        ("swap", json_of(0..=1_u64 << 30)),
    ]);
    some_of(vec![
        ("service", json_of(service)),
        ("limits", limits),
        ("nesting", json_of(any::<bool>())),
        ("autostart", json_of(any::<bool>())),
    ])
    .prop_map(move |mut container| {
        if template != "debian-base" {
            container["template"] = template.clone().into();
        }
        container
    })
    .boxed()
}

/// Containers of these templates: each its own address in the subnet or none, each connected to some of the others.
fn containers(templates: Vec<String>, network: u32, size: u32) -> BoxedStrategy<Value> {
    if templates.is_empty() {
        return Just(json!({})).boxed();
    }
    let one = select(templates).prop_flat_map(|template| container(&template));
    btree_map(name(), (one, any::<bool>(), any::<u32>()), 0..5)
        .prop_map(move |all| {
            let names: Vec<String> = all.keys().cloned().collect();
            let free: Vec<u32> = (2..size - 1).collect();
            let containers: BTreeMap<String, Value> = all
                .into_iter()
                .enumerate()
                .map(|(index, (name, (mut container, addressed, grants)))| {
                    if let Some(offset) = free.get(index).filter(|_| addressed) {
                        container["address"] = Ipv4Addr::from(network + offset).to_string().into();
                    }
                    let others =
                        names.iter().enumerate().filter(|(i, n)| **n != name && grants >> i & 1 == 1);
                    container["connect"] = others.map(|(_, n)| n.as_str()).collect::<Vec<_>>().into();
                    (name, container)
                })
                .collect();
            json!(containers)
        })
        .boxed()
}

fn snapshots() -> BoxedStrategy<Value> {
    let subject = prop_oneof![
        select(&["@state", "@timing", "@cache", "@vectors"][..]).prop_map(String::from),
        name().prop_map(|name| format!("@plugins/{name}")),
        name().prop_map(|name| format!("container/{name}")),
    ];
    let count = || json_of(0..=1000_u32);
    let keep = some_of(
        ["last", "hourly", "daily", "weekly", "monthly"].into_iter().map(|rule| (rule, count())).collect(),
    );
    let policy = (select(&["hourly", "daily", "weekly", "monthly"][..]), option::of(keep)).prop_map(
        |(schedule, keep)| match keep {
            Some(keep) => json!({ "schedule": schedule, "keep": keep }),
            None => json!({ "schedule": schedule }),
        },
    );
    json_of(btree_map(subject, policy, 0..4))
}

fn ledger() -> BoxedStrategy<Value> {
    let to = prop_oneof![1 => Just("journal".to_owned()), 3 => path().prop_map(|path| format!("/mnt{path}"))];
    let checkpoints = (to, select(&["hourly", "daily", "weekly", "monthly"][..]))
        .prop_map(|(to, every)| json!({ "to": to, "every": every }));
    some_of(vec![("checkpoints", checkpoints.boxed())])
}

/// A host spec, as a document; each is valid.
pub fn document() -> BoxedStrategy<Value> {
    let subnet = (select(&[[10, 0], [172, 20], [192, 168]][..]), any::<u16>(), 16..=29_u32).prop_map(
        |([a, b], low, prefix)| {
            let [c, d] = low.to_be_bytes();
            let network = u32::from(Ipv4Addr::new(a, b, c, d)) >> (32 - prefix) << (32 - prefix);
            (network, prefix)
        },
    );
    let templates = option::of(btree_map(name(), template(), 0..3));
    (subnet, templates)
        .prop_flat_map(|((network, prefix), templates)| {
            let names =
                templates.as_ref().map_or(vec!["debian-base".into()], |t| t.keys().cloned().collect());
            let subnet = format!("{}/{prefix}", Ipv4Addr::from(network));
            (
                option::of(btrfs()),
                ovs(&subnet),
                option::of(plugins()),
                Just(templates),
                containers(names, network, 1 << (32 - prefix)),
                option::of(snapshots()),
                option::of(ledger()),
            )
        })
        .prop_map(|(btrfs, ovs, plugins, templates, containers, snapshots, ledger)| {
            let sections = [
                ("btrfs", btrfs),
                ("ovs", Some(ovs)),
                ("plugins", plugins),
                ("templates", templates.map(|t| json!(t))),
                ("containers", Some(containers)),
                ("snapshots", snapshots),
                ("ledger", ledger),
            ];
            let sections = sections.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            let mut document: Map<String, Value> = sections.collect();
            document.insert("version".into(), 1.into());
            Value::Object(document)
        })
        .boxed()
}

/// The host spec of a document.
pub fn read(document: &Value) -> HostSpec {
    opdbus::spec::parse(&document.to_string()).unwrap()
}
