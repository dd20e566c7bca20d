//! One run at a time.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use crate::fault::{Fault, Kind};

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds it.
    #[error("another run holds the lock {}: {holder}", .path.display())]
    Held {
        /// The lock.
        path: PathBuf,
        /// What the holder wrote into it: its program and process id.
        holder: String,
    },
    /// The file could not be opened or locked.
    #[error("cannot lock {}", .path.display())]
    Io {
        /// The lock.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Fault for LockError {
    fn kind(&self) -> Kind {
        match self {
            Self::Held { .. } => Kind::Busy,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Io { .. } => Kind::Failed,
        }
    }
    fn next(&self) -> Option<String> {
        match self {
            Self::Held { .. } => Some("wait for it to end and try again".into()),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("run it as root".into())
            }
            Self::Io { .. } => None,
        }
    }
}

/// The engine's lock, held until dropped. The kernel releases it when the holder dies, however it dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting up to `patience` for another run to end.
    pub fn take(path: &Path, patience: Duration) -> Result<Self, LockError> {
        let io = |source: std::io::Error| LockError::Io { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(io)?;
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut file = File::from(open(path, flags, Mode::from_raw_mode(0o600)).map_err(|e| io(e.into()))?);
        let deadline = Instant::now() + patience;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    if Instant::now() >= deadline {
                        let mut holder = String::new();
                        let _ = (&mut file).take(200).read_to_string(&mut holder);
                        return Err(LockError::Held {
                            path: path.to_owned(),
                            holder: holder.trim().to_owned(),
                        });
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(io(error.into())),
            }
        }
        let program = std::env::args_os().next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        // What the next one shows while it waits; the lock itself does not depend on it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{program}, process {}", std::process::id()));
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_cannot_interleave_and_the_second_names_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/lock");
        let first = Lock::take(&path, Duration::ZERO).unwrap();
        let error = Lock::take(&path, Duration::from_millis(50)).unwrap_err();
        assert!(
            matches!(&error, LockError::Held { holder, .. } if holder.contains(&std::process::id().to_string())),
            "{error}"
        );
        drop(first);
        Lock::take(&path, Duration::ZERO).unwrap();
    }
}
