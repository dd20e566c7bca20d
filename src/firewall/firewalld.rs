//! firewalld: a rich rule in the default zone, in what it keeps and in what is in force. A service of our own would read
//! better, but what is in force knows a new one only after a reload, which throws away what the admin has in force alone.
//! The rule is known by its priority: a positive one, so that it is tried after the admin's own in the zone.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::FirewallError;
use crate::run::{Invocation, RunError, Runner};
use crate::systemd;

/// What our rules have and others' have not.
pub(super) const PRIORITY: u16 = 31_080;

const UNIT: &str = "firewalld.service";

/// A rule of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Opening {
    /// The zone.
    pub zone: String,
    /// The port that it opens.
    pub port: u16,
}

/// What there is of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Firewalld {
    /// The default zone, where it runs.
    pub default_zone: Option<String>,
    /// Our rules in what it keeps.
    pub permanent: BTreeSet<Opening>,
    /// Our rules in what is in force.
    pub runtime: BTreeSet<Opening>,
}

/// Which of the two configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// What is in force.
    Runtime,
    /// What is kept.
    Permanent,
    /// What is kept, while it does not run.
    Offline,
}

impl Scope {
    fn call(self) -> Invocation {
        match self {
            Self::Runtime => Invocation::new("firewall-cmd"),
            Self::Permanent => Invocation::new("firewall-cmd").arg("--permanent"),
            Self::Offline => Invocation::new("firewall-offline-cmd"),
        }
    }
}

fn rule(port: u16) -> String {
    format!(r#"rule priority="{PRIORITY}" port port="{port}" protocol="tcp" accept"#)
}

/// Whether what it keeps has our mark.
fn has_traces(etc: &Path) -> bool {
    let mark = format!("priority=\"{PRIORITY}\"");
    let zones = std::fs::read_dir(etc.join("zones")).into_iter().flatten().flatten();
    zones
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "xml"))
        .any(|entry| std::fs::read_to_string(entry.path()).is_ok_and(|text| text.contains(&mark)))
}

/// Looks at it; `None` where it does not run and keeps nothing of ours, or was neither asked for nor ever changed by us.
pub(super) fn observe(etc: &Path, run: &Runner, wanted: bool) -> Result<Option<Firewalld>, FirewallError> {
    let traces = has_traces(etc);
    if !wanted && !traces {
        return Ok(None);
    }
    // Its tool is not asked: where it did not run, that might have it started.
    let runs = Path::new("/run/systemd/system").exists() && systemd::is_active(UNIT)?;
    if !runs && !traces {
        return Ok(None);
    }
    look(run, runs)
}

fn look(run: &Runner, runs: bool) -> Result<Option<Firewalld>, FirewallError> {
    let list = |scope: Scope| Ok(openings(&run.run(&scope.call().arg("--list-all-zones"))?.text()));
    let seen = || -> Result<Firewalld, RunError> {
        if !runs {
            return Ok(Firewalld { permanent: list(Scope::Offline)?, ..Firewalld::default() });
        }
        let zone = run.run(&Scope::Runtime.call().arg("--get-default-zone"))?.text().trim().to_owned();
        let (permanent, runtime) = (list(Scope::Permanent)?, list(Scope::Runtime)?);
        Ok(Firewalld { default_zone: Some(zone), permanent, runtime })
    };
    match seen() {
        // What is left of a package that was removed filters nothing.
        Err(RunError::Missing { .. }) => Ok(None),
        seen => Ok(Some(seen?)),
    }
}

/// Our rules in what `--list-all-zones` prints: the zones at the margin, their rules behind a tab.
pub(super) fn openings(text: &str) -> BTreeSet<Opening> {
    let mut zone = "";
    let mut all = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with(|c: char| !c.is_whitespace()) {
            zone = line.split_whitespace().next().unwrap_or_default();
        } else if let Some(port) = port_of(line.trim()) {
            all.insert(Opening { zone: zone.to_owned(), port });
        }
    }
    all
}

fn port_of(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once(r#" port port=""#)?;
    let port = rest.split_once('"')?.0.parse().ok()?;
    (text == rule(port)).then_some(port)
}

pub(super) fn open(run: &Runner, opening: &Opening, scopes: &[Scope]) -> Result<(), FirewallError> {
    call(run, "add", opening, scopes)
}

pub(super) fn close(run: &Runner, opening: &Opening, scopes: &[Scope]) -> Result<(), FirewallError> {
    call(run, "remove", opening, scopes)
}

fn call(run: &Runner, verb: &str, opening: &Opening, scopes: &[Scope]) -> Result<(), FirewallError> {
    for scope in scopes {
        let (zone, rule) = (&opening.zone, rule(opening.port));
        let call = scope.call().arg(format!("--zone={zone}")).arg(format!("--{verb}-rich-rule={rule}"));
        run.run(&call)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Output;
    use crate::run::recorded::Recorded;

    // As firewalld 1.3.3 of Debian 12 prints it, without the other zones.
    const ZONES: &str = "home
  target: default
  icmp-block-inversion: no
  interfaces: 
  sources: 
  services: dhcpv6-client mdns samba-client ssh
  ports: 8181/tcp
  protocols: 
  forward: yes
  masquerade: no
  forward-ports: 
  source-ports: 
  icmp-blocks: 
  rich rules: 
\trule priority=\"31080\" port port=\"8181\" protocol=\"tcp\" accept

public (active)
  target: default
  icmp-block-inversion: no
  interfaces: 
  sources: 192.0.2.0/24
  services: dhcpv6-client ssh
  ports: 9000/tcp
  protocols: 
  forward: yes
  masquerade: no
  forward-ports: 
  source-ports: 
  icmp-blocks: 
  rich rules: 
\trule priority=\"-5\" family=\"ipv4\" source address=\"10.0.0.9\" port port=\"8080\" protocol=\"tcp\" reject
\trule port port=\"8080\" protocol=\"tcp\" accept
\trule priority=\"31080\" port port=\"8080\" protocol=\"tcp\" accept
\trule priority=\"31080\" port port=\"22\" protocol=\"tcp\" drop

";

    fn opening(zone: &str, port: u16) -> Opening {
        Opening { zone: zone.into(), port }
    }

    #[test]
    fn our_rules_are_told_by_all_of_their_text_and_by_zone() {
        assert_eq!(openings(ZONES), [opening("home", 8181), opening("public", 8080)].into());
        assert_eq!(openings(""), BTreeSet::new());
    }

    fn fake(runtime: &'static str) -> (Runner, Recorded) {
        let calls = Recorded::new(move |call| {
            let text = match call.args.last().and_then(|arg| arg.to_str()) {
                Some("--get-default-zone") => "public\n",
                Some("--list-all-zones") if call.args.len() == 1 && call.program == "firewall-cmd" => runtime,
                Some("--list-all-zones") => ZONES,
                _ => "success\n",
            };
            Ok(Output { stdout: text.into(), ..Output::default() })
        });
        (Runner::new(calls.clone()), calls)
    }

    #[test]
    fn what_is_kept_is_told_from_what_is_in_force_and_is_read_while_it_does_not_run() {
        let (run, calls) = fake("public\n");
        let seen = look(&run, true).unwrap().unwrap();
        assert_eq!(seen.default_zone.as_deref(), Some("public"));
        assert_eq!((seen.permanent.len(), seen.runtime.len()), (2, 0));
        let seen = look(&run, false).unwrap().unwrap();
        assert_eq!((seen.default_zone, seen.permanent.len()), (None, 2));
        assert_eq!(calls.calls().last().unwrap(), "firewall-offline-cmd --list-all-zones");
    }

    #[test]
    fn a_rule_is_added_to_a_zone_and_removed_from_it_by_the_same_words() {
        let (run, calls) = fake("");
        open(&run, &opening("public", 8080), &[Scope::Permanent, Scope::Runtime]).unwrap();
        close(&run, &opening("home", 9), &[Scope::Offline]).unwrap();
        let words = r#"rule priority="31080" port port="8080" protocol="tcp" accept'"#;
        assert_eq!(
            calls.calls(),
            [
                format!("firewall-cmd --permanent --zone=public '--add-rich-rule={words}"),
                format!("firewall-cmd --zone=public '--add-rich-rule={words}"),
                format!(
                    "firewall-offline-cmd --zone=home '--remove-rich-rule={}",
                    words.replace("8080", "9")
                ),
            ]
        );
    }

    #[test]
    fn a_host_that_never_had_a_rule_of_ours_is_not_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (run, calls) = fake("");
        std::fs::create_dir(dir.path().join("zones")).unwrap();
        std::fs::write(dir.path().join("zones/public.xml"), "<zone><rule priority=\"-5\"/></zone>").unwrap();
        std::fs::write(dir.path().join("zones/public.xml.old"), "<rule priority=\"31080\">").unwrap();
        assert_eq!(observe(dir.path(), &run, false).unwrap(), None);
        assert!(calls.calls().is_empty());
        std::fs::write(dir.path().join("zones/public.xml"), "<rule priority=\"31080\">").unwrap();
        assert!(has_traces(dir.path()));
    }
}
