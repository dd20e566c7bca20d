//! A host of directories: a bus, the daemon, a ledger; and the chat's server, with a socket as systemd has it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "every test program is a crate of its own and uses a part of it; a fixture that fails ends the test"
)]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use opdbus::deployment::Deployment;
use opdbus::ledger::{self, Ledger, Via};
use opdbus::paths::Tree;
use rustix::fs::XattrFlags;
use serde_json::{Value, json};

use crate::private::PrivateBus;
use crate::support::sockets::handed_over;

/// A program; it ends when this does.
pub struct Running(Child);

impl Running {
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host of directories: a bus, the daemon, a ledger, and templates that can be removed.
pub struct Host {
    // It ends before its bus does.
    pub daemon: Running,
    pub bus: PrivateBus,
    pub listener: TcpListener,
}

impl Host {
    pub fn start() -> Self {
        Self::with(&json!({ "enable": false }))
    }

    /// With this as `ml` of the host spec.
    pub fn with(ml: &Value) -> Self {
        let bus = PrivateBus::start();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = |name: &str| bus.dir.path().join(name);
        let tree = Tree::new(at("base"));
        for directory in [at("etc"), at("run"), tree.join("@timing"), tree.join("@state"), tree.containers()]
        {
            std::fs::create_dir_all(directory).unwrap();
        }
        for name in ["alpha", "beta", "gamma", "delta"] {
            let template = tree.templates().join(name);
            std::fs::create_dir_all(template.join("rootfs")).unwrap();
            rustix::fs::setxattr(&template, "user.opdbus", b"template", XattrFlags::empty()).unwrap();
        }
        let port = listener.local_addr().unwrap().port();
        let spec =
            json!({ "version": 1, "btrfs": { "basePath": tree.base() }, "mcp": { "port": port }, "ml": ml });
        std::fs::write(at("etc/config.json"), spec.to_string()).unwrap();
        Ledger::init(&tree.ledger(), &ledger::Caller::this_process(Via::Helper), Deployment::Traditional)
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_opdbusd"));
        Self::set(&bus, &mut command);
        let daemon = Running(command.stdin(Stdio::null()).spawn().unwrap());
        let host = Self { daemon, bus, listener };
        let began = Instant::now();
        while host.op_dbus(&["ledger", "verify"]).is_none() {
            assert!(began.elapsed() < Duration::from_secs(30), "the daemon did not come");
            std::thread::sleep(Duration::from_millis(100));
        }
        host
    }

    /// Has a program find this host rather than the one it runs on.
    pub fn set(bus: &PrivateBus, command: &mut Command) {
        let at = |name: &str| bus.dir.path().join(name);
        // What the client does wrong on purpose is no news.
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address).env("RUST_LOG", "error");
        for (variable, path) in [
            ("OPDBUS_ETC", "etc"),
            ("OPDBUS_RUN", "run"),
            ("OPDBUS_UPLINK", "uplink"),
            ("OPDBUS_TOKENS", "tokens.json"),
            ("OPDBUS_OVSDB", "none"),
            ("OPDBUS_OVS_RUN", "none"),
        ] {
            command.env(variable, at(path));
        }
    }

    pub fn base(&self) -> PathBuf {
        self.bus.dir.path().join("base")
    }

    pub fn op_dbus(&self, arguments: &[&str]) -> Option<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_op-dbus"));
        Self::set(&self.bus, &mut command);
        let output = command.arg("--json").args(arguments).output().unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    pub fn token(&self, arguments: &[&str]) -> String {
        let made = self.op_dbus(&[&["token", "create"], arguments].concat()).expect("no token was made");
        made["secret"].as_str().unwrap().to_owned()
    }

    /// The chat's server, with its socket as systemd has it.
    pub fn serve(&self) -> Running {
        let mut command = handed_over(env!("CARGO_BIN_EXE_mcp-chat"), &[&self.listener]);
        Self::set(&self.bus, &mut command);
        Running(command.stdin(Stdio::null()).spawn().unwrap())
    }
}
