//! The helper for the data on disk: base path, image, subvolumes, plugins, what a stopped run left of a
//! snapshot, socket directories.

use std::process::ExitCode;

use clap::Parser;
use opdbus::cli::args::storage::{Arguments, Command};
use opdbus::cli::{Common, PATIENCE, TerminalProgress, answers, component_verb, finish, init_logging};
use opdbus::drift;
use opdbus::engine::{Context, Lock, Progress, Stage};
use opdbus::fault::Report;
use opdbus::plugins::PluginsComponent;
use opdbus::snapshots::SnapshotsComponent;
use opdbus::sockets::SocketsComponent;
use opdbus::storage::{StorageComponent, make_image};
use opdbus::system;

fn main() -> ExitCode {
    init_logging();
    let Arguments { command, common } = Arguments::parse();
    finish(common.json, run(command, &common))
}

fn run(command: Command, common: &Common) -> Result<(), Report> {
    if let Command::Component(verb) = command {
        let stages: [Box<dyn Stage>; 4] = [
            Box::new(StorageComponent),
            Box::new(PluginsComponent),
            Box::new(SnapshotsComponent),
            Box::new(SocketsComponent::default()),
        ];
        return component_verb(&stages, verb, common);
    }
    let host = common.host();
    let spec = common.spec(&host)?;
    let _lock = Lock::take(&host.paths.lock(), PATIENCE)?;
    let progress = TerminalProgress::new(common.json);
    let cx = Context { host: &host, spec: &spec, progress: &progress };
    if let Command::Baseline = command {
        progress.report("looking at what is there, the system bus among it", None);
        let (kept, path) = (drift::settle(&system::components(), &cx)?, drift::path(&cx));
        drop(progress);
        let text = if kept { "kept what is there in" } else { "nothing to do for" };
        common.out().answer(&answers::Baseline { kept }, |_| format!("{text} {}", path.display()));
        return Ok(());
    }
    let made = make_image(&cx)?;
    drop(progress);
    let text = match &spec.btrfs.image {
        None => "the host spec has no btrfs.image".to_owned(),
        Some(image) if made => format!("made the image {}", image.path.display()),
        Some(image) => format!("the image {} is there", image.path.display()),
    };
    common.out().answer(&answers::Image { made }, |_| text);
    Ok(())
}
