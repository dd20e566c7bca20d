//! The metrics, for who may look.

use std::time::Instant;

use serde_json::{Map, Value};

use super::call::{Ended, Service, join};
use super::caller::Caller;
use super::registry::Privilege;
use crate::deployment::Deployment;
use crate::engine::{Context, Silent};
use crate::fault::{Kind, Report};
use crate::ledger::Outcome;
use crate::metrics::host;
use crate::spec;

/// What a refused look is called in the ledger.
const NAME: &str = "metrics";

impl Service {
    /// The metrics as OpenMetrics' text, for a caller who may look. It is no operation and leaves no entry in the ledger,
    /// as it is asked for every few seconds and looks at nothing that is anybody's; a refusal is recorded as any other.
    pub fn metrics(&self, caller: &Caller) -> Result<String, Report> {
        let started = Instant::now();
        if !caller.may(Privilege::Read) {
            let next = join(&caller.user, Deployment::read(&self.host.paths.etc));
            let refused = Err(Report::new(
                Kind::Denied,
                format!(
                    "{} may not look at the {NAME}: root and members of the group {} may",
                    caller.user,
                    super::GROUP
                ),
            )
            .with_next(next));
            let ended = Ended {
                outcome: Outcome::of(&refused),
                noted: Map::new(),
                took: started.elapsed(),
                commit: None,
            };
            let nothing = Value::Object(Map::new());
            if let Err(report) = self.record(caller, None, NAME, "host", &nothing, ended) {
                tracing::error!("the refusal of the {NAME} could not be recorded: {}", report.message);
            }
            return refused;
        }
        let spec = spec::load(&self.host.paths.config()).map_err(Report::from);
        let cx = spec.as_ref().map(|spec| Context { host: &self.host, spec, progress: &Silent });
        let seen = host::look(cx.as_ref().map_err(|report| *report));
        self.metrics
            .text(&seen)
            .map_err(|error| Report::new(Kind::Failed, format!("cannot write the {NAME}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::json;

    use super::*;
    use crate::engine::Host;
    use crate::ledger::{self, Ledger, Via};
    use crate::ops::Nobody;
    use crate::paths::Tree;
    use crate::run::Runner;
    use crate::run::recorded::Recorded;

    /// A host with a ledger and no bridge.
    struct Bare {
        _dir: tempfile::TempDir,
        tree: Tree,
        programs: Recorded,
        service: Service,
    }

    impl Bare {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let programs = Recorded::new(|call| unreachable!("{call} was run"));
            let mut host = Host { run: Runner::new(programs.clone()), ..Host::default() };
            host.paths.etc = dir.path().join("etc");
            host.paths.run = dir.path().join("run");
            host.paths.ovsdb = dir.path().join("no-ovsdb");
            let tree = Tree::new(dir.path().join("base"));
            for directory in [&host.paths.etc, &host.paths.run, &tree.join("@timing"), &tree.containers()] {
                std::fs::create_dir_all(directory).unwrap();
            }
            let spec = json!({ "version": 1, "btrfs": { "basePath": tree.base() } });
            std::fs::write(host.paths.config(), spec.to_string()).unwrap();
            let by = ledger::Caller::this_process(Via::Helper);
            Ledger::init(&tree.ledger(), &by, Deployment::Traditional).unwrap();
            Self { _dir: dir, tree, programs, service: Service::new(host) }
        }

        fn look(&self) -> String {
            self.service.metrics(&caller(0)).unwrap()
        }

        fn value(&self, sample: &str) -> i64 {
            let text = self.look();
            let found = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
            found.unwrap_or_else(|| panic!("{sample} is not in {text}")).parse().unwrap()
        }
    }

    fn caller(uid: u32) -> Caller {
        Caller { uid, user: format!("user{uid}"), member: false, via: Via::Socket, token: None }
    }

    /// The families of an exposition and their types, its form held against OpenMetrics 1.0 on the way.
    fn families(text: &str) -> BTreeMap<String, String> {
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        let (mut families, mut samples) = (BTreeMap::new(), BTreeSet::new());
        let (mut helped, mut unit, mut current) =
            (BTreeSet::new(), String::new(), (String::new(), String::new()));
        for line in body.lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next()) {
                (Some("#"), Some("HELP")) => {
                    assert!(helped.insert(words.next().unwrap()), "{line}: twice");
                    assert!(
                        words.next().is_some_and(|help| help.ends_with('.') && !help.ends_with("..")),
                        "{line}"
                    );
                }
                (Some("#"), Some("TYPE")) => {
                    current = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
                    assert!(helped.contains(current.0.as_str()), "{line}: without help");
                    assert!(
                        current.0.starts_with("opdbus_") || current.0.starts_with("process_"),
                        "{line}: whose?"
                    );
                    assert!(
                        current.0.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                            && !current.0.ends_with("_total"),
                        "{line}"
                    );
                    assert!(families.insert(current.0.clone(), current.1.clone()).is_none(), "{line}: twice");
                    unit.clear();
                }
                (Some("#"), Some("UNIT")) => {
                    assert_eq!(words.next(), Some(current.0.as_str()), "{line}");
                    words.next().unwrap().clone_into(&mut unit);
                    assert!(current.0.ends_with(&format!("_{unit}")), "{line}: the name ends with the unit");
                }
                _ => {
                    let (sample, value) = line.rsplit_once(' ').unwrap();
                    assert!(value.parse::<f64>().is_ok(), "{line}");
                    assert!(samples.insert(sample), "{line}: twice");
                    let name = sample.split('{').next().unwrap();
                    let suffix = name.strip_prefix(current.0.as_str());
                    let suffixes: &[&str] = match current.1.as_str() {
                        "counter" => &["_total"],
                        "info" => &["_info"],
                        "histogram" => &["_bucket", "_sum", "_count"],
                        "gauge" => &[""],
                        other => panic!("{other}"),
                    };
                    assert!(suffix.is_some_and(|suffix| suffixes.contains(&suffix)), "{line} in {current:?}");
                }
            }
        }
        for name in families.keys() {
            for unit in ["seconds", "bytes"] {
                let said = text.contains(&format!("# UNIT {name} {unit}\n"));
                assert_eq!(name.ends_with(unit), said, "{name} and its unit");
            }
        }
        families
    }

    #[test]
    fn what_goes_out_has_the_form_of_openmetrics_and_costs_no_program() {
        let bare = Bare::new();
        bare.service
            .call(&caller(0), &Nobody, "plan", json!({ "components": ["ledger"] }), &Silent, None)
            .unwrap();
        let families = families(&bare.look());
        assert_eq!(families["opdbus_calls"], "counter");
        assert_eq!(families["opdbus_call_duration_seconds"], "histogram");
        assert_eq!(families["opdbus_build"], "info");
        assert_eq!(bare.programs.calls(), Vec::<String>::new());
        assert_eq!(bare.value("opdbus_bridge_up"), 0);
        assert_eq!(bare.value("opdbus_containers{state=\"failed\"}"), 0);
        for part in ["host_spec", "containers", "flows", "filesystem", "ledger", "checkpoint"] {
            assert_eq!(bare.value(&format!("opdbus_scrape_success{{part=\"{part}\"}}")), 1, "{part}");
        }
    }

    #[test]
    fn every_metric_is_in_the_manual() {
        let manual = include_str!("../../docs/operations.md");
        let bare = Bare::new();
        for (name, kind) in families(&bare.look()) {
            let shown = if kind == "counter" {
                format!("{name}_total")
            } else if kind == "info" {
                format!("{name}_info")
            } else {
                name
            };
            assert!(manual.contains(&format!("`{shown}`")), "{shown} is not in docs/operations.md");
        }
    }

    #[test]
    fn calls_move_their_counters_and_names_of_strangers_are_no_labels() {
        let bare = Bare::new();
        let call = |uid, name: &str| {
            bare.service.call(&caller(uid), &Nobody, name, json!({ "limit": 1 }), &Silent, None).is_ok()
        };
        assert!(call(0, "ledger.show") && call(0, "ledger.show"));
        assert!(!call(1000, "ledger.show"));
        for odd in ["a\"} 1\nx", "b"] {
            assert!(!call(0, odd));
        }
        let entries = bare.value("opdbus_ledger_entries_total");
        assert_eq!(entries, 7, "the two it was made with, and one a call");
        assert_eq!(bare.value("opdbus_calls_total{operation=\"ledger.show\",outcome=\"ok\"}"), 2);
        assert_eq!(bare.value("opdbus_calls_total{operation=\"ledger.show\",outcome=\"refused\"}"), 1);
        assert_eq!(bare.value("opdbus_calls_total{operation=\"unknown\",outcome=\"failed\"}"), 2);
        assert_eq!(bare.value("opdbus_call_duration_seconds_count{operation=\"ledger.show\"}"), 3);
        families(&bare.look());
        assert_eq!(bare.value("opdbus_ledger_entries_total"), entries, "a look is no entry");
        assert!(bare.value("opdbus_ledger_size_bytes") > 4096);
    }

    #[test]
    fn an_entry_that_cannot_be_written_is_counted() {
        let bare = Bare::new();
        assert_eq!(bare.value("opdbus_ledger_unwritten_entries_total"), 0);
        std::fs::remove_file(bare.tree.ledger()).unwrap();
        std::fs::create_dir(bare.tree.ledger()).unwrap();
        let called = bare.service.call(
            &caller(0),
            &Nobody,
            "plan",
            json!({ "components": ["sockets"] }),
            &Silent,
            None,
        );
        assert!(called.is_ok(), "what looks is answered all the same: {called:?}");
        assert_eq!(bare.value("opdbus_ledger_unwritten_entries_total"), 1);
        assert_eq!(bare.value("opdbus_scrape_success{part=\"ledger\"}"), 0);
    }

    #[test]
    fn who_may_not_look_is_refused_and_in_the_ledger() {
        let bare = Bare::new();
        let refused = bare.service.metrics(&caller(1000)).unwrap_err();
        assert_eq!(refused.kind, Kind::Denied);
        let newest = Ledger::read(&bare.tree.ledger(), |ledger| ledger.entries(&ledger::Filter::default()));
        let newest = newest.unwrap().into_iter().max_by_key(|entry| entry.id).unwrap();
        assert_eq!((newest.operation.as_str(), &newest.metadata["outcome"]), (NAME, &json!("refused")));
        assert_eq!(newest.metadata["caller"]["user"], "user1000");
        assert!(bare.service.metrics(&Caller { member: true, ..caller(1000) }).is_ok());
    }

    #[test]
    fn without_a_host_spec_the_calls_are_shown_and_the_host_is_not() {
        let bare = Bare::new();
        std::fs::write(bare.service.host.paths.config(), "{").unwrap();
        assert_eq!(bare.value("opdbus_scrape_success{part=\"host_spec\"}"), 0);
        let text = bare.look();
        families(&text);
        assert!(text.contains("opdbus_build_info") && !text.contains("opdbus_filesystem"), "{text}");
    }

    #[test]
    fn a_checkpoint_that_was_kept_has_its_time_and_its_size() {
        let bare = Bare::new();
        assert!(!bare.look().contains("last_checkpoint_timestamp"));
        let kept = json!({ "time": "2026-01-31T09:15:00Z", "to": "journal", "size": 12, "note": "n" });
        std::fs::write(ledger::keep::record(&bare.tree), kept.to_string()).unwrap();
        assert_eq!(bare.value("opdbus_ledger_last_checkpoint_timestamp_seconds"), 1_769_850_900);
        assert_eq!(bare.value("opdbus_ledger_last_checkpoint_entries"), 12);
    }
}
