//! What comes with a plugin: its files, which may be anybody's, and what another host sends.

use std::io;

use super::manifest::Manifest;
use super::mapping::SemanticMapping;
use super::package::{self, Contents};
use super::stream::{self, RECEIVED, Rules};

/// `plugin.toml` and `semantic-mapping.toml`: what is accepted is, written and read, what it was.
pub(crate) fn files(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Manifest::parse(text, "f") {
        Ok(manifest) => {
            let written = manifest.render();
            assert_eq!(Manifest::parse(&written, "f").as_ref(), Ok(&manifest), "{written}");
        }
        Err(error) => {
            let lines = text.bytes().filter(|b| *b == b'\n').count() + 1;
            assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error}");
        }
    }
    match SemanticMapping::parse(text) {
        Ok(mapping) => {
            let written = toml::to_string(&mapping).unwrap_or_default();
            assert_eq!(SemanticMapping::parse(&written).ok().as_ref(), Some(&mapping), "{written}");
            let methods = || mapping.methods.iter();
            for method in methods() {
                assert_eq!(methods().filter(|m| m.name == method.name).count(), 1, "a method twice");
                assert_eq!(mapping.allowed(&method.name).is_some(), method.allow);
            }
        }
        Err(error) => assert!(error.offset().is_none_or(|offset| offset <= text.len())),
    }
}

/// A package: refused, or read; and what is written is read as it was.
pub(crate) fn package(data: &[u8]) {
    let mut stream = Vec::new();
    if let Ok(contents) = package::read(&mut &*data, &mut stream, 1 << 16) {
        assert_eq!(contents.size, stream.len() as u64);
        assert!(data.ends_with(&stream));
        written(&contents, &stream);
    }
    // The same with the length and the digest that the stream has.
    let Some(at) = data.iter().position(|b| *b == b'\n') else { return };
    let (Ok(mut contents), bytes) = (serde_json::from_slice::<Contents>(&data[..at]), &data[at + 1..]) else {
        return;
    };
    let Ok((size, sha256)) = package::measure(&mut &*bytes) else { return };
    (contents.size, contents.sha256) = (size, sha256);
    written(&contents, bytes);
}

fn written(contents: &Contents, stream: &[u8]) {
    let mut package = Vec::new();
    assert!(package::write(contents, &mut &*stream, &mut package).is_ok());
    let mut out = Vec::new();
    match package::read(&mut &*package, &mut out, u64::MAX) {
        Ok(read) => assert_eq!((&read, &*out), (contents, stream)),
        // What it says it holds is limited; nothing else stands in the way.
        Err(error) => assert!(package.len() - stream.len() > 16 * 1024, "{error}"),
    }
    package.push(0);
    assert!(package::read(&mut &*package, &mut io::sink(), u64::MAX).is_err(), "something follows");
}

const UUID: [u8; 16] = [7; 16];
const PARENT: [u8; 16] = [8; 16];
const OURS: [u8; 16] = [9; 16];

/// A send stream: as it is, and put together from the bytes with the checksums that it needs to get past the first check.
pub(crate) fn send_stream(data: &[u8]) {
    relayed(data);
    relayed(&sealed(data));
}

fn relayed(stream: &[u8]) {
    for parent in [None, Some((PARENT, OURS))] {
        let mut out = Vec::new();
        let rules = Rules { uuid: UUID, parent };
        if stream::relay(&mut &*stream, &mut out, &rules).is_err() {
            continue;
        }
        sound(&out, parent.is_some());
        // What is passed on would be passed on again, had it come from a host that has what we have.
        let again = Rules { uuid: UUID, parent: parent.map(|_| (OURS, OURS)) };
        let mut twice = Vec::new();
        assert!(stream::relay(&mut &*out, &mut twice, &again).is_ok());
        assert_eq!(twice, out);
    }
}

/// Commands from pairs of a number and a length with as many bytes; the end is added.
fn sealed(data: &[u8]) -> Vec<u8> {
    let mut stream = b"btrfs-stream\0\x01\0\0\0".to_vec();
    let mut rest = data;
    while let Some(([kind, low, high], tail)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (body, tail) = tail.split_at(length);
        stream.extend(command(u16::from(*kind), body));
        rest = tail;
    }
    stream.extend(command(21, &[]));
    stream
}

fn command(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or_default();
    let mut head = [&length.to_le_bytes()[..], &kind.to_le_bytes(), &[0; 4]].concat();
    let checksum = crc32c(&[&head, body].concat());
    head[6..].copy_from_slice(&checksum.to_le_bytes());
    [&head, body].concat()
}

/// CRC32C bit by bit, written apart from what checks it.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = 0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    crc
}

/// Whether `btrfs receive` can be shown this: one subvolume of our name, no path that leaves it, no device, nothing that
/// gives a right, and data from nowhere else. Read apart from what let it pass.
fn sound(out: &[u8], builds_on_another: bool) {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_usize, |n, b| (n << 8) | usize::from(*b));
    let mut rest = &out[17..];
    let mut first = true;
    let mut last = 0;
    while !rest.is_empty() {
        let (length, kind, checksum) = (number(&rest[..4]), number(&rest[4..6]), number(&rest[6..10]));
        let body = &rest[10..10 + length];
        let bare = [&rest[..6], &[0; 4], body].concat();
        assert_eq!(crc32c(&bare) as usize, checksum, "a checksum is wrong");
        rest = &rest[10 + length..];
        last = kind;
        assert!((1..=22).contains(&kind) && kind != 5, "command {kind}");
        assert_eq!(first, kind <= 2, "one subvolume, at the beginning");
        assert!(!first || (kind == 2) == builds_on_another);
        let mut attributes = body;
        while !attributes.is_empty() {
            let (what, length) = (number(&attributes[..2]), number(&attributes[2..4]));
            let value = &attributes[4..4 + length];
            attributes = &attributes[4 + length..];
            match (what, kind) {
                (15, 1 | 2) => assert_eq!(value, RECEIVED.as_bytes()),
                (1, 1 | 2) => assert_eq!(value, UUID),
                (17, 8) => {}
                (15..=17 | 22, _) => assert!(stays_inside(value), "{value:?} leaves the subvolume"),
                (20, 16) => assert!(value == UUID || (builds_on_another && value == OURS)),
                (20, _) => assert_eq!(value, OURS),
                (5, 18) => assert_eq!(number(value) & 0o4000, 0, "set-user-id"),
                (13, 13) => assert!(!value.starts_with(b"security.capability")),
                _ => assert!((1..=24).contains(&what)),
            }
        }
        first = false;
    }
    assert_eq!(last, 21, "it ends with its end");
}

/// Whether a path, taken part by part from the root of a subvolume, is never above it.
fn stays_inside(path: &[u8]) -> bool {
    !path.starts_with(b"/") && !path.contains(&0) && path.split(|b| *b == b'/').all(|part| part != b"..")
}
