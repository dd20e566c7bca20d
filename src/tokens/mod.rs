//! Tokens: by which a user of this host is known where the kernel cannot say who it is, at the chat's port.
//!
//! A token is 256 random bits. The host keeps its SHA-256, so that whoever reads the file cannot use what is in it. It is
//! one user's, and never lets them do more than they may on the host at that moment; its role may be less. Three kinds: a link that signs in once, the
//! session that comes of it, and a named token for a program.

mod error;
mod store;

use std::path::PathBuf;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use error::TokenError;
pub use store::{Minted, Order, check, end, list, mint, redeem, revoke};

use crate::paths::Paths;

/// What a token lets its user do at most.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// To look.
    Read,
    /// To change what is in the host's care.
    #[default]
    Operate,
    /// Everything that the user may; of root: to change the host itself.
    Admin,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        })
    }
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is exchanged for a session, once.
    Link,
    /// A browser that signed in.
    Session,
    /// It was named, for a program.
    Named,
}

impl Kind {
    /// Where those of a kind are kept. What a browser has does not outlive a reboot.
    fn file(self, paths: &Paths) -> PathBuf {
        match self {
            Self::Link | Self::Session => paths.run.join("sessions.json"),
            Self::Named => paths.tokens.clone(),
        }
    }

    /// How many of a kind one user may have.
    fn most(self) -> usize {
        match self {
            Self::Link => 8,
            Self::Session => 32,
            Self::Named => 100,
        }
    }
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// What it is for.
    pub kind: Kind,
    /// Its name; of a session the name of what it came from.
    pub name: String,
    /// The number of its user.
    pub uid: u32,
    /// The user's name, when it was made.
    pub user: String,
    /// What it lets the user do at most.
    pub role: Role,
    /// When it was made, in seconds since 1970-01-01T00:00:00Z.
    pub created: i64,
    /// From when on it is good for nothing, in the same seconds.
    pub expires: i64,
}
