//! Taking the units away: disabled, then their files, of which those that the admin edited are put aside.

use std::path::Path;

use super::{CHAT_USER, Change, Seen};
use crate::engine::{Kept, Retirement};
use crate::files::{FileState, KEPT};

/// The retirement. A file that was laid beside one (`.opdbus-new`) is ours.
pub(super) fn retirement(seen: &Seen, etc: &Path) -> Retirement<Change> {
    let mut all = Retirement::default();
    // All of them before the first file goes: systemd finds out from a unit's file where it is enabled.
    for (unit, _) in seen.enabled.iter().filter(|(_, on)| **on) {
        all.changes.push(Change::Disable { unit: unit.clone() });
    }
    for (path, state) in &seen.files {
        match state {
            FileState::Missing => {}
            FileState::Current | FileState::Outdated => {
                all.changes.push(Change::Remove { path: path.clone() });
            }
            FileState::Edited | FileState::EditedAndOutdated => {
                let into = etc.join(KEPT);
                all.kept.push(Kept::new(
                    format!("file {}", path.display()),
                    format!("you edited it: it is moved to {}", into.display()),
                ));
                all.changes.push(Change::PutAside { path: path.clone(), into });
            }
        }
    }
    if seen.chat_user {
        all.changes.push(Change::RemoveUser { name: CHAT_USER.into() });
    }
    all.changes.extend(seen.beside.iter().map(|path| Change::Remove { path: path.clone() }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Change as _;

    #[test]
    fn units_are_disabled_before_their_files_go_and_an_edited_one_is_put_aside() {
        let seen = Seen {
            files: [
                ("/u/a.service".into(), FileState::Current),
                ("/u/b.service".into(), FileState::Edited),
                ("/u/c.service".into(), FileState::Missing),
                ("/u/d.service".into(), FileState::Outdated),
                ("/u/e.service".into(), FileState::EditedAndOutdated),
            ]
            .into(),
            enabled: [("a.service".to_owned(), true), ("b.service".to_owned(), false)].into(),
            beside: vec!["/u/e.service.opdbus-new".into()],
            nixos: false,
            chat_user: true,
        };
        let all = retirement(&seen, Path::new("/etc/opdbus"));
        let words: Vec<String> =
            all.changes.iter().map(|c| format!("{:?} {}: {}", c.action(), c.object(), c.detail())).collect();
        assert_eq!(
            words,
            [
                "Update unit a.service: no longer started with the host",
                "Remove file /u/a.service: ",
                "Remove file /u/b.service: you edited it: moved to /etc/opdbus/kept",
                "Remove file /u/d.service: ",
                "Remove file /u/e.service: you edited it: moved to /etc/opdbus/kept",
                "Remove system user opdbus-chat: mcp-chat ran as it",
                "Remove file /u/e.service.opdbus-new: ",
            ]
        );
        assert_eq!(all.kept.len(), 2);
        assert_eq!(retirement(&Seen::default(), Path::new("/etc/opdbus")), Retirement::default());
    }
}
