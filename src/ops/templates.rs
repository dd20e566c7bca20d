//! `template.*`

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
use crate::name::TemplateName;
use crate::spec::{Distribution, Size, Template};
use crate::templates::{self, Generation, Listed, Source, TemplateRecord, Wish};

/// `template.list`
pub(super) struct List;

impl Op for List {
    const NAME: &'static str = "template.list";
    const SUMMARY: &'static str = "List the templates of this host";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "<list> [all] [of] [the] templates",
        "templates",
        "template (ls|list)",
        "<which> templates (are there|do we have) [on <this host>]",
    ];
    type Args = NoArgs;
    type Answer = Vec<Listed>;

    fn target(_: &NoArgs) -> String {
        "templates".into()
    }
    fn run(call: &Call<'_>, _: NoArgs) -> Result<Vec<Listed>, Report> {
        let spec = call.spec()?;
        Ok(templates::list(&call.context(&spec).tree())?)
    }
    fn text(all: &Vec<Listed>) -> String {
        templates::text::table(all)
    }
}

/// `template.build`
pub(super) struct Build;

/// The arguments of `template.build`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BuildArgs {
    /// The template's name.
    #[arg(allow_hyphen_values = true)]
    name: Given<TemplateName>,
    /// What it is made of, where the host spec does not declare the template [default: debian].
    #[arg(long, value_enum)]
    #[serde(default)]
    distribution: Option<Distribution>,
    /// The release, where the host spec does not declare the template [default: stable, which Ubuntu has none of].
    #[arg(long)]
    #[serde(default)]
    suite: Option<String>,
    /// Where packages come from [default: for Debian the host's own apt configuration, else the distribution's own].
    #[arg(long, value_name = "ADDRESS")]
    #[serde(default)]
    mirror: Option<String>,
    /// A tarball of a root file system to use instead of a mirror; of Alpine, the mini root file system.
    #[arg(long, value_name = "FILE")]
    #[serde(default)]
    rootfs: Option<std::path::PathBuf>,
    /// A package to have beside the base system; may be given again.
    #[arg(long = "package", value_name = "NAME")]
    #[serde(default)]
    packages: Vec<String>,
}

impl Op for Build {
    const NAME: &'static str = "template.build";
    const SUMMARY: &'static str = "Build a template";
    const HELP: &'static str = "A template that the host spec declares is built as declared. Another one is yours: it is\nnever refreshed or removed by `apply`.";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &[
        "build [a|the] [new] template [<named>] {name}",
        "build [a|an|the] [new] {distribution} template [<named>] {name}",
        "+ from {distribution} [{suite: word}]",
        "+ with suite {suite: word}",
        "+ with [the] (package|packages) {packages: word, …}",
    ];
    type Args = BuildArgs;
    type Answer = TemplateRecord;

    fn target(args: &BuildArgs) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: BuildArgs) -> Result<TemplateRecord, Report> {
        let spec = call.spec()?;
        let (name, wish) = args.wish()?;
        let (template, origin) = templates::requested(&spec, &name, &wish)?;
        let _lock = call.lock()?;
        Ok(templates::build(&call.context(&spec), &name, &template, origin)?)
    }
    fn rehearse(call: &Call<'_>, args: BuildArgs) -> Result<Vec<PlannedChange>, Report> {
        let spec = call.spec()?;
        let (name, wish) = args.wish()?;
        let (template, _) = templates::requested(&spec, &name, &wish)?;
        templates::buildable(&call.context(&spec), &name, &template)?;
        Ok(vec![planned(Action::Create, &name, made_of(&template))])
    }
    fn text(record: &TemplateRecord) -> String {
        templates::text::sentence("built", record)
    }
}

impl BuildArgs {
    /// The template's name, and what is asked for of it.
    fn wish(self) -> Result<(TemplateName, Wish), Report> {
        let wish = Wish {
            rootfs: self.rootfs,
            distribution: self.distribution,
            suite: self.suite,
            mirror: self.mirror,
            packages: self.packages,
            ..Wish::default()
        };
        Ok((self.name.check()?, wish))
    }
}

/// A change of a template, as `plan` shows it.
fn planned(action: Action, name: &TemplateName, detail: impl Into<String>) -> PlannedChange {
    PlannedChange {
        component: "templates".into(),
        action,
        object: format!("template {name}"),
        detail: detail.into(),
    }
}

/// What a template is made of, for a person.
fn made_of(template: &Template) -> String {
    match &template.rootfs {
        Some(file) => format!("from {}", file.display()),
        None => format!("{} {}", template.distribution, template.suite),
    }
}

/// `template.import`
pub(super) struct Import;

/// The arguments of `template.import`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ImportArgs {
    /// The template's name.
    #[arg(allow_hyphen_values = true)]
    name: Given<TemplateName>,
    /// The archive, or the directory of an OCI image layout; - is standard input.
    #[arg(value_name = "FILE|DIR", default_value = "-", hide_default_value = true)]
    #[serde(default = "standard")]
    file: String,
    /// The most that is taken, compressed and not: a number and K, M, G or T.
    #[arg(long, value_name = "SIZE", default_value = "8G")]
    #[serde(default = "most")]
    max_size: Size,
}

fn standard() -> String {
    "-".into()
}

fn most() -> Size {
    Size(8 << 30)
}

/// The archive that was handed over.
fn archive(call: &Call<'_>) -> Result<std::fs::File, Report> {
    let [input, _, _] = call.take_streams().ok_or_else(|| {
        Report::new(Kind::Invalid, "an archive comes through a stream, and none was handed over")
            .with_next("use op-dbus or opdbus-template on this host, as root")
    })?;
    Ok(input.into())
}

impl Op for Import {
    const NAME: &'static str = "template.import";
    const SUMMARY: &'static str = "Make a template from a root file system or an OCI image";
    const HELP: &'static str = "A tar archive of a root file system (plain, or compressed by gzip, xz or zstd), or an OCI image: the directory of a\nlayout, or an archive of one. It must hold a system that starts, with /sbin/init: most images of single programs do\nnot. The digest of every blob of an image is checked, and nothing is written outside the template: an archive with\nabsolute names, \"..\", or names that lead through a link is refused. Device nodes, pipes and sockets are left out and\nnamed. Machine id, host keys and the like are removed, as in every template. The template is yours: it is never\nrefreshed or removed by `apply`.\n\nThe SHA-256 of the archive is in the template's record and in the ledger. It tells what was taken, not who made it.\n\nExamples:\n  op-dbus template import mine rootfs.tar.zst\n  skopeo copy docker://registry.example.org/debian-systemd oci:image && op-dbus template import mine image";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const FILE: Option<Handed> = Some(Handed::Read);
    const REHEARSES: bool = true;
    type Args = ImportArgs;
    type Answer = TemplateRecord;

    fn target(args: &ImportArgs) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: ImportArgs) -> Result<TemplateRecord, Report> {
        let name = args.name.check()?;
        let input = archive(call)?;
        let spec = call.spec()?;
        let record = templates::import(&call.context(&spec), &name, input, args.max_size.0, || call.lock())?;
        call.record("imported", json!(record.imported));
        Ok(record)
    }
    fn rehearse(call: &Call<'_>, args: ImportArgs) -> Result<Vec<PlannedChange>, Report> {
        let name = args.name.check()?;
        let input = archive(call)?;
        let spec = call.spec()?;
        let record =
            templates::importable(&call.context(&spec), &name, input, args.max_size.0, || call.lock())?;
        call.record("imported", json!(record.imported));
        let kind = if record.source == Source::Oci { "an OCI image" } else { "a tar archive" };
        let from = record.imported.as_ref().map(|imported| {
            let left_out = match imported.left_out.len() {
                0 => String::new(),
                number => format!("; device nodes and the like are left out: {number}"),
            };
            format!(" of {} bytes, SHA-256 {}{left_out}", imported.size, imported.sha256)
        });
        Ok(vec![planned(Action::Create, &name, format!("from {kind}{}", from.unwrap_or_default()))])
    }
    fn text(record: &TemplateRecord) -> String {
        templates::text::imported(record)
    }
}

/// The arguments of an operation on one template.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// The template's name.
    #[arg(allow_hyphen_values = true)]
    name: Given<TemplateName>,
}

/// `template.refresh`
pub(super) struct Refresh;

impl Op for Refresh {
    const NAME: &'static str = "template.refresh";
    const SUMMARY: &'static str = "Build a declared template anew and swap it in; its clones are not touched";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &["refresh <this template>"];
    type Args = Named;
    type Answer = TemplateRecord;

    fn target(args: &Named) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: Named) -> Result<TemplateRecord, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        let _lock = call.lock()?;
        Ok(templates::refresh(&call.context(&spec), &name)?)
    }
    fn rehearse(call: &Call<'_>, args: Named) -> Result<Vec<PlannedChange>, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        let template = templates::refreshable(&call.context(&spec), &name)?;
        let detail = format!("built anew: {}; what is there is kept as a generation", made_of(&template));
        Ok(vec![planned(Action::Update, &name, detail)])
    }
    fn text(record: &TemplateRecord) -> String {
        templates::text::sentence("refreshed", record)
    }
}

/// `template.generations`
pub(super) struct Generations;

impl Op for Generations {
    const NAME: &'static str = "template.generations";
    const SUMMARY: &'static str = "List the generations of a template: the one in use, and earlier ones";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &[
        "[<list>] [all] [the] generations of <this template>",
        "<list> [all] [the] generations of {evident name}",
        "<which> generations does <this template> have",
    ];
    type Args = Named;
    type Answer = Vec<Generation>;

    fn target(args: &Named) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: Named) -> Result<Vec<Generation>, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        Ok(templates::generations(&call.context(&spec).tree(), &name)?)
    }
    fn text(all: &Vec<Generation>) -> String {
        templates::text::generations(all)
    }
}

/// `template.rollback`
pub(super) struct Rollback;

/// The arguments of `template.rollback`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackArgs {
    /// The template's name.
    #[arg(allow_hyphen_values = true)]
    name: Given<TemplateName>,
    /// The generation to go back to, as `template generations` names it [default: the one built before that in use].
    #[serde(default)]
    generation: Option<String>,
}

impl Op for Rollback {
    const NAME: &'static str = "template.rollback";
    const SUMMARY: &'static str =
        "Go back to an earlier generation of a template; its clones are not touched";
    const HELP: &'static str = "A refresh keeps the generations before it, as many as the host spec says (templates.NAME.keep, 2 by default). The\none named takes the place of the one in use in one step, and that one is kept: name it to go forward again.\nContainers made from now on are cloned from it; `apply` builds no newer one until the declaration changes.\n\nExamples:\n  op-dbus template generations debian-base\n  op-dbus template rollback debian-base\n  op-dbus template rollback debian-base 20260131T091500Z-0a1b2c3d";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &[
        "roll back <this template>",
        "roll <this template> back",
        "go back to the previous generation of <this template>",
        "+ to [the] generation {generation: word}",
    ];
    type Args = RollbackArgs;
    type Answer = TemplateRecord;

    fn target(args: &RollbackArgs) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: RollbackArgs) -> Result<TemplateRecord, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        let _lock = call.lock()?;
        Ok(templates::rollback(&call.context(&spec), &name, args.generation.as_deref())?)
    }
    fn rehearse(call: &Call<'_>, args: RollbackArgs) -> Result<Vec<PlannedChange>, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        let chosen = templates::would_roll_back(&call.context(&spec), &name, args.generation.as_deref())?;
        let back = |record: TemplateRecord| {
            planned(Action::Update, &name, format!("generation {}", record.generation))
        };
        Ok(chosen.map(back).into_iter().collect())
    }
    fn text(record: &TemplateRecord) -> String {
        templates::text::sentence("now in use:", record)
    }
}

/// `template.remove`
pub(super) struct Remove;

impl Op for Remove {
    const NAME: &'static str = "template.remove";
    const SUMMARY: &'static str =
        "Remove a template with its earlier generations; its clones are not touched";
    const EFFECT: Effect = Effect::Destroy;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &["<delete> <this template>"];
    type Args = Named;
    type Answer = Done;

    fn target(args: &Named) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: Named) -> Result<Done, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        let _lock = call.lock()?;
        templates::remove(&call.context(&spec), &name, false)?;
        Ok(Done::new(format!("template {name} is removed")))
    }
    fn rehearse(call: &Call<'_>, args: Named) -> Result<Vec<PlannedChange>, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        templates::removable(&call.context(&spec), &name, false)?;
        Ok(vec![planned(Action::Remove, &name, "with its earlier generations")])
    }
    fn text(done: &Done) -> String {
        done.text()
    }
}
