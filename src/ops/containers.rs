//! `container.*`

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::given::Given;
use super::registry::{Effect, Op};
use crate::containers::{self, Backend, ContainerError, Containers, Lxc, Origin, Record};
use crate::engine::{Action, PlannedChange};
use crate::fault::{Kind, Report};
use crate::name::{ContainerName, TemplateName};
use crate::spec::{Container, Limits, Network, ServiceAddress};

/// How long a command may run whose output is kept rather than streamed.
const CAPTURE_LIMIT: Duration = Duration::from_secs(60);

/// How much of a command's output is kept, in bytes.
const CAPTURE_MOST: usize = 1 << 20;

/// A container as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    /// Its name.
    name: ContainerName,
    /// `running` or `stopped`.
    state: State,
    /// Its address on the bridge.
    #[schemars(with = "String")]
    address: Ipv4Addr,
    /// How it is reached.
    network: Network,
    /// The template it was cloned from.
    template: TemplateName,
    /// Whether the host spec declares it or somebody made it by hand.
    origin: Origin,
    /// The containers whose service it may reach.
    connect: Vec<ContainerName>,
    /// The service it offers.
    service: Option<ServiceAddress>,
    /// What it may use of the host.
    limits: Limits,
    /// Whether it is started with the host.
    autostart: bool,
    /// Its MAC address.
    mac: String,
    /// Its interface on the host.
    interface: String,
    /// The host id that its root is mapped to.
    first_id: u32,
    /// When it was created.
    created: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    Running,
    Stopped,
}

impl Shown {
    fn new(record: Record, running: &BTreeSet<ContainerName>) -> Self {
        let created = jiff::Timestamp::from_second(record.created).map(|t| t.to_string()).unwrap_or_default();
        Self {
            state: if running.contains(&record.name) { State::Running } else { State::Stopped },
            address: record.address,
            network: record.spec.network,
            origin: record.origin,
            mac: record.mac.to_string(),
            interface: record.interface(),
            first_id: record.first_id(),
            created,
            name: record.name,
            template: record.spec.template,
            connect: record.spec.connect,
            service: record.spec.service,
            limits: record.spec.limits,
            autostart: record.spec.autostart,
        }
    }

    fn text(&self) -> String {
        let list = |names: &[ContainerName]| {
            if names.is_empty() {
                "none".into()
            } else {
                names.iter().map(ContainerName::as_str).collect::<Vec<_>>().join(", ")
            }
        };
        let state = if self.state == State::Running { "running" } else { "stopped" };
        let origin =
            if self.origin == Origin::Declared { "declared in the host spec" } else { "made by hand" };
        let service = self.service.as_ref().map_or("none".into(), ToString::to_string);
        format!(
            "{}: {state}, {origin}\n  address    {} ({}, {})\n  network    {}\n  template   {}\n  reaches    {}\n  service    {service}\n  limits     {} cores, {} MiB memory, {} MiB swap\n  autostart  {}\n  created    {}",
            self.name,
            self.address,
            self.mac,
            self.interface,
            self.network,
            self.template,
            list(&self.connect),
            self.limits.cores,
            self.limits.memory,
            self.limits.swap,
            if self.autostart { "yes" } else { "no" },
            self.created,
        )
    }
}

/// The arguments of an operation on one container.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// The container's name.
    #[arg(allow_hyphen_values = true)]
    name: Given<ContainerName>,
}

/// An answer that is only that it was done.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Done {
    /// What was done.
    done: String,
}

impl Done {
    pub(super) fn new(done: impl Into<String>) -> Self {
        Self { done: done.into() }
    }
    pub(super) fn text(&self) -> String {
        self.done.clone()
    }
}

/// `container.create`
pub(super) struct Create;

#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateArgs {
    /// The container's name: a-z, 0-9 and '-', beginning with a letter, at most 32 characters.
    #[arg(allow_hyphen_values = true)]
    name: Given<ContainerName>,
    /// The template to clone.
    #[arg(long, default_value = "debian-base")]
    #[serde(default = "default_template")]
    template: TemplateName,
    /// How it is reached: socket (this host) or mesh (across hosts).
    #[arg(long, value_parser = parse_network, default_value = "socket")]
    #[serde(default = "default_network")]
    network: Network,
    /// A container whose service it may reach, over its Unix socket and over IP; may be given again.
    #[arg(long, value_name = "CONTAINER")]
    #[serde(default)]
    connect: Vec<ContainerName>,
    /// The service it offers to those that were granted it: a port (80), an address and port, or the path of a socket.
    #[arg(long, value_name = "ADDRESS")]
    #[serde(default)]
    service: Option<ServiceAddress>,
    /// Its address in the containers' subnet [default: the first free one].
    #[arg(long)]
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    address: Option<Ipv4Addr>,
    /// Processor cores' worth of time.
    #[arg(long, default_value_t = Limits::default().cores, value_parser = clap::value_parser!(u32).range(1..))]
    #[serde(default = "default_cores")]
    #[schemars(range(min = 1))]
    cores: u32,
    /// Memory in MiB.
    #[arg(long, default_value_t = Limits::default().memory, value_parser = clap::value_parser!(u64).range(64..))]
    #[serde(default = "default_memory")]
    #[schemars(range(min = 64))]
    memory: u64,
    /// Swap in MiB beside the memory.
    #[arg(long, default_value_t = Limits::default().swap)]
    #[serde(default = "default_swap")]
    swap: u64,
    /// Let it run containers itself.
    #[arg(long)]
    #[serde(default)]
    nesting: bool,
    /// Do not start it with the host.
    #[arg(long)]
    #[serde(default)]
    no_autostart: bool,
    /// Do not start it now.
    #[arg(long)]
    #[serde(default)]
    no_start: bool,
}

fn default_template() -> TemplateName {
    Container::default().template
}
fn default_network() -> Network {
    Network::Socket
}
fn default_cores() -> u32 {
    Limits::default().cores
}
fn default_memory() -> u64 {
    Limits::default().memory
}
fn default_swap() -> u64 {
    Limits::default().swap
}

fn parse_network(text: &str) -> Result<Network, String> {
    match text {
        "socket" => Ok(Network::Socket),
        "mesh" => Ok(Network::Mesh),
        _ => Err("it is socket or mesh".into()),
    }
}

impl Op for Create {
    const NAME: &'static str = "container.create";
    const SUMMARY: &'static str = "Clone a container from a template and start it";
    const HELP: &'static str = "Examples:\n  op-dbus container create db-01 --service 5432\n  op-dbus container create web-01 --connect db-01\n\nInside web-01, db-01's service is then at\n/var/lib/op-dbus/sockets/containers/db-01/db-01.sock and at db-01's address.";
    const EFFECT: Effect = Effect::Change;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &[
        "<create> [a|an|another] [new] [debian {template=debian-base}] <container> [<named>] {name}",
        "I (need|want) [a|an|another] [new] [debian {template=debian-base}] <container> <named> {name}",
        "new <container> [<named>] {name}",
        "<container> create {name}",
        "+ (from|using|with) [the] template {template}",
        "+ [with|using] {network} (networking|network)",
        "+ (with|using|on|over) [the] (mesh|netmaker|netmaker mesh) [networking|network] {network=mesh}",
        "+ (connected to|(that|which) can reach) {connect, …}",
        "+ [with] [a|its] service (on|at) [port] {service}",
        "+ offering [a] service [on|at|on port] {service}",
        "+ [with] {cores} (core|cores|cpu|cpus)",
        "+ [with] {memory: mebibytes} [of] (memory|ram)",
        "+ [with] {swap: mebibytes} [of] swap",
        "+ ([with] no|without) swap {swap=0}",
        "+ [with] [the] [ip] address {address: ipv4}",
        "+ with nesting {nesting=true}",
        "+ (without starting it|(do not|don't) start it [yet]) {noStart=true}",
        "+ without autostart {noAutostart=true}",
    ];
    type Args = CreateArgs;
    type Answer = Shown;

    fn target(args: &CreateArgs) -> String {
        args.name.raw().to_owned()
    }

    fn run(call: &Call<'_>, args: CreateArgs) -> Result<Shown, Report> {
        let start = !args.no_start;
        let (name, container) = args.container()?;
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let containers = Containers::new(&cx, &Lxc);
        let record = {
            let _lock = call.lock()?;
            containers.create(&name, container, Origin::Manual)?
        };
        if !start {
            return Ok(Shown::new(record, &BTreeSet::new()));
        }
        if let Err(error) = containers.start(&name) {
            // A creation that fails leaves nothing behind.
            let _lock = call.lock()?;
            if let Err(undo) = containers.delete(&name, true) {
                tracing::warn!(container = %name, "cleaning up after a failed start: {undo}");
            }
            call.commit(cx.tree().containers());
            return Err(error.into());
        }
        let running = [record.name.clone()].into();
        Ok(Shown::new(record, &running))
    }

    fn rehearse(call: &Call<'_>, args: CreateArgs) -> Result<Vec<PlannedChange>, Report> {
        let started = if args.no_start { "" } else { ", started" };
        let (name, container) = args.container()?;
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let record = Containers::new(&cx, &Lxc).would_create(&name, container, Origin::Manual)?;
        let Record { address, spec: Container { template, network, .. }, .. } = record;
        let detail = format!("from template {template}, network {network}, address {address}{started}");
        Ok(vec![planned(Action::Create, &name, detail)])
    }

    fn text(shown: &Shown) -> String {
        shown.text()
    }
}

impl CreateArgs {
    /// The container that is asked for.
    fn container(self) -> Result<(ContainerName, Container), Report> {
        let limits = Limits { cores: self.cores, memory: self.memory, swap: self.swap };
        limits
            .check()
            .map_err(|(field, why)| Report::new(Kind::Invalid, format!("{field} is wrong: {why}")))?;
        let container = Container {
            template: self.template,
            network: self.network,
            address: self.address,
            connect: self.connect,
            service: self.service,
            limits,
            nesting: self.nesting,
            autostart: !self.no_autostart,
        };
        Ok((self.name.check()?, container))
    }
}

/// A change of a container, as `plan` shows it.
fn planned(action: Action, name: &ContainerName, detail: impl Into<String>) -> PlannedChange {
    PlannedChange {
        component: "containers".into(),
        action,
        object: format!("container {name}"),
        detail: detail.into(),
    }
}

/// What starting or stopping a container would change: nothing where it is so already.
fn would_be(call: &Call<'_>, args: &Named, up: bool) -> Result<Vec<PlannedChange>, Report> {
    let name = args.name.check()?;
    let spec = call.spec()?;
    let cx = call.context(&spec);
    Containers::new(&cx, &Lxc).get(&name)?;
    if Lxc.is_running(&cx, &name)? == up {
        return Ok(Vec::new());
    }
    Ok(vec![planned(Action::Update, &name, if up { "started" } else { "stopped" })])
}

/// `container.list`
pub(super) struct List;

#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoArgs {}

impl Op for List {
    const NAME: &'static str = "container.list";
    const SUMMARY: &'static str = "List the containers of this host";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "(list|give me a list of) [all] [of] [the] <containers>",
        "<containers>",
        "<container> (ls|list)",
        "(show [me]|display) [the] <containers>",
        "<which> <containers> are (there|running|stopped)",
        "<which> <containers> do we have [on <this host>]",
        "how many <containers> are there",
    ];
    type Args = NoArgs;
    type Answer = Vec<Shown>;

    fn target(_: &NoArgs) -> String {
        "containers".into()
    }

    fn run(call: &Call<'_>, _: NoArgs) -> Result<Vec<Shown>, Report> {
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let running = Lxc.running(&cx)?;
        Ok(containers::all(&cx.tree())?
            .into_values()
            .map(|record| Shown::new((*record).clone(), &running))
            .collect())
    }

    fn text(all: &Vec<Shown>) -> String {
        if all.is_empty() {
            return "no containers; `op-dbus container create NAME` makes one".into();
        }
        let rows = all.iter().map(|c| {
            let state = if c.state == State::Running { "running" } else { "stopped" };
            let origin = if c.origin == Origin::Declared { "declared" } else { "manual" };
            [
                c.name.to_string(),
                state.into(),
                c.address.to_string(),
                c.network.to_string(),
                c.template.to_string(),
                origin.into(),
            ]
        });
        crate::table::render(["NAME", "STATE", "ADDRESS", "NETWORK", "TEMPLATE", "ORIGIN"], rows)
    }
}

/// `container.show`
pub(super) struct Show;

impl Op for Show {
    const NAME: &'static str = "container.show";
    const SUMMARY: &'static str = "Show one container";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "<show> <this container>",
        "<container> show {name}",
        "[<what is>] [the] status of <this container>",
        "is <this container> (up|running|stopped)",
        "<what is> the (address|ip|ip address) of <this container>",
        "how much memory does <this container> have",
        "<show> [the] details of <this container>",
        "<which> template was <this container> made from",
    ];
    type Args = Named;
    type Answer = Shown;

    fn target(args: &Named) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: Named) -> Result<Shown, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let record = Containers::new(&cx, &Lxc).get(&name)?;
        Ok(Shown::new(record, &Lxc.running(&cx)?))
    }
    fn text(shown: &Shown) -> String {
        shown.text()
    }
}

/// `container.start`
pub(super) struct Start;

impl Op for Start {
    const NAME: &'static str = "container.start";
    const SUMMARY: &'static str = "Start a container";
    const EFFECT: Effect = Effect::Change;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] =
        &["(start|boot|bring up) <this container>", "<container> start {name}"];
    type Args = Named;
    type Answer = Done;

    fn target(args: &Named) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: Named) -> Result<Done, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        let cx = call.context(&spec);
        Containers::new(&cx, &Lxc).start(&name)?;
        Ok(Done::new(format!("{name} runs")))
    }
    fn rehearse(call: &Call<'_>, args: Named) -> Result<Vec<PlannedChange>, Report> {
        would_be(call, &args, true)
    }
    fn text(done: &Done) -> String {
        done.text()
    }
}

/// `container.stop`
pub(super) struct Stop;

impl Op for Stop {
    const NAME: &'static str = "container.stop";
    const SUMMARY: &'static str = "Stop a container";
    const EFFECT: Effect = Effect::Change;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] =
        &["(stop|shut down|shutdown|halt) <this container>", "<container> stop {name}"];
    type Args = Named;
    type Answer = Done;

    fn target(args: &Named) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: Named) -> Result<Done, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        let cx = call.context(&spec);
        Containers::new(&cx, &Lxc).stop(&name)?;
        Ok(Done::new(format!("{name} is stopped")))
    }
    fn rehearse(call: &Call<'_>, args: Named) -> Result<Vec<PlannedChange>, Report> {
        would_be(call, &args, false)
    }
    fn text(done: &Done) -> String {
        done.text()
    }
}

/// `container.delete`
pub(super) struct Delete;

#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteArgs {
    /// The container's name.
    #[arg(allow_hyphen_values = true)]
    name: Given<ContainerName>,
    /// Stop it first where it runs.
    #[arg(long)]
    #[serde(default)]
    force: bool,
}

impl Op for Delete {
    const NAME: &'static str = "container.delete";
    const SUMMARY: &'static str = "Delete a container and everything in it";
    const HELP: &'static str = "There is no way back. A container that the host spec declares is refused: remove\nthe declaration first.";
    const EFFECT: Effect = Effect::Destroy;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &[
        "<delete> <this container>",
        "force <delete> <this container> {force=true}",
        "<container> (delete|rm) {name}",
        "+ with force {force=true}",
    ];
    type Args = DeleteArgs;
    type Answer = Done;

    fn target(args: &DeleteArgs) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: DeleteArgs) -> Result<Done, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let _lock = call.lock()?;
        Containers::new(&cx, &Lxc).delete(&name, args.force)?;
        call.commit(cx.tree().containers());
        Ok(Done::new(format!("{name} is deleted")))
    }
    fn rehearse(call: &Call<'_>, args: DeleteArgs) -> Result<Vec<PlannedChange>, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let record = Containers::new(&cx, &Lxc).get(&name)?;
        if spec.containers.contains_key(&name) {
            return Err(ContainerError::Declared(name).into());
        }
        let running = Lxc.running(&cx)?.contains(&name);
        if running && !args.force {
            return Err(ContainerError::Running(name).into());
        }
        let stopped = if running { "it is stopped first; " } else { "" };
        let detail = format!("{stopped}with all that is in it, and its address {}", record.address);
        Ok(vec![planned(Action::Remove, &name, detail)])
    }
    fn text(done: &Done) -> String {
        done.text()
    }
}

/// `container.exec`
pub(super) struct Exec;

#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExecArgs {
    /// The container's name.
    #[arg(allow_hyphen_values = true)]
    name: Given<ContainerName>,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What a command left.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Ran {
    /// Its exit status.
    pub(super) status: i32,
    /// Its standard output, where it was kept rather than streamed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stdout: String,
    /// Its standard error, where it was kept rather than streamed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stderr: String,
}

impl Op for Exec {
    const NAME: &'static str = "container.exec";
    const SUMMARY: &'static str = "Run a command in a running container";
    const HELP: &'static str = "The command runs as root of the container, on your terminal; op-dbus ends with its\nexit status.\n\nExample: op-dbus container exec web-01 -- systemctl status";
    const EFFECT: Effect = Effect::Change;
    type Args = ExecArgs;
    type Answer = Ran;

    fn target(args: &ExecArgs) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: ExecArgs) -> Result<Ran, Report> {
        let name = args.name.check()?;
        if args.command.is_empty() {
            return Err(Report::new(Kind::Invalid, "no command was given"));
        }
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let record = Containers::new(&cx, &Lxc).get(&name)?;
        if !Lxc.is_running(&cx, &record.name)? {
            return Err(containers::ContainerError::Stopped(record.name).into());
        }
        if let Some(streams) = call.take_streams() {
            let status = Lxc.attach(&cx, &record.name, &args.command, streams)?;
            return Ok(Ran { status, stdout: String::new(), stderr: String::new() });
        }
        let output = Lxc.capture(&cx, &record.name, &args.command, CAPTURE_LIMIT)?;
        let cut =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(CAPTURE_MOST)]).into_owned();
        Ok(Ran { status: output.status, stdout: cut(&output.stdout), stderr: cut(&output.stderr) })
    }
    fn text(ran: &Ran) -> String {
        format!("{}{}", ran.stdout, ran.stderr)
    }
}

/// `container.logs`
pub(super) struct Logs;

#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsArgs {
    /// The container's name.
    #[arg(allow_hyphen_values = true)]
    name: Given<ContainerName>,
    /// How many lines, from the end.
    #[arg(short = 'n', long, default_value_t = 50)]
    #[serde(default = "default_lines")]
    lines: u32,
    /// The container's own journal instead of its console; it must run.
    #[arg(long)]
    #[serde(default)]
    journal: bool,
}

fn default_lines() -> u32 {
    50
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Lines {
    /// The lines.
    lines: Vec<String>,
}

impl Op for Logs {
    const NAME: &'static str = "container.logs";
    const SUMMARY: &'static str = "Show the end of a container's console or journal";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "<log> = log|logs",
        "<show> [the] [last {lines} lines of [the]] [console] <log> of <this container>",
        "<show> [the] [last {lines} lines of [the]] journal of <this container> {journal=true}",
        "[<show> [the]] [last {lines} lines of] {evident name} 's ([console] <log>|journal {journal=true})",
        "<log> {evident name}",
        "what does the [console] <log> of <this container> say",
    ];
    type Args = LogsArgs;
    type Answer = Lines;

    fn target(args: &LogsArgs) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: LogsArgs) -> Result<Lines, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let record = Containers::new(&cx, &Lxc).get(&name)?;
        let count = args.lines.min(10_000);
        let text = if args.journal {
            if !Lxc.is_running(&cx, &record.name)? {
                return Err(containers::ContainerError::Stopped(record.name).into());
            }
            let command =
                ["journalctl", "--no-pager", "-n"].map(str::to_owned).into_iter().chain([count.to_string()]);
            Lxc.capture(&cx, &record.name, &command.collect::<Vec<_>>(), CAPTURE_LIMIT)?.text()
        } else {
            Lxc.logs(&cx, &record, count)?
        };
        Ok(Lines { lines: text.lines().map(str::to_owned).collect() })
    }
    fn text(lines: &Lines) -> String {
        lines.lines.join("\n")
    }
}
