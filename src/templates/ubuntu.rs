//! Ubuntu: the same tools as for Debian, with Ubuntu's own archive and keys.

use std::path::Path;

use super::apt::AptSource;
use crate::spec::Template;

/// The archive for the processors that most have, and what security updates come from.
const ARCHIVE: [&str; 2] = ["http://archive.ubuntu.com/ubuntu", "http://security.ubuntu.com/ubuntu"];
/// The archive for all others, security updates with it.
const PORTS: [&str; 2] = ["http://ports.ubuntu.com/ubuntu-ports"; 2];
const COMPONENTS: [&str; 2] = ["main", "universe"];

/// Where its packages come from: the declared mirror, with the one suite that was declared, or Ubuntu's own with its
/// updates. Always held to Ubuntu's keys: a host's apt knows others.
pub(super) fn sources(declaration: &Template, keyring: &Path) -> Vec<AptSource> {
    let suite = &declaration.suite;
    let source = |uri: &str, suites: Vec<String>| AptSource {
        uris: vec![uri.to_owned()],
        suites,
        components: COMPONENTS.map(str::to_owned).to_vec(),
        options: vec![("Signed-By".into(), keyring.display().to_string())],
    };
    if let Some(mirror) = &declaration.mirror {
        return vec![source(mirror, vec![suite.clone()])];
    }
    let [archive, security] =
        if matches!(std::env::consts::ARCH, "x86_64" | "x86") { ARCHIVE } else { PORTS };
    vec![
        source(archive, vec![suite.clone(), format!("{suite}-updates")]),
        source(security, vec![format!("{suite}-security")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::apt::render;
    use super::*;

    #[test]
    fn every_source_is_held_to_ubuntus_keys() {
        let noble = Template { suite: "noble".into(), ..Template::default() };
        let own = render(&sources(&noble, Path::new("/k.gpg")));
        assert_eq!(own.matches("Signed-By: /k.gpg\n").count(), 2);
        assert!(own.contains("Suites: noble noble-updates\n") && own.contains("Suites: noble-security\n"));
        let mirror = Template { mirror: Some("http://m.example/ubuntu".into()), ..noble };
        assert_eq!(
            render(&sources(&mirror, Path::new("/k.gpg"))),
            "Types: deb\nURIs: http://m.example/ubuntu\nSuites: noble\nComponents: main universe\nSigned-By: /k.gpg\n"
        );
    }
}
