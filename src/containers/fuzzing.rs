//! What the journal, systemd and resolv.conf say, from any bytes.

use super::backend::{container_of, reasons};
use super::identity::{name_servers, resolv_conf};

/// Reasons are one line; a unit's container is the one that the unit is of; name servers are read as they are written.
pub(crate) fn answers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    assert!(!reasons(&text).contains('\n'));
    let servers = name_servers(&text);
    assert!(servers.iter().all(|server| !server.is_loopback()));
    assert_eq!(name_servers(&resolv_conf(&servers)), servers);
    if let Some(name) = container_of(&text) {
        assert_eq!(super::backend::unit(&name), text);
    }
}
