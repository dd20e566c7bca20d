//! A plugin on its way to another host: a line that says what it is, a line of JSON that says what it holds, and a btrfs
//! send stream. `head -n2 FILE` shows the first two.

use std::io::{self, Read, Write};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files::copy_summed;
use crate::name::PluginName;
use crate::snapshots::SnapshotName;

/// The first line.
const FIRST: &[u8] = b"opdbus-plugin-stream 1\n";
/// The second is not longer.
const LONGEST: usize = 16 * 1024;

/// What a package holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contents {
    /// The plugin.
    pub name: PluginName,
    /// Its version, as its plugin.toml has it.
    pub version: String,
    /// The snapshot that was sent.
    pub snapshot: SnapshotName,
    /// The id by which it is known wherever it was received.
    pub uuid: String,
    /// The id of the snapshot that it builds on, which the receiver must have; none where it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When it was sent.
    #[schemars(with = "String")]
    pub sent: Timestamp,
    /// Whether it holds keys (`enrollment-keys/`).
    #[serde(default)]
    pub secrets: bool,
    /// The length of the stream, in bytes.
    pub size: u64,
    /// SHA-256 of the stream, in hexadecimal.
    pub sha256: String,
}

/// Why something is not a package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Its beginning is another thing's.
    #[error("it is not a plugin that was sent by operation-dbus")]
    NotAPackage,
    /// What it says it holds cannot be understood.
    #[error("what it says it holds is wrong: {0}")]
    Contents(String),
    /// It is larger than was allowed.
    #[error("its stream has {size} bytes, and at most {most} are taken")]
    TooLarge {
        /// What it says.
        size: u64,
        /// What was allowed.
        most: u64,
    },
    /// It ends early.
    #[error("it ends after {found} of the {size} bytes of its stream")]
    Truncated {
        /// How many there were.
        found: u64,
        /// How many it says.
        size: u64,
    },
    /// Something follows.
    #[error("something follows the {0} bytes of its stream")]
    Trailing(u64),
    /// The stream is not what was sent.
    #[error(
        "the SHA-256 of its stream is {found}, and it says {said}: it was damaged, or altered, on its way"
    )]
    Checksum {
        /// What it is.
        found: String,
        /// What it says.
        said: String,
    },
    /// Reading or writing.
    #[error("cannot read or write it")]
    Io(#[from] io::Error),
}

/// The length and SHA-256 of a stream.
pub(super) fn measure(stream: &mut impl Read) -> io::Result<(u64, String)> {
    copy_summed(stream, &mut io::sink())
}

/// Writes a package.
pub(super) fn write(
    contents: &Contents,
    stream: &mut impl Read,
    to: &mut impl Write,
) -> Result<(), PackageError> {
    let line = serde_json::to_vec(contents).map_err(|e| PackageError::Contents(e.to_string()))?;
    to.write_all(FIRST)?;
    to.write_all(&line)?;
    to.write_all(b"\n")?;
    let (size, sha256) = copy_summed(stream, to)?;
    to.flush()?;
    if (size, &sha256) == (contents.size, &contents.sha256) {
        return Ok(());
    }
    Err(PackageError::Checksum { found: sha256, said: contents.sha256.clone() })
}

/// A line with its end, of at most so many bytes.
fn line(from: &mut impl Read, most: usize) -> Result<Vec<u8>, PackageError> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < most {
        match from.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if byte[0] == b'\n' {
            return Ok(line);
        }
    }
    Err(PackageError::NotAPackage)
}

/// Reads a package, and puts its stream into `stream`, which is then what was sent.
pub(super) fn read(
    from: &mut impl Read,
    stream: &mut impl Write,
    most: u64,
) -> Result<Contents, PackageError> {
    if line(from, FIRST.len())? != FIRST {
        return Err(PackageError::NotAPackage);
    }
    let text = line(from, LONGEST)?;
    let contents: Contents =
        serde_json::from_slice(&text).map_err(|e| PackageError::Contents(e.to_string()))?;
    let size = contents.size;
    if size > most {
        return Err(PackageError::TooLarge { size, most });
    }
    let (found, sha256) = copy_summed(from.take(size), stream)?;
    if found < size {
        return Err(PackageError::Truncated { found, size });
    }
    if from.read(&mut [0])? > 0 {
        return Err(PackageError::Trailing(size));
    }
    if sha256 != contents.sha256 {
        return Err(PackageError::Checksum { found: sha256, said: contents.sha256 });
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(stream: &[u8]) -> Contents {
        let (size, sha256) = measure(&mut &stream[..]).unwrap();
        Contents {
            name: "lxc".parse().unwrap(),
            version: "1.0.0".into(),
            snapshot: "plugin-lxc-20260131T091500Z".parse().unwrap(),
            uuid: "u".into(),
            parent: None,
            sent: "2026-01-31T09:15:00Z".parse().unwrap(),
            secrets: false,
            size,
            sha256,
        }
    }

    fn package(stream: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&contents(stream), &mut &stream[..], &mut bytes).unwrap();
        bytes
    }

    fn refused(bytes: &[u8]) -> String {
        read(&mut &bytes[..], &mut io::sink(), 1000).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_and_two_lines_say_what_it_is() {
        let bytes = package(b"stream\nof\0bytes");
        let mut stream = Vec::new();
        assert_eq!(read(&mut &bytes[..], &mut stream, 15).unwrap(), contents(b"stream\nof\0bytes"));
        assert_eq!(stream, b"stream\nof\0bytes");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.lines().nth(1).unwrap().starts_with(r#"{"name":"lxc","version":"1.0.0""#), "{text}");
    }

    #[test]
    fn whatever_happened_to_it_on_its_way_is_noticed() {
        let good = package(b"0123456789");
        for cut in 0..good.len() {
            refused(&good[..cut]);
        }
        assert!(refused(&good[..good.len() - 1]).contains("ends after 9 of the 10"));
        let mut altered = good.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert!(refused(&altered).contains("SHA-256"));
        assert!(refused(&[&good[..], b"x"].concat()).contains("something follows"));
        assert!(refused(b"btrfs-stream\0").contains("not a plugin"));
        assert!(refused(&vec![b'a'; 100_000]).contains("not a plugin"));
        let text = String::from_utf8(good.clone()).unwrap();
        assert!(refused(text.replace("\"lxc\"", "\"../x\"").as_bytes()).contains("character"));
        assert!(refused(text.replace("\"size\"", "\"sise\"").as_bytes()).contains("unknown field"));
        let mut large = contents(b"");
        large.size = 1001;
        let line = serde_json::to_string(&large).unwrap();
        assert!(refused(format!("opdbus-plugin-stream 1\n{line}\n").as_bytes()).contains("at most 1000"));
    }
}
