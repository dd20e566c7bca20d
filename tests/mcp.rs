//! The MCP server, asked by a client that is not ours: the protocol's own SDK for Python (`tests/mcp/`), at both doors, and in
//! both of its ways: with a handshake, as until 2025-11-25, and without, as since 2026-07-28.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a fixture that fails ends the test"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[allow(dead_code, unreachable_pub, reason = "what other tests need of it")]
#[path = "support/bus.rs"]
mod private;
mod support;

use std::path::PathBuf;
use std::process::Command;

use daemon::Host;
use support::Need;

macro_rules! needs_a_client {
    () => {
        let needs = [Need::Root, Need::Program("dbus-daemon"), Need::Files("OPDBUS_MCP_CLIENT")];
        if !support::can_run("unit", std::thread::current().name().unwrap_or("?"), &needs) {
            return;
        }
    };
}

/// Has the client do all it does.
fn ask(host: &Host, arguments: &[&str]) {
    let python = std::env::var_os("OPDBUS_MCP_CLIENT").unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/mcp/client.py");
    let mut command = Command::new(python);
    Host::set(&host.bus, &mut command);
    let output = command.arg(script).arg(host.base()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    eprintln!("{said}");
}

/// What the ledger says that the client had done: two templates are gone, and no third was touched.
fn audited(host: &Host, via: &str) {
    let all = host.op_dbus(&["ledger", "show", "--limit", "0"]).unwrap();
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
        assert_eq!(host.base().join("@templates").join(name).exists(), there, "{name}");
    }
}

#[test]
fn a_program_is_served_on_its_standard_streams() {
    needs_a_client!();
    for mode in ["legacy", "auto"] {
        let host = Host::start();
        ask(&host, &[mode, "stdio", env!("CARGO_BIN_EXE_op-dbus")]);
        audited(&host, "dbus");
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
        ask(&host, &[mode, "http", &url, &ours, &looks, &another]);
        audited(&host, "mcp");
    }
}
