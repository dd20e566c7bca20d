//! Files that are handed to an operation: opened here, with the rights of who runs the program.

use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::Value;

use crate::fault::{Kind, Report};
use crate::ops::Handed;

/// What the name of a file begins with that is not whole yet.
const MAKING: &str = ".opdbus-send-";

/// The streams of a call, and the file that it makes, if it makes one.
pub(super) struct Files {
    made: Option<(PathBuf, PathBuf)>,
    /// Whether standard output is where the stream goes, so that nothing else does.
    pub(super) to_stdout: bool,
}

fn failed(verb: &str, path: &Path, error: &std::io::Error) -> Report {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        std::io::ErrorKind::AlreadyExists => Kind::Conflict,
        std::io::ErrorKind::PermissionDenied => Kind::Denied,
        _ => Kind::Failed,
    };
    Report::new(kind, format!("cannot {verb} {}: {error}", path.display()))
}

fn own(stream: &impl AsFd) -> Result<OwnedFd, Report> {
    stream
        .as_fd()
        .try_clone_to_owned()
        .map_err(|e| Report::new(Kind::Failed, format!("cannot hand over a standard stream: {e}")))
}

/// An OCI image layout as the archive that it would be: it is read here, with the rights of who runs the program, and
/// what is handed over is a stream like any other.
fn packed(layout: &Path) -> Result<OwnedFd, Report> {
    if !layout.join("oci-layout").is_file() {
        return Err(Report::new(
            Kind::Invalid,
            format!(
                "{} is a directory, and no OCI image layout: it has no file oci-layout",
                layout.display()
            ),
        )
        .with_next("give an archive, or the directory that holds oci-layout, index.json and blobs"));
    }
    let (from, into) = std::io::pipe().map_err(|e| failed("read", layout, &e))?;
    let layout = layout.to_owned();
    std::thread::spawn(move || {
        let mut archive = tar::Builder::new(into);
        archive.follow_symlinks(false);
        let packed = ["oci-layout", "index.json"]
            .iter()
            .try_for_each(|file| archive.append_path_with_name(layout.join(file), file))
            .and_then(|()| archive.append_dir_all("blobs", layout.join("blobs")))
            .and_then(|()| archive.finish());
        // Who reads meets the end of the stream before that of the archive, or has gone away because of its own error.
        if let Err(error) = packed {
            tracing::info!(layout = %layout.display(), %error, "not read to its end");
        }
    });
    Ok(from.into())
}

/// What a file holds, or the directory of an OCI image layout, as a stream.
pub fn given(path: &Path) -> Result<OwnedFd, Report> {
    if path.is_dir() {
        return packed(path);
    }
    Ok(File::open(path).map_err(|e| failed("open", path, &e))?.into())
}

/// Opens what the argument `file` names. A file that exists is never written to.
pub(super) fn open(handed: Handed, arguments: &Value) -> Result<(Files, [OwnedFd; 3]), Report> {
    let name = arguments["file"].as_str().unwrap_or("-");
    let path = Path::new(name);
    let (input, output) = (own(&std::io::stdin())?, own(&std::io::stdout())?);
    let error = own(&std::io::stderr())?;
    let plain = Files { made: None, to_stdout: false };
    match (handed, name) {
        (Handed::Read, "-") => Ok((plain, [input, output, error])),
        (Handed::Read, _) => Ok((plain, [given(path)?, output, error])),
        (Handed::Write, "-") => {
            if std::io::stdout().is_terminal() {
                return Err(Report::new(
                    Kind::Invalid,
                    "standard output is a terminal, and what comes is for a file or a program",
                )
                .with_next("name a file, or send it through a pipe"));
            }
            Ok((Files { made: None, to_stdout: true }, [input, output, error]))
        }
        (Handed::Write, _) => {
            if path.symlink_metadata().is_ok() {
                return Err(Report::new(Kind::Conflict, format!("{name} is there already"))
                    .with_next("choose another name, or move it away"));
            }
            let mut beside = std::ffi::OsString::from(MAKING);
            beside.push(path.file_name().ok_or_else(|| {
                Report::new(Kind::Invalid, format!("\"{}\" names no file", name.escape_debug()))
            })?);
            let beside = path.with_file_name(beside);
            // What a run left that was stopped.
            match std::fs::remove_file(&beside) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", &beside, &e));
                }
                _ => {}
            }
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&beside)
                .map_err(|e| failed("make", &beside, &e))?;
            Ok((
                Files { made: Some((beside, path.to_owned())), to_stdout: false },
                [input, file.into(), error],
            ))
        }
    }
}

impl Files {
    /// Gives a file that was made its name, now that all of it is there.
    pub(super) fn finish(mut self) -> Result<(), Report> {
        let Some((beside, path)) = &self.made else { return Ok(()) };
        let file = File::open(beside).map_err(|e| failed("open", beside, &e))?;
        file.sync_all().map_err(|e| failed("write", beside, &e))?;
        renameat_with(CWD, beside, CWD, path, RenameFlags::NOREPLACE)
            .map_err(|e| failed("give its name to", path, &e.into()))?;
        self.made = None;
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some((beside, _)) = &self.made {
            // What cannot be removed now is removed by the next run.
            let _ = std::fs::remove_file(beside);
        }
    }
}
