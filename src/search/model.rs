//! The model's files: which they are, where they lie, and how they come there. Wherever they come from, they are held to
//! these sums.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::SearchError;
use crate::files::copy_summed;
use crate::paths::Tree;
use crate::spec::{HostSpec, Ml};

/// What it is called.
pub const NAME: &str = "all-MiniLM-L6-v2";

/// The numbers of a vector.
pub const DIMENSIONS: usize = 384;

/// A file of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned {
    /// Its name.
    pub name: &'static str,
    /// Its SHA-256, in hexadecimal.
    pub sha256: &'static str,
    /// Its size in bytes.
    pub size: u64,
}

/// The files: weights and tokenizer, as sentence-transformers/all-MiniLM-L6-v2 publishes them (Apache-2.0).
pub const FILES: [Pinned; 2] = [
    Pinned {
        name: "model.safetensors",
        sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        size: 90_868_376,
    },
    Pinned {
        name: "tokenizer.json",
        sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        size: 466_247,
    },
];

/// Where they are published; a slash and a file's name follow.
pub const PUBLISHED: &str = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main";

/// Reads both files and holds them to their sums.
pub(super) fn read(directory: &Path) -> Result<[Vec<u8>; 2], SearchError> {
    let [weights, tokens] = FILES;
    Ok([read_one(directory, weights)?, read_one(directory, tokens)?])
}

fn read_one(directory: &Path, pinned: Pinned) -> Result<Vec<u8>, SearchError> {
    let path = directory.join(pinned.name);
    let read = |path: &Path| {
        let mut bytes = Vec::with_capacity(usize::try_from(pinned.size).unwrap_or_default());
        // No more than one byte too many of a file that is not ours.
        File::open(path)?.take(pinned.size + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read(&path).map_err(|source| not_read(&path, source))?;
    let found = crate::hex::hex(&Sha256::digest(&bytes));
    if found == pinned.sha256 { Ok(bytes) } else { Err(SearchError::AnotherModel { path, found }) }
}

/// Whether both files are there and those that are pinned.
pub fn check(directory: &Path) -> Result<(), SearchError> {
    FILES.into_iter().try_for_each(|pinned| check_one(directory, pinned))
}

/// Whether a file is there and the pinned one: it is read through, and not kept.
pub(super) fn check_one(directory: &Path, pinned: Pinned) -> Result<(), SearchError> {
    let path = directory.join(pinned.name);
    // No more than one byte too many of a file that is not ours.
    let read = File::open(&path).and_then(|file| copy_summed(file.take(pinned.size + 1), &mut io::sink()));
    let (_, found) = read.map_err(|source| not_read(&path, source))?;
    if found == pinned.sha256 { Ok(()) } else { Err(SearchError::AnotherModel { path, found }) }
}

fn not_read(path: &Path, source: io::Error) -> SearchError {
    match source.kind() {
        io::ErrorKind::NotFound => SearchError::NoModel { path: path.to_owned() },
        _ => SearchError::Io { verb: "read", path: path.to_owned(), source },
    }
}

/// Where the files of the model lie, as the host spec has it.
#[must_use]
pub fn place(base: &Path, ml: &Ml) -> PathBuf {
    ml.model.clone().unwrap_or_else(|| Tree::new(base).join("@cache/models").join(NAME))
}

/// Where the files of the model lie on a host.
#[must_use]
pub fn directory(spec: &HostSpec) -> PathBuf {
    place(&spec.btrfs.base_path, &spec.ml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flake_fetches_the_same_files() {
        let nix = include_str!("../../nixos/model.nix");
        for file in FILES {
            assert!(nix.contains(&format!("\"{}\" = \"{}\";", file.name, file.sha256)), "{}", file.name);
        }
        assert!(nix.contains(&format!("\"{PUBLISHED}\"")));
    }
}
