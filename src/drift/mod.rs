//! Drift: how the host differs from the state that was applied last.
//!
//! The state is kept when a host was installed or, on NixOS, first applied. What `apply` changes after that is carried over
//! into it, and nothing else: what somebody changed beside it stays drift until it is undone, or taken by `drift --save`.
//! Containers and templates made by hand are no part of it, nor is what changes by itself.

mod baseline;
mod diff;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use baseline::{Baseline, BaselineError, Kept, Outline, path, read};
pub use diff::{Difference, How, carry, diff};

use crate::engine::{self, Context, Outcome, Stage};
use crate::fault::{Kind, Report};
use crate::introspect::{self, Bus};
use crate::system;

/// The system bus, beside the components.
pub const BUS: &str = "bus";

/// Our own name on the bus: it is the units' affair, and may come after the state was kept.
const OWN: &str = "org.opdbus1";

/// How the host differs from what was applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// Whether it differs at all.
    pub drifted: bool,
    /// In what.
    pub differences: Vec<Difference>,
    /// When the state was kept that it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub time: Option<jiff::Timestamp>,
    /// The version of the programs that kept it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether the host spec has changed since it was applied.
    pub spec_changed: bool,
    /// Whether what is there now was kept.
    pub saved: bool,
}

/// The parts of these names, components and the bus: all where none is named.
fn select(names: &[String]) -> Result<(Vec<Box<dyn Stage>>, bool), Report> {
    let components: Vec<String> = names.iter().filter(|name| *name != BUS).cloned().collect();
    let bus = names.is_empty() || components.len() < names.len();
    if bus && components.is_empty() && !names.is_empty() {
        return Ok((Vec::new(), true));
    }
    Ok((system::select(&components)?, bus))
}

fn outline() -> Result<Outline, Report> {
    let mut outline = introspect::outline(&Bus::System)?;
    outline.remove(OWN);
    Ok(outline)
}

/// The outlines as they are compared: interfaces by name. Of a service whose interfaces are not known on one side (it does
/// not run, or did not say), only that it is there is compared.
fn comparable(one: &Outline, other: &Outline) -> Value {
    let known = |name: &String| other.get(name).is_none_or(Option::is_some);
    let interfaces = |(name, interfaces): (&String, &Option<Vec<String>>)| {
        let shown = interfaces.iter().flatten().filter(|_| known(name));
        (name.clone(), Value::Object(shown.map(|interface| (interface.clone(), json!(true))).collect()))
    };
    Value::Object(
        one.iter()
            .filter(|(name, _)| *name != OWN)
            .map(interfaces)
            .map(|(name, mut value)| {
                // Not known here: neither is it compared there.
                if one.get(&name).is_some_and(Option::is_none) {
                    value = json!({});
                }
                (name, value)
            })
            .collect(),
    )
}

/// What is there now.
struct Present {
    state: Map<String, Value>,
    bus: Option<Outline>,
}

fn present(cx: &Context<'_>, names: &[String]) -> Result<Present, Report> {
    let (stages, bus) = select(names)?;
    Ok(Present { state: engine::lasting(&stages, cx)?, bus: bus.then(outline).transpose()? })
}

fn compare(cx: &Context<'_>, kept: &Baseline, present: &Present) -> Drift {
    let part = |name: &String| (name.clone(), kept.state.get(name).cloned().unwrap_or(Value::Null));
    let mut before: Map<String, Value> = present.state.keys().map(part).collect();
    let mut after = present.state.clone();
    if let (Some(was), Some(is)) = (&kept.bus, &present.bus) {
        before.insert(BUS.into(), comparable(was, is));
        after.insert(BUS.into(), comparable(is, was));
    }
    let differences = diff(&Value::Object(before), &Value::Object(after));
    Drift {
        drifted: !differences.is_empty(),
        differences,
        time: Some(kept.time),
        version: Some(kept.version.clone()),
        spec_changed: kept.spec != baseline::digest(cx.spec),
        saved: false,
    }
}

/// How the host differs from the state that was applied, in these parts.
pub fn drift(cx: &Context<'_>, names: &[String]) -> Result<Drift, Report> {
    select(names)?;
    let missing = |why: String| {
        Report::new(Kind::NotFound, why).with_next("op-dbus drift --save keeps what is there now")
    };
    match read(cx)? {
        Kept::Nothing => Err(missing("no state of this host was kept to compare with".into())),
        Kept::Other => Err(missing(format!("{} is of another version, or damaged", path(cx).display()))),
        Kept::Baseline(kept) => Ok(compare(cx, &kept, &present(cx, names)?)),
    }
}

/// Keeps what is there now, in these parts; the rest stays as it was kept. The caller holds the engine's lock.
pub fn save(cx: &Context<'_>, names: &[String]) -> Result<Drift, Report> {
    let kept = match read(cx)? {
        Kept::Baseline(kept) => Some(kept),
        _ => None,
    };
    select(names)?;
    // Where there is nothing to keep the rest of, all of it is kept.
    let present = present(cx, if kept.is_some() { names } else { &[] })?;
    let Some(kept) = kept else {
        Baseline::now(cx.spec, present.state, present.bus).write(cx)?;
        let (differences, time, version) = (Vec::new(), None, None);
        return Ok(Drift { drifted: false, differences, time, version, spec_changed: false, saved: true });
    };
    let drift = compare(cx, &kept, &present);
    let spec = kept.spec.clone();
    let mut state = kept.state;
    state.extend(present.state);
    let bus = match (kept.bus, present.bus) {
        (Some(was), Some(is)) => Some(remembered(is, &was)),
        (was, is) => is.or(was),
    };
    let mut new = Baseline::now(cx.spec, state, bus);
    if !names.is_empty() {
        new.spec = spec;
    }
    new.write(cx)?;
    Ok(Drift { saved: true, ..drift })
}

/// What was known of services that do not run now is known still.
fn remembered(is: Outline, was: &Outline) -> Outline {
    let known = |name: &String| was.get(name).cloned().flatten();
    is.into_iter()
        .map(|(name, interfaces)| {
            let kept = interfaces.or_else(|| known(&name));
            (name, kept)
        })
        .collect()
}

/// Whether [`settle`] would write something.
pub fn unsettled(cx: &Context<'_>) -> Result<bool, Report> {
    Ok(match read(cx)? {
        Kept::Baseline(kept) => {
            kept.version != env!("CARGO_PKG_VERSION") || kept.spec != baseline::digest(cx.spec)
        }
        Kept::Nothing | Kept::Other => true,
    })
}

/// Keeps what is there where nothing is kept yet, or where it was kept by another version of the programs, which may see
/// differently; and notes that this host spec is applied. Gives whether anything was to be done. It is called at the end of
/// an installation and of a successful start, with all components. The caller holds the engine's lock.
pub fn settle(stages: &[Box<dyn Stage>], cx: &Context<'_>) -> Result<bool, Report> {
    if !unsettled(cx)? {
        return Ok(false);
    }
    match read(cx)? {
        Kept::Baseline(mut kept) if kept.version == env!("CARGO_PKG_VERSION") => {
            kept.spec = baseline::digest(cx.spec);
            kept.time = jiff::Timestamp::now();
            kept.write(cx)?;
        }
        _ => {
            let state = engine::lasting(stages, cx)?;
            // An installation may go on without a bus.
            let bus =
                outline().map_err(|report| tracing::warn!("the bus is not kept: {}", report.message)).ok();
            Baseline::now(cx.spec, state, bus).write(cx)?;
        }
    }
    Ok(true)
}

/// [`engine::apply`], with what it changes carried over into the state that is kept. What cannot be kept is in the
/// journal; it does not undo what was applied. The caller holds the engine's lock.
pub fn apply(stages: &[Box<dyn Stage>], cx: &Context<'_>) -> Result<Outcome, Report> {
    let Ok(Kept::Baseline(kept)) = read(cx) else { return engine::apply(stages, cx) };
    // A bare host, on which something cannot be looked at yet, has nothing to carry over.
    let before = engine::lasting(stages, cx).ok();
    let outcome = engine::apply(stages, cx)?;
    let whole = outcome.failure().is_none() && stages.len() == system::components().len();
    if let Err(report) = carry_over(*kept, before, stages, cx, whole, outcome.changes() > 0) {
        tracing::warn!("what was applied is not kept: {}", report.message);
    }
    Ok(outcome)
}

fn carry_over(
    mut kept: Baseline,
    before: Option<Map<String, Value>>,
    stages: &[Box<dyn Stage>],
    cx: &Context<'_>,
    whole: bool,
    changed: bool,
) -> Result<(), Report> {
    let former = kept.clone();
    if let (Some(before), true) = (before, changed) {
        let after = engine::lasting(stages, cx)?;
        let mut state = Value::Object(std::mem::take(&mut kept.state));
        carry(&mut state, &Value::Object(before), &Value::Object(after));
        if let Value::Object(state) = state {
            kept.state = state;
        }
    }
    if whole {
        kept.spec = baseline::digest(cx.spec);
    }
    if kept != former {
        kept.time = jiff::Timestamp::now();
        kept.write(cx)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, interfaces: &[&str]) -> (String, Option<Vec<String>>) {
        (name.to_owned(), Some(interfaces.iter().map(|i| (*i).to_owned()).collect()))
    }

    fn differences(was: &Outline, is: &Outline) -> Vec<(String, How)> {
        let found = diff(&comparable(was, is), &comparable(is, was));
        found.into_iter().map(|d| (d.path, d.change)).collect()
    }

    #[test]
    fn a_service_that_sleeps_has_not_changed_and_one_that_is_gone_has() {
        let was: Outline = [known("a.A", &["a.I"]), known("a.B", &["a.I"]), ("a.C".into(), None)].into();
        let is: Outline = [("a.A".into(), None), known("a.C", &["a.I"])].into();
        assert_eq!(differences(&was, &is), [("/a.B".into(), How::Removed)]);
        assert_eq!(remembered(is, &was)["a.A"], Some(vec!["a.I".to_owned()]));
        let is: Outline = [known("a.A", &["a.I", "a.J"]), known("a.B", &[]), known(OWN, &["a.I"])].into();
        assert_eq!(
            differences(&was, &is),
            [
                ("/a.A/a.J".into(), How::Added),
                ("/a.B/a.I".into(), How::Removed),
                ("/a.C".into(), How::Removed)
            ]
        );
    }

    /// A component whose state is a file with two numbers, of which it wants the first to be 3.
    struct Numbers;

    #[derive(Debug, thiserror::Error)]
    #[error("it failed")]
    struct Failed;
    impl crate::fault::Fault for Failed {
        fn kind(&self) -> Kind {
            Kind::Failed
        }
    }

    #[derive(Serialize)]
    struct Set;
    impl engine::Change for Set {
        fn action(&self) -> engine::Action {
            engine::Action::Update
        }
        fn object(&self) -> String {
            "a".into()
        }
    }

    impl engine::Component for Numbers {
        const NAME: &'static str = "numbers";
        type Seen = Value;
        type Change = Set;
        type Error = Failed;
        fn observe(&self, cx: &Context<'_>) -> Result<Value, Failed> {
            let text = std::fs::read(cx.tree().join("numbers")).map_err(|_| Failed)?;
            serde_json::from_slice(&text).map_err(|_| Failed)
        }
        fn plan(&self, _: &crate::spec::HostSpec, seen: &Value) -> Result<Vec<Set>, Failed> {
            Ok(if seen["a"] == 3 { Vec::new() } else { vec![Set] })
        }
        fn apply(&self, cx: &Context<'_>, _: &Set) -> Result<(), Failed> {
            let mut seen = engine::Component::observe(self, cx)?;
            seen["a"] = 3.into();
            std::fs::write(cx.tree().join("numbers"), seen.to_string()).map_err(|_| Failed)
        }
    }

    #[test]
    fn apply_moves_what_it_changes_and_what_had_drifted_beside_it_has_drifted_still() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("@state")).unwrap();
        let mut spec = crate::spec::HostSpec::default();
        spec.btrfs.base_path = dir.path().to_owned();
        let host = engine::Host::default();
        let cx = Context { host: &host, spec: &spec, progress: &engine::Silent };
        let stages: Vec<Box<dyn Stage>> = vec![Box::new(Numbers)];
        let set = |numbers: Value| std::fs::write(dir.path().join("numbers"), numbers.to_string()).unwrap();
        let drifted = || {
            let Kept::Baseline(kept) = read(&cx).unwrap() else { panic!("nothing is kept") };
            let present = Present { state: engine::lasting(&stages, &cx).unwrap(), bus: None };
            compare(&cx, &kept, &present).differences.into_iter().map(|d| d.path).collect::<Vec<_>>()
        };

        // A host on which nothing was kept yet, and one with a file of an older version: it is applied all the same.
        set(json!({ "a": 1, "b": 1 }));
        assert_eq!(apply(&stages, &cx).unwrap().changes(), 1);
        assert_eq!(read(&cx).unwrap(), Kept::Nothing);
        for old in ["", "{}", "{\"storage\": {}}", "{\"format\": 99}"] {
            std::fs::write(path(&cx), old).unwrap();
            set(json!({ "a": 1, "b": 1 }));
            assert_eq!(apply(&stages, &cx).unwrap().changes(), 1);
            assert_eq!(read(&cx).unwrap(), Kept::Other, "{old}");
            assert!(unsettled(&cx).unwrap());
            assert_eq!(drift(&cx, &[]).unwrap_err().kind, Kind::NotFound);
        }

        set(json!({ "a": 1, "b": 1 }));
        Baseline::now(&spec, engine::lasting(&stages, &cx).unwrap(), None).write(&cx).unwrap();
        assert!(!unsettled(&cx).unwrap() && drifted().is_empty());
        set(json!({ "a": 1, "b": 2 }));
        assert_eq!(drifted(), ["/numbers/b"]);
        assert_eq!(apply(&stages, &cx).unwrap().changes(), 1);
        assert_eq!(drifted(), ["/numbers/b"], "the a that apply changed is kept, the b is not");
        // The second time nothing is changed, and the file is not written.
        let before = std::fs::read(path(&cx)).unwrap();
        assert_eq!(apply(&stages, &cx).unwrap().changes(), 0);
        assert_eq!(std::fs::read(path(&cx)).unwrap(), before);
        set(json!({ "a": 3, "b": 1 }));
        assert!(drifted().is_empty());
        // Another host spec, not applied yet.
        spec_changes(&spec, &host);
    }

    fn spec_changes(spec: &crate::spec::HostSpec, host: &engine::Host) {
        let mut other = spec.clone();
        other.ovs.nat = !other.ovs.nat;
        let cx = Context { host, spec: &other, progress: &engine::Silent };
        let Kept::Baseline(kept) = read(&cx).unwrap() else { panic!("nothing is kept") };
        assert!(compare(&cx, &kept, &Present { state: Map::new(), bus: None }).spec_changed);
        assert!(unsettled(&cx).unwrap());
        // A start with it notes that, and takes nothing else for applied.
        assert!(settle(&[], &cx).unwrap() && !unsettled(&cx).unwrap());
        let Kept::Baseline(settled) = read(&cx).unwrap() else { panic!("nothing is kept") };
        assert_eq!(settled.state, kept.state);
    }

    #[test]
    fn the_bus_is_a_part_beside_the_components() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            select(&names).map(|(stages, bus)| (stages.len(), bus))
        };
        assert_eq!(of(&[]).unwrap(), (system::components().len(), true));
        assert_eq!(of(&["bus"]).unwrap(), (0, true));
        assert_eq!(of(&["nat"]).unwrap(), (1, false));
        assert_eq!(of(&["nat", "bus"]).unwrap(), (1, true));
        assert_eq!(of(&["bones"]).unwrap_err().kind, Kind::Invalid);
    }
}
