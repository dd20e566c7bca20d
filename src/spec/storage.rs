use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The subvolumes every host has, whatever else is declared.
pub const REQUIRED_SUBVOLUMES: [&str; 7] =
    ["@cache", "@timing", "@vectors", "@state", "@snapshots", "@plugins", "@templates"];

/// Where the data lives, and how it is compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Btrfs {
    /// The directory that holds everything; it must be on btrfs (or be given an `image`).
    /// Default: /var/lib/op-dbus.
    pub base_path: PathBuf,
    /// The zstd level, 1 to 15, of a file system that operation-dbus mounts itself (`image`).
    /// btrfs has one level per file system, set by whoever mounts it first; on a file system of
    /// yours the level is the one in your fstab, and only the algorithm is set here, as a property
    /// of each subvolume. Default: 3, the level at which zstd's gain on text flattens out.
    pub compression_level: u8,
    /// The subvolumes below the base path. The seven defaults must be among them.
    pub subvolumes: Vec<SubvolumeName>,
    /// A file that holds a btrfs file system, loop-mounted at the base path: the way out where the
    /// host's disk is not btrfs. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
}

impl Default for Btrfs {
    fn default() -> Self {
        Self {
            base_path: "/var/lib/op-dbus".into(),
            compression_level: 3,
            subvolumes: REQUIRED_SUBVOLUMES.iter().map(|name| SubvolumeName((*name).to_owned())).collect(),
            image: None,
        }
    }
}

/// A file that holds a btrfs file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// The file. It is made sparse, so that it takes from the disk only what is written.
    #[serde(default = "default_image_path")]
    pub path: PathBuf,
    /// Its size when it is made, for example "20G". An existing image is never resized.
    pub size: Size,
}

fn default_image_path() -> PathBuf {
    "/var/lib/op-dbus.btrfs".into()
}

/// A number of bytes, written with an optional suffix K, M, G or T (powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9]+[KMGT]?$"))]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, shift) = match text.as_bytes().last() {
            Some(b'K') => (&text[..text.len() - 1], 10),
            Some(b'M') => (&text[..text.len() - 1], 20),
            Some(b'G') => (&text[..text.len() - 1], 30),
            Some(b'T') => (&text[..text.len() - 1], 40),
            _ => (text, 0),
        };
        let bad =
            || format!("\"{text}\" is not a size; write a whole number and K, M, G or T, for example 20G");
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let number: u64 = digits.parse().map_err(|_| bad())?;
        number.checked_mul(1 << shift).map(Size).ok_or_else(bad)
    }
}

impl TryFrom<String> for Size {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, suffix) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
            if self.0 > 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{suffix}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// The name of a subvolume below the base path: '@' and then a-z, 0-9 and '-'.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^@[a-z0-9][a-z0-9-]{0,30}$"))]
pub struct SubvolumeName(String);

impl SubvolumeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SubvolumeName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let ok = name.strip_prefix('@').is_some_and(|rest| {
            (1..=31).contains(&rest.len())
                && !rest.starts_with('-')
                && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        });
        if ok {
            Ok(Self(name))
        } else {
            Err(format!(
                "subvolume name \"{}\" is refused: write '@' and then a-z, 0-9 and '-'",
                name.escape_debug()
            ))
        }
    }
}

impl From<SubvolumeName> for String {
    fn from(name: SubvolumeName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_size_survives_being_written_and_read(bytes in any::<u64>()) {
            prop_assert_eq!(Size(bytes).to_string().parse::<Size>(), Ok(Size(bytes)));
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "G", "-1G", "1.5G", "20 G", "20g", "99999999999T"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
