//! `opdbus-container` as its command line has it.

use clap::{Parser, Subcommand};

use crate::cli::{Common, Verb};
use crate::name::ContainerName;

/// The declared containers, and what the units of containers call.
///
/// plan, apply and status work on the containers that the host spec declares. The other verbs are for
/// systemd: opdbus-container@NAME.service runs one container. To make, start or delete a container use
/// op-dbus container.
#[derive(Parser)]
#[command(
    name = "opdbus-container",
    version,
    after_help = "Exit status: 0 done, 1 failed, 2 usage, 3 invalid, 4 not found, 5 conflict, 6 denied,\n7 unavailable, 8 another run is under way."
)]
pub struct Arguments {
    /// Options that every helper has.
    #[command(flatten)]
    pub common: Common,
    /// What it is to do.
    #[command(subcommand)]
    pub command: What,
}

/// What it can be told to do.
#[derive(Subcommand)]
pub enum What {
    /// The verbs of its components.
    #[command(flatten)]
    Component(Verb),
    /// Run a container in the foreground until it ends (the unit's `ExecStart`).
    Run {
        /// The container.
        name: ContainerName,
    },
    /// Wait until a container's init runs (the unit's `ExecStartPost`).
    Wait {
        /// The container.
        name: ContainerName,
    },
    /// Ask a container's init to shut down, and end it after 30 seconds (the unit's `ExecStop`).
    Halt {
        /// The container.
        name: ContainerName,
    },
    /// Take the port of a container that has ended off the bridge (the unit's `ExecStopPost`).
    Ended {
        /// The container.
        name: ContainerName,
    },
    /// Start the units of the containers that start with the host, and wait until each runs or has failed.
    StartAll,
    /// Called by LXC right before a container's init: put its port on the bridge. For the userspace datapath also
    /// turn off checksum offload, which it does not complete, so that TCP would stall.
    #[command(hide = true)]
    StartHook,
}
