//! Where packages come from: the host's own apt configuration, adapted to the suite asked for.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// One source of packages, as `/etc/apt/sources.list` or a `.sources` file has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AptSource {
    /// The archives.
    pub(super) uris: Vec<String>,
    /// The suites.
    pub(super) suites: Vec<String>,
    /// The components.
    pub(super) components: Vec<String>,
    /// How it is trusted and the like: fields of deb822 other than the above, as they are.
    pub(super) options: Vec<(String, String)>,
}

/// The files that hold the host's sources, in apt's order.
fn files(etc_apt: &Path) -> Vec<PathBuf> {
    let mut all = vec![etc_apt.join("sources.list")];
    if let Ok(entries) = std::fs::read_dir(etc_apt.join("sources.list.d")) {
        let mut more: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|e| e == "list" || e == "sources"))
            .collect();
        more.sort();
        all.extend(more);
    }
    all
}

/// The host's sources of Debian's own binary packages, from the configuration in `etc_apt` and the
/// lists last fetched. Files that cannot be read are left out, as is what is not understood: the host's
/// apt is not ours to judge, and the tool's own default mirror remains.
pub(super) fn host_sources(etc_apt: &Path, lists: &Path) -> Vec<AptSource> {
    files(etc_apt)
        .into_iter()
        .filter_map(|file| {
            let text = std::fs::read_to_string(&file).ok()?;
            Some(if file.extension().is_some_and(|e| e == "sources") {
                deb822(&text)
            } else {
                one_line(&text)
            })
        })
        .flatten()
        .filter(|source| is_debian(source, lists))
        .collect()
}

/// Whether a source is Debian's archive and not a vendor's that merely uses Debian's names of
/// suites. Its last fetched release file says so; without one, how it is signed and called.
fn is_debian(source: &AptSource, lists: &Path) -> bool {
    if !source.components.iter().any(|c| c == "main") {
        return false;
    }
    for uri in &source.uris {
        for suite in &source.suites {
            let Some((_, place)) = uri.split_once("://") else { continue };
            let place = place.trim_end_matches('/').replace('_', "%5f").replace('/', "_");
            let stem = format!("{place}_dists_{}", suite.replace('/', "_"));
            for file in ["InRelease", "Release"] {
                if let Ok(text) = std::fs::read_to_string(lists.join(format!("{stem}_{file}"))) {
                    return text.lines().any(|l| l.trim_end() == "Origin: Debian");
                }
            }
        }
    }
    match source.options.iter().find(|(field, _)| field == "Signed-By") {
        Some((_, key)) => key.contains("debian-archive"),
        None => source.uris.iter().all(|uri| {
            let last = uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            ["debian", "debian-security"].contains(&last)
        }),
    }
}

/// Options of the one-line style, and the fields of deb822 they correspond to.
const OPTIONS: [(&str, &str); 4] = [
    ("signed-by", "Signed-By"),
    ("trusted", "Trusted"),
    ("check-valid-until", "Check-Valid-Until"),
    ("by-hash", "By-Hash"),
];

pub(super) fn one_line(text: &str) -> Vec<AptSource> {
    text.lines().filter_map(one_line_entry).collect()
}

fn one_line_entry(line: &str) -> Option<AptSource> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let mut rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let mut source = AptSource::default();
    if let Some(bracket) = rest.strip_prefix('[') {
        let (options, after) = bracket.split_once(']')?;
        for option in options.split_whitespace() {
            let (key, value) = option.split_once('=')?;
            if let Some((_, field)) = OPTIONS.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)) {
                source.options.push(((*field).to_owned(), value.replace(',', " ")));
            }
        }
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    source.uris = vec![words.next()?];
    source.suites = vec![words.next()?];
    source.components = words.collect();
    Some(source)
}

pub(super) fn deb822(text: &str) -> Vec<AptSource> {
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    lines.split(|l| l.trim().is_empty()).filter_map(stanza).collect()
}

fn stanza(lines: &[&str]) -> Option<AptSource> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            value.push('\n');
            value.push_str(line);
        } else {
            let (key, value) = line.split_once(':')?;
            fields.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    let words = |key: &str| -> Vec<String> {
        fields
            .iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(key))
            .map(|(_, v)| v.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default()
    };
    let enabled = !words("Enabled").iter().any(|w| ["no", "false", "0"].contains(&w.as_str()));
    if !enabled || !words("Types").iter().any(|t| t == "deb") {
        return None;
    }
    let (uris, suites) = (words("URIs"), words("Suites"));
    if uris.is_empty() || suites.is_empty() {
        return None;
    }
    let options = fields
        .iter()
        .filter_map(|(key, value)| {
            let (_, field) = OPTIONS.iter().find(|(_, f)| f.eq_ignore_ascii_case(key))?;
            Some(((*field).to_owned(), value.clone()))
        })
        .collect();
    Some(AptSource { uris, suites, components: words("Components"), options })
}

/// Names of suites that mean whichever release is at that stage.
const ALIASES: [&str; 6] = ["stable", "oldstable", "oldoldstable", "testing", "unstable", "sid"];
/// Suites that have no updates or security archives beside them.
const ROLLING: [&str; 3] = ["unstable", "sid", "experimental"];

/// The host's sources of its distribution, turned to another suite: the archive itself, its
/// updates and its security updates. Backports and other vendors' archives are the host's own business.
/// Empty where the host has no archive for its own release.
pub(super) fn for_suite(host: &[AptSource], host_codename: &str, suite: &str) -> Vec<AptSource> {
    let mut turned: Vec<AptSource> = Vec::new();
    for source in host {
        let mut suites = Vec::new();
        for theirs in &source.suites {
            let (base, companion) = match theirs.rsplit_once('-') {
                Some((base, companion @ ("updates" | "security"))) => (base, Some(companion)),
                _ => (theirs.as_str(), None),
            };
            let ours = base == host_codename || ALIASES.contains(&base);
            let rolling = ROLLING.contains(&suite);
            let turned = match companion {
                _ if !ours => continue,
                Some(_) if rolling => continue,
                Some(companion) => format!("{suite}-{companion}"),
                None => suite.to_owned(),
            };
            if !suites.contains(&turned) {
                suites.push(turned);
            }
        }
        if !suites.is_empty() && !source.components.is_empty() {
            turned.push(AptSource { suites, ..source.clone() });
        }
    }
    if turned.iter().any(|s| s.suites.iter().any(|name| name == suite)) { turned } else { Vec::new() }
}

/// Sources as the text of a `.sources` file.
pub(super) fn render(sources: &[AptSource]) -> String {
    let mut text = String::new();
    for source in sources {
        if !text.is_empty() {
            text.push('\n');
        }
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}",
            source.uris.join(" "),
            source.suites.join(" "),
            source.components.join(" ")
        );
        for (field, value) in &source.options {
            let _ = writeln!(text, "{field}: {value}");
        }
    }
    text
}

/// The same sources for the release that `suite` turned out to be, so that a clone of "stable" does
/// not move to the next release by itself one day. "testing" and "unstable" are meant to move.
pub(super) fn pinned(sources: &[AptSource], suite: &str, codename: &str) -> Vec<AptSource> {
    if !["stable", "oldstable", "oldoldstable"].contains(&suite) || codename.is_empty() {
        return sources.to_vec();
    }
    let pin = |name: &String| match name.strip_prefix(suite) {
        Some(rest) if rest.is_empty() || rest.starts_with('-') => format!("{codename}{rest}"),
        _ => name.clone(),
    };
    sources.iter().map(|s| AptSource { suites: s.suites.iter().map(pin).collect(), ..s.clone() }).collect()
}

/// The key files the sources name; a key written into the source itself is not a file.
pub(super) fn key_files(sources: &[AptSource]) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = sources
        .iter()
        .flat_map(|s| &s.options)
        .filter(|(field, _)| field == "Signed-By")
        .flat_map(|(_, value)| value.split_whitespace())
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates bookworm-backports\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb deb-src\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main contrib\n\nTypes: deb\nURIs: http://vendor.example\nSuites: nodistro\nComponents: main\n\nEnabled: no\nTypes: deb\nURIs: http://off.example\nSuites: bookworm\nComponents: main\n";

    #[test]
    fn the_hosts_archive_is_turned_to_the_suite_asked_for() {
        let sources = for_suite(&deb822(DEB822), "bookworm", "trixie");
        assert_eq!(
            render(&sources),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie trixie-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb\nURIs: http://mirror.example/debian-security\nSuites: trixie-security\nComponents: main contrib\n"
        );
        assert_eq!(key_files(&sources), [Path::new("/usr/share/keyrings/debian-archive-keyring.gpg")]);
        let rolling = for_suite(&deb822(DEB822), "bookworm", "sid");
        assert_eq!(rolling.iter().flat_map(|s| &s.suites).collect::<Vec<_>>(), ["sid"]);
    }

    #[test]
    fn the_one_line_style_is_read_too() {
        let text = "# deb http://no.example bookworm main\ndeb-src http://no.example bookworm main\ndeb [arch=amd64 signed-by=/k.gpg trusted=yes] http://m.example/debian stable main non-free # mine\n";
        let sources = for_suite(&one_line(text), "bookworm", "bookworm");
        assert_eq!(
            render(&sources),
            "Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main non-free\nSigned-By: /k.gpg\nTrusted: yes\n"
        );
    }

    #[test]
    fn a_key_inside_the_source_is_carried_whole() {
        let text = "Types: deb\nURIs: http://m.example\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n";
        let sources = deb822(text);
        assert!(render(&sources).ends_with("Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n"));
        assert!(key_files(&sources).is_empty());
    }

    #[test]
    fn without_an_archive_for_the_release_there_is_nothing_to_take() {
        assert!(for_suite(&deb822(DEB822), "forky", "trixie").is_empty());
        assert!(for_suite(&[], "bookworm", "bookworm").is_empty());
    }

    #[test]
    fn a_clone_of_stable_stays_on_its_release() {
        let sources = for_suite(&deb822(DEB822), "bookworm", "stable");
        let suites: Vec<String> =
            pinned(&sources, "stable", "trixie").into_iter().flat_map(|s| s.suites).collect();
        assert_eq!(suites, ["trixie", "trixie-updates", "trixie-security"]);
        assert_eq!(pinned(&sources, "testing", "forky"), sources);
    }

    #[test]
    fn a_vendors_archive_with_debians_suite_names_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (etc, lists) = (dir.path().join("apt"), dir.path().join("lists"));
        std::fs::create_dir_all(etc.join("sources.list.d")).unwrap();
        std::fs::create_dir(&lists).unwrap();
        std::fs::write(etc.join("sources.list"), "deb http://m.example/debian bookworm main\ndeb [signed-by=/k/vendor.gpg] http://v.example/debian bookworm main\ndeb http://docker.example/linux/debian bookworm stable\n").unwrap();
        std::fs::write(
            etc.join("sources.list.d/x.list"),
            "deb http://c.example/odd_path/ bookworm main\ndeb http://w.example/debian bookworm main\n",
        )
        .unwrap();
        std::fs::write(
            lists.join("c.example_odd%5fpath_dists_bookworm_InRelease"),
            "Hash: SHA512\n\nOrigin: Debian\n",
        )
        .unwrap();
        std::fs::write(lists.join("w.example_debian_dists_bookworm_InRelease"), "Origin: W Inc.\n").unwrap();
        let uris: Vec<String> = host_sources(&etc, &lists).into_iter().flat_map(|s| s.uris).collect();
        assert_eq!(uris, ["http://m.example/debian", "http://c.example/odd_path/"]);
    }

    #[test]
    fn nonsense_is_left_out() {
        assert!(one_line("deb\ndeb [x\ndeb http://m.example\nrpm x y z\n").is_empty());
        assert!(deb822("hello\n\n leading\n\nTypes: deb\n").is_empty());
    }
}
