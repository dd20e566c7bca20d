//! Decompression of what is read, with limits.

use std::io::{self, BufRead, BufReader, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The most memory, in KiB, that a decoder gets for its window: what `xz -9e` and `zstd --ultra -22` need.
const WINDOW_KIB: u32 = 130 << 10;

/// What is read, decompressed where it is compressed: by gzip, xz or zstd, told by how it begins.
pub(super) fn decoded<'r>(from: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    let mut from = BufReader::with_capacity(1 << 16, from);
    let head = from.fill_buf()?;
    Ok(if head.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(from))
    } else if head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        Box::new(lzma_rust2::XzReader::new_mem_limit(from, true, WINDOW_KIB))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(u64::from(WINDOW_KIB) << 10);
        Box::new(Zstd { decoder, from, within: false })
    } else {
        Box::new(from)
    })
}

/// The frames of a zstd file, one after the other.
struct Zstd<R> {
    decoder: FrameDecoder,
    from: R,
    within: bool,
}

impl<R: BufRead> Zstd<R> {
    /// Begins the next frame that holds data; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        while !self.from.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.from) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut self.from.by_ref().take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within {
                if !self.next()? {
                    return Ok(0);
                }
                self.within = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.from, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            }
            let read = self.decoder.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            self.within = false;
        }
    }
}

/// Reads at most so many bytes, and fails at the next.
pub(super) struct Limited<R> {
    pub(super) from: R,
    pub(super) left: u64,
}

/// What [`Limited`] says.
pub(super) const TOO_MUCH: &str = "it is larger than what is allowed";

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, TOO_MUCH))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn compressed(program: &str, args: &[&str], data: &[u8]) -> Option<Vec<u8>> {
        let spawned = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.ok()?;
        let mut stdin = child.stdin.take().unwrap();
        let data = data.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(&data));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        Some(output.stdout)
    }

    fn read(data: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        decoded(data)?.read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn what_gzip_xz_and_zstd_write_is_read_also_in_several_parts_and_what_is_cut_off_is_an_error() {
        let data: Vec<u8> = (0..600_000_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        assert_eq!(read(&data).unwrap(), data);
        for (program, args) in [
            ("gzip", vec!["-c"]),
            ("xz", vec!["-c"]),
            ("zstd", vec!["-qc"]),
            ("zstd", vec!["-qc", "--ultra", "-22"]),
        ] {
            let Some(small) = compressed(program, &args, &data) else { continue };
            assert!(small.len() < data.len());
            assert!(read(&small).unwrap() == data, "{program}");
            assert!(
                read(&[small.clone(), small.clone()].concat()).unwrap()
                    == [data.clone(), data.clone()].concat()
            );
            assert!(read(&small[..small.len() / 2]).is_err(), "{program}");
        }
        // A skippable frame, as pzstd writes.
        if let Some(small) = compressed("zstd", &["-qc"], b"data") {
            let skip = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &small].concat();
            assert_eq!(read(&[small, skip].concat()).unwrap(), b"datadata");
        }
    }

    #[test]
    fn a_limit_is_reached_by_the_byte_after_it() {
        let all = |left| io::copy(&mut Limited { from: &b"12345"[..], left }, &mut io::sink());
        assert_eq!(all(5).unwrap(), 5);
        assert_eq!(all(4).unwrap_err().to_string(), TOO_MUCH);
    }
}
