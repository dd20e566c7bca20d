//! `introspect`, with and without values

use std::time::Duration;

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::registry::{Effect, Op, Privilege};
use crate::fault::{Kind, Report};
use crate::introspect::{self, Bus, Cache, Limits, Request, Service};
use crate::paths::Tree;

/// The most that may be asked for.
const MOST: Limits = Limits { depth: 64, objects: 100_000, time: Duration::from_secs(600) };

/// What is to be looked at.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The service, by its name on the system bus.
    #[arg(required_unless_present = "all")]
    #[serde(default)]
    service: Option<String>,
    /// The object to begin with [default: /].
    #[serde(default)]
    path: Option<String>,
    /// Look at every service that runs.
    #[arg(long, conflicts_with = "service")]
    #[serde(default)]
    all: bool,
    /// Show what the interfaces are made of and no objects; remembered for as long as the service's process runs.
    #[arg(long)]
    #[serde(default)]
    interfaces: bool,
    /// Neither use what is remembered nor remember anything.
    #[arg(long)]
    #[serde(default)]
    no_cache: bool,
    /// Start the service where it does not run.
    #[arg(long, requires = "service")]
    #[serde(default)]
    activate: bool,
    /// How many levels below the first object to look at, 64 at most [default: 16].
    #[arg(long, value_name = "LEVELS")]
    #[serde(default)]
    depth: Option<usize>,
    /// How many objects of a service to look at, 100000 at most [default: 10000].
    #[arg(long, value_name = "NUMBER")]
    #[serde(default)]
    objects: Option<usize>,
    /// How long all of it may take, 600 at most [default: 10].
    #[arg(long, value_name = "SECONDS")]
    #[serde(default)]
    timeout: Option<u64>,
}

/// What was found.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Found {
    /// The services, by name.
    services: Vec<Service>,
}

impl Wanted {
    fn target(&self) -> String {
        self.service.clone().unwrap_or_else(|| "bus".into())
    }

    fn request(self, values: bool) -> Result<Request, Report> {
        if self.service.is_some() == self.all {
            return Err(Report::new(Kind::Invalid, "it is either one service or all of them")
                .with_next("op-dbus introspect SERVICE, or op-dbus introspect --all"));
        }
        let given = Limits::default();
        let limits = Limits {
            depth: self.depth.unwrap_or(given.depth),
            objects: self.objects.unwrap_or(given.objects),
            time: self.timeout.map_or(given.time, Duration::from_secs),
        };
        if limits.depth > MOST.depth || limits.objects > MOST.objects || limits.time > MOST.time {
            let most = (MOST.depth, MOST.objects, MOST.time.as_secs());
            return Err(Report::new(Kind::Invalid, "a limit is beyond what can be asked for")
                .with_next(format!("depth {}, objects {}, timeout {} at most", most.0, most.1, most.2)));
        }
        Ok(Request {
            service: self.service,
            path: self.path.unwrap_or_else(|| "/".into()),
            limits,
            values,
            activate: self.activate,
            interfaces: self.interfaces,
        })
    }
}

fn look(call: &Call<'_>, wanted: Wanted, values: bool) -> Result<Found, Report> {
    // Also on a host whose spec is damaged: nothing is remembered there.
    let cache = match call.spec() {
        Ok(spec) if !wanted.no_cache => Some(Cache::of(&Tree::new(&spec.btrfs.base_path))),
        _ => None,
    };
    let request = wanted.request(values)?;
    let services = introspect::introspect(&Bus::System, &request, cache.as_ref(), call.progress)?;
    Ok(Found { services })
}

/// `introspect`
pub(super) struct Introspect;

impl Op for Introspect {
    const NAME: &'static str = "introspect";
    const SUMMARY: &'static str = "Show the objects of a service on the system bus, and their interfaces";
    const HELP: &'static str = "A service that does not run is not started, unless asked for. What could not be looked at is an\nentry with its error; what a limit left out is said to be left out. Ends with status 1 where a\nservice that was named said nothing.";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "introspect [the] [service] {service: bus-name} [[at] {path: object-path}]",
        "introspect (all [the] services|everything [on the [system] bus]) {all=true}",
        "<which> objects does [the] [service] {service: bus-name} have",
        "<show> [the] interfaces of [the] [service] {service: bus-name} {interfaces=true}",
    ];
    type Args = Wanted;
    type Answer = Found;

    fn target(args: &Wanted) -> String {
        args.target()
    }
    fn run(call: &Call<'_>, args: Wanted) -> Result<Found, Report> {
        look(call, args, false)
    }
    fn text(found: &Found) -> String {
        introspect::text::services(&found.services)
    }
}

/// `introspect.values`
pub(super) struct Values;

impl Op for Values {
    const NAME: &'static str = "introspect.values";
    const SUMMARY: &'static str =
        "Show the objects of a service on the system bus with the values of their properties";
    const EFFECT: Effect = Effect::Read;
    // The daemon is root, and services show root more than others.
    const PRIVILEGE: Privilege = Privilege::Admin;
    const PHRASES: &'static [&'static str] = &[
        "introspect [the] [service] {service: bus-name} [[at] {path: object-path}] (with|and show) [the|its] values",
        "<show> [the] [property] values of [all [its] properties of] [the] [service] {service: bus-name}",
    ];
    type Args = Wanted;
    type Answer = Found;

    fn target(args: &Wanted) -> String {
        args.target()
    }
    fn run(call: &Call<'_>, args: Wanted) -> Result<Found, Report> {
        look(call, args, true)
    }
    fn text(found: &Found) -> String {
        introspect::text::services(&found.services)
    }
}
