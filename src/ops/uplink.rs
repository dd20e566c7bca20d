//! `bridge.uplink.*`

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::call::Call;
use super::containers::NoArgs;
use super::registry::{Effect, Op, Privilege};
use crate::deployment::Deployment;
use crate::drift;
use crate::engine::{Action, PlannedChange};
use crate::fault::{Kind, Report};
use crate::uplink::{self, DEFAULT_WITHIN, LONGEST, Order, SHORTEST, Status};

/// `bridge.uplink.set`
pub(super) struct Set;

/// The arguments of `bridge.uplink.set`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SetArgs {
    /// The network card [default: ovs.uplink of the host spec].
    #[arg(value_name = "NIC")]
    #[serde(default)]
    nic: Option<String>,
    /// How many seconds there are to confirm it, 20 to 86400.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_WITHIN, value_parser = clap::value_parser!(u64).range(SHORTEST..=LONGEST))]
    #[serde(default = "default_within")]
    within: u64,
    /// Show what would be written and moved, and change nothing.
    #[arg(long)]
    #[serde(default)]
    dry_run: bool,
}

fn default_within() -> u64 {
    DEFAULT_WITHIN
}

impl Op for Set {
    const NAME: &'static str = "bridge.uplink.set";
    const SUMMARY: &'static str = "Move a network card onto the bridge, to be confirmed or undone by itself";
    const HELP: &'static str = "The card becomes a port of the bridge. Its addresses, its routes and its configuration (systemd-networkd, netplan,\nNetworkManager, ifupdown) become the bridge's, and open connections go on. Unless `op-dbus bridge uplink confirm` is called in time, everything\nis put back: also when this program, the daemon or the host dies half way.\n\nExamples:\n  op-dbus bridge uplink set eth0 --dry-run\n  op-dbus bridge uplink set eth0 --within 300";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const PHRASES: &'static [&'static str] = &[
        "(set|use) [the] [network card] {evident nic: interface} as the uplink [of the bridge]",
        "make [the] [network card] {evident nic: interface} the uplink [of the bridge]",
        "move [the] (network card|card|nic) {nic: interface} onto the bridge",
        "set the uplink [of the bridge] to {evident nic: interface}",
        "+ within {within: seconds}",
        "+ give me {within: seconds} to confirm [it]",
    ];
    type Args = SetArgs;
    type Answer = Status;

    fn target(args: &SetArgs) -> String {
        args.nic.clone().unwrap_or_else(|| "uplink".into())
    }
    fn run(call: &Call<'_>, args: SetArgs) -> Result<Status, Report> {
        if !(SHORTEST..=LONGEST).contains(&args.within) {
            return Err(Report::new(Kind::Invalid, format!("within is {SHORTEST} to {LONGEST} seconds")));
        }
        let spec = call.spec()?;
        let nic = args.nic.or_else(|| spec.ovs.uplink.clone());
        let Some(nic) = nic else {
            return Err(Report::new(
                Kind::Invalid,
                "no network card is named, and the host spec has none (ovs.uplink)",
            )
            .with_next("op-dbus bridge uplink set NIC; `ip link` lists them"));
        };
        if Deployment::read(&call.host.paths.etc) == Deployment::NixOs {
            return Err(Report::new(
                Kind::Conflict,
                "this host is NixOS: its network configuration is declared",
            )
            .with_next("declare the bridge's addresses with systemd.network, and its port with ovs-vsctl"));
        }
        let cx = call.context(&spec);
        let order = Order { nic, within: args.within };
        if args.dry_run {
            return Ok(uplink::show(&cx, &order)?);
        }
        let _lock = call.lock()?;
        let status = uplink::set(&cx, &order)?;
        call.record(
            "uplink",
            json!({ "nic": status.nic, "addresses": status.addresses, "within": args.within }),
        );
        Ok(status)
    }
    fn text(status: &Status) -> String {
        uplink::text::status(status)
    }
}

/// `bridge.uplink.confirm`
pub(super) struct Confirm;

impl Op for Confirm {
    const NAME: &'static str = "bridge.uplink.confirm";
    const SUMMARY: &'static str = "Say that the host is reached through its moved uplink: it stays";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const PHRASES: &'static [&'static str] = &["confirm the [new] uplink [of the bridge]"];
    type Args = NoArgs;
    type Answer = Status;

    fn target(_: &NoArgs) -> String {
        "uplink".into()
    }
    fn run(call: &Call<'_>, _: NoArgs) -> Result<Status, Report> {
        // Without the engine's lock: whoever confirms has no time to wait for another run.
        let status = uplink::confirm(call.host)?;
        keep(call);
        Ok(status)
    }
    fn text(status: &Status) -> String {
        uplink::text::status(status)
    }
}

/// `bridge.uplink.revert`
pub(super) struct Revert;

impl Op for Revert {
    const NAME: &'static str = "bridge.uplink.revert";
    const SUMMARY: &'static str = "Move the uplink back, confirmed or not: everything as it was before";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] =
        &["(revert|undo|roll back) the [new] uplink [of the bridge]", "move the uplink back"];
    type Args = NoArgs;
    type Answer = Status;

    fn target(_: &NoArgs) -> String {
        "uplink".into()
    }
    fn run(call: &Call<'_>, _: NoArgs) -> Result<Status, Report> {
        let _lock = call.lock()?;
        let status = uplink::revert(call.host)?;
        keep(call);
        Ok(status)
    }
    fn rehearse(call: &Call<'_>, _: NoArgs) -> Result<Vec<PlannedChange>, Report> {
        let status = uplink::revertible(call.host)?;
        let planned = |object: String, detail: String| PlannedChange {
            component: "uplink".into(),
            action: Action::Update,
            object,
            detail,
        };
        let (nic, bridge) = (status.nic.unwrap_or_default(), status.bridge.unwrap_or_default());
        let files = status
            .files
            .iter()
            .map(|file| planned(format!("file {}", file.path.display()), "as it was before the move".into()));
        let moved = [status.addresses, status.routes].concat().join(", ");
        let back =
            planned(format!("uplink {nic}"), format!("no port of {bridge} any more, and has {moved} again"));
        Ok(files.chain([back]).collect())
    }
    fn text(status: &Status) -> String {
        uplink::text::status(status)
    }
}

/// The uplink is as somebody wanted it, which is no drift. What cannot be kept does not undo it.
fn keep(call: &Call<'_>) {
    let kept = call.spec().and_then(|spec| {
        let cx = call.context(&spec);
        if drift::path(&cx).exists() {
            drift::save(&cx, &["bridge".into(), "flows".into(), "uplink".into()]).map(drop)
        } else {
            Ok(())
        }
    });
    if let Err(report) = kept {
        tracing::warn!("`op-dbus drift` shows the uplink as a difference: {}", report.message);
    }
}

/// `bridge.uplink.status`
pub(super) struct Show;

impl Op for Show {
    const NAME: &'static str = "bridge.uplink.status";
    const SUMMARY: &'static str = "Show the uplink: what is moved, and how long there is to confirm it";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "<show> [the] uplink",
        "uplink status",
        "[<what is>] [the] status of the uplink",
        "is the uplink confirmed",
        "how long do I have to confirm the uplink",
    ];
    type Args = NoArgs;
    type Answer = Status;

    fn target(_: &NoArgs) -> String {
        "uplink".into()
    }
    fn run(call: &Call<'_>, _: NoArgs) -> Result<Status, Report> {
        Ok(uplink::status(call.host)?)
    }
    fn text(status: &Status) -> String {
        uplink::text::status(status)
    }
}
