//! The MCP server, asked by a client that is not ours: the protocol's own SDK for Python (`tests/mcp/`), at both doors, and in
//! both of its ways: with a handshake, as until 2025-11-25, and without, as since 2026-07-28.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a fixture that fails ends the test"
)]

#[allow(dead_code, unreachable_pub, reason = "what other tests need of it")]
#[path = "support/bus.rs"]
mod private;
mod support;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use opdbus::deployment::Deployment;
use opdbus::ledger::{self, Ledger, Via};
use opdbus::paths::Tree;
use private::PrivateBus;
use rustix::fs::XattrFlags;
use serde_json::{Value, json};
use support::Need;
use support::sockets::handed_over;

macro_rules! needs_a_client {
    () => {
        let needs = [Need::Root, Need::Program("dbus-daemon"), Need::Files("OPDBUS_MCP_CLIENT")];
        if !support::can_run("unit", std::thread::current().name().unwrap_or("?"), &needs) {
            return;
        }
    };
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host of directories: a bus, the daemon, a ledger, and templates that can be removed.
struct Host {
    // It ends before its bus does.
    _daemon: Running,
    bus: PrivateBus,
    listener: TcpListener,
}

impl Host {
    fn start() -> Self {
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
        let spec = json!({ "version": 1, "btrfs": { "basePath": tree.base() }, "mcp": { "port": port } });
        std::fs::write(at("etc/config.json"), spec.to_string()).unwrap();
        Ledger::init(&tree.ledger(), &ledger::Caller::this_process(Via::Helper), Deployment::Traditional)
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_opdbusd"));
        Self::set(&bus, &mut command);
        let daemon = Running(command.stdin(Stdio::null()).spawn().unwrap());
        let host = Self { _daemon: daemon, bus, listener };
        let began = Instant::now();
        while host.op_dbus(&["ledger", "verify"]).is_none() {
            assert!(began.elapsed() < Duration::from_secs(30), "the daemon did not come");
            std::thread::sleep(Duration::from_millis(100));
        }
        host
    }

    /// Has a program find this host rather than the one it runs on.
    fn set(bus: &PrivateBus, command: &mut Command) {
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

    fn base(&self) -> PathBuf {
        self.bus.dir.path().join("base")
    }

    fn op_dbus(&self, arguments: &[&str]) -> Option<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_op-dbus"));
        Self::set(&self.bus, &mut command);
        let output = command.arg("--json").args(arguments).output().unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    fn token(&self, arguments: &[&str]) -> String {
        let made = self.op_dbus(&[&["token", "create"], arguments].concat()).expect("no token was made");
        made["secret"].as_str().unwrap().to_owned()
    }

    /// The chat's server, started as systemd does.
    fn serve(&self) -> Running {
        let mut command = handed_over(env!("CARGO_BIN_EXE_mcp-chat"), &[&self.listener]);
        Self::set(&self.bus, &mut command);
        Running(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Has the client do all it does.
    fn ask(&self, arguments: &[&str]) {
        let python = std::env::var_os("OPDBUS_MCP_CLIENT").unwrap();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/mcp/client.py");
        let mut command = Command::new(python);
        Self::set(&self.bus, &mut command);
        let output = command.arg(script).arg(self.base()).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        eprintln!("{said}");
    }

    /// What the ledger says that the client had done: two templates are gone, and no third was touched.
    fn audited(&self, via: &str) {
        let all = self.op_dbus(&["ledger", "show", "--limit", "0"]).unwrap();
        let mut removed: Vec<&str> = all
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["operation"] == "template.remove" && entry["metadata"]["outcome"] == "ok")
            .filter(|entry| entry["metadata"]["arguments"]["dryRun"] != true)
            .inspect(|entry| assert_eq!(entry["metadata"]["caller"]["via"], via, "{entry:#}"))
            .map(|entry| entry["target"].as_str().unwrap())
            .collect();
        removed.sort_unstable();
        assert_eq!(removed, ["alpha", "gamma"]);
        for (name, there) in [("alpha", false), ("beta", true), ("gamma", false), ("delta", true)] {
            assert_eq!(self.base().join("@templates").join(name).exists(), there, "{name}");
        }
    }
}

#[test]
fn a_program_is_served_on_its_standard_streams() {
    needs_a_client!();
    for mode in ["legacy", "auto"] {
        let host = Host::start();
        host.ask(&[mode, "stdio", env!("CARGO_BIN_EXE_op-dbus")]);
        host.audited("dbus");
    }
}

#[test]
fn a_program_with_a_token_is_served_over_http() {
    needs_a_client!();
    for mode in ["legacy", "auto"] {
        let host = Host::start();
        let _server = host.serve();
        let ours = host.token(&["ours", "--role", "admin"]);
        let looks = host.token(&["looks", "--role", "read"]);
        let another = host.token(&["another", "--user", "nobody"]);
        let url = format!("http://{}/mcp", host.listener.local_addr().unwrap());
        host.ask(&[mode, "http", &url, &ours, &looks, &another]);
        host.audited("mcp");
    }
}
