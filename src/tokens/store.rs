//! Where tokens are kept: two small files, each replaced as a whole.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::TokenError;
use super::{Kind, Role, Token};
use crate::files;
use crate::paths::Paths;

/// What every secret begins with, so that programs that look for secrets in the wrong places know it.
const PREFIX: &str = "opdbus_";

/// The longest that a secret is looked at, in bytes.
const LONGEST: usize = 128;

/// The format of the files.
const FORMAT: u32 = 1;

/// How long a link is good for, in seconds.
const LINK: i64 = 5 * 60;

/// How long a session is good for, in seconds: a working day.
const SESSION: i64 = 12 * 60 * 60;

/// A token with its secret, which is shown once and kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    /// The secret.
    pub secret: String,
    /// The token.
    pub token: Token,
}

/// A token that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What for.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The number of its user.
    pub uid: u32,
    /// The user's name.
    pub user: String,
    /// What it lets the user do at most.
    pub role: Role,
    /// How long it is good for, in seconds; a link and a session have a time that they are not good for longer than.
    pub lifetime: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    format: u32,
    tokens: Vec<Kept>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    /// The SHA-256 of the secret, in hexadecimal.
    sha256: String,
    #[serde(flatten)]
    token: Token,
}

/// One at a time: a file is read, changed and replaced. Nobody but the daemon writes it.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path) -> Result<Vec<Kept>, TokenError> {
    let failed = |source| TokenError::Io { verb: "read", path: path.to_owned(), source };
    let Some(text) = files::read_optional(path).map_err(failed)? else { return Ok(Vec::new()) };
    let file: File = serde_json::from_slice(&text).map_err(|e| failed(e.into()))?;
    if file.format != FORMAT {
        return Err(failed(std::io::Error::other(format!("its format is {}", file.format))));
    }
    Ok(file.tokens)
}

fn write(path: &Path, tokens: Vec<Kept>) -> Result<(), TokenError> {
    let failed = |source| TokenError::Io { verb: "write", path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let text = serde_json::to_vec(&File { format: FORMAT, tokens }).map_err(|e| failed(e.into()))?;
    files::replace(path, &text, 0o600).map_err(failed)
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn sum(secret: &str) -> String {
    crate::hex::hex(&Sha256::digest(secret))
}

fn is_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Makes a token. The oldest link or session makes room for a new one; a named token is only taken away by name.
pub fn mint(paths: &Paths, order: Order) -> Result<Minted, TokenError> {
    let Order { kind, name, uid, user, role, lifetime } = order;
    if !is_name(&name) {
        return Err(TokenError::Name { name });
    }
    let path = kind.file(paths);
    let _turn = turn();
    let created = now();
    let mut all = read(&path)?;
    all.retain(|kept| kept.token.expires > created);
    let alike = |kept: &Kept| kept.token.kind == kind && kept.token.uid == uid;
    if kind == Kind::Named && all.iter().any(|kept| alike(kept) && kept.token.name == name) {
        return Err(TokenError::Exists { user, name });
    }
    if all.iter().filter(|kept| alike(kept)).count() >= kind.most() {
        match all.iter().position(alike).filter(|_| kind != Kind::Named) {
            Some(oldest) => drop(all.remove(oldest)),
            None => return Err(TokenError::Many { user, most: kind.most() }),
        }
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|e| TokenError::Io {
        verb: "make a token for",
        path: path.clone(),
        source: e.into(),
    })?;
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let lifetime = match kind {
        Kind::Link => lifetime.min(LINK),
        Kind::Session => lifetime.min(SESSION),
        Kind::Named => lifetime,
    };
    let token = Token { kind, name, uid, user, role, created, expires: created.saturating_add(lifetime) };
    all.push(Kept { sha256: sum(&secret), token: token.clone() });
    write(&path, all)?;
    Ok(Minted { secret, token })
}

/// The token of a secret, where it is one with which operations are called: a session or a named token.
pub fn check(paths: &Paths, secret: &str) -> Result<Token, TokenError> {
    found(paths, secret, &[Kind::Session, Kind::Named])
}

fn found(paths: &Paths, secret: &str, kinds: &[Kind]) -> Result<Token, TokenError> {
    if secret.len() > LONGEST || !secret.starts_with(PREFIX) {
        return Err(TokenError::Unknown);
    }
    let (sum, now) = (sum(secret), now());
    for kind in kinds {
        // Compared are sums of secrets: how far two of them are alike tells nothing of the secret.
        let kept = read(&kind.file(paths))?.into_iter().find(|kept| kept.sha256 == sum);
        if let Some(Kept { token, .. }) = kept
            && token.kind == *kind
            && token.expires > now
        {
            return Ok(token);
        }
    }
    Err(TokenError::Unknown)
}

/// Signs a browser in: a link, which is then used up, or a named token, for a session. What comes of a named token is good
/// for no longer than it.
pub fn redeem(paths: &Paths, secret: &str) -> Result<Minted, TokenError> {
    let token = found(paths, secret, &[Kind::Link, Kind::Named])?;
    if token.kind == Kind::Link {
        let _turn = turn();
        let path = Kind::Link.file(paths);
        let (mut all, sum) = (read(&path)?, sum(secret));
        let before = all.len();
        all.retain(|kept| kept.sha256 != sum);
        // Of two who use it at the same time one does.
        if all.len() == before {
            return Err(TokenError::Unknown);
        }
        write(&path, all)?;
    }
    let lifetime = if token.kind == Kind::Named { token.expires - now() } else { SESSION };
    let order = Order {
        kind: Kind::Session,
        name: token.name,
        uid: token.uid,
        user: token.user,
        role: token.role,
        lifetime,
    };
    mint(paths, order)
}

/// All tokens, the oldest first; those that have expired are none.
pub fn list(paths: &Paths) -> Result<Vec<Token>, TokenError> {
    let mut all = Vec::new();
    for kind in [Kind::Named, Kind::Session] {
        all.extend(read(&kind.file(paths))?.into_iter().map(|kept| kept.token));
    }
    let now = now();
    all.retain(|token| token.expires > now && token.kind != Kind::Link);
    all.sort_by_key(|token| token.created);
    Ok(all)
}

/// Takes a user's token away, and the sessions that came of it; gives how many were taken. Without a name: all of the user's.
pub fn revoke(paths: &Paths, uid: u32, user: &str, name: Option<&str>) -> Result<usize, TokenError> {
    let _turn = turn();
    let mut taken = 0;
    for path in [Kind::Named.file(paths), Kind::Session.file(paths)] {
        let mut all = read(&path)?;
        let before = all.len();
        all.retain(|kept| kept.token.uid != uid || name.is_some_and(|name| kept.token.name != name));
        if all.len() < before {
            taken += before - all.len();
            write(&path, all)?;
        }
    }
    match name {
        Some(name) if taken == 0 => Err(TokenError::Absent { user: user.into(), name: name.into() }),
        _ => Ok(taken),
    }
}

/// Ends the session of a secret.
pub fn end(paths: &Paths, secret: &str) -> Result<(), TokenError> {
    let _turn = turn();
    let path = Kind::Session.file(paths);
    let (mut all, sum) = (read(&path)?, sum(secret));
    let before = all.len();
    all.retain(|kept| kept.sha256 != sum);
    if all.len() < before { write(&path, all) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(dir: &tempfile::TempDir) -> Paths {
        Paths { tokens: dir.path().join("tokens.json"), run: dir.path().to_owned(), ..Paths::default() }
    }

    fn order(kind: Kind, name: &str) -> Order {
        Order {
            kind,
            name: name.into(),
            uid: 1000,
            user: "alice".into(),
            role: Role::Operate,
            lifetime: 3600,
        }
    }

    #[test]
    fn a_token_is_known_by_its_secret_and_the_secret_is_kept_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(&dir);
        let Minted { secret, token } = mint(&paths, order(Kind::Named, "backup")).unwrap();
        assert_eq!(check(&paths, &secret).unwrap(), token);
        for file in std::fs::read_dir(dir.path()).unwrap() {
            use std::os::unix::fs::PermissionsExt;
            let file = file.unwrap();
            assert!(!std::fs::read_to_string(file.path()).unwrap().contains(&secret[PREFIX.len()..]));
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        }
        for wrong in
            ["", "opdbus_", &secret[..secret.len() - 1], &secret.to_uppercase(), &"x".repeat(100_000)]
        {
            assert!(matches!(check(&paths, wrong), Err(TokenError::Unknown)), "{wrong:.50}");
        }
        assert!(matches!(mint(&paths, order(Kind::Named, "backup")), Err(TokenError::Exists { .. })));
        for name in ["", "-x", "a b", "a/b", &"n".repeat(41)] {
            assert!(matches!(mint(&paths, order(Kind::Named, name)), Err(TokenError::Name { .. })), "{name}");
        }
    }

    #[test]
    fn a_link_signs_in_once_and_calls_nothing_itself() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(&dir);
        let link = mint(&paths, order(Kind::Link, "link")).unwrap().secret;
        assert!(check(&paths, &link).is_err(), "it is no session");
        let session = redeem(&paths, &link).unwrap();
        assert_eq!(check(&paths, &session.secret).unwrap().user, "alice");
        assert!(redeem(&paths, &link).is_err(), "it was used");
        assert!(redeem(&paths, &session.secret).is_err(), "a session makes no other");
        end(&paths, &session.secret).unwrap();
        assert!(check(&paths, &session.secret).is_err());
    }

    #[test]
    fn what_was_revoked_or_has_expired_is_unknown_and_its_sessions_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(&dir);
        let token = mint(&paths, order(Kind::Named, "laptop")).unwrap().secret;
        let session = redeem(&paths, &token).unwrap().secret;
        let other = mint(&paths, order(Kind::Named, "other")).unwrap().secret;
        assert_eq!(revoke(&paths, 1000, "alice", Some("laptop")).unwrap(), 2);
        assert!(check(&paths, &token).is_err() && check(&paths, &session).is_err());
        assert!(check(&paths, &other).is_ok());
        assert!(matches!(revoke(&paths, 1000, "alice", Some("laptop")), Err(TokenError::Absent { .. })));
        assert!(matches!(revoke(&paths, 1001, "bob", Some("other")), Err(TokenError::Absent { .. })));
        let late = mint(&paths, Order { lifetime: 0, ..order(Kind::Named, "late") }).unwrap().secret;
        assert!(check(&paths, &late).is_err());
        assert_eq!(list(&paths).unwrap().len(), 1);
    }

    #[test]
    fn the_oldest_session_makes_room_and_a_named_token_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(&dir);
        let mut secrets = Vec::new();
        for _ in 0..=Kind::Session.most() {
            secrets.push(mint(&paths, order(Kind::Session, "link")).unwrap().secret);
        }
        assert!(check(&paths, &secrets[0]).is_err() && check(&paths, &secrets[1]).is_ok());
        for number in 0..Kind::Named.most() {
            mint(&paths, order(Kind::Named, &format!("t{number}"))).unwrap();
        }
        assert!(matches!(mint(&paths, order(Kind::Named, "more")), Err(TokenError::Many { .. })));
    }
}
