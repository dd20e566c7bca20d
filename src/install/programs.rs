//! Putting the programs in place, with their manual pages and completions.

use std::path::{Path, PathBuf};

use crate::cli::manual;
use crate::engine::{Action, PlannedChange};
use crate::fault::{Kind, Report};
use crate::files;
use crate::storage::place::{make_directories, remove_made};

/// The marker of directories that are made for programs and pages.
const TAG: &str = "installer";

/// The programs that are installed.
pub const PROGRAMS: [&str; 14] = [
    "mcp-chat",
    "op-dbus",
    "opdbusd",
    "opdbus-bridge",
    "opdbus-container",
    "opdbus-flows",
    "opdbus-install",
    "opdbus-ledger",
    "opdbus-plugin",
    "opdbus-search",
    "opdbus-snapshot",
    "opdbus-storage",
    "opdbus-template",
    "opdbus-uplink",
];

fn read(path: &Path) -> Result<Option<Vec<u8>>, Report> {
    files::read_optional(path)
        .map_err(|e| Report::new(Kind::Failed, format!("cannot read {}: {e}", path.display())))
}

/// The programs that differ from those in `bin_dir`.
pub(super) fn planned(bin_dir: Option<&Path>, prefix: &Path) -> Result<Vec<PlannedChange>, Report> {
    let Some(bin_dir) = bin_dir.filter(|d| *d != prefix) else { return Ok(Vec::new()) };
    let mut changes = Vec::new();
    for program in PROGRAMS {
        let source = bin_dir.join(program);
        let Some(new) = read(&source)? else {
            return Err(Report::new(
                Kind::NotFound,
                format!("the program {} is not there", source.display()),
            )
            .with_next("build the programs (cargo build --release) or name their directory with --bin-dir"));
        };
        let target = prefix.join(program);
        let action = match read(&target)? {
            None => Action::Create,
            Some(old) if old != new => Action::Update,
            Some(_) => continue,
        };
        changes.push(PlannedChange {
            component: "programs".into(),
            action,
            object: format!("program {}", target.display()),
            detail: String::new(),
        });
    }
    Ok(changes)
}

/// Copies the programs that differ. One that runs keeps its old file until it ends.
pub(super) fn apply(bin_dir: Option<&Path>, prefix: &Path) -> Result<Vec<PlannedChange>, Report> {
    let changes = planned(bin_dir, prefix)?;
    let Some(bin_dir) = bin_dir else { return Ok(changes) };
    let failed = |verb: &str, path: &Path, e: std::io::Error| {
        Report::new(Kind::Failed, format!("cannot {verb} {}: {e}", path.display()))
    };
    make_directories(prefix, TAG).map_err(|e| failed("make", prefix, e))?;
    for program in PROGRAMS {
        let target: PathBuf = prefix.join(program);
        if !changes.iter().any(|change| change.object == format!("program {}", target.display())) {
            continue;
        }
        let source = bin_dir.join(program);
        let content = std::fs::read(&source).map_err(|e| failed("read", &source, e))?;
        files::replace(&target, &content, 0o755).map_err(|e| failed("write", &target, e))?;
    }
    Ok(changes)
}

/// Where the manual pages and completions belong that go with programs at `prefix`: beside a `bin`, else below.
fn share(prefix: &Path) -> PathBuf {
    match prefix.parent() {
        Some(parent) if prefix.ends_with("bin") => parent.join("share"),
        _ => prefix.join("share"),
    }
}

/// The manual pages and completions that differ from those of this program, by their paths.
fn differing_shared(prefix: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, Report> {
    let share = share(prefix);
    let mut differing = Vec::new();
    for (path, text) in manual::shared_files()? {
        let path = share.join(path);
        if read(&path)?.as_deref() != Some(text.as_slice()) {
            differing.push((path, text));
        }
    }
    Ok(differing)
}

/// All of them as one change, for nobody reads a plan of fifty pages.
fn summary(prefix: &Path, differing: usize) -> Option<PlannedChange> {
    (differing > 0).then(|| PlannedChange {
        component: "programs".into(),
        action: Action::Update,
        object: format!("manual pages and completions in {}", share(prefix).display()),
        detail: if differing == 1 { "1 file".into() } else { format!("{differing} files") },
    })
}

/// The manual pages and completions, where any is not as this program has it.
pub(super) fn planned_shared(prefix: &Path) -> Result<Option<PlannedChange>, Report> {
    Ok(summary(prefix, differing_shared(prefix)?.len()))
}

/// Writes the manual pages and completions that differ.
pub(super) fn apply_shared(prefix: &Path) -> Result<Option<PlannedChange>, Report> {
    let differing = differing_shared(prefix)?;
    for (path, text) in &differing {
        let failed =
            |e: std::io::Error| Report::new(Kind::Failed, format!("cannot write {}: {e}", path.display()));
        if let Some(directory) = path.parent() {
            make_directories(directory, TAG).map_err(failed)?;
        }
        files::replace(path, text, 0o644).map_err(failed)?;
    }
    Ok(summary(prefix, differing.len()))
}

/// The programs that are there, as they are removed: `opdbus-install` last, so that a run that was stopped can be run again.
/// A link is none of ours.
pub(super) fn installed(prefix: &Path) -> Vec<PathBuf> {
    let (last, others): (Vec<&str>, Vec<&str>) = PROGRAMS.iter().partition(|name| **name == "opdbus-install");
    let paths = others.into_iter().chain(last).map(|name| prefix.join(name));
    paths.filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_file())).collect()
}

/// The manual pages and completions that are there, also those that another version had.
pub(super) fn installed_shared(prefix: &Path) -> Result<Vec<PathBuf>, Report> {
    let share = share(prefix);
    let mut paths: std::collections::BTreeSet<PathBuf> =
        manual::shared_files()?.into_keys().map(|path| share.join(path)).collect();
    for entry in std::fs::read_dir(share.join("man/man1")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = |name: &str| {
            name.strip_suffix(".1").is_some_and(|name| {
                PROGRAMS.iter().any(|p| {
                    name.strip_prefix(p).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
                })
            })
        };
        if name.to_str().is_some_and(ours) {
            paths.insert(entry.path());
        }
    }
    Ok(paths.into_iter().filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_file())).collect())
}

/// What of the pages and completions would be removed, as one change.
pub(super) fn planned_shared_removal(prefix: &Path) -> Result<Option<PlannedChange>, Report> {
    let count = installed_shared(prefix)?.len();
    Ok(summary(prefix, count).map(|change| PlannedChange { action: Action::Remove, ..change }))
}

/// Removes files, and the directories that were made for them where nothing else is in them.
pub(super) fn remove(paths: &[PathBuf]) -> Result<(), Report> {
    for path in paths {
        let failed =
            |e: std::io::Error| Report::new(Kind::Failed, format!("cannot remove {}: {e}", path.display()));
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        path.parent().map_or(Ok(()), remove_made).map_err(failed)?;
    }
    Ok(())
}

/// The directories that programs, pages and completions are in.
pub(super) fn directories(prefix: &Path) -> Result<Vec<PathBuf>, Report> {
    let share = share(prefix);
    let files = manual::shared_files()?;
    let mut all: std::collections::BTreeSet<PathBuf> =
        files.keys().filter_map(|path| Some(share.join(Path::new(path).parent()?))).collect();
    all.insert(prefix.to_owned());
    Ok(all.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_copied_once_and_a_missing_one_is_named() {
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        let error = planned(Some(from.path()), to.path()).unwrap_err();
        assert!(error.message.contains(PROGRAMS[0]), "{error}");
        for program in PROGRAMS {
            std::fs::write(from.path().join(program), program).unwrap();
        }
        assert_eq!(apply(Some(from.path()), to.path()).unwrap().len(), PROGRAMS.len());
        assert_eq!(apply(Some(from.path()), to.path()).unwrap(), []);
        std::fs::write(from.path().join("opdbusd"), "new").unwrap();
        assert_eq!(apply(Some(from.path()), to.path()).unwrap().len(), 1);
    }

    #[test]
    fn pages_and_completions_are_one_change_and_written_once() {
        let usr = tempfile::tempdir().unwrap();
        let bin = usr.path().join("bin");
        let planned = planned_shared(&bin).unwrap().unwrap();
        assert!(!usr.path().join("share").exists(), "a plan changes nothing");
        assert_eq!(apply_shared(&bin).unwrap(), Some(planned));
        for file in [
            "man/man1/op-dbus.1",
            "man/man1/opdbus-storage.1",
            "bash-completion/completions/op-dbus",
            "zsh/site-functions/_op-dbus",
            "fish/vendor_completions.d/op-dbus.fish",
        ] {
            assert!(usr.path().join("share").join(file).is_file(), "{file}");
        }
        assert_eq!(apply_shared(&bin).unwrap(), None);
        std::fs::write(usr.path().join("share/man/man1/op-dbus.1"), "of another version").unwrap();
        assert_eq!(planned_shared(&bin).unwrap().unwrap().detail, "1 file");
        apply_shared(&bin).unwrap();
        assert_eq!(planned_shared(&bin).unwrap(), None);
    }

    #[test]
    fn pages_lie_beside_bin_and_nowhere_above_a_directory_of_ones_own() {
        assert_eq!(share(Path::new("/usr/local/bin")), Path::new("/usr/local/share"));
        assert_eq!(share(Path::new("/opt/opdbus")), Path::new("/opt/opdbus/share"));
    }

    #[test]
    fn programs_and_pages_are_removed_and_what_others_have_beside_them_stays() {
        let usr = tempfile::tempdir().unwrap();
        let (from, bin) = (tempfile::tempdir().unwrap(), usr.path().join("bin"));
        for program in PROGRAMS {
            std::fs::write(from.path().join(program), program).unwrap();
        }
        apply(Some(from.path()), &bin).unwrap();
        apply_shared(&bin).unwrap();
        let man = usr.path().join("share/man/man1");
        for theirs in [bin.join("mine"), man.join("mine.1"), man.join("op-dbusx.1")] {
            std::fs::write(theirs, "").unwrap();
        }
        std::fs::write(man.join("op-dbus-of-another-version.1"), "").unwrap();
        let programs = installed(&bin);
        assert!(programs.last().unwrap().ends_with("opdbus-install"), "{programs:?}");
        assert_eq!(programs.len(), PROGRAMS.len());
        remove(&programs).unwrap();
        assert_eq!(planned_shared_removal(&bin).unwrap().unwrap().action, Action::Remove);
        remove(&installed_shared(&bin).unwrap()).unwrap();
        assert_eq!(planned_shared_removal(&bin).unwrap(), None);
        assert_eq!(installed(&bin), Vec::<PathBuf>::new());
        let left = |directory: &Path| std::fs::read_dir(directory).unwrap().count();
        assert_eq!((left(&bin), left(&man)), (1, 2));
        if crate::storage::subvolume::marker(&man).unwrap().is_some() {
            assert_eq!(left(&usr.path().join("share")), 1, "empty directories that we made go");
        }
    }
}
