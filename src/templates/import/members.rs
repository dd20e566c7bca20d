//! The members of a tar archive, as they are: nothing is unpacked here. Long names and extended headers are put
//! together here rather than by the tar crate, which takes as much memory for them as the archive says.

use std::io::Read;

use tar::{Archive, EntryType};

use super::Fail;

/// The most members of an archive, and of all layers of an image together.
pub(super) const MOST_MEMBERS: u64 = 2_000_000;
/// The longest name, or extended header.
const LONGEST: u64 = 1 << 20;

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name, as it was written.
    pub(super) name: Vec<u8>,
    /// What it is a link to.
    pub(super) link: Vec<u8>,
    /// What it is.
    pub(super) kind: EntryType,
    /// Its permissions.
    pub(super) mode: u32,
    /// Its owner and group.
    pub(super) owner: (u32, u32),
    /// When it was changed, in seconds.
    pub(super) changed: i64,
    /// Its extended attributes.
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where its data begin in the archive.
    pub(super) position: u64,
    /// How many they are.
    pub(super) size: u64,
}

impl Member {
    /// Its name, for a message.
    pub(super) fn shown(&self) -> String {
        shown(&self.name)
    }
}

/// Bytes of somebody else's, for a message.
pub(super) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.chars().take(120).flat_map(char::escape_debug).collect();
    if text.chars().count() > 120 {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

/// What the extended headers before a member say of it.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    owner: (Option<u32>, Option<u32>),
    size: Option<u64>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Calls `each` with every member and its data; it says whether to go on.
pub(super) fn each(
    from: impl Read,
    mut each: impl FnMut(Member, &mut dyn Read) -> Result<bool, Fail>,
) -> Result<(), Fail> {
    let broken = |error: std::io::Error| Fail::read("the archive", &error);
    let mut archive = Archive::new(from);
    let mut extended = Extended::default();
    let mut count = 0;
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        count += 1;
        if count > MOST_MEMBERS {
            return Err(Fail::Refused(format!("it has more than {MOST_MEMBERS} members")));
        }
        let kind = entry.header().entry_type();
        let size = entry.header().entry_size().map_err(broken)?;
        if kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions()
        {
            if size > LONGEST {
                return Err(Fail::Refused(format!("an extended header has {size} bytes")));
            }
            let mut data = Vec::new();
            entry.read_to_end(&mut data).map_err(broken)?;
            if kind.is_gnu_longname() {
                extended.name = Some(until_nul(data));
            } else if kind.is_gnu_longlink() {
                extended.link = Some(until_nul(data));
            } else if kind.is_pax_local_extensions() {
                pax(&data, &mut extended)?;
            }
            continue;
        }
        let extended = std::mem::take(&mut extended);
        let header = entry.header();
        let number = |value: std::io::Result<u64>| {
            value.ok().and_then(|v| u32::try_from(v).ok()).filter(|v| *v != u32::MAX)
        };
        let (uid, gid) =
            (extended.owner.0.or(number(header.uid())), extended.owner.1.or(number(header.gid())));
        let member = Member {
            name: extended.name.unwrap_or_else(|| header.path_bytes().into_owned()),
            link: extended.link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
            kind,
            mode: header.mode().map_err(broken)? & 0o7777,
            owner: (0, 0),
            changed: header.mtime().ok().and_then(|t| i64::try_from(t).ok()).unwrap_or_default(),
            attributes: extended.attributes,
            position: entry.raw_file_position(),
            size,
        };
        let (Some(uid), Some(gid)) = (uid, gid) else {
            return Err(Fail::Refused(format!("{} has an owner that there cannot be", member.shown())));
        };
        if kind.is_gnu_sparse() || extended.size.is_some_and(|said| said != size) {
            return Err(Fail::Refused(format!(
                "{} is written in a way that is not read here: a sparse file, or one of 8 GiB and more",
                member.shown()
            )));
        }
        if !each(Member { owner: (uid, gid), ..member }, &mut entry)? {
            return Ok(());
        }
    }
    Ok(())
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// Reads an extended header: `LENGTH KEY=VALUE\n`, over and over, the length being the whole record's. A value may hold
/// any byte.
fn pax(mut rest: &[u8], extended: &mut Extended) -> Result<(), Fail> {
    let wrong = || Fail::Refused("an extended header is damaged".into());
    while !rest.is_empty() {
        let space = rest.iter().take(8).position(|b| *b == b' ').ok_or_else(wrong)?;
        let length: usize =
            std::str::from_utf8(&rest[..space]).ok().and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
        let record = rest.get(space + 1..length).and_then(|r| r.strip_suffix(b"\n")).ok_or_else(wrong)?;
        rest = &rest[length..];
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(wrong)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let number = || std::str::from_utf8(value).ok().and_then(|n| n.parse::<u64>().ok()).ok_or_else(wrong);
        // The largest is what the kernel takes for "leave it".
        let id = || {
            let id = u32::try_from(number()?).ok().filter(|id| *id != u32::MAX);
            id.map(Some).ok_or_else(|| Fail::Refused("a member has an owner that there cannot be".into()))
        };
        match key {
            b"path" => extended.name = Some(value.to_owned()),
            b"linkpath" => extended.link = Some(value.to_owned()),
            b"uid" => extended.owner.0 = id()?,
            b"gid" => extended.owner.1 = id()?,
            b"size" => extended.size = Some(number()?),
            _ => {
                if key.starts_with(b"GNU.sparse.") {
                    return Err(Fail::Refused("it has a sparse file, which is not read here".into()));
                }
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    extended.attributes.push((name.to_owned(), value.to_owned()));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extended_header_may_hold_any_byte_and_a_damaged_one_is_refused() {
        let mut extended = Extended::default();
        pax(b"12 path=a\nb\n30 SCHILY.xattr.user.x=\0\n=\xff12\n", &mut extended).unwrap();
        assert_eq!(extended.name.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(extended.attributes, [(b"user.x".to_vec(), b"\0\n=\xff12".to_vec())]);
        for wrong in [
            &b"99 path=a\n"[..],
            b"0 path=a\n",
            b"2 path=a\n",
            b"path=a\n",
            b"9 path:a\n\n",
            b"11 path=a\nb",
            b"18446744073709551615 a=b\n",
            b"10 size=x\n",
        ] {
            assert!(pax(wrong, &mut Extended::default()).is_err(), "{}", shown(wrong));
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_read_ends_in_members_or_an_error(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..4096)) {
            let _ = each(&bytes[..], |_, data| { std::io::copy(data, &mut std::io::sink()).ok(); Ok(true) });
            let _ = pax(&bytes, &mut Extended::default());
        }
    }
}
