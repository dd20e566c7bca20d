//! `template.*`

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::containers::{Done, NoArgs};
use super::given::Given;
use super::registry::{Effect, Op, Privilege};
use crate::fault::Report;
use crate::name::TemplateName;
use crate::templates::{self, Listed, TemplateRecord, Wish};

/// `template.list`
pub(super) struct List;

impl Op for List {
    const NAME: &'static str = "template.list";
    const SUMMARY: &'static str = "List the templates of this host";
    const EFFECT: Effect = Effect::Read;
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
    /// The release, where the host spec does not declare the template [default: stable].
    #[arg(long)]
    #[serde(default)]
    suite: Option<String>,
    /// Where packages come from [default: the host's own apt configuration].
    #[arg(long, value_name = "ADDRESS")]
    #[serde(default)]
    mirror: Option<String>,
    /// A tarball of a root file system to use instead of a mirror.
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
    type Args = BuildArgs;
    type Answer = TemplateRecord;

    fn target(args: &BuildArgs) -> String {
        args.name.raw().to_owned()
    }
    fn run(call: &Call<'_>, args: BuildArgs) -> Result<TemplateRecord, Report> {
        let name = args.name.check()?;
        let spec = call.spec()?;
        let wish = Wish {
            rootfs: args.rootfs,
            suite: args.suite,
            mirror: args.mirror,
            packages: args.packages,
            ..Wish::default()
        };
        let (template, origin) = templates::requested(&spec, &name, &wish)?;
        let _lock = call.lock()?;
        Ok(templates::build(&call.context(&spec), &name, &template, origin)?)
    }
    fn text(record: &TemplateRecord) -> String {
        templates::text::sentence("built", record)
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
    fn text(record: &TemplateRecord) -> String {
        templates::text::sentence("refreshed", record)
    }
}

/// `template.remove`
pub(super) struct Remove;

impl Op for Remove {
    const NAME: &'static str = "template.remove";
    const SUMMARY: &'static str = "Remove a template; its clones are not touched";
    const EFFECT: Effect = Effect::Destroy;
    const PRIVILEGE: Privilege = Privilege::Admin;
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
    fn text(done: &Done) -> String {
        done.text()
    }
}
