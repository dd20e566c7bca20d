//! Putting the programs in place.

use std::path::{Path, PathBuf};

use crate::engine::{Action, PlannedChange};
use crate::fault::{Kind, Report};
use crate::files;

/// The programs that are installed.
pub(super) const PROGRAMS: [&str; 9] = [
    "op-dbus",
    "opdbusd",
    "opdbus-bridge",
    "opdbus-container",
    "opdbus-flows",
    "opdbus-install",
    "opdbus-ledger",
    "opdbus-storage",
    "opdbus-template",
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
    std::fs::create_dir_all(prefix).map_err(|e| failed("make", prefix, e))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_copied_once_and_a_missing_one_is_named() {
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        let error = planned(Some(from.path()), to.path()).unwrap_err();
        assert!(error.message.contains("op-dbus"), "{error}");
        for program in PROGRAMS {
            std::fs::write(from.path().join(program), program).unwrap();
        }
        assert_eq!(apply(Some(from.path()), to.path()).unwrap().len(), PROGRAMS.len());
        assert_eq!(apply(Some(from.path()), to.path()).unwrap(), []);
        std::fs::write(from.path().join("opdbusd"), "new").unwrap();
        assert_eq!(apply(Some(from.path()), to.path()).unwrap().len(), 1);
    }
}
