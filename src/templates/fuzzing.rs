//! The files of a host and of a root file system that a template is made of, from any bytes.

use super::apt::{self, AptSource};
use super::packages::installed;
use super::populate::os_release;
use super::user::{account, free_id, group_id};

/// The host's sources of packages in either style: what is made of them for a template is, written and read, the same.
pub(crate) fn apt(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for sources in [apt::one_line(&text), apt::deb822(&text)] {
        for source in &sources {
            assert!(!source.uris.is_empty() && !source.suites.is_empty());
        }
        let turned = apt::for_suite(&sources, "bookworm", "stable");
        for sources in [apt::pinned(&turned, "stable", "trixie"), turned] {
            let written = apt::render(&sources);
            assert_eq!(words(&apt::deb822(&written)), words(&sources), "{written}");
            assert!(apt::key_files(&sources).iter().all(|file| file.is_absolute()));
        }
    }
}

/// Sources without what only is between words.
fn words(sources: &[AptSource]) -> Vec<AptSource> {
    let plain = |text: &String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    sources
        .iter()
        .map(|source| AptSource {
            options: source.options.iter().map(|(field, value)| (field.clone(), plain(value))).collect(),
            ..source.clone()
        })
        .collect()
}

/// dpkg's status, accounts and groups, os-release.
pub(crate) fn root_file_system(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for package in installed(&text) {
        assert!(!package.contains('\n'));
    }
    let names = text.lines().filter_map(|line| line.split(':').next());
    for name in names.take(20) {
        if let Ok(found) = account(&text, name) {
            assert!(found.is_some_and(|account| account.home.starts_with('/')), "{name:?} is there");
        }
        assert!(!matches!(group_id(&text, name), Ok(None)), "{name:?} is there");
    }
    if let Some(id) = free_id(&text, "") {
        let own = format!("x:x:{id}:");
        assert!(!text.lines().any(|line| line.starts_with(&own)));
    }
    for key in ["ID", "VERSION_CODENAME"] {
        assert!(os_release(&text, key).is_none_or(|value| !value.is_empty() && !value.contains('\n')));
    }
}
