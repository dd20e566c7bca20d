//! Getting the model's files: from where they are published, or from a file that somebody has.

use std::fs::Permissions;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::error::SearchError;
use super::model::{self, FILES, Pinned};
use crate::engine::Progress;
use crate::files;
use crate::run::{Invocation, Runner};

/// How long the files may take to come, each.
const DOWNLOAD: Duration = Duration::from_secs(1800);

/// What there is of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is there, and what it should be.
    Good,
    /// It is not there.
    Missing,
    /// Something else is there under its name.
    Wrong,
}

/// One of the model's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelFile {
    /// Its name.
    pub name: String,
    /// What there is of it.
    pub state: State,
    /// The SHA-256 that it must have, in hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Looks at the files in a directory.
pub fn look(directory: &Path) -> Result<Vec<ModelFile>, SearchError> {
    let look = |pinned: &Pinned| {
        let state = match model::check_one(directory, *pinned) {
            Ok(()) => State::Good,
            Err(SearchError::NoModel { .. }) => State::Missing,
            Err(SearchError::AnotherModel { .. }) => State::Wrong,
            Err(error) => return Err(error),
        };
        let (name, sha256) = (pinned.name.to_owned(), pinned.sha256.to_owned());
        Ok(ModelFile { name, state, sha256, size: pinned.size })
    };
    FILES.iter().map(look).collect()
}

/// Where a file is put together before it has its name.
fn scratch(directory: &Path, name: &str) -> Result<NamedTempFile, SearchError> {
    let failed = |source| SearchError::Io { verb: "make", path: directory.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let prefix = format!(".opdbus-new-{name}-");
    tempfile::Builder::new().prefix(&prefix).tempfile_in(directory).map_err(failed)
}

/// Gives a file its name, once it is on the disk.
fn keep(file: NamedTempFile, directory: &Path, pinned: Pinned) -> Result<(), SearchError> {
    let path = directory.join(pinned.name);
    let kept = || -> io::Result<()> {
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        files::sync_directory(directory)
    };
    kept().map_err(|source| SearchError::Io { verb: "write", path: path.clone(), source })
}

/// Fetches the files that are not there yet, from an address that is followed by a file's name. Gives which.
pub fn fetch(
    run: &Runner,
    directory: &Path,
    from: &str,
    progress: &dyn Progress,
) -> Result<Vec<String>, SearchError> {
    let mut fetched = Vec::new();
    for (pinned, there) in FILES.iter().zip(look(directory)?) {
        if there.state == State::Good {
            continue;
        }
        let url = format!("{}/{}", from.trim_end_matches('/'), pinned.name);
        progress.report(&format!("fetching {url} ({} MB)", pinned.size.div_ceil(1_000_000)), None);
        let file = scratch(directory, pinned.name)?;
        let call = Invocation::download(&url, file.path(), "https,http", pinned.size).time_limit(DOWNLOAD);
        run.run(&call).map_err(|source| SearchError::Fetch { url, source })?;
        // curl wrote under the name, which is the same file.
        let found = files::sha256(file.path()).map_err(|source| SearchError::Io {
            verb: "read",
            path: file.path().to_owned(),
            source,
        })?;
        if found != pinned.sha256 {
            return Err(SearchError::AnotherModel { path: directory.join(pinned.name), found });
        }
        keep(file, directory, *pinned)?;
        fetched.push(pinned.name.to_owned());
    }
    Ok(fetched)
}

/// Takes one of the files from somewhere; which of them it is, its sum tells. Gives its name.
pub fn import(directory: &Path, from: impl Read) -> Result<String, SearchError> {
    let largest = FILES.iter().map(|pinned| pinned.size).max().unwrap_or_default();
    let mut file = scratch(directory, "model")?;
    let (_, found) = files::copy_summed(from.take(largest + 1), file.as_file_mut())
        .map_err(|source| SearchError::Io { verb: "take", path: directory.join("model"), source })?;
    let Some(pinned) = FILES.iter().find(|pinned| pinned.sha256 == found) else {
        return Err(SearchError::NotOfModel { found });
    };
    keep(file, directory, *pinned)?;
    Ok(pinned.name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_models_is_refused_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("models");
        for content in [Vec::new(), b"GGUF".to_vec(), vec![0; 1 << 20]] {
            let error = import(&place, content.as_slice()).unwrap_err();
            assert!(matches!(error, SearchError::NotOfModel { .. }), "{error}");
        }
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    }

    #[test]
    fn a_stream_without_an_end_is_not_read_to_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(import(dir.path(), io::repeat(7)).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn files_are_told_apart_by_what_is_in_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILES[1].name), "{}").unwrap();
        let states: Vec<State> = look(dir.path()).unwrap().into_iter().map(|file| file.state).collect();
        assert_eq!(states, [State::Missing, State::Wrong]);
    }
}
