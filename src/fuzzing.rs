//! What the fuzz targets in `fuzz/` call, one function a target: each takes any bytes, and asserts what must hold of
//! them. No part of the library: it is there with the feature `fuzzing` alone, and in tests, which pass the seeds.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::hex::{hex, unhex};
use crate::mac::MacAddr;
use crate::name::{ContainerName, PluginName, TemplateName};
use crate::snapshots::{Label, SnapshotName};
use crate::spec::{ServiceAddress, Size, Subject};

/// What looks at some bytes.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Target); 24] = [
    ("apt", crate::templates::fuzzing::apt),
    ("arguments", crate::ops::fuzzing::arguments),
    ("command_line", crate::ops::fuzzing::command_line),
    ("description", crate::introspect::fuzzing::description),
    ("drift", crate::drift::fuzzing::differences),
    ("http", crate::api::fuzzing::requests),
    ("mcp", crate::mcp::fuzzing::said),
    ("metadata", crate::ledger::fuzzing::metadata),
    ("names", names),
    ("notes", crate::ledger::fuzzing::notes),
    ("openflow", crate::flows::fuzzing::messages),
    ("ovsdb", crate::bridge::fuzzing::ovsdb),
    ("package", crate::plugins::fuzzing::package),
    ("plugin", crate::plugins::fuzzing::files),
    ("printed_flows", crate::flows::fuzzing::printed),
    ("root_file_system", crate::templates::fuzzing::root_file_system),
    ("send_stream", crate::plugins::fuzzing::send_stream),
    ("sentences", crate::grammar::fuzzing::sentences),
    ("spec", crate::spec::fuzzing::spec),
    ("text", text),
    ("times", crate::ledger::fuzzing::times),
    ("tools", tools),
    ("uplink", crate::uplink::fuzzing::configurations),
    ("value", crate::introspect::fuzzing::value),
];

/// The target of that name; one that is not there does nothing, which the tests of the list rule out.
#[must_use]
pub fn target(name: &str) -> Target {
    TARGETS.iter().find(|(known, _)| *known == name).map_or(|_| {}, |(_, target)| *target)
}

/// Names, addresses and sizes: what is accepted is written as it is read, is accepted at every door alike, and is fit for
/// a path, an argument and a line.
fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for name in [
        again::<ContainerName>(text).map(String::from),
        again::<PluginName>(text).map(String::from),
        again::<TemplateName>(text).map(String::from),
        again::<SnapshotName>(text).map(String::from),
        again::<Label>(text).map(String::from),
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(name, text);
        // The longest is a snapshot's: what it is of (61), the time, and a number.
        assert!(
            !name.is_empty()
                && name.len() <= 61 + 17 + 3
                && !name.starts_with(['-', '.'])
                && !name.contains('/')
        );
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
    }
    if let Some(subject) = again::<Subject>(text) {
        assert_eq!(subject.to_string(), text);
        let path = subject.path(&crate::paths::Tree::new("/base"));
        assert!(path.starts_with("/base") && !text.contains(".."));
    }
    if let Some(mac) = again::<MacAddr>(text) {
        assert_eq!(mac.to_string(), text.to_ascii_lowercase());
    }
    if let Some(address) = again::<ServiceAddress>(text) {
        assert!(!address.to_string().contains(|c: char| c.is_whitespace() || c.is_control()));
    }
    again::<Size>(text);
}

fn again<T>(text: &str) -> Option<T>
where
    T: FromStr + Display + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let parsed = text.parse::<T>().ok();
    assert_eq!(serde_json::from_value(text.into()).ok(), parsed, "{text:?} in JSON");
    let value = parsed?;
    assert_eq!(value.to_string().parse().ok().as_ref(), Some(&value), "{text:?}");
    Some(value)
}

/// What is written for others to read: strings of Nix, calls in a shell's words, hexadecimal, columns.
fn text(data: &[u8]) {
    crate::run::fuzzing::calls(data);
    assert_eq!(unhex(&hex(data)).as_deref(), Some(data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    crate::spec::fuzzing::nix_string(text);
    if let Some(bytes) = unhex(text) {
        assert_eq!(hex(&bytes), text.to_ascii_lowercase());
    }
    let rows = text.lines().map(|line| [line.to_owned(), "x".to_owned()]);
    assert_eq!(crate::table::render(["A", "B"], rows).lines().count(), 1 + text.lines().count());
}

/// What the host's own tools and files say.
fn tools(data: &[u8]) {
    crate::nat::fuzzing::tables(data);
    crate::firewall::fuzzing::rules(data);
    crate::bridge::fuzzing::answers(data);
    crate::storage::fuzzing::mounts(data);
    crate::containers::fuzzing::answers(data);
    crate::introspect::fuzzing::processes(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_target_has_a_program_and_seeds_and_every_seed_passes() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let manifest: toml::Table =
            std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap().parse().unwrap();
        let bins = manifest["bin"].as_array().unwrap();
        assert_eq!(bins.len(), TARGETS.len());
        for ((name, target), bin) in TARGETS.iter().zip(bins) {
            assert_eq!(bin["name"].as_str(), Some(*name));
            let program = std::fs::read_to_string(fuzz.join(bin["path"].as_str().unwrap())).unwrap();
            assert!(program.contains(&format!("target(\"{name}\")")), "{program}");
            let mut seeds = 0;
            for seed in std::fs::read_dir(fuzz.join("seeds").join(name)).unwrap() {
                let bytes = std::fs::read(seed.unwrap().path()).unwrap();
                assert!(bytes.len() <= 4096, "{name}: a seed is longer than what is fuzzed");
                target(&bytes);
                seeds += 1;
            }
            assert!(seeds > 0, "{name} has no seed");
        }
    }
}
