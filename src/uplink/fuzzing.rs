//! What configures a card, and what `ip` says of it, from any bytes.

use super::ifupdown::{self, Source};
use super::{kernel, keyfile, networkd};

/// Whatever a configuration says, ours is whole, and has one name and one identity.
pub(crate) fn configurations(data: &[u8]) {
    if let Ok(rows) = serde_json::from_slice::<Vec<serde_json::Value>>(data) {
        for row in &rows {
            let link = kernel::read_link(row);
            let _ = (link.gateway(), kernel::read_route(row, true, &link.addresses));
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(files) = networkd::files("eth0", "ovsbr0", "10-lan.network", text, networkd::iaid(text)) {
        let matches =
            files.bridge.1.lines().filter(|line| line.trim().eq_ignore_ascii_case("[match]")).count();
        assert_eq!(matches, 1, "the bridge's file is for the bridge alone");
    }
    let sources = [Source { path: "/etc/network/interfaces".into(), text: text.to_owned() }];
    if let Ok(Some(rewritten)) = ifupdown::rewrite(&sources, "eth0", "ovsbr0") {
        assert!(
            ifupdown::rewrite(&rewritten.files, "eth0", "ovsbr0").is_err(),
            "moved once, it is not moved again"
        );
    }
    let _ = keyfile::is_external(text);
    if let Ok(both) = keyfile::profiles(("eth0", "ovsbr0"), "of", text, Some(100), &[]) {
        for (profile, kind, name) in [(both.nic, "ethernet", "eth0"), (both.bridge, "generic", "ovsbr0")] {
            let said = |key| keyfile::values(&profile.text, "connection", key).collect::<Vec<_>>();
            assert_eq!(
                (said("uuid"), said("type"), said("interface-name")),
                (vec![&*profile.uuid], vec![kind], vec![name])
            );
        }
    }
}
