//! Paths that stand in a host spec.

use std::path::{Component, Path};

/// Whether a path is absolute, without `..`, and of characters that may stand where it is written.
pub(super) fn is_plain(path: &Path, may: impl Fn(char) -> bool) -> bool {
    path.is_absolute()
        && path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
        && path.to_str().is_some_and(|text| text.chars().all(may))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_absolute_does_not_climb_and_has_nothing_odd_in_it() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let plain = |path: &[u8]| is_plain(Path::new(OsStr::from_bytes(path)), |c| c != '%');
        for (path, is) in [
            (&b"/"[..], true),
            (b"/srv/a b", true),
            (b"", false),
            (b"srv", false),
            (b"./srv", false),
            (b"/srv/../etc", false),
            (b"/srv/%n", false),
            (b"/srv/\xff", false),
        ] {
            assert_eq!(plain(path), is, "{}", String::from_utf8_lossy(path));
        }
    }
}
