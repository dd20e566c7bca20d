//! What UFW and firewalld print, from any bytes.

use super::{firewalld, ufw};

/// What is taken for ours is a rule that opens a port; what is not there is not seen.
pub(crate) fn rules(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let seen = ufw::read(&text, &text);
    assert!(seen.rule || seen.port.is_none());
    assert!(!seen.decided || seen.others);
    for opening in firewalld::openings(&text) {
        assert!(text.contains(&format!("port port=\"{}\" protocol=\"tcp\" accept", opening.port)));
    }
}
