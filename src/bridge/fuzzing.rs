//! What Open vSwitch's database and the kernel's tools say, from any bytes.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::kernel::network;
use super::ovsdb::{Client, map, members, rows, select, set, strings, texts, uuid};
use super::view::{Link, View};

/// A server's answers: to a transaction, to the questions behind `status`, and as values. There are as many results as
/// operations, and a value that we wrote is read as it was.
pub(crate) fn ovsdb(data: &[u8]) {
    let asked = [select("Port", &json!([]), &["name"]), json!({ "op": "insert", "table": "Port" })];
    talked(data, |client| {
        if let Ok(results) = client.transact(&asked) {
            assert_eq!(results.len(), asked.len());
            assert!(results.iter().all(|result| result.get("error").is_none()));
        }
        // The rest of what it says is the answer to this.
        let _ = client.transact(&asked[..1]);
    });
    talked(data, |client| drop(client.transact_and_settle(&[], Duration::ZERO)));
    talked(data, |client| {
        let Ok(view) = View::read(client) else { return };
        for port in view.ports.values() {
            let _ = (view.bridge_of(port), port.tag());
        }
    });
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        let (texts, strings) = (texts(&value), strings(&value));
        let pairs: Vec<_> = texts.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(super::ovsdb::texts(&map(&pairs)), texts);
        assert_eq!(super::ovsdb::strings(&set(&strings)), strings);
        let _ = (members(&value), uuid(&value), rows(Some(&value)).count());
    }
}

/// The client, and a server that says this and no more.
fn talked(data: &[u8], ask: impl FnOnce(&mut Client)) {
    let Ok((ours, mut theirs)) = UnixStream::pair() else { return };
    // Less than what a socket takes without a reader.
    if theirs.write_all(&data[..data.len().min(16 << 10)]).is_ok() && theirs.shutdown(Shutdown::Write).is_ok()
    {
        ask(&mut Client::over(ours));
    }
}

/// What `ip -j addr show` prints, and `/proc/net/route`.
pub(crate) fn answers(data: &[u8]) {
    if let Ok(links) = serde_json::from_slice::<Vec<Link>>(data) {
        let _: Vec<_> = links.iter().map(|link| (link.up(), link.addresses())).collect();
    }
    for (net, interface) in String::from_utf8_lossy(data).lines().filter_map(network) {
        assert!(net.prefix_len() > 0 && !interface.is_empty() && !interface.contains(char::is_whitespace));
    }
}
