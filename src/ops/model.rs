//! `model.*`: the model by which the search knows what is meant.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::call::Call;
use super::containers::NoArgs;
use super::registry::{Effect, Handed, Op, Privilege};
use crate::deployment::Deployment;
use crate::engine::{Action, PlannedChange};
use crate::fault::{Kind, Report};
use crate::search::model::{self, NAME, PUBLISHED};
use crate::search::obtain::{self, ModelFile, State};
use crate::search::wire::{self, Asked};

/// The model: its files, and what is made of them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct ModelStatus {
    /// Its name.
    model: String,
    /// Where its files lie.
    directory: PathBuf,
    /// Whether the host spec asks for it (`ml.enable`).
    enabled: bool,
    /// Its files.
    files: Vec<ModelFile>,
    /// What the search says of itself.
    search: Option<wire::Status>,
    /// Why it says nothing.
    why: Option<String>,
}

/// `model.status`
pub(super) struct Show;

fn status(call: &Call<'_>) -> Result<ModelStatus, Report> {
    let spec = call.spec()?;
    let directory = model::directory(&spec);
    let (search, why) = match wire::ask(&call.host.paths.run, &Asked::Status) {
        Ok(status) => (Some(status), None),
        Err(report) => (None, Some(report.message)),
    };
    let files = obtain::look(&directory)?;
    Ok(ModelStatus { model: NAME.into(), directory, enabled: spec.ml.enable, files, search, why })
}

fn told(status: &ModelStatus) -> String {
    let mut told = format!("{} in {}\n", status.model, status.directory.display());
    for file in &status.files {
        let state = match file.state {
            State::Good => "there",
            State::Missing => "missing",
            State::Wrong => "not the file that it should be",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(told, "  {}: {state}", file.name);
    }
    if !status.enabled {
        told.push_str("it is not used: ml.enable in the host spec\n");
    }
    let _ = match (&status.search, &status.why) {
        (Some(search), _) => {
            let _ = writeln!(
                told,
                "index: {} entries, {} of them without a vector",
                search.entries, search.behind
            );
            let why = search.why.iter().map(|why| format!("nothing is embedded: {why}"));
            let anew = search.anew.iter().map(|why| format!("the index was made anew: {why}"));
            why.chain(anew).try_for_each(|line| writeln!(told, "{line}"))
        }
        (None, Some(why)) => writeln!(told, "{why}"),
        (None, None) => Ok(()),
    };
    told
}

impl Op for Show {
    const NAME: &'static str = "model.status";
    const SUMMARY: &'static str = "Show the search's model: its files, and how far the index is";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] =
        &["[<show>] [the] [search] model status", "status of the [search] model"];
    type Args = NoArgs;
    type Answer = ModelStatus;

    fn target(_: &NoArgs) -> String {
        NAME.into()
    }
    fn run(call: &Call<'_>, _: NoArgs) -> Result<ModelStatus, Report> {
        status(call)
    }
    fn text(status: &ModelStatus) -> String {
        told(status)
    }
}

/// Where files may be put: not where the host spec names a directory of somebody else's.
fn own_directory(call: &Call<'_>) -> Result<PathBuf, Report> {
    let spec = call.spec()?;
    if let Some(given) = &spec.ml.model {
        let next = match Deployment::read(&call.host.paths.etc) {
            Deployment::NixOs => "services.operation-dbus.ml.model is whence it comes on NixOS",
            Deployment::Traditional => "put them there yourself, or take ml.model out of the host spec",
        };
        return Err(Report::new(
            Kind::Conflict,
            format!("the host spec says where the model is (ml.model): {}", given.display()),
        )
        .with_next(next));
    }
    Ok(model::directory(&spec))
}

/// What would be made of the files that are not there.
fn missing(call: &Call<'_>) -> Result<Vec<PlannedChange>, Report> {
    let directory = own_directory(call)?;
    let missing = obtain::look(&directory)?.into_iter().filter(|file| file.state != State::Good);
    Ok(missing
        .map(|file| PlannedChange {
            component: "model".into(),
            action: if file.state == State::Missing { Action::Create } else { Action::Update },
            object: format!("file {}", directory.join(&file.name).display()),
            detail: format!("{} bytes, SHA-256 {}", file.size, file.sha256),
        })
        .collect())
}

/// `model.fetch`
pub(super) struct Fetch;

/// The arguments of `model.fetch`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FetchArgs {
    /// Where the files are, but for a slash and their names: a mirror. Wherever they come from, they are held to the same sums.
    #[arg(long, value_name = "URL", default_value = PUBLISHED)]
    #[serde(default = "published")]
    from: String,
}

fn published() -> String {
    PUBLISHED.into()
}

impl Op for Fetch {
    const NAME: &'static str = "model.fetch";
    const SUMMARY: &'static str = "Fetch the files of the search's model that are not there";
    const HELP: &'static str = "91 MB, once, by https from where the model's authors publish it; each file must have the SHA-256 that this program\nknows. A host without a way there: fetch the files elsewhere and give them to `op-dbus model import`.";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = &["(fetch|download) the [search] model"];
    type Args = FetchArgs;
    type Answer = ModelStatus;

    fn target(_: &FetchArgs) -> String {
        NAME.into()
    }
    fn run(call: &Call<'_>, args: FetchArgs) -> Result<ModelStatus, Report> {
        if !["https://", "http://"].iter().any(|scheme| args.from.starts_with(scheme)) {
            return Err(Report::new(
                Kind::Invalid,
                "--from is an address that begins with https:// or http://",
            ));
        }
        let directory = own_directory(call)?;
        let fetched = obtain::fetch(&call.host.run, &directory, &args.from, call.progress)?;
        call.record("fetched", json!(fetched));
        wire::ring(&call.host.paths.run);
        status(call)
    }
    fn rehearse(call: &Call<'_>, _: FetchArgs) -> Result<Vec<PlannedChange>, Report> {
        missing(call)
    }
    fn text(status: &ModelStatus) -> String {
        told(status)
    }
}

/// `model.import`
pub(super) struct Import;

/// The arguments of `model.import`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportArgs {
    /// One of the model's files, under whatever name; - is standard input.
    #[arg(value_name = "FILE")]
    file: String,
}

impl Op for Import {
    const NAME: &'static str = "model.import";
    const SUMMARY: &'static str = "Take one of the model's files from a file that you have";
    const HELP: &'static str = "Which of the two it is (model.safetensors, tokenizer.json) is told by its SHA-256; anything else is refused.\n\nExamples:\n  op-dbus model import model.safetensors && op-dbus model import tokenizer.json";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Admin;
    const FILE: Option<Handed> = Some(Handed::Read);
    type Args = ImportArgs;
    type Answer = ModelStatus;

    fn target(_: &ImportArgs) -> String {
        NAME.into()
    }
    fn run(call: &Call<'_>, _: ImportArgs) -> Result<ModelStatus, Report> {
        let directory = own_directory(call)?;
        let [input, _, _] = call.take_streams().ok_or_else(|| {
            Report::new(Kind::Invalid, "a file of the model comes through a stream, and none was handed over")
                .with_next("use op-dbus on this host, as root")
        })?;
        let name = obtain::import(&directory, std::fs::File::from(input))?;
        call.record("imported", json!(name));
        wire::ring(&call.host.paths.run);
        status(call)
    }
    fn text(status: &ModelStatus) -> String {
        told(status)
    }
}
