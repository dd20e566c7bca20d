//! The helper for the data on disk: base path, image, subvolumes, plugins, socket directories.

use std::process::ExitCode;

use clap::Parser;
use opdbus::cli::args::storage::{Arguments, Command};
use opdbus::cli::{Common, PATIENCE, component_verb, finish, init_logging};
use opdbus::engine::{Context, Lock, Silent, Stage};
use opdbus::fault::Report;
use opdbus::plugins::PluginsComponent;
use opdbus::sockets::SocketsComponent;
use opdbus::storage::{StorageComponent, make_image};

fn main() -> ExitCode {
    init_logging();
    let Arguments { command, common } = Arguments::parse();
    finish(common.json, run(command, &common))
}

fn run(command: Command, common: &Common) -> Result<(), Report> {
    if let Command::Component(verb) = command {
        let stages: [Box<dyn Stage>; 3] =
            [Box::new(StorageComponent), Box::new(PluginsComponent), Box::new(SocketsComponent::default())];
        return component_verb(&stages, verb, common);
    }
    let host = common.host();
    let spec = common.spec(&host)?;
    let _lock = Lock::take(&host.paths.lock(), PATIENCE)?;
    let made = make_image(&Context { host: &host, spec: &spec, progress: &Silent })?;
    let text = match &spec.btrfs.image {
        None => "the host spec has no btrfs.image".to_owned(),
        Some(image) if made => format!("made the image {}", image.path.display()),
        Some(image) => format!("the image {} is there", image.path.display()),
    };
    common.out().answer(&serde_json::json!({ "made": made }), |_| text);
    Ok(())
}
