//! What an admin asks for: move, confirm, move back.

use std::time::{Duration, Instant};

use super::journal::{self, Change, Journal, Phase, Store};
use super::kernel;
use super::manager::hand_over;
use super::observe::{Places, observe};
use super::plan::{Plan, plan};
use super::rollback::{lock, put_back, store};
use super::{Status, UplinkError, status};
use crate::engine::{Context, Host};
use crate::{bridge, flows, systemd};

/// How long there is to confirm, in seconds, unless somebody says otherwise.
pub const DEFAULT_WITHIN: u64 = 120;
/// The least that can be asked for: a move and a look at it take some seconds.
pub const SHORTEST: u64 = 20;
/// The most: a day.
pub const LONGEST: u64 = 86_400;

/// The unit that puts everything back. It is systemd's, so that it outlives whoever moves.
const WATCH: &str = "opdbus-uplink-rollback.service";

/// How long another move may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long `ovs-vswitchd` may take to serve the bridge.
const SERVED: Duration = Duration::from_secs(10);

/// How long what was moved may take to be there: a DHCP server may have to be asked.
const ARRIVAL: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// The interface.
    pub nic: String,
    /// How many seconds there are to confirm.
    pub within: u64,
}

/// What a move would do; everything that can be refused is refused.
pub fn show(cx: &Context<'_>, order: &Order) -> Result<Status, UplinkError> {
    let places = Places::default();
    if let Some(journal) = store(cx.host).load()? {
        in_the_way(&journal, &order.nic)?;
        return status(cx.host);
    }
    Ok(Status::planned(&planned(cx, &places, order)?))
}

fn planned(cx: &Context<'_>, places: &Places, order: &Order) -> Result<Plan, UplinkError> {
    if let Some(declared) = cx.spec.ovs.uplink.as_ref().filter(|declared| **declared != order.nic) {
        return Err(UplinkError::InTheWay(
            format!("the host spec has {declared} for the uplink, not {}", order.nic),
            "name that one, or edit ovs.uplink",
        ));
    }
    plan(&observe(cx, places, &order.nic)?, places)
}

/// What speaks against a move while this one is there; nothing where it is the same one, confirmed.
fn in_the_way(journal: &Journal, nic: &str) -> Result<(), UplinkError> {
    match journal.phase {
        Phase::Confirmed if journal.nic == nic => Ok(()),
        Phase::Confirmed => Err(UplinkError::InTheWay(
            format!("{} is the uplink", journal.nic),
            "op-dbus bridge uplink revert puts it back first",
        )),
        _ => Err(UplinkError::InTheWay(
            format!("{} is being moved, which is not confirmed", journal.nic),
            "op-dbus bridge uplink confirm, or revert",
        )),
    }
}

/// Moves the interface onto the bridge. When this returns, all is moved and was looked at, and there is the time that was
/// asked for to confirm; on an error all is as it was. Moved already and confirmed, it stays.
pub fn set(cx: &Context<'_>, order: &Order) -> Result<Status, UplinkError> {
    let (host, places) = (cx.host, Places::default());
    let _lock = lock(host, PATIENCE)?;
    let store = store(host);
    match store.load()? {
        // Whoever was at it would hold the lock: they died, and so did what watched over them.
        Some(journal) if matches!(journal.phase, Phase::Preparing | Phase::Restoring) => {
            put_back(host, &places, journal)?;
        }
        Some(journal) => {
            in_the_way(&journal, &order.nic)?;
            return status(host);
        }
        None => {}
    }
    cx.progress.report(&format!("looking at {}", order.nic), None);
    let plan = planned(cx, &places, order)?;
    // What does not answer before the move is not asked for after it.
    let gateway = kernel::link(&host.run, &plan.nic)?.and_then(|link| link.gateway());
    let gateway = match gateway {
        Some(gateway) if kernel::answers(&host.run, gateway, &plan.nic, Duration::from_secs(2))? => {
            Some(gateway)
        }
        _ => None,
    };
    let (boot, seconds) = journal::now()?;
    let within = order.within.clamp(SHORTEST, LONGEST);
    #[allow(clippy::cast_precision_loss, reason = "a day's seconds are exact")]
    let deadline = seconds + within as f64;
    let mut journal = store.begin(Journal {
        version: 1,
        phase: Phase::Preparing,
        nic: plan.nic.clone(),
        bridge: plan.bridge.clone(),
        mac: plan.mac,
        manager: plan.manager.clone(),
        boot,
        deadline,
        within,
        files: plan
            .files
            .iter()
            .map(|file| Change {
                path: file.path.clone(),
                before: None,
                after: file.text.clone(),
                mode: file.mode,
            })
            .collect(),
        volatile: plan.volatile.clone(),
        bridge_up: plan.bridge_up,
        addresses: plan.addresses.clone(),
        routes: plan.routes.clone(),
    })?;
    // Anew: one that is just ending, of an earlier move, would not look again.
    if let Err(error) = systemd::restart(WATCH, Duration::from_secs(20)) {
        store.end(&journal)?;
        return Err(UplinkError::Arm(error));
    }
    cx.progress.report(&format!("moving {} onto {}", plan.nic, plan.bridge), None);
    let moved = carry(cx, &places, &journal).and_then(|()| arrived(host, &journal, gateway));
    let moved = moved.and_then(|()| {
        journal.phase = Phase::Applied;
        store.save(&journal)
    });
    match moved {
        Ok(()) => status(host),
        Err(error) => {
            let why = crate::fault::Report::from(error).message;
            put_back(host, &places, journal)?;
            Err(UplinkError::RolledBack { nic: plan.nic, why })
        }
    }
}

/// Has systemd watch over a move that somebody left unfinished: whoever moves may die before it does, with nothing moved yet.
pub fn rearm(host: &Host) -> Result<(), UplinkError> {
    match store(host).load()? {
        Some(journal) if journal.phase != Phase::Confirmed => {
            systemd::start(WATCH, Duration::from_secs(20)).map_err(UplinkError::Arm)
        }
        _ => Ok(()),
    }
}

/// The move itself.
fn carry(cx: &Context<'_>, places: &Places, journal: &Journal) -> Result<(), UplinkError> {
    let Journal { nic, bridge, addresses, routes, .. } = journal;
    journal::put(journal)?;
    // Before the port is there: what it hears from its first moment has somewhere to go.
    flows::open_uplink(cx, SERVED)?;
    bridge::add_uplink(cx, nic, journal.mac)?;
    kernel::run_batch(&cx.host.run, &kernel::batch(addresses, routes, nic, bridge))?;
    hand_over(&cx.host.run, places, journal, nic, bridge)
}

/// Whether all that was moved is there and the gateway answers, which is that the wire is behind the bridge.
fn arrived(host: &Host, journal: &Journal, gateway: Option<std::net::Ipv4Addr>) -> Result<(), UplinkError> {
    let Journal { nic, bridge, .. } = journal;
    let end = Instant::now() + ARRIVAL;
    loop {
        let there = kernel::link(&host.run, bridge)?.unwrap_or_default();
        let left = kernel::link(&host.run, nic)?.unwrap_or_default();
        let missing: Vec<&str> = journal
            .addresses
            .iter()
            .map(|address| address.net.as_str())
            .filter(|net| !there.addresses.iter().any(|address| address.net == *net))
            .collect();
        let has_default = |routes: &[kernel::Route]| routes.iter().any(kernel::Route::is_default);
        let wrong = if !missing.is_empty() {
            format!("{bridge} does not have {}", missing.join(", "))
        } else if has_default(&journal.routes) && !has_default(&there.routes) {
            format!("there is no default route through {bridge}")
        } else if let Some(address) = left.addresses.first() {
            format!("{nic} has {} still, or again", address.net)
        } else if let Some(gateway) = gateway
            && !kernel::answers(&host.run, gateway, bridge, Duration::from_secs(5))?
        {
            format!("the gateway {gateway} does not answer at {bridge}")
        } else {
            return Ok(());
        };
        if Instant::now() >= end {
            return Err(UplinkError::NotVerified(wrong));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn journal_of(store: &Store) -> Result<Journal, UplinkError> {
    store.load()?.ok_or(UplinkError::Nothing)
}

/// Confirms a move: nothing puts it back any more but [`revert`].
pub fn confirm(host: &Host) -> Result<Status, UplinkError> {
    let _lock = lock(host, PATIENCE)?;
    let store = store(host);
    let mut journal = journal_of(&store)?;
    let (boot, seconds) = journal::now()?;
    match journal.phase {
        Phase::Confirmed => return status(host),
        Phase::Applied if journal.left(&boot, seconds) > 0.0 => {}
        _ => return Err(UplinkError::Late(journal.nic)),
    }
    journal.phase = Phase::Confirmed;
    store.save(&journal)?;
    status(host)
}

/// Puts everything back as it was before the move, confirmed or not.
pub fn revert(host: &Host) -> Result<Status, UplinkError> {
    let _lock = lock(host, PATIENCE)?;
    let store = store(host);
    let mut journal = journal_of(&store)?;
    // What was confirmed in an earlier boot is running in this one: it is moved in the kernel, too.
    if journal.phase == Phase::Confirmed {
        refresh(host, &mut journal)?;
    }
    journal.phase = Phase::Restoring;
    store.save(&journal)?;
    // Should this process die, systemd's goes on.
    if let Err(error) = systemd::restart(WATCH, Duration::from_secs(20)) {
        tracing::warn!("{WATCH} does not run: {error}");
    }
    put_back(host, &Places::default(), journal)?;
    status(host)
}

/// What [`revert`] would put back.
pub fn revertible(host: &Host) -> Result<Status, UplinkError> {
    journal_of(&store(host))?;
    status(host)
}

/// What the kernel has now, which may be another boot's: a lease gives other addresses in time.
fn refresh(host: &Host, journal: &mut Journal) -> Result<(), UplinkError> {
    let Some(there) = kernel::link(&host.run, &journal.bridge)? else { return Ok(()) };
    journal.boot = journal::now()?.0;
    if !there.addresses.is_empty() {
        journal.addresses = there.addresses;
        journal.routes = there.routes;
    }
    Ok(())
}
