//! `plugin.*`

use std::fs::File;

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::call::Call;
use super::containers::{Done, NoArgs};
use super::given::Given;
use super::registry::{Effect, Handed, Op, Privilege};
use crate::engine::{Action, PlannedChange};
use crate::fault::{Kind, Report};
use crate::name::PluginName;
use crate::plugins::{self, Discovered, Received, Sending, bus, text};
use crate::snapshots::{self, Label, Order, Reason, Record};
use crate::spec::{Size, Subject};

/// `plugin.list`
pub(super) struct List;

impl Op for List {
    const NAME: &'static str = "plugin.list";
    const SUMMARY: &'static str =
        "List the plugins of this host, and whether what each is served by is there";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "<list> [all] [of] [the] plugins",
        "plugins",
        "plugin (ls|list)",
        "<which> plugins are (there|enabled|disabled)",
    ];
    type Args = NoArgs;
    type Answer = Vec<Discovered>;

    fn target(_: &NoArgs) -> String {
        "plugins".into()
    }
    fn run(call: &Call<'_>, _: NoArgs) -> Result<Vec<Discovered>, Report> {
        let spec = call.spec()?;
        Ok(plugins::discover(&call.context(&spec), &bus::names())?)
    }
    fn text(all: &Vec<Discovered>) -> String {
        text::table(all)
    }
}

/// The arguments of an operation on one plugin.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// The plugin's name.
    #[arg(allow_hyphen_values = true)]
    name: Given<PluginName>,
}

/// `plugin.show`
pub(super) struct Show;

impl Op for Show {
    const NAME: &'static str = "plugin.show";
    const SUMMARY: &'static str =
        "Show one plugin: what serves it, what may be asked of it, what is wrong with it";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "<show> <this plugin>",
        "[<what is>] [the] status of <this plugin>",
        "is <this plugin> (enabled|disabled)",
        "what does <this plugin> offer",
    ];
    type Args = Named;
    type Answer = Discovered;

    fn target(args: &Named) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: Named) -> Result<Discovered, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        Ok(plugins::one(&call.context(&spec), &name, &bus::names())?)
    }
    fn text(plugin: &Discovered) -> String {
        text::sheet(plugin)
    }
}

fn switch(call: &Call<'_>, args: &Named, on: bool) -> Result<Done, Report> {
    let name = args.name.check()?;
    let spec = call.spec()?;
    let tree = call.context(&spec).tree();
    let _lock = call.lock()?;
    let state = if on { "enabled" } else { "disabled" };
    Ok(Done::new(if plugins::switch(&tree, &name, on)? {
        format!("plugin {name} is {state}")
    } else {
        format!("plugin {name} was {state} already")
    }))
}

fn would_switch(call: &Call<'_>, args: &Named, on: bool) -> Result<Vec<PlannedChange>, Report> {
    let name = args.name.check()?;
    let spec = call.spec()?;
    let change = plugins::would_switch(&call.context(&spec).tree(), &name, on)?.then(|| {
        planned(Action::Update, format!("plugin {name}"), if on { "enabled" } else { "disabled" }.into())
    });
    Ok(change.into_iter().collect())
}

fn planned(action: Action, object: String, detail: String) -> PlannedChange {
    PlannedChange { component: "plugins".into(), action, object, detail }
}

/// `plugin.enable`
pub(super) struct Enable;

impl Op for Enable {
    const NAME: &'static str = "plugin.enable";
    const SUMMARY: &'static str = "Offer a plugin again";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &["(enable|turn on) <this plugin>"];
    type Args = Named;
    type Answer = Done;

    fn target(args: &Named) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: Named) -> Result<Done, Report> {
        switch(call, &args, true)
    }
    fn rehearse(call: &Call<'_>, args: Named) -> Result<Vec<PlannedChange>, Report> {
        would_switch(call, &args, true)
    }
    fn text(done: &Done) -> String {
        done.text()
    }
}

/// `plugin.disable`
pub(super) struct Disable;

impl Op for Disable {
    const NAME: &'static str = "plugin.disable";
    const SUMMARY: &'static str = "Offer a plugin no more; nothing of it is removed";
    const HELP: &'static str =
        "It stays disabled until it is enabled, whatever is applied, received or put back of it.";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &["(disable|turn off) <this plugin>"];
    type Args = Named;
    type Answer = Done;

    fn target(args: &Named) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: Named) -> Result<Done, Report> {
        switch(call, &args, false)
    }
    fn rehearse(call: &Call<'_>, args: Named) -> Result<Vec<PlannedChange>, Report> {
        would_switch(call, &args, false)
    }
    fn text(done: &Done) -> String {
        done.text()
    }
}

/// `plugin.snapshot`
pub(super) struct Snapshot;

/// The arguments of `plugin.snapshot`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SnapshotArgs {
    /// The plugin's name.
    #[arg(allow_hyphen_values = true)]
    name: Given<PluginName>,
    /// A label to find it by.
    #[arg(long)]
    #[serde(default)]
    label: Option<String>,
}

impl Op for Snapshot {
    const NAME: &'static str = "plugin.snapshot";
    const SUMMARY: &'static str = "Take a snapshot of a plugin";
    const HELP: &'static str =
        "The same as `op-dbus snapshot create --of @plugins/NAME`; the other verbs of `snapshot` work on it.";
    const EFFECT: Effect = Effect::Change;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &[
        "(take|make|create) [a] [new] snapshot of <this plugin>",
        "snapshot <this plugin>",
        "+ (<named>|<labelled>) {label: label}",
    ];
    type Args = SnapshotArgs;
    type Answer = Record;

    fn target(args: &SnapshotArgs) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: SnapshotArgs) -> Result<Record, Report> {
        let name = args.name.check()?;
        let label = args.label.as_deref().map(str::parse::<Label>).transpose()?;
        let spec = call.spec()?;
        let order = Order { label, ..Order::new(&call.caller.user, Reason::Manual) };
        let _lock = call.lock()?;
        Ok(snapshots::take(&call.context(&spec).tree(), &Subject::Plugin(name), &order)?)
    }
    fn rehearse(call: &Call<'_>, args: SnapshotArgs) -> Result<Vec<PlannedChange>, Report> {
        let subject = Subject::Plugin(args.name.check()?);
        let label = args.label.as_deref().map(str::parse::<Label>).transpose()?;
        let spec = call.spec()?;
        let order = Order { label, ..Order::new(&call.caller.user, Reason::Manual) };
        snapshots::takeable(&call.context(&spec).tree(), &subject, &order)?;
        Ok(vec![planned(Action::Create, format!("snapshot of {subject}"), String::new())])
    }
    fn text(record: &Record) -> String {
        snapshots::text::taken(std::slice::from_ref(record))
    }
}

fn no_stream() -> Report {
    Report::new(Kind::Invalid, "a plugin is sent and received through a stream, and none was handed over")
        .with_next("use op-dbus or opdbus-plugin on this host, as root")
}

/// `plugin.send`
pub(super) struct Send;

/// The arguments of `plugin.send`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SendArgs {
    /// The plugin's name.
    #[arg(allow_hyphen_values = true)]
    name: Given<PluginName>,
    /// The file to make, readable by you alone; - is standard output.
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    #[serde(default = "standard")]
    file: String,
    /// Send this snapshot (name or label) instead of a new one.
    #[arg(long, value_name = "SNAPSHOT")]
    #[serde(default)]
    snapshot: Option<String>,
    /// Send only what changed since this snapshot (name or label), which the receiver must have.
    #[arg(long, value_name = "SNAPSHOT")]
    #[serde(default)]
    parent: Option<String>,
    /// Also where keys go along (enrollment-keys).
    #[arg(long)]
    #[serde(default)]
    with_secrets: bool,
}

fn standard() -> String {
    "-".into()
}

impl Op for Send {
    const NAME: &'static str = "plugin.send";
    const SUMMARY: &'static str = "Send a plugin to a file or another host, with its version and checksum";
    const HELP: &'static str = "All of the plugin is sent: its files and its state. The file begins with two lines that say what it is.\n\nExamples:\n  op-dbus plugin send lxc lxc.plugin\n  op-dbus plugin send lxc --parent plugin-lxc-20260131T091500Z newer.plugin\n  op-dbus plugin send lxc - | ssh root@other op-dbus plugin receive -";
    // Taken anew, a snapshot stays, so that the next one can build on it.
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const FILE: Option<Handed> = Some(Handed::Write);
    type Args = SendArgs;
    type Answer = plugins::Contents;

    fn target(args: &SendArgs) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: SendArgs) -> Result<plugins::Contents, Report> {
        let name = args.name.check()?;
        let [_, output, _] = call.take_streams().ok_or_else(no_stream)?;
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let tree = cx.tree();
        let subject = Subject::Plugin(name.clone());
        let find = |text: &String| snapshots::find(&tree, text, Some(&subject));
        let parent = args.parent.as_ref().map(find).transpose()?;
        let (snapshot, new) = if let Some(text) = &args.snapshot {
            (find(text)?, false)
        } else {
            let _lock = call.lock()?;
            (snapshots::take(&tree, &subject, &Order::new(&call.caller.user, Reason::Sent))?, true)
        };
        let sending = Sending { name, snapshot, parent, secrets: args.with_secrets };
        let sent = plugins::send(&cx, &sending, &mut File::from(output));
        if sent.is_err() && new {
            let _lock = call.lock()?;
            if let Err(error) = snapshots::delete(&tree, &sending.snapshot.name) {
                tracing::warn!("cleaning up after a failed send: {error}");
            }
        }
        let contents = sent?;
        call.record("stream", json!(contents));
        Ok(contents)
    }
    fn text(contents: &plugins::Contents) -> String {
        text::sent(contents)
    }
}

/// `plugin.receive`
pub(super) struct Receive;

/// The arguments of `plugin.receive`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReceiveArgs {
    /// The file that was sent; - is standard input.
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    #[serde(default = "standard")]
    file: String,
    /// Also where programs have files of the plugin open: they go on with the old one until they open them anew.
    #[arg(long)]
    #[serde(default)]
    force: bool,
    /// The most that is taken: a number and K, M, G or T.
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    #[serde(default = "gigabyte")]
    max_size: Size,
}

fn gigabyte() -> Size {
    Size(1 << 30)
}

impl Op for Receive {
    const NAME: &'static str = "plugin.receive";
    const SUMMARY: &'static str = "Receive a plugin that was sent, and make it active";
    const HELP: &'static str = "Its checksum, its stream and its plugin.toml are checked before anything of this host is changed. What was\nthere before is kept as a snapshot: `op-dbus snapshot restore` brings it back.\n\nA checksum tells that nothing was damaged, not who sent it: receive only from those you trust with this host.";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const FILE: Option<Handed> = Some(Handed::Read);
    const REHEARSES: bool = true;
    type Args = ReceiveArgs;
    type Answer = Received;

    fn target(_: &ReceiveArgs) -> String {
        "plugins".into()
    }
    fn run(call: &Call<'_>, args: ReceiveArgs) -> Result<Received, Report> {
        let [input, _, _] = call.take_streams().ok_or_else(no_stream)?;
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let mut input = std::io::BufReader::new(File::from(input));
        let by = &call.caller.user;
        let received = plugins::receive(&cx, &mut input, by, args.max_size.0, args.force, || call.lock())?;
        call.record("stream", json!(received.contents));
        Ok(received)
    }
    fn rehearse(call: &Call<'_>, args: ReceiveArgs) -> Result<Vec<PlannedChange>, Report> {
        let [input, _, _] = call.take_streams().ok_or_else(no_stream)?;
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let mut input = std::io::BufReader::new(File::from(input));
        let (contents, there) =
            plugins::receivable(&cx, &mut input, args.max_size.0, args.force, || call.lock())?;
        call.record("stream", json!(contents));
        let (action, kept) = if there {
            (Action::Update, "; the present one is kept as a snapshot")
        } else {
            (Action::Create, "")
        };
        let detail = format!("version {} as {} has it{kept}", contents.version, contents.snapshot);
        Ok(vec![planned(action, format!("plugin {}", contents.name), detail)])
    }
    fn text(received: &Received) -> String {
        text::received(received)
    }
}
