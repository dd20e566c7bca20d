//! A btrfs send stream from elsewhere, read before `btrfs receive` sees it. Every command is checked, and what the
//! stream names (itself, what it builds on) is replaced by what we named it, so that `btrfs receive` can be confined to
//! a directory that holds nothing else. The format is that of `fs/btrfs/send.h` in Linux, version 1: a header, and
//! commands, each a length, a number, a CRC32C and attributes.

use std::io::{self, Read, Write};

/// `BTRFS_SEND_STREAM_MAGIC` with the zero at its end.
const MAGIC: &[u8; 13] = b"btrfs-stream\0";
/// A command of version 1 is never longer.
const LONGEST: u32 = 1 << 16;

/// The commands, by `enum btrfs_send_cmd`.
mod command {
    pub(super) const SUBVOLUME: u16 = 1;
    pub(super) const SNAPSHOT: u16 = 2;
    pub(super) const MAKE_NODE: u16 = 5;
    pub(super) const SYMLINK: u16 = 8;
    pub(super) const SET_ATTRIBUTE: u16 = 13;
    pub(super) const CLONE: u16 = 16;
    pub(super) const CHANGE_MODE: u16 = 18;
    pub(super) const END: u16 = 21;
    pub(super) const LAST: u16 = 22;
}

/// The attributes, by their enum there.
mod attribute {
    pub(super) const UUID: u16 = 1;
    pub(super) const MODE: u16 = 5;
    pub(super) const NAME: u16 = 13;
    pub(super) const PATH: u16 = 15;
    pub(super) const PATH_TO: u16 = 16;
    pub(super) const PATH_LINK: u16 = 17;
    pub(super) const CLONE_UUID: u16 = 20;
    pub(super) const CLONE_PATH: u16 = 22;
    pub(super) const LAST: u16 = 24;
}

/// The name that what is received gets.
pub(super) const RECEIVED: &str = "received";

/// What a stream may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// The snapshot that it must bring.
    pub(super) uuid: [u8; 16],
    /// What it must build on, and what stands for that here; `None` where it must be whole.
    pub(super) parent: Option<([u8; 16], [u8; 16])>,
}

/// Why a stream is refused.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It is not a stream that this program reads.
    #[error("it is not a btrfs send stream of version 1")]
    NotAStream,
    /// It ends in the middle.
    #[error("it ends in the middle")]
    Truncated,
    /// Something follows its end.
    #[error("something follows its end")]
    Trailing,
    /// A part of it is damaged.
    #[error("command {number} is damaged: {why}")]
    Damaged {
        /// Which command, from 1.
        number: u64,
        /// Why.
        why: &'static str,
    },
    /// It asks for what no plugin holds.
    #[error("command {number} is refused: {why}")]
    Refused {
        /// Which command, from 1.
        number: u64,
        /// Why.
        why: &'static str,
    },
    /// It is another snapshot's, or builds on another.
    #[error("{0}")]
    Foreign(&'static str),
    /// Reading or writing.
    #[error("cannot pass it on")]
    Io(#[from] io::Error),
}

/// The polynomial of CRC32C, its bits turned round.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// What each byte adds.
const TABLE: [u32; 256] = {
    let mut table = [0_u32; 256];
    let mut byte = 0_u32;
    while byte < 256 {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

/// CRC32C as the kernel computes it here: no inversion before or after.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| (crc >> 8) ^ TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)])
}

/// Fills the buffer; false where the input was at its end.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<bool, StreamError> {
    let mut length = 0;
    while length < buffer.len() {
        match input.read(&mut buffer[length..]) {
            Ok(0) if length == 0 => return Ok(false),
            Ok(0) => return Err(StreamError::Truncated),
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Passes a stream on, checked and with our names in it. What came out is to be used only where this succeeds.
pub(super) fn relay(
    input: &mut impl Read,
    output: &mut impl Write,
    rules: &Rules,
) -> Result<(), StreamError> {
    let mut header = [0; 17];
    if !fill(input, &mut header)? {
        return Err(StreamError::Truncated);
    }
    if header[..13] != MAGIC[..] || header[13..] != 1_u32.to_le_bytes() {
        return Err(StreamError::NotAStream);
    }
    output.write_all(&header)?;
    for number in 1.. {
        let mut head = [0; 10];
        if !fill(input, &mut head)? {
            return Err(StreamError::Truncated);
        }
        let damaged = |why| StreamError::Damaged { number, why };
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let kind = u16::from_le_bytes([head[4], head[5]]);
        let checksum = u32::from_le_bytes([head[6], head[7], head[8], head[9]]);
        if length > LONGEST {
            return Err(damaged("it is too long"));
        }
        let mut body = vec![0; usize::try_from(length).unwrap_or_default()];
        if !body.is_empty() && !fill(input, &mut body)? {
            return Err(StreamError::Truncated);
        }
        head[6..].fill(0);
        if crc32c(crc32c(0, &head), &body) != checksum {
            return Err(damaged("its checksum is wrong"));
        }
        let body = rewritten(number, kind, &body, rules)?;
        let length = u32::try_from(body.len()).map_err(|_| damaged("it is too long"))?;
        head[..4].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32c(crc32c(0, &head), &body);
        head[6..].copy_from_slice(&checksum.to_le_bytes());
        output.write_all(&head)?;
        output.write_all(&body)?;
        if kind == command::END {
            break;
        }
    }
    if fill(input, &mut [0])? { Err(StreamError::Trailing) } else { Ok(output.flush()?) }
}

/// The attributes of a command, checked, with our names.
fn rewritten(number: u64, kind: u16, body: &[u8], rules: &Rules) -> Result<Vec<u8>, StreamError> {
    let damaged = |why| StreamError::Damaged { number, why };
    let refused = |why| StreamError::Refused { number, why };
    let opens = matches!(kind, command::SUBVOLUME | command::SNAPSHOT);
    if opens != (number == 1) {
        return Err(refused("a stream brings one subvolume, and begins with it"));
    }
    match (kind, rules.parent) {
        (0 | command::LAST.., _) if kind != command::LAST => {
            return Err(refused("it is not one of version 1"));
        }
        (command::SUBVOLUME, Some(_)) => {
            return Err(StreamError::Foreign("it is whole, and its manifest says that it builds on another"));
        }
        (command::SNAPSHOT, None) => {
            return Err(StreamError::Foreign("it builds on another, and its manifest says that it is whole"));
        }
        (command::MAKE_NODE, _) => return Err(refused("a plugin holds no device")),
        _ => {}
    }
    let mut out = Vec::with_capacity(body.len());
    let mut named = [false; 2];
    let mut rest = body;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(4).ok_or_else(|| damaged("an attribute is cut off"))?;
        let what = u16::from_le_bytes([head[0], head[1]]);
        let length = u16::from_le_bytes([head[2], head[3]]);
        let (value, tail) =
            tail.split_at_checked(length.into()).ok_or_else(|| damaged("an attribute is cut off"))?;
        rest = tail;
        let mut value = value.to_vec();
        match what {
            0 | attribute::LAST.. if what != attribute::LAST => {
                return Err(refused("an attribute is not one of version 1"));
            }
            attribute::PATH if opens => value = RECEIVED.into(),
            // Where a link points is text; everything else is a name in the subvolume.
            attribute::PATH_LINK if kind == command::SYMLINK => {}
            attribute::PATH | attribute::PATH_TO | attribute::PATH_LINK | attribute::CLONE_PATH => {
                let inside = !value.starts_with(b"/")
                    && !value.contains(&0)
                    && !value.split(|b| *b == b'/').any(|part| part == b"..");
                if !inside {
                    return Err(refused("a path leads out of the subvolume"));
                }
            }
            attribute::UUID if opens => {
                named[0] = true;
                if value != rules.uuid {
                    return Err(StreamError::Foreign("it is another snapshot than its manifest says"));
                }
            }
            attribute::CLONE_UUID => match rules.parent {
                Some((theirs, ours)) if value == theirs => {
                    named[1] = true;
                    value = ours.to_vec();
                }
                _ if kind == command::CLONE && value == rules.uuid => {}
                _ if opens => {
                    return Err(StreamError::Foreign("it builds on another snapshot than its manifest says"));
                }
                _ => return Err(refused("it takes data from a subvolume that is not its own")),
            },
            attribute::MODE if kind == command::CHANGE_MODE => {
                let mode: [u8; 8] = value.as_slice().try_into().map_err(|_| damaged("a mode is cut off"))?;
                if u64::from_le_bytes(mode) & 0o4000 != 0 {
                    return Err(refused("a plugin holds no set-user-id program"));
                }
            }
            attribute::NAME
                if kind == command::SET_ATTRIBUTE && value.starts_with(b"security.capability") =>
            {
                return Err(refused("a plugin holds no program with capabilities"));
            }
            _ => {}
        }
        out.extend(what.to_le_bytes());
        out.extend(u16::try_from(value.len()).map_err(|_| damaged("it is too long"))?.to_le_bytes());
        out.extend(value);
    }
    if opens && (!named[0] || named[1] != rules.parent.is_some()) {
        return Err(damaged("it does not say which snapshot it is, or what it builds on"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UUID: [u8; 16] = [7; 16];
    const PARENT: [u8; 16] = [8; 16];
    const OURS: [u8; 16] = [9; 16];

    fn attribute(what: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap();
        [&what.to_le_bytes()[..], &length.to_le_bytes(), value].concat()
    }

    fn command(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
        let body = attributes.concat();
        let mut head =
            [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], &kind.to_le_bytes(), &[0; 4]].concat();
        let crc = crc32c(crc32c(0, &head), &body);
        head[6..].copy_from_slice(&crc.to_le_bytes());
        [head, body].concat()
    }

    fn whole() -> Vec<u8> {
        command(1, &[attribute(15, b"plugin-x"), attribute(1, &UUID), attribute(2, &[1; 8])])
    }

    fn stream(commands: &[Vec<u8>]) -> Vec<u8> {
        [&b"btrfs-stream\0\x01\0\0\0"[..], &commands.concat(), &command(21, &[])].concat()
    }

    fn passed(stream: &[u8], parent: bool) -> Result<Vec<u8>, String> {
        let rules = Rules { uuid: UUID, parent: parent.then_some((PARENT, OURS)) };
        let mut out = Vec::new();
        relay(&mut &stream[..], &mut out, &rules).map_err(|e| e.to_string()).map(|()| out)
    }

    #[test]
    fn the_checksum_is_that_of_a_stream_of_the_kernel() {
        // An END command as `btrfs send` writes it.
        let end = [0, 0, 0, 0, 21, 0, 0x50, 0x6c, 0xc9, 0x9d];
        let head = [0, 0, 0, 0, 21, 0, 0, 0, 0, 0];
        assert_eq!(crc32c(0, &head).to_le_bytes(), end[6..]);
    }

    #[test]
    fn a_stream_gets_our_name_and_our_parent_and_is_otherwise_what_it_was() {
        let file = command(3, &[attribute(15, b"o257-8-0"), attribute(3, &[1; 8])]);
        let out = passed(&stream(&[whole(), file.clone()]), false).unwrap();
        let named = command(1, &[attribute(15, b"received"), attribute(1, &UUID), attribute(2, &[1; 8])]);
        assert_eq!(out, stream(&[named, file]));
        let builds = |parent: &[u8]| {
            command(
                2,
                &[attribute(15, b"x"), attribute(1, &UUID), attribute(20, parent), attribute(21, &[1; 8])],
            )
        };
        let out = passed(&stream(&[builds(&PARENT)]), true).unwrap();
        assert!(out.windows(16).any(|w| w == OURS) && !out.windows(16).any(|w| w == PARENT));
        assert!(
            passed(&stream(&[builds(&[1; 16])]), true).unwrap_err().contains("builds on another snapshot")
        );
        assert!(passed(&stream(&[builds(&PARENT)]), false).unwrap_err().contains("says that it is whole"));
        assert!(passed(&stream(&[whole()]), true).unwrap_err().contains("says that it builds on another"));
    }

    #[test]
    fn a_hostile_stream_is_refused_with_the_reason() {
        let path = |what: u16, path: &[u8]| command(what, &[attribute(15, path)]);
        for (bad, why) in [
            (path(3, b"../../etc/passwd"), "leads out"),
            (path(3, b"/etc/passwd"), "leads out"),
            (path(3, b"a/../b"), "leads out"),
            (path(3, b"a\0b"), "leads out"),
            (command(9, &[attribute(15, b"a"), attribute(16, b"../b")]), "leads out"),
            (command(10, &[attribute(15, b"a"), attribute(17, b"/etc/shadow")]), "leads out"),
            (command(16, &[attribute(15, b"a"), attribute(20, &[1; 16])]), "data from a subvolume"),
            (command(16, &[attribute(15, b"a"), attribute(20, &UUID), attribute(22, b"/x")]), "leads out"),
            (path(5, b"disk"), "no device"),
            (command(18, &[attribute(15, b"a"), attribute(5, &0o4755_u64.to_le_bytes())]), "set-user-id"),
            (command(13, &[attribute(15, b"a"), attribute(13, b"security.capability")]), "capabilities"),
            (command(23, &[]), "not one of version 1"),
            (command(0, &[]), "not one of version 1"),
            (command(3, &[attribute(25, b"x")]), "not one of version 1"),
            (command(3, &[vec![15, 0, 9, 0, 1]]), "cut off"),
            (whole(), "brings one subvolume"),
        ] {
            let error = passed(&stream(&[whole(), bad]), false).unwrap_err();
            assert!(error.contains(why), "{why}: {error}");
        }
        assert!(passed(&stream(&[path(3, b"x")]), false).unwrap_err().contains("begins with it"));
        // Where a link points is its own affair: receive is confined.
        let link = command(8, &[attribute(15, b"l"), attribute(17, b"/etc/passwd")]);
        assert!(passed(&stream(&[whole(), link]), false).is_ok());
    }

    #[test]
    fn another_snapshot_another_version_and_what_follows_the_end_are_refused() {
        let mut other = stream(&[whole()]);
        assert!(passed(&[&other[..], b"x"].concat(), false).unwrap_err().contains("follows its end"));
        let foreign = command(1, &[attribute(15, b"x"), attribute(1, &[1; 16])]);
        assert!(passed(&stream(&[foreign]), false).unwrap_err().contains("another snapshot"));
        let silent = command(1, &[attribute(15, b"x")]);
        assert!(passed(&stream(&[silent]), false).unwrap_err().contains("does not say which"));
        other[13] = 2;
        assert!(passed(&other, false).unwrap_err().contains("version 1"));
        assert!(passed(b"", false).unwrap_err().contains("ends in the middle"));
    }

    proptest! {
        #[test]
        fn no_stream_that_was_cut_or_altered_passes(at in 0_usize..200, bit in 0_u8..8) {
            let good = stream(&[whole(), command(3, &[attribute(15, b"o257-8-0"), attribute(3, &[1; 8])])]);
            let at = at % good.len();
            prop_assert!(passed(&good[..at], false).is_err());
            let mut altered = good;
            altered[at] ^= 1 << bit;
            prop_assert!(passed(&altered, false).is_err());
        }

        #[test]
        fn whatever_comes_is_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let stream = [&b"btrfs-stream\0\x01\0\0\0"[..], &bytes].concat();
            prop_assert!(passed(&stream, false).is_err());
        }
    }
}
