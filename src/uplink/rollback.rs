//! Putting everything back: what the unit does that watches over a move, and what a boot does.

use std::time::{Duration, Instant};

use super::UplinkError;
use super::journal::{self, Journal, Manager, Phase, Store};
use super::kernel;
use super::manager::{self, hand_over};
use super::observe::Places;
use super::plan::File;
use crate::engine::{Context, Host, Lock, LockError, Silent};
use crate::run::{Invocation, Runner};
use crate::spec::HostSpec;
use crate::{bridge, files, flows};

/// How often the unit that watches looks at the journal.
const POLL: Duration = Duration::from_millis(250);

/// How long it waits for somebody who moves something just now: each tool that they call has less time.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long `ovs-vswitchd` may take to serve the bridge after a boot.
const SERVED: Duration = Duration::from_secs(20);

/// How long the addresses may take to come back, where a DHCP server has to be asked.
const BACK: Duration = Duration::from_secs(20);

pub(super) fn store(host: &Host) -> Store {
    Store(host.paths.uplink.clone())
}

/// The lock of moves. It is not the engine's, as a rollback must not wait until a template is built.
pub(super) fn lock(host: &Host, patience: Duration) -> Result<Lock, LockError> {
    Lock::take(&host.paths.run.join("uplink.lock"), patience)
}

/// The journal says all that is needed: the host spec may be gone or wrong.
fn spec_of(journal: &Journal) -> HostSpec {
    let mut spec = HostSpec::default();
    spec.ovs.bridge.clone_from(&journal.bridge);
    spec
}

/// Puts everything back as it was. It may be begun anew from any instant, and in another boot than the move was made in.
pub(super) fn put_back(host: &Host, places: &Places, mut journal: Journal) -> Result<(), UplinkError> {
    let store = store(host);
    journal.phase = Phase::Restoring;
    store.save(&journal)?;
    let spec = spec_of(&journal);
    let cx = Context { host, spec: &spec, progress: &Silent };
    for kept in journal::put_back(&store, &journal)? {
        tracing::warn!("what was written there meanwhile is kept as {}", kept.display());
    }
    let (boot, _) = journal::now()?;
    let same_boot = journal.boot == boot;
    let off = bridge::remove_uplink(&cx, &journal.nic);
    if off.is_err() && same_boot {
        // Without its database the datapath goes on, and so does the port.
        let call = Invocation::new("ovs-dpctl").args(["del-if", "system@ovs-system", &journal.nic]);
        if let Err(error) = host.run.run(&call) {
            tracing::warn!("{error}");
        }
    }
    // In another boot the manager finds its files as they were, and the kernel has nothing of ours.
    let back = if same_boot { kernel_back(&host.run, places, &journal) } else { Ok(()) };
    if let Err(error) = flows::close_uplink(&cx) {
        tracing::warn!("the uplink's flows stay until the next apply: {error}");
    }
    // As long as it is in the database it comes back with Open vSwitch: the journal stays, and the unit tries again.
    off?;
    back?;
    store.end(&journal)
}

fn kernel_back(run: &Runner, places: &Places, journal: &Journal) -> Result<(), UplinkError> {
    let Journal { nic, bridge, addresses, routes, .. } = journal;
    let mut lines = kernel::batch(addresses, routes, bridge, nic);
    lines.push_str(&format!("address flush dev {bridge} scope global\n"));
    if !journal.bridge_up {
        lines.push_str(&format!("link set dev {bridge} down\n"));
    }
    kernel::run_batch(run, &lines)?;
    if let Some(File { path, text, .. }) = journal.volatile.as_ref().filter(|file| !file.path.exists())
        && let Err(error) = files::replace(path, text.as_bytes(), 0o600)
    {
        tracing::warn!("{}: {error}", path.display());
    }
    if let Err(error) = hand_over(run, places, journal, bridge, nic) {
        tracing::warn!("{error}");
    }
    let end = Instant::now() + BACK;
    loop {
        let there = kernel::link(run, nic)?.unwrap_or_default();
        let lost: Vec<&str> = addresses
            .iter()
            .filter(|address| !there.addresses.iter().any(|a| a.net == address.net))
            .map(|address| address.net.as_str())
            .collect();
        let routed = there.routes.iter().any(super::kernel::Route::is_default)
            || !routes.iter().any(super::kernel::Route::is_default);
        if lost.is_empty() && routed {
            return Ok(());
        }
        if Instant::now() >= end {
            let what = if lost.is_empty() { "its default route".to_owned() } else { lost.join(", ") };
            return Err(UplinkError::NotRestored {
                nic: nic.clone(),
                what: format!("does not have {what} again"),
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        // The manager took away what is not its own, or is not there to ask.
        kernel::run_batch(run, &lines)?;
    }
}

/// Watches over the move until it is confirmed, and puts everything back when the time is over or when whoever moved it
/// died half way. Gives what it did.
pub fn watch(host: &Host) -> Result<&'static str, UplinkError> {
    let store = store(host);
    loop {
        let Some(journal) = store.load()? else { return Ok("nothing is moved") };
        let (boot, seconds) = journal::now()?;
        let due = match journal.phase {
            Phase::Confirmed => return Ok("the move is confirmed"),
            Phase::Applied => journal.left(&boot, seconds) <= 0.0,
            // Whoever is at it holds the lock, and dies with it.
            Phase::Preparing | Phase::Restoring => true,
        };
        if due {
            let patience = if journal.left(&boot, seconds) > 0.0 { Duration::ZERO } else { PATIENCE };
            let held = match lock(host, patience) {
                Ok(lock) => Some(lock),
                Err(LockError::Held { holder, .. }) => {
                    // Each tool that they call has a time limit: it ends.
                    if !patience.is_zero() {
                        tracing::warn!("{holder} holds the lock of moves");
                    }
                    None
                }
                Err(error) => return Err(error.into()),
            };
            // What was read before the lock was had may be over.
            if let Some(_held) = held {
                match store.load()? {
                    None => return Ok("nothing is moved"),
                    Some(now) if now.phase == Phase::Confirmed => return Ok("the move is confirmed"),
                    Some(now) if now.phase == Phase::Applied && now.left(&boot, seconds) > 0.0 => {}
                    Some(now) => {
                        tracing::warn!("{} is moved back: the move was not confirmed", now.nic);
                        put_back(host, &Places::default(), now)?;
                        return Ok("the move was not confirmed, and all is as it was");
                    }
                }
            }
        }
        std::thread::sleep(POLL);
    }
}

/// Before any network is configured at boot: the files of a move that was not confirmed are put back. The rest, which
/// needs Open vSwitch, is left to [`settle`].
pub fn boot_files(host: &Host) -> Result<&'static str, UplinkError> {
    let store = store(host);
    let Some(mut journal) = store.load()? else { return Ok("nothing is moved") };
    if journal.phase == Phase::Confirmed {
        return Ok("the move is confirmed");
    }
    if journal.boot == journal::now()?.0 {
        return Ok("the move is of this boot, and watched over");
    }
    journal::put_back(&store, &journal)?;
    journal.phase = Phase::Restoring;
    store.save(&journal)?;
    if let Manager::Ifupdown { .. } = journal.manager
        && let Err(error) = manager::plug(&host.run, &journal.nic)
    {
        tracing::warn!("{error}");
    }
    Ok("the move was not confirmed before this boot: its files are as they were")
}

/// As soon as Open vSwitch runs: ends what a boot found unconfirmed; else lets the uplink speak, which is deaf until then,
/// and puts it back on the bridge where it is not any more.
pub fn settle(host: &Host) -> Result<&'static str, UplinkError> {
    let _lock = lock(host, PATIENCE)?;
    let Some(journal) = store(host).load()? else { return Ok("nothing is moved") };
    if journal.phase != Phase::Confirmed {
        if journal.boot != journal::now()?.0 {
            put_back(host, &Places::default(), journal)?;
            return Ok("the move was not confirmed before this boot, and all is as it was");
        }
        if journal.phase != Phase::Applied {
            return Ok("the move is watched over");
        }
    }
    let spec = spec_of(&journal);
    let cx = Context { host, spec: &spec, progress: &Silent };
    flows::open_uplink(&cx, SERVED)?;
    bridge::add_uplink(&cx, &journal.nic, journal.mac)?;
    Ok("the uplink is open")
}
