//! UFW: a profile of an application, which is a file of ours, and the rule that allows it. UFW takes such a rule for
//! another than the admin's for the same port, so that each is there, and goes, by itself.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::FirewallError;
use crate::files;
use crate::run::{Invocation, RunError, Runner};

/// The profile's name, and so that of its file.
pub(super) const PROFILE: &str = "opdbus-chat";

/// What there is of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ufw {
    /// Whether it filters.
    pub active: bool,
    /// Whether there is our rule.
    pub rule: bool,
    /// The port that our rule opens, where it filters.
    pub port: Option<u16>,
    /// Whether the admin decided otherwise about our profile (`ufw deny opdbus-chat`).
    #[serde(skip)]
    pub decided: bool,
    /// Whether other rules name our profile, and so need it.
    #[serde(skip)]
    pub others: bool,
    /// The profile, where there is one.
    #[serde(skip)]
    pub profile: Option<Vec<u8>>,
}

impl Ufw {
    /// Whether it is all there is to open the port.
    pub(super) fn opens(&self, port: u16) -> bool {
        self.rule && self.port == Some(port) && self.profile.as_deref() == Some(profile(port).as_bytes())
    }

    /// Whether there is anything of ours.
    pub(super) fn is_there(&self) -> bool {
        self.rule || (self.profile.is_some() && !self.others)
    }
}

/// The profile that stands for a port.
pub(super) fn profile(port: u16) -> String {
    format!(
        "[{PROFILE}]\ntitle=operation-dbus chat\ndescription=The chat page and the MCP endpoint of operation-dbus, as its \
         host spec has it (mcp.openFirewall)\nports={port}/tcp\n"
    )
}

pub(super) fn profile_path(etc: &Path) -> PathBuf {
    etc.join("applications.d").join(PROFILE)
}

/// Whether files of UFW's speak of us.
fn has_traces(etc: &Path) -> bool {
    let named = |name: &str| {
        std::fs::read(etc.join(name))
            .is_ok_and(|text| text.windows(PROFILE.len()).any(|piece| piece == PROFILE.as_bytes()))
    };
    profile_path(etc).exists() || ["user.rules", "user6.rules"].into_iter().any(named)
}

/// Looks at it; `None` where it is not installed, or neither asked for nor ever changed by us.
pub(super) fn observe(etc: &Path, run: &Runner, wanted: bool) -> Result<Option<Ufw>, FirewallError> {
    if !wanted && !has_traces(etc) {
        return Ok(None);
    }
    let added = match run.run(&Invocation::new("ufw").args(["show", "added"])) {
        Ok(output) => output.text(),
        Err(RunError::Missing { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let status = run.run(&Invocation::new("ufw").args(["status", "verbose"]))?.text();
    let path = profile_path(etc);
    let profile =
        files::read_optional(&path).map_err(|source| FirewallError::File { verb: "read", path, source })?;
    Ok(Some(Ufw { profile, ..read(&added, &status) }))
}

/// Reads `ufw show added` and `ufw status verbose`.
pub(super) fn read(added: &str, status: &str) -> Ufw {
    let mut seen = Ufw { active: status.lines().any(|line| line == "Status: active"), ..Ufw::default() };
    for rule in added.lines().filter_map(|line| line.strip_prefix("ufw ")) {
        let rule = rule.split_once(" comment '").map_or(rule, |(rule, _)| rule);
        match rule.split_whitespace().collect::<Vec<_>>()[..] {
            ["allow", PROFILE] => seen.rule = true,
            [_, PROFILE] => (seen.decided, seen.others) = (true, true),
            ref words => seen.others |= words.contains(&PROFILE),
        }
    }
    seen.port = status.lines().find_map(port_of).filter(|_| seen.rule);
    seen
}

/// The port of a line of `ufw status verbose`, where it is of our rule: `8080/tcp (opdbus-chat)  ALLOW IN  Anywhere`.
fn port_of(line: &str) -> Option<u16> {
    let (port, rest) = line.split_once("/tcp ")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    match words[..] {
        [name, "ALLOW", "IN", "Anywhere", ..] if name == format!("({PROFILE})") => port.parse().ok(),
        _ => None,
    }
}

/// Opens a port: the profile, then the rule, which follows what the profile says only when told to.
pub(super) fn open(etc: &Path, run: &Runner, port: u16) -> Result<(), FirewallError> {
    let path = profile_path(etc);
    files::replace(&path, profile(port).as_bytes(), 0o644).map_err(|source| FirewallError::File {
        verb: "write",
        path,
        source,
    })?;
    let there = observe(etc, run, true)?.is_some_and(|seen| seen.rule);
    let words: &[&str] = if there { &["app", "update", PROFILE] } else { &["allow", PROFILE] };
    run.run(&Invocation::new("ufw").args(words))?;
    Ok(())
}

/// Takes the rule away, and then the profile where nobody else's rule needs it.
pub(super) fn close(etc: &Path, run: &Runner) -> Result<(), FirewallError> {
    let Some(seen) = observe(etc, run, false)? else { return Ok(()) };
    if seen.rule {
        run.run(&Invocation::new("ufw").args(["delete", "allow", PROFILE]))?;
    }
    if seen.others {
        return Ok(());
    }
    let path = profile_path(etc);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(FirewallError::File { verb: "remove", path, source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Output;
    use crate::run::recorded::Recorded;

    // As ufw 0.36.2 of Debian 12 prints them.
    const ADDED: &str = "Added user rules (see 'ufw status' for running firewall):
ufw allow 22/tcp
ufw allow 9000/tcp comment 'mine, not opdbus-chat'
ufw deny from 10.9.9.9 to any port 8080
ufw allow opdbus-chat
ufw allow 8181/tcp
";
    const STATUS: &str = "Status: active
Logging: on (low)
Default: deny (incoming), allow (outgoing), deny (routed)
New profiles: skip

To                         Action      From
--                         ------      ----
22/tcp                     ALLOW IN    Anywhere                  
9000/tcp                   ALLOW IN    Anywhere                   # mine, not opdbus-chat
8080                       DENY IN     10.9.9.9                  
8181/tcp (opdbus-chat)     ALLOW IN    10.0.0.0/8                
8180/tcp (opdbus-chat)     ALLOW IN    Anywhere                  
8181/tcp                   ALLOW IN    Anywhere                  
22/tcp (v6)                ALLOW IN    Anywhere (v6)             
9000/tcp (v6)              ALLOW IN    Anywhere (v6)              # mine, not opdbus-chat
8180/tcp (opdbus-chat (v6)) ALLOW IN    Anywhere (v6)             
8181/tcp (v6)              ALLOW IN    Anywhere (v6)             

";
    const NONE: &str = "Added user rules (see 'ufw status' for running firewall):\n(None)\n";

    #[test]
    fn our_rule_is_told_from_the_admins_for_the_same_port() {
        let seen = read(ADDED, STATUS);
        assert_eq!(
            seen,
            Ufw { active: true, rule: true, port: Some(8180), ..Ufw::default() },
            "the admin's own rules are none of ours"
        );
        assert_eq!(read(&ADDED.replace("ufw allow opdbus-chat\n", ""), STATUS).port, None);
        assert_eq!(read(NONE, "Status: inactive\n"), Ufw::default());
        let off = read(ADDED, "Status: inactive\n");
        assert!(off.rule && !off.active && off.port.is_none(), "{off:?}");
        // The admin commented on it: it is ours still.
        assert!(read("ufw allow opdbus-chat comment 'the chat'\n", STATUS).rule);
    }

    #[test]
    fn an_admins_rule_by_our_profile_is_theirs_and_keeps_the_profile() {
        let seen = read("ufw allow from 10.0.0.0/8 to any app opdbus-chat\n", STATUS);
        assert!(seen.others && !seen.rule && !seen.decided, "{seen:?}");
        let seen = read("ufw limit opdbus-chat\n", STATUS);
        assert!(seen.others && !seen.rule && seen.decided, "{seen:?}");
        let kept = Ufw { others: true, profile: Some(Vec::new()), ..Ufw::default() };
        assert!(!kept.is_there() && Ufw { others: false, ..kept }.is_there());
    }

    /// A UFW with these rules, and what was called.
    fn fake(etc: &Path, added: &'static str) -> (Runner, Recorded) {
        std::fs::create_dir_all(etc.join("applications.d")).unwrap();
        let calls = Recorded::new(move |call| {
            let text = match call.args[0].to_str() {
                Some("show") => added,
                Some("status") => STATUS,
                _ => "",
            };
            Ok(Output { stdout: text.into(), ..Output::default() })
        });
        (Runner::new(calls.clone()), calls)
    }

    #[test]
    fn a_rule_is_added_once_and_then_told_that_its_port_changed() {
        let dir = tempfile::tempdir().unwrap();
        for (added, last) in [(NONE, "ufw allow opdbus-chat"), (ADDED, "ufw app update opdbus-chat")] {
            let (run, calls) = fake(dir.path(), added);
            open(dir.path(), &run, 8180).unwrap();
            assert_eq!(calls.calls().last().unwrap(), last);
            let seen = observe(dir.path(), &run, true).unwrap().unwrap();
            assert_eq!(seen.opens(8180), added == ADDED, "{seen:?}");
            assert!(!seen.opens(8181));
        }
    }

    #[test]
    fn a_closed_port_leaves_no_profile_but_one_that_the_admin_uses() {
        let dir = tempfile::tempdir().unwrap();
        let path = profile_path(dir.path());
        for (added, kept) in [
            (ADDED, false),
            ("ufw allow opdbus-chat\nufw allow from 10.0.0.0/8 to any app opdbus-chat\n", true),
        ] {
            let (run, calls) = fake(dir.path(), added);
            std::fs::write(&path, profile(8180)).unwrap();
            close(dir.path(), &run).unwrap();
            assert_eq!(calls.calls().last().unwrap(), "ufw delete allow opdbus-chat");
            assert_eq!(path.exists(), kept);
        }
        std::fs::remove_file(path).unwrap();
        let (run, calls) = fake(dir.path(), NONE);
        close(dir.path(), &run).unwrap();
        assert!(calls.calls().is_empty(), "where nothing speaks of us, UFW is not even asked");
    }
}
