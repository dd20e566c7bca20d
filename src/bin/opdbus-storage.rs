//! The helper for the data on disk: base path, image, subvolumes, plugins, socket directories.

use std::process::ExitCode;

use clap::Parser;
use opdbus::cli::{Common, Verb, component_verb, finish, init_logging};
use opdbus::engine::Stage;
use opdbus::plugins::PluginsComponent;
use opdbus::sockets::SocketsComponent;
use opdbus::storage::StorageComponent;

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
    verb: Verb,
    #[command(flatten)]
    common: Common,
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
    let Arguments { verb, common } = Arguments::parse();
    let stages: [Box<dyn Stage>; 3] =
        [Box::new(StorageComponent), Box::new(PluginsComponent), Box::new(SocketsComponent::default())];
    finish(common.json, component_verb(&stages, verb, &common))
}
