//! The helper for the data on disk: base path, image, subvolumes, plugins, socket directories.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use opdbus::cli::{Common, PATIENCE, Verb, component_verb, finish, init_logging};
use opdbus::engine::{Context, Lock, Silent, Stage};
use opdbus::fault::Report;
use opdbus::plugins::PluginsComponent;
use opdbus::sockets::SocketsComponent;
use opdbus::storage::{StorageComponent, make_image};

/// Make the data on disk what the host spec says: subvolumes, plugins, socket directories
#[derive(Parser)]
#[command(version, after_long_help = EXTRA)]
#[command(long_about = "\
Make the data on disk what the host spec says.

It makes the base path (btrfs.basePath), and where btrfs.image is given, the file that holds a btrfs \
file system, with its mount unit; the subvolumes of btrfs.subvolumes, compressed with zstd; a subvolume \
with plugin.toml and semantic-mapping.toml for each plugin; and the directories of the sockets, with the \
group opdbus.

What is not ours is never changed: a plain directory in the way, a subvolume without our marker or a file \
that was edited stays, and the message says what to do. Nothing is ever deleted but what a stopped run left \
half made. The level of compression is the file system's, by its first mount; `status` shows it among the \
options of the mount.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    #[command(flatten)]
    Component(Verb),
    /// Make the file of btrfs.image where there is none, and mount nothing: before a mount unit that is not ours.
    Image,
}

const EXTRA: &str = "\
Exit status:
  0  done, or nothing to change     5  something that is not ours is in the way
  1  it was tried and failed        6  not permitted: run it as root
  2  wrong usage                    7  a tool is missing
  3  the host spec is wrong         8  another run is going on
  4  the host spec is not there

Examples:
  opdbus-storage plan                      what would be changed
  opdbus-storage apply                     change it
  opdbus-storage status --json             what is there
  opdbus-storage plan --config new.json    with another host spec";

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
