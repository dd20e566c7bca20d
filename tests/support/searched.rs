//! A host of directories with a ledger, and the process that has its search's index, started as systemd does.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "every test program is a crate of its own and uses a part of it; a fixture that fails ends the test"
)]

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use opdbus::fault::Report;
use opdbus::ledger::Ledger;
use opdbus::search::wire::{self, Asked, Found, Search, Status};
use serde_json::{Value, json};

use crate::support::sockets::handed_over;

/// A host with a ledger, and the two sockets that systemd would have.
pub struct Bare {
    dir: tempfile::TempDir,
    listener: UnixListener,
    bell: UnixDatagram,
}

impl Bare {
    /// In a directory of its own below another; `ledger` makes its ledger.
    pub fn below(parent: &Path, ml: &str, ledger: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir_in(parent).unwrap();
        let base = dir.path().join("base");
        for directory in ["etc", "run", "base/@timing", "base/@vectors", "base/@cache"] {
            fs::create_dir_all(dir.path().join(directory)).unwrap();
        }
        ledger(&base.join("@timing/blockchain.db"));
        let listener = UnixListener::bind(wire::socket(&dir.path().join("run"))).unwrap();
        let bell = UnixDatagram::bind(wire::bell(&dir.path().join("run"))).unwrap();
        let made = Self { dir, listener, bell };
        made.specify(ml);
        made
    }

    pub fn specify(&self, ml: &str) {
        let ml: Value = serde_json::from_str(ml).unwrap();
        let spec = json!({ "version": 1, "btrfs": { "basePath": self.at("base") }, "ml": ml });
        fs::write(self.at("etc/config.json"), spec.to_string()).unwrap();
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn index(&self) -> PathBuf {
        self.at("base/@vectors/vector-index.db")
    }

    pub fn ledger(&self) -> Ledger {
        Ledger::open(&self.at("base/@timing/blockchain.db")).unwrap()
    }

    /// Starts the program as systemd does, with the sockets as descriptors 3 and 4.
    pub fn start(&self) -> Running {
        let child = handed_over(env!("CARGO_BIN_EXE_opdbus-search"), &[&self.listener, &self.bell])
            .env("OPDBUS_ETC", self.at("etc"))
            .env("OPDBUS_RUN", self.at("run"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Running(child)
    }

    pub fn ask(&self, query: &str) -> Result<Found, Report> {
        let search = Search { query: query.into(), limit: 5, since: None, until: None, explain: true };
        wire::ask(&self.at("run"), &Asked::Search(search))
    }

    pub fn status(&self) -> Status {
        wire::ask(&self.at("run"), &Asked::Status).unwrap()
    }

    /// Waits until every entry has its vector.
    pub fn settled(&self) -> Status {
        let began = Instant::now();
        loop {
            let status = self.status();
            if status.behind == 0 || began.elapsed() > Duration::from_secs(300) {
                return status;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The process; it ends when this does.
pub struct Running(Child);

impl Running {
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
