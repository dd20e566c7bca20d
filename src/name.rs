//! Names that come from outside, checked once at the edge and carried as types ever after.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Kind};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} name {shown} is refused: {why}")]
pub struct NameError {
    what: &'static str,
    shown: String,
    why: &'static str,
}

impl Fault for NameError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
    fn next(&self) -> Option<String> {
        Some("use 1 to 32 of a-z, 0-9 and '-', beginning with a letter and not ending in '-'".into())
    }
}

/// 32 is what lets `…/sockets/containers/NAME/NAME.sock` fit the 108 bytes of a Unix socket
/// address under the default base path, and is well below the 63 of a host name label.
const MAX: usize = 32;

fn check(what: &'static str, name: &str) -> Result<(), NameError> {
    let refuse = |why| {
        let mut shown: String = name.chars().take(40).flat_map(char::escape_default).collect();
        if name.chars().count() > 40 {
            shown.push('…');
        }
        Err(NameError { what, shown: format!("\"{shown}\""), why })
    };
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.len() > MAX {
        return refuse("it is longer than 32 characters");
    }
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return refuse("it has a character other than a-z, 0-9 and '-'");
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return refuse("it does not begin with a letter");
    }
    if name.ends_with('-') {
        return refuse("it ends in '-'");
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String", extend("pattern" = "^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$"))]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                check($what, name)?;
                Ok(Self(name.to_owned()))
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                check($what, &name)?;
                Ok(Self(name))
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl AsRef<std::path::Path> for $type {
            fn as_ref(&self) -> &std::path::Path {
                std::path::Path::new(&self.0)
            }
        }
    };
}

name!(
    /// A container's name: its directory, its host name and the stem of its socket.
    ContainerName,
    "container"
);
name!(
    /// A template's name: its directory below `@templates`.
    TemplateName,
    "template"
);
name!(
    /// A plugin's name: its subvolume below `@plugins`.
    PluginName,
    "plugin"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_are_refused_with_the_reason() {
        for (name, why) in [
            ("", "empty"),
            ("../x", "character"),
            ("-rf", "begin with a letter"),
            ("a b", "character"),
            ("a\nb", "character"),
            ("web-", "ends in"),
            ("0web", "begin"),
            ("Web", "character"),
            ("é", "character"),
        ] {
            let error = ContainerName::from_str(name).unwrap_err();
            assert!(error.to_string().contains(why), "{name:?}: {error}");
        }
        let error = ContainerName::from_str(&"a".repeat(300)).unwrap_err();
        assert!(error.to_string().contains("longer than 32"));
        assert!(error.to_string().len() < 200, "a refused name is not echoed at full length");
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_safe_as_a_path_component_and_an_argument(name in ".{0,40}") {
            if let Ok(name) = ContainerName::from_str(&name) {
                prop_assert!(!name.as_str().contains(['/', '.', '\0', '\n', ' ']));
                prop_assert!(!name.as_str().starts_with('-'));
            }
        }
    }
}
