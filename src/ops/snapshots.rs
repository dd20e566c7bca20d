//! `snapshot.*`

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::containers::Done;
use super::registry::{Effect, Op, Privilege};
use crate::containers::Lxc;
use crate::engine::{Action, PlannedChange};
use crate::fault::{Kind, Report};
use crate::paths::Tree;
use crate::snapshots::{self, Differences, Label, Listed, Order, Reason, Record, Restored, text};
use crate::spec::Subject;
use crate::storage::subvolume;

/// What is there, and worth a snapshot when nothing is named: the state, the ledger and every plugin.
fn usual(tree: &Tree) -> Vec<Subject> {
    let mut all: Vec<Subject> = ["@state", "@timing"].iter().filter_map(|name| name.parse().ok()).collect();
    let plugins = std::fs::read_dir(tree.join("@plugins")).into_iter().flatten().flatten();
    let mut plugins: Vec<Subject> =
        plugins.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Subject::Plugin)).collect();
    plugins.sort();
    all.extend(plugins);
    all.retain(|subject| subvolume::is_subvolume(&subject.path(tree)).unwrap_or(false));
    all
}

/// `snapshot.create`
pub(super) struct Create;

/// The arguments of `snapshot.create`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateArgs {
    /// A label to find it by: before-upgrade.
    #[arg(allow_hyphen_values = true, value_name = "LABEL")]
    #[serde(default)]
    name: Option<String>,
    /// What to take one of: @state, @plugins/NAME, container/NAME; may be given again; without any, @state, @timing and every plugin.
    #[arg(long, value_name = "SUBJECT")]
    #[serde(default)]
    of: Vec<String>,
    /// What for, in your own words.
    #[arg(long)]
    #[serde(default)]
    why: Option<String>,
    /// Mark it as kept: nothing removes it until the mark is taken away.
    #[arg(long)]
    #[serde(default)]
    keep: bool,
}

impl Op for Create {
    const NAME: &'static str = "snapshot.create";
    const SUMMARY: &'static str = "Take snapshots";
    const HELP: &'static str = "Each is named by what it is of and the time, in UTC, and lies read-only in @snapshots. It is taken in one\nstep; of a database or a running container it is what a power cut would have left, which they recover from.\n\nExamples:\n  op-dbus snapshot create before-upgrade\n  op-dbus snapshot create --of container/web-01 --keep --why 'the release that worked'";
    const EFFECT: Effect = Effect::Change;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &[
        "(take|make|create) [a] [new] snapshot",
        "snapshot [the] <container> [<named>] {of: container/, …}",
        "snapshot {evident of: container/, …}",
        "snapshot {of: subject, …}",
        "+ <named> {name: label}",
        "+ of [the] <container> [<named>] {of: container/, …}",
        "+ of {evident of: container/, …}",
        "+ of {of: subject, …}",
        "+ keep it {keep=true}",
    ];
    type Args = CreateArgs;
    type Answer = Vec<Record>;

    fn target(args: &CreateArgs) -> String {
        if args.of.is_empty() { "host".into() } else { args.of.join(",") }
    }
    fn run(call: &Call<'_>, args: CreateArgs) -> Result<Vec<Record>, Report> {
        let spec = call.spec()?;
        let tree = call.context(&spec).tree();
        let (subjects, order) = args.ordered(call, &tree)?;
        let _lock = call.lock()?;
        let mut taken: Vec<Record> = Vec::new();
        for subject in &subjects {
            match snapshots::take(&tree, subject, &order) {
                Ok(record) => taken.push(record),
                Err(error) => {
                    // All or none: what is found under a label is whole.
                    for record in &taken {
                        snapshots::mark_kept(&tree, &record.name, false)?;
                        snapshots::delete(&tree, &record.name)?;
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(taken)
    }
    fn rehearse(call: &Call<'_>, args: CreateArgs) -> Result<Vec<PlannedChange>, Report> {
        let spec = call.spec()?;
        let tree = call.context(&spec).tree();
        let (subjects, order) = args.ordered(call, &tree)?;
        let mut changes = Vec::new();
        for subject in subjects {
            snapshots::takeable(&tree, &subject, &order)?;
            changes.push(planned(Action::Create, format!("snapshot of {subject}"), ""));
        }
        Ok(changes)
    }
    fn text(records: &Vec<Record>) -> String {
        text::taken(records)
    }
}

impl CreateArgs {
    /// Of what, and as what.
    fn ordered(self, call: &Call<'_>, tree: &Tree) -> Result<(Vec<Subject>, Order), Report> {
        let label = self.name.as_deref().map(str::parse::<Label>).transpose()?;
        if self.why.as_ref().is_some_and(|why| why.len() > 500) {
            return Err(Report::new(Kind::Invalid, "--why is longer than 500 bytes"));
        }
        let subjects = if self.of.is_empty() {
            usual(tree)
        } else {
            self.of.iter().map(|text| text.parse::<Subject>()).collect::<Result<Vec<_>, _>>()?
        };
        if subjects.is_empty() {
            return Err(Report::new(Kind::NotFound, "there is nothing yet to take a snapshot of")
                .with_next("`op-dbus apply`"));
        }
        let order = Order {
            by: call.caller.user.clone(),
            reason: Reason::Manual,
            label,
            why: self.why,
            kept: self.keep,
        };
        Ok((subjects, order))
    }
}

fn planned(action: Action, object: String, detail: impl Into<String>) -> PlannedChange {
    PlannedChange { component: "snapshots".into(), action, object, detail: detail.into() }
}

/// `snapshot.list`
pub(super) struct List;

/// The arguments of `snapshot.list`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListArgs {
    /// Only those of this: @state, @plugins/NAME, container/NAME.
    #[arg(long, value_name = "SUBJECT")]
    #[serde(default)]
    of: Option<String>,
    /// Only those with this label.
    #[arg(long)]
    #[serde(default)]
    label: Option<String>,
}

fn subject(text: Option<&String>) -> Result<Option<Subject>, Report> {
    Ok(text.map(|text| text.parse::<Subject>()).transpose()?)
}

impl Op for List {
    const NAME: &'static str = "snapshot.list";
    const SUMMARY: &'static str = "List the snapshots";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "<list> [all] [of] [the] snapshots",
        "snapshots",
        "snapshot (ls|list)",
        "<which> snapshots are there",
        "<which> snapshots of ([the] <container> [<named>] {of: container/}|{evident of: container/}|{of: subject}) are there",
        "+ <labelled> {label: label}",
        "+ of [the] <container> [<named>] {of: container/}",
        "+ of {evident of: container/}",
        "+ of {of: subject}",
    ];
    type Args = ListArgs;
    type Answer = Vec<Listed>;

    fn target(args: &ListArgs) -> String {
        args.of.clone().unwrap_or_else(|| "snapshots".into())
    }
    fn run(call: &Call<'_>, args: ListArgs) -> Result<Vec<Listed>, Report> {
        let spec = call.spec()?;
        let mut all = snapshots::list(&call.context(&spec).tree(), subject(args.of.as_ref())?.as_ref())?;
        if let Some(label) = &args.label {
            all.retain(|listed| listed.record.label.as_ref().is_some_and(|l| l.as_str() == label));
        }
        Ok(all)
    }
    fn text(all: &Vec<Listed>) -> String {
        text::table(all)
    }
}

/// `snapshot.diff`
pub(super) struct Diff;

/// The arguments of `snapshot.diff`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DiffArgs {
    /// The snapshot's name or label.
    #[arg(allow_hyphen_values = true)]
    name: String,
    /// Another snapshot, by name, to compare it with [default: what is there now].
    #[arg(allow_hyphen_values = true, value_name = "OTHER")]
    #[serde(default)]
    other: Option<String>,
    /// Where several have the label: that of this.
    #[arg(long, value_name = "SUBJECT")]
    #[serde(default)]
    of: Option<String>,
    /// How many differences are shown; the rest are counted.
    #[arg(long, default_value_t = default_limit())]
    #[serde(default = "default_limit")]
    limit: usize,
}

fn default_limit() -> usize {
    1000
}

impl Op for Diff {
    const NAME: &'static str = "snapshot.diff";
    const SUMMARY: &'static str = "Show what changed since a snapshot, or between two";
    const HELP: &'static str = "Files that were added (+), removed (-), changed (~) or renamed (>), compared by what is in them. Subvolumes\ninside are not looked into, as a snapshot does not hold them.\n\nExample: op-dbus snapshot diff before-upgrade --of @state";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "[<show>] what changed since <this snapshot>",
        "diff <this snapshot>",
        "compare <this snapshot> with [the] [snapshot] {other: snapshot}",
        "<what is> the difference between [the] snapshots {name: snapshot} and {other: snapshot}",
        "+ of [the] <container> [<named>] {of: container/}",
        "+ of {evident of: container/}",
        "+ of {of: subject}",
    ];
    type Args = DiffArgs;
    type Answer = Differences;

    fn target(args: &DiffArgs) -> String {
        args.name.chars().take(80).collect()
    }
    fn run(call: &Call<'_>, args: DiffArgs) -> Result<Differences, Report> {
        let spec = call.spec()?;
        let tree = call.context(&spec).tree();
        let of = subject(args.of.as_ref())?;
        let old = snapshots::find(&tree, &args.name, of.as_ref())?;
        let directory = snapshots::directory(&tree);
        let new = if let Some(other) = &args.other {
            directory.join(&snapshots::find(&tree, other, Some(&old.subject))?.name)
        } else {
            let path = old.subject.path(&tree);
            if !path.is_dir() {
                return Err(snapshots::SnapshotError::NoSubject { subject: old.subject, path }.into());
            }
            path
        };
        call.progress.report(&format!("comparing with {}", old.name), None);
        Ok(snapshots::compare(&directory.join(&old.name), &new, args.limit.min(100_000))?)
    }
    fn text(all: &Differences) -> String {
        text::differences(all)
    }
}

/// `snapshot.restore`
pub(super) struct Restore;

/// The arguments of `snapshot.restore`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RestoreArgs {
    /// The snapshot's name or label.
    #[arg(allow_hyphen_values = true)]
    name: String,
    /// Where several have the label: that of this.
    #[arg(long, value_name = "SUBJECT")]
    #[serde(default)]
    of: Option<String>,
    /// Also where programs have files open in it, or it holds subvolumes; a running container is stopped, and started again.
    #[arg(long)]
    #[serde(default)]
    force: bool,
}

impl Op for Restore {
    const NAME: &'static str = "snapshot.restore";
    const SUMMARY: &'static str = "Put a snapshot in the place of what it is of";
    const HELP: &'static str = "What is there now is kept, as it is, as a snapshot of its own; the two are exchanged in one step. A container\ngets the name and address that it has now. The ledger is never put back.";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &[
        "(restore|roll back to|go back to) <this snapshot>",
        "+ of [the] <container> [<named>] {of: container/}",
        "+ of {evident of: container/}",
        "+ of {of: subject}",
        "+ with force {force=true}",
    ];
    type Args = RestoreArgs;
    type Answer = Restored;

    fn target(args: &RestoreArgs) -> String {
        args.name.chars().take(80).collect()
    }
    fn run(call: &Call<'_>, args: RestoreArgs) -> Result<Restored, Report> {
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let of = subject(args.of.as_ref())?;
        let _lock = call.lock()?;
        let from = snapshots::find(&cx.tree(), &args.name, of.as_ref())?;
        Ok(snapshots::restore(&cx, &from, &call.caller.user, args.force, &Lxc)?)
    }
    fn rehearse(call: &Call<'_>, args: RestoreArgs) -> Result<Vec<PlannedChange>, Report> {
        let spec = call.spec()?;
        let cx = call.context(&spec);
        let from = snapshots::find(&cx.tree(), &args.name, subject(args.of.as_ref())?.as_ref())?;
        let stopped = snapshots::restorable(&cx, &from, args.force, &Lxc)?;
        let detail = if stopped { "as {} has it; the container is stopped for it" } else { "as {} has it" };
        let detail = detail.replace("{}", &from.name.to_string());
        Ok(vec![planned(Action::Update, from.subject.to_string(), detail)])
    }
    fn text(restored: &Restored) -> String {
        let Restored { subject, from, before, restarted } = restored;
        let mut text = format!("{subject} is as {from} has it");
        if let Some(before) = before {
            text.push_str(&format!("; what was there is {before}"));
        }
        if *restarted {
            text.push_str("; the container was stopped for it and runs again");
        }
        text
    }
}

/// `snapshot.keep`
pub(super) struct Keep;

/// The arguments of `snapshot.keep`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeepArgs {
    /// The snapshot's name or label.
    #[arg(allow_hyphen_values = true)]
    name: String,
    /// Where several have the label: that of this.
    #[arg(long, value_name = "SUBJECT")]
    #[serde(default)]
    of: Option<String>,
    /// Take the mark away.
    #[arg(long)]
    #[serde(default)]
    off: bool,
}

impl Op for Keep {
    const NAME: &'static str = "snapshot.keep";
    const SUMMARY: &'static str = "Mark a snapshot as kept, so that nothing removes it";
    const EFFECT: Effect = Effect::Change;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &[
        "keep <this snapshot>",
        "mark <this snapshot> as kept",
        "stop keeping <this snapshot> {off=true}",
        "+ of [the] <container> [<named>] {of: container/}",
        "+ of {evident of: container/}",
        "+ of {of: subject}",
    ];
    type Args = KeepArgs;
    type Answer = Record;

    fn target(args: &KeepArgs) -> String {
        args.name.chars().take(80).collect()
    }
    fn run(call: &Call<'_>, args: KeepArgs) -> Result<Record, Report> {
        let spec = call.spec()?;
        let tree = call.context(&spec).tree();
        let of = subject(args.of.as_ref())?;
        let _lock = call.lock()?;
        let found = snapshots::find(&tree, &args.name, of.as_ref())?;
        Ok(snapshots::mark_kept(&tree, &found.name, !args.off)?)
    }
    fn rehearse(call: &Call<'_>, args: KeepArgs) -> Result<Vec<PlannedChange>, Report> {
        let spec = call.spec()?;
        let tree = call.context(&spec).tree();
        let found = snapshots::find(&tree, &args.name, subject(args.of.as_ref())?.as_ref())?;
        let change = (found.kept == args.off).then(|| {
            let detail = if args.off { "not kept" } else { "kept" };
            planned(Action::Update, format!("snapshot {}", found.name), detail)
        });
        Ok(change.into_iter().collect())
    }
    fn text(record: &Record) -> String {
        format!("{} is {}", record.name, if record.kept { "kept" } else { "not kept" })
    }
}

/// `snapshot.delete`
pub(super) struct Delete;

/// The arguments of `snapshot.delete`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteArgs {
    /// The snapshot's name or label.
    #[arg(allow_hyphen_values = true)]
    name: String,
    /// Where several have the label: that of this.
    #[arg(long, value_name = "SUBJECT")]
    #[serde(default)]
    of: Option<String>,
}

impl Op for Delete {
    const NAME: &'static str = "snapshot.delete";
    const SUMMARY: &'static str = "Delete a snapshot";
    const EFFECT: Effect = Effect::Destroy;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &[
        "<delete> <this snapshot>",
        "+ of [the] <container> [<named>] {of: container/}",
        "+ of {evident of: container/}",
        "+ of {of: subject}",
    ];
    type Args = DeleteArgs;
    type Answer = Done;

    fn target(args: &DeleteArgs) -> String {
        args.name.chars().take(80).collect()
    }
    fn run(call: &Call<'_>, args: DeleteArgs) -> Result<Done, Report> {
        let spec = call.spec()?;
        let tree = call.context(&spec).tree();
        let of = subject(args.of.as_ref())?;
        let _lock = call.lock()?;
        let found = snapshots::find(&tree, &args.name, of.as_ref())?;
        snapshots::delete(&tree, &found.name)?;
        Ok(Done::new(format!("snapshot {} is deleted", found.name)))
    }
    fn rehearse(call: &Call<'_>, args: DeleteArgs) -> Result<Vec<PlannedChange>, Report> {
        let spec = call.spec()?;
        let tree = call.context(&spec).tree();
        let found = snapshots::find(&tree, &args.name, subject(args.of.as_ref())?.as_ref())?;
        snapshots::deletable(&tree, &found.name)?;
        Ok(vec![planned(Action::Remove, format!("snapshot {}", found.name), "")])
    }
    fn text(done: &Done) -> String {
        done.text()
    }
}
