//! `opdbus-storage` as its command line has it.

use clap::{Parser, Subcommand};

use crate::cli::{Common, Verb};

/// Make the data on disk what the host spec says: subvolumes, plugins, socket directories
#[derive(Parser)]
#[command(name = "opdbus-storage", version, after_long_help = EXTRA)]
#[command(long_about = "\
Make the data on disk what the host spec says.

It makes the base path (btrfs.basePath), and where btrfs.image is given, the file that holds a btrfs \
file system, with its mount unit; the subvolumes of btrfs.subvolumes, compressed with zstd; a subvolume \
with plugin.toml and semantic-mapping.toml for each plugin; it ends what a run that was stopped left of a \
snapshot, a restore or a receive; and it makes the directories of the sockets, with the \
group opdbus.

What is not ours is never changed: a plain directory in the way, a subvolume without our marker or a file \
that was edited stays, and the message says what to do. Nothing is ever deleted but what a stopped run left \
half made. The level of compression is the file system's, by its first mount; `status` shows it among the \
options of the mount.")]
pub struct Arguments {
    /// What it is to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options that every helper has.
    #[command(flatten)]
    pub common: Common,
}

/// What it can be told to do.
#[derive(Clone, Copy, Subcommand)]
pub enum Command {
    /// The verbs of its components.
    #[command(flatten)]
    Component(Verb),
    /// Make the file of btrfs.image where there is none, and mount nothing: before a mount unit that is not ours.
    Image,
    /// Keep what is there as the state that `op-dbus drift` compares with, where none is kept, or another version of the
    /// programs kept it: at the end of a start (opdbus-apply.service).
    Baseline,
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
