//! SHA-256 of what is read, in passing.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Reads, and counts and sums what is read.
#[derive(Debug)]
pub struct Summed<R> {
    /// What is read.
    pub from: R,
    /// How many bytes were read.
    pub size: u64,
    digest: Sha256,
}

impl<R: Read> Summed<R> {
    /// Nothing of it was read yet.
    pub fn new(from: R) -> Self {
        Self { from, digest: Sha256::new(), size: 0 }
    }

    /// The SHA-256 of what was read, in hexadecimal.
    #[must_use]
    pub fn hex(self) -> String {
        crate::hex::hex(&self.digest.finalize())
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.digest.update(&into[..read]);
        self.size += read as u64;
        Ok(read)
    }
}

/// Copies all there is to read; gives how many bytes that were, and their SHA-256 in hexadecimal.
pub fn copy_summed(from: impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let mut from = BufReader::with_capacity(1 << 17, Summed::new(from));
    io::copy(&mut from, to)?;
    let from = from.into_inner();
    Ok((from.size, from.hex()))
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> io::Result<String> {
    copy_summed(File::open(path)?, &mut io::sink()).map(|(_, sum)| sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_is_whole_and_its_sum_is_that_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let bytes: Vec<u8> = (0..70_000_u32).flat_map(u32::to_le_bytes).collect();
        let copied = copy_summed(bytes.as_slice(), &mut File::create(&path).unwrap()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(copied, (280_000, crate::hex::hex(&Sha256::digest(&bytes))));
        assert_eq!(copied.1, sha256(&path).unwrap());
        std::fs::write(&path, "abc").unwrap();
        // The example of FIPS 180-4.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&path).unwrap(), abc);
    }
}
