//! ifupdown: the interface's stanzas become the bridge's, in the files in which they are. See interfaces(5).

use std::path::{Path, PathBuf};

use crate::files;

/// A file that ifupdown reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// How an interface is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The files that change, as they shall be.
    pub files: Vec<Source>,
    /// Whether its IPv4 address is by DHCP.
    pub dhcp: bool,
}

/// The file and all that it includes by `source` and `source-directory`.
pub fn read(path: &Path) -> std::io::Result<Vec<Source>> {
    let mut found = Vec::new();
    read_into(path, &mut found, 0)?;
    Ok(found)
}

fn read_into(path: &Path, found: &mut Vec<Source>, depth: usize) -> std::io::Result<()> {
    // Where it is a link, it is the file that is rewritten.
    let Ok(path) = path.canonicalize() else { return Ok(()) };
    if depth > 8 || found.iter().any(|source| source.path == path) {
        return Ok(());
    }
    let Some(bytes) = files::read_optional(&path)? else { return Ok(()) };
    let text = String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not text"))?;
    let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
    let included: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?))
        })
        .flat_map(|(word, argument)| match word {
            "source" => expand(&directory.join(argument)),
            "source-directory" => expand(&directory.join(argument).join("*"))
                .into_iter()
                .filter(|path| {
                    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
                    name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
                })
                .collect(),
            _ => Vec::new(),
        })
        .collect();
    found.push(Source { path, text });
    for path in included {
        read_into(&path, found, depth + 1)?;
    }
    Ok(())
}

/// The files of a pattern whose last part has one `*`, as wordexp(3) has them: none whose name begins with a dot.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (Some((before, after)), Some(directory)) = (name.split_once('*'), pattern.parent()) else {
        return vec![pattern.to_owned()];
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let fits =
                name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after);
            fits && !name.starts_with('.') && entry.path().is_file()
        })
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// Whether a word stands alone in a line: not as a part of another interface's name.
fn replaced(line: &str, nic: &str, bridge: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    let mut result = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(nic) {
        let (head, tail) = (&rest[..at], &rest[at + nic.len()..]);
        let alone = !head.ends_with(part) && !tail.starts_with(part);
        result.push_str(head);
        result.push_str(if alone { bridge } else { nic });
        rest = tail;
    }
    result + rest
}

/// The stanzas of an interface given to the bridge. `None` where no file configures it; the error is why it cannot be done.
pub fn rewrite(sources: &[Source], nic: &str, bridge: &str) -> Result<Option<Rewritten>, String> {
    let stanza = |line: &str, name: &str| {
        let mut words = line.split_whitespace();
        words.next() == Some("iface") && words.next() == Some(name)
    };
    let all = || sources.iter().flat_map(|source| source.text.lines().map(move |line| (source, line)));
    if let Some((source, line)) = all().find(|(_, line)| stanza(line, bridge)) {
        return Err(format!("{} configures {bridge} already: {}", source.path.display(), line.trim()));
    }
    for (source, line) in all() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let alias = words.iter().any(|word| word.strip_prefix(nic).is_some_and(|rest| rest.starts_with(':')));
        let odd = match words.as_slice() {
            ["mapping", names @ ..] => names.contains(&nic),
            ["iface", name, rest @ ..] => *name == nic && rest.contains(&"inherits"),
            _ => false,
        };
        if alias || odd || (line.ends_with('\\') && line.contains(nic)) {
            return Err(format!("{} has \"{}\", which cannot be moved", source.path.display(), line.trim()));
        }
    }
    if !all().any(|(_, line)| stanza(line, nic)) {
        return Ok(None);
    }
    let dhcp = all().any(|(_, line)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.starts_with(&["iface", nic, "inet", "dhcp"])
            || words.as_slice() == ["iface", nic, "inet6", "auto"]
    });
    let automatic = all().any(|(_, line)| {
        let mut words = line.split_whitespace();
        let starts = words.next().is_some_and(|word| word == "auto" || word.starts_with("allow-"));
        starts && words.any(|word| word == nic)
    });
    let mut ours = Some(block(nic, bridge, automatic));
    let mut changed = Vec::new();
    for source in sources {
        let text = rewrite_one(&source.text, nic, bridge, &mut ours);
        if text != source.text {
            changed.push(Source { path: source.path.clone(), text });
        }
    }
    Ok(Some(Rewritten { files: changed, dhcp }))
}

fn block(nic: &str, bridge: &str, automatic: bool) -> String {
    let auto = |name: &str| if automatic { format!("auto {name}\n") } else { String::new() };
    format!(
        "# operation-dbus: {nic} is a port of {bridge}, which has what {nic} had.\n\
         # `op-dbus bridge uplink revert` puts this file back as it was.\n\
         {}iface {nic} inet manual\n    up ip link set dev {nic} up\n    down ip link set dev {nic} down\n\n{}",
        auto(nic),
        auto(bridge)
    )
}

fn rewrite_one(text: &str, nic: &str, bridge: &str, ours: &mut Option<String>) -> String {
    const BEGINS: [&str; 9] = [
        "iface",
        "mapping",
        "auto",
        "source",
        "source-directory",
        "rename",
        "template",
        "no-auto-down",
        "no-scripts",
    ];
    let mut result = String::new();
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        let words: Vec<&str> = line.split_whitespace().collect();
        let first = words.first().copied().unwrap_or_default();
        let begins = BEGINS.contains(&first) || first.starts_with("allow-");
        if begins {
            inside = first == "iface" && words.get(1) == Some(&nic);
            if inside {
                result.push_str(&ours.take().unwrap_or_default());
            } else if (first == "auto" || first.starts_with("allow-")) && words.contains(&nic) {
                // In our own block: it starts with the host, as the bridge is there before ifupdown.
                let others: Vec<&str> = words.iter().copied().filter(|word| *word != nic).collect();
                if others.len() > 1 {
                    result.push_str(&others.join(" "));
                    result.push('\n');
                }
                continue;
            }
        }
        result.push_str(&if inside { replaced(line, nic, bridge) } else { line.to_owned() });
    }
    result
}

/// The state that ifupdown keeps (`/run/network/ifstate`) with an interface marked as up, or no more.
#[must_use]
pub fn state(text: &str, name: &str, up: bool) -> String {
    let others = text.lines().filter(|line| line.split('=').next() != Some(name));
    let mut lines: Vec<String> = others.map(str::to_owned).collect();
    if up {
        lines.push(format!("{name}={name}"));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Option<Rewritten>, String> {
        rewrite(&[Source { path: "/etc/network/interfaces".into(), text: text.into() }], "eth0", "ovsbr0")
    }

    const STATIC: &str = "# The primary network interface\nsource /etc/network/interfaces.d/*\n\nauto lo eth0\niface lo inet loopback\n\niface eth0 inet static\n    address 10.0.2.15/24\n    gateway 10.0.2.2\n    dns-nameservers 10.0.2.3\n    up ip route add 198.51.100.0/24 via 10.0.2.9 dev eth0\n    up ip route add 203.0.113.0/24 dev eth0.7 # not eth01\n\niface eth0 inet6 static\n    address 2001:db8::7/64\n\nallow-hotplug eth1\niface eth1 inet dhcp\n";

    #[test]
    fn the_stanzas_become_the_bridge_s_and_all_else_stays() {
        let rewritten = one(STATIC).unwrap().unwrap();
        assert!(!rewritten.dhcp);
        insta::assert_snapshot!(rewritten.files[0].text, @r#"
        # The primary network interface
        source /etc/network/interfaces.d/*

        auto lo
        iface lo inet loopback

        # operation-dbus: eth0 is a port of ovsbr0, which has what eth0 had.
        # `op-dbus bridge uplink revert` puts this file back as it was.
        auto eth0
        iface eth0 inet manual
            up ip link set dev eth0 up
            down ip link set dev eth0 down

        auto ovsbr0
        iface ovsbr0 inet static
            address 10.0.2.15/24
            gateway 10.0.2.2
            dns-nameservers 10.0.2.3
            up ip route add 198.51.100.0/24 via 10.0.2.9 dev ovsbr0
            up ip route add 203.0.113.0/24 dev eth0.7 # not eth01

        iface ovsbr0 inet6 static
            address 2001:db8::7/64

        allow-hotplug eth1
        iface eth1 inet dhcp
        "#);
    }

    #[test]
    fn debian_s_own_configuration_by_dhcp() {
        let rewritten = one("auto lo\niface lo inet loopback\n\n# The primary network interface\nallow-hotplug eth0\niface eth0 inet dhcp\n").unwrap().unwrap();
        assert!(rewritten.dhcp);
        insta::assert_snapshot!(rewritten.files[0].text, @r#"
        auto lo
        iface lo inet loopback

        # The primary network interface
        # operation-dbus: eth0 is a port of ovsbr0, which has what eth0 had.
        # `op-dbus bridge uplink revert` puts this file back as it was.
        auto eth0
        iface eth0 inet manual
            up ip link set dev eth0 up
            down ip link set dev eth0 down

        auto ovsbr0
        iface ovsbr0 inet dhcp
        "#);
    }

    #[test]
    fn what_cannot_be_moved_is_refused_and_what_is_not_there_is_none() {
        for text in [
            "auto eth0:1\niface eth0:1 inet static\n",
            "iface eth0 inet dhcp inherits base\n",
            "mapping eth0\n script x\n",
            "iface eth0 inet dhcp\niface ovsbr0 inet manual\n",
        ] {
            assert!(one(text).is_err(), "{text}");
        }
        assert_eq!(one("auto lo\niface lo inet loopback\n# iface eth0\n").unwrap(), None);
    }

    #[test]
    fn what_is_included_is_read_and_only_what_changes_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let more = dir.path().join("interfaces.d");
        std::fs::create_dir(&more).unwrap();
        let main = dir.path().join("interfaces");
        std::fs::write(&main, "source interfaces.d/*\nauto lo\niface lo inet loopback\n").unwrap();
        std::fs::write(more.join("setup"), "auto eth0\niface eth0 inet dhcp\n").unwrap();
        std::fs::write(more.join(".hidden"), "iface eth0 inet static\n").unwrap();
        let sources = read(&main).unwrap();
        assert_eq!(sources.len(), 2);
        let rewritten = rewrite(&sources, "eth0", "ovsbr0").unwrap().unwrap();
        assert_eq!(rewritten.files.len(), 1);
        assert!(rewritten.files[0].path.ends_with("interfaces.d/setup"));
    }

    #[test]
    fn the_state_names_an_interface_once() {
        assert_eq!(state("lo=lo\novsbr0=ovsbr0\n", "ovsbr0", true), "lo=lo\novsbr0=ovsbr0\n");
        assert_eq!(state("lo=lo\novsbr0=x\n", "ovsbr0", false), "lo=lo\n");
    }
}
