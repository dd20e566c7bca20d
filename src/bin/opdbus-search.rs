//! The process that has the search's index: what opdbus-search.service runs.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use clap::Parser;
use listenfd::ListenFd;
use opdbus::cli::args::search::Arguments;
use opdbus::cli::{finish, init_logging};
use opdbus::engine::Host;
use opdbus::fault::{Kind, Report};
use opdbus::paths::Paths;
use opdbus::run::Runner;
use opdbus::search::serve::{Worker, serve};
use opdbus::spec;

fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    init_logging();
    let host = Host { paths: Paths::from_env(), run: Runner::default() };
    finish(false, settle(&host).and_then(|threads| run(host, threads)))
}

/// What computes reads from its environment how many threads it may use, which a program can only change for one that it
/// becomes. The sockets that were handed over stay open.
fn settle(host: &Host) -> Result<Option<u16>, Report> {
    const THREADS: &str = "RAYON_NUM_THREADS";
    // A host spec that cannot be read is told whoever asks.
    let Ok(spec) = spec::load(&host.paths.config()) else { return Ok(None) };
    let wanted = spec.ml.num_threads;
    if std::env::var(THREADS).is_ok_and(|set| set == wanted.to_string()) {
        return Ok(Some(wanted));
    }
    let error = Command::new("/proc/self/exe").env(THREADS, wanted.to_string()).exec();
    Err(Report::new(Kind::Failed, format!("cannot start with {wanted} threads: {error}")))
}

fn run(host: Host, threads: Option<u16>) -> Result<(), Report> {
    let mut given = ListenFd::from_env();
    let none = || {
        Report::new(Kind::Invalid, "no sockets were handed over")
            .with_next("systemctl start opdbus-search.socket, which starts this when it is asked")
    };
    let listener = given.take_unix_listener(0).ok().flatten().ok_or_else(none)?;
    let bell = given.take_unix_datagram(1).ok().flatten().ok_or_else(none)?;
    serve(Worker::new(host, threads), &listener, &bell)
        .map_err(|error| Report::new(Kind::Failed, format!("the sockets failed: {error}")))
}
