//! `/proc/self/mountinfo`, from any bytes.

use std::os::unix::ffi::OsStrExt;

use super::mounts::{at, of, parse, unescape};

/// Lines are mounts or left out; a mount is found where it is; a path is read as it was before the kernel wrote it.
pub(crate) fn mounts(data: &[u8]) {
    let mounts: Vec<_> = data.split(|b| *b == b'\n').filter_map(parse).collect();
    for mount in &mounts {
        assert!(at(&mounts, &mount.point).is_some_and(|found| found.point == mount.point));
        assert!(of(&mounts, &mount.point.join("x")).is_some());
        assert!(mount.seen().options.len() <= mount.options.len());
    }
    // As the kernel's mangle() writes it.
    let mut written = Vec::new();
    for byte in data {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => written.extend(format!("\\{byte:03o}").into_bytes()),
            other => written.push(*other),
        }
    }
    assert_eq!(unescape(&written).as_bytes(), data);
}
