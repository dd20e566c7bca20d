//! What is looked up on the host when somebody asks: files, and what systemd and the bridge answer on their sockets.

use std::collections::BTreeMap;
use std::path::Path;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use serde_json::Value;

use super::PREFIX;
use crate::engine::{Component, Context};
use crate::fault::{Kind, Report};
use crate::ledger::{Ledger, keep};
use crate::name::ContainerName;
use crate::search::{index, store};
use crate::{containers, system, systemd};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct In {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    part: &'static str,
}

type States = Family<In, Gauge>;

/// The states of a container, each shown also where none is in it.
const STATES: [&str; 5] = ["running", "starting", "stopping", "failed", "stopped"];

/// How a flow can be wrong.
const WRONG: [&str; 4] = ["missing", "altered", "surplus", "not ours"];

/// Looks, and puts what is seen into a registry of its own. What cannot be looked at is left out, and
/// `opdbus_scrape_success` of that part is 0. `cx` says why where there is no host spec to be had.
#[must_use]
pub fn look(cx: Result<&Context<'_>, &Report>) -> Registry {
    let mut all = Registry::default();
    process(&mut all);
    let ours = all.sub_registry_with_prefix(PREFIX);
    let success = Family::<Of, Gauge>::default();
    let part = |part: &'static str, looked: Result<(), Report>| {
        if let Err(report) = &looked {
            tracing::warn!(part, "could not be looked at for the metrics: {}", report.message);
        }
        success.get_or_create(&Of { part }).set(looked.is_ok().into());
    };
    let spec = || cx.map_err(Clone::clone);
    part("host_spec", spec().map(drop));
    part("containers", spec().and_then(|cx| count_containers(cx, ours)));
    part("flows", spec().and_then(|cx| count_flows(cx, ours)));
    part("filesystem", spec().and_then(|cx| file_system(cx, ours)));
    part("ledger", spec().and_then(|cx| size_up(cx, ours)));
    part("search", spec().and_then(|cx| indexed(cx, ours)));
    part("checkpoint", spec().and_then(|cx| checkpoint(cx, ours)));
    ours.register(
        "scrape_success",
        "Whether a part of the host could be looked at; where not, its metrics are missing",
        success,
    );
    all
}

/// The daemon's own process; what the kernel does not say is left out.
fn process(into: &mut Registry) {
    let resident = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| resident(&status));
    if let Some(bytes) = resident {
        into.register_with_unit(
            "process_resident_memory",
            "Memory that the daemon has",
            Unit::Bytes,
            ConstGauge::new(bytes),
        );
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them is that by which they are counted.
        let open = ConstGauge::new(count(open.count().saturating_sub(1)));
        into.register("process_open_fds", "File descriptors that the daemon has open", open);
    }
}

/// The resident memory in bytes, from what `proc_pid_status(5)` shows.
fn resident(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn count(many: usize) -> i64 {
    i64::try_from(many).unwrap_or(i64::MAX)
}

fn count_containers(cx: &Context<'_>, into: &mut Registry) -> Result<(), Report> {
    let (records, _) = containers::readable(&cx.tree())?;
    // As without systemd nothing of ours runs.
    let units = if Path::new("/run/systemd/system").exists() && !records.is_empty() {
        systemd::units("opdbus-container@*.service", &[])?
    } else {
        Vec::new()
    };
    let active = units.into_iter().map(|unit| (unit.name, unit.active)).collect();
    let states = States::default();
    for (state, many) in by_state(records.keys(), &active) {
        states.get_or_create(&In { state }).set(count(many));
    }
    into.register("containers", "Containers, declared or made by hand, by state", states);
    Ok(())
}

/// How many containers are in which state, by what systemd says of their units (`ActiveState` by name).
fn by_state<'n>(
    names: impl Iterator<Item = &'n ContainerName>,
    active: &BTreeMap<String, String>,
) -> BTreeMap<&'static str, usize> {
    let mut states: BTreeMap<_, _> = STATES.map(|state| (state, 0)).into();
    for name in names {
        let state = match active.get(&containers::unit(name)).map(String::as_str) {
            Some("active" | "reloading" | "refreshing") => "running",
            Some("activating") => "starting",
            Some("deactivating") => "stopping",
            Some("failed") => "failed",
            _ => "stopped",
        };
        *states.entry(state).or_default() += 1;
    }
    states
}

/// Our flows on the bridge and those that are not as they should be.
fn count_flows(cx: &Context<'_>, into: &mut Registry) -> Result<(), Report> {
    let flows = system::flows();
    let seen = flows.observe(cx)?;
    let unshown = |error| Report::new(Kind::Failed, format!("cannot show the flows: {error}"));
    let lasting = flows.lasting(&seen).map_err(unshown)?;
    let wrong = wrong(&lasting);
    into.register(
        "bridge_up",
        "Whether the bridge is there and served by ovs-vswitchd",
        ConstGauge::new(i64::from(wrong.is_some())),
    );
    let Some(wrong) = wrong else { return Ok(()) };
    let there = serde_json::to_value(&seen).map_err(unshown)?["flows"].as_array().map_or(0, Vec::len);
    into.register("flows", "Flows of ours on the bridge", ConstGauge::new(count(there)));
    let states = States::default();
    for (state, many) in wrong {
        states.get_or_create(&In { state }).set(count(many));
    }
    into.register(
        "flows_not_as_wanted",
        "Flows on the bridge that are not as the containers need them, which apply mends",
        states,
    );
    Ok(())
}

/// How many flows are wrong in which way; `None` where there is no bridge to ask.
fn wrong(lasting: &Value) -> Option<BTreeMap<&'static str, usize>> {
    let unlike = lasting["unlike"].as_object()?;
    Some(WRONG.map(|how| (how, unlike.values().filter(|found| *found == how).count())).into())
}

fn file_system(cx: &Context<'_>, into: &mut Registry) -> Result<(), Report> {
    let base = cx.tree().base().to_owned();
    let stat = rustix::fs::statvfs(&base).map_err(|error| {
        Report::new(Kind::Failed, format!("cannot look at the file system of {}: {error}", base.display()))
    })?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
    into.register_with_unit(
        "filesystem_free",
        "Room left in the file system of the base path",
        Unit::Bytes,
        ConstGauge::new(bytes(stat.f_bavail)),
    );
    into.register_with_unit(
        "filesystem_size",
        "Size of the file system of the base path",
        Unit::Bytes,
        ConstGauge::new(bytes(stat.f_blocks)),
    );
    Ok(())
}

/// The ledger's size, with its log, and its entries; nothing where none was made yet.
fn size_up(cx: &Context<'_>, into: &mut Registry) -> Result<(), Report> {
    let ledger = cx.tree().ledger();
    let size = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.len());
    let Ok(bytes) = size(&ledger) else { return Ok(()) };
    let mut log = ledger.clone().into_os_string();
    log.push("-wal");
    let bytes = bytes.saturating_add(size(Path::new(&log)).unwrap_or_default());
    into.register_with_unit(
        "ledger_size",
        "Size of the ledger on disk, with its log",
        Unit::Bytes,
        ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX)),
    );
    // Entries are numbered from 0, without a gap. A connection apart looks first whether the disk has room to read.
    let entries = u64::try_from(Ledger::read(&ledger, Ledger::head)?.id).unwrap_or_default() + 1;
    into.register("ledger_entries", "Entries of the ledger since it was made", ConstCounter::new(entries));
    Ok(())
}

/// The index of the search, as its process left it; nothing where there is none.
fn indexed(cx: &Context<'_>, into: &mut Registry) -> Result<(), Report> {
    let Some((entries, without)) = store::count(&index::path(&cx.tree()))? else { return Ok(()) };
    let gauge = |many: u64| ConstGauge::new(i64::try_from(many).unwrap_or(i64::MAX));
    into.register("search_indexed_entries", "Entries of the ledger that the search knows", gauge(entries));
    if cx.spec.ml.enable {
        into.register(
            "search_entries_without_vector",
            "Entries that are found by their words alone until they are embedded",
            gauge(without),
        );
    }
    Ok(())
}

/// The last checkpoint that was kept as the host spec asks; nothing where there is none.
fn checkpoint(cx: &Context<'_>, into: &mut Registry) -> Result<(), Report> {
    let Some(kept) = keep::last(&cx.tree())? else { return Ok(()) };
    into.register_with_unit(
        "ledger_last_checkpoint_timestamp",
        "When the last checkpoint of the ledger was kept where the host spec says",
        Unit::Seconds,
        ConstGauge::new(kept.time.as_second()),
    );
    into.register(
        "ledger_last_checkpoint_entries",
        "How many entries that checkpoint covers",
        ConstGauge::new(i64::try_from(kept.size).unwrap_or(i64::MAX)),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_counted_by_what_systemd_says_of_their_units() {
        let names: Vec<ContainerName> =
            ["web-01", "web-02", "web-03", "web-04"].map(|name| name.parse().unwrap()).into();
        let active =
            [("web-01", "active"), ("web-02", "failed"), ("web-03", "activating"), ("gone", "active")]
                .map(|(name, state)| (format!("opdbus-container@{name}.service"), state.to_owned()))
                .into();
        let states = by_state(names.iter(), &active);
        assert_eq!(
            states,
            [("running", 1), ("starting", 1), ("stopping", 0), ("failed", 1), ("stopped", 1)].into()
        );
    }

    #[test]
    fn flows_that_are_wrong_are_counted_by_how_and_a_bridge_that_is_not_there_is_not_well() {
        let lasting = serde_json::json!({ "unlike": { "a": "missing", "b": "missing", "c": "surplus" } });
        assert_eq!(
            wrong(&lasting).unwrap(),
            [("missing", 2), ("altered", 0), ("surplus", 1), ("not ours", 0)].into()
        );
        assert_eq!(wrong(&serde_json::json!({ "switch": false })), None);
    }

    #[test]
    fn the_resident_memory_is_read_as_the_kernel_shows_it() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\nVmData: 1 kB\n"), Some(1234 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
        assert!(resident(&std::fs::read_to_string("/proc/self/status").unwrap()).unwrap() > 1 << 20);
    }
}
