//! The two doors take the same documents: a host spec, written as a NixOS configuration and evaluated by NixOS
//! through the module, is what it was.
//!
//! `OPDBUS_NIX_EVAL` names what evaluates (tests/nix/evaluate-specs): a program that is given a directory with a
//! `config.nix` in each directory below it, and writes an `out.json` beside each. `OPDBUS_SEED` is a number.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something is not as it must be"
)]

#[path = "support/specs.rs"]
mod specs;

use std::process::Command;

use opdbus::spec::{Extent, HostSpec, parse, to_nix};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

const SPECS: usize = 200;

/// The first place where two documents differ.
fn difference(path: &str, one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| {
                let at = format!("{path}.{key}");
                difference(&at, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null))
            })
        }
        _ => (one != other).then(|| format!("{path}: {one} became {other}")),
    }
}

#[test]
#[ignore = "evaluates NixOS: tests/run nix with NIXPKGS_PATH"]
fn a_host_spec_survives_being_a_nixos_configuration() {
    let evaluate = std::env::var_os("OPDBUS_NIX_EVAL").expect("OPDBUS_NIX_EVAL is not set");
    let seed: u64 = std::env::var("OPDBUS_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("seed {seed}: OPDBUS_SEED={seed} makes the same specs");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);

    let directory = tempfile::tempdir().unwrap();
    let given: Vec<HostSpec> = (0..SPECS)
        .map(|number| {
            let spec = specs::read(&specs::document().new_tree(&mut runner).unwrap().current());
            let place = directory.path().join(number.to_string());
            // Both ways of writing it.
            let extent = if number % 2 == 0 { Extent::Changed } else { Extent::All };
            std::fs::create_dir(&place).unwrap();
            std::fs::write(place.join("config.nix"), to_nix(&spec, extent, "of a test")).unwrap();
            spec
        })
        .collect();
    assert!(
        Command::new(evaluate).arg(directory.path()).status().unwrap().success(),
        "the evaluation failed"
    );
    for (number, spec) in given.iter().enumerate() {
        let place = directory.path().join(number.to_string());
        let evaluated = std::fs::read_to_string(place.join("out.json")).unwrap();
        let back = parse(&evaluated).unwrap_or_else(|error| panic!("spec {number}: {error}\n{evaluated}"));
        if let Some(difference) =
            difference("spec", &serde_json::to_value(spec).unwrap(), &serde_json::to_value(&back).unwrap())
        {
            let written = std::fs::read_to_string(place.join("config.nix")).unwrap();
            panic!("spec {number} is not what it was: {difference}\n{written}");
        }
    }
}
