//! Who asks, and what they may.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use serde::Serialize;

use super::registry::Privilege;
use crate::ledger::Via;
pub use crate::sockets::GROUP;
use crate::tokens::{Role, Token};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// The user id, as the kernel or the bus gave it.
    pub uid: u32,
    /// The user's name; `uid N` where it has none.
    pub user: String,
    /// Whether the user is a member of [`GROUP`].
    pub member: bool,
    /// The way the call came in.
    pub via: Via,
    /// The token by which the user is known, where the kernel does not say who calls.
    pub token: Option<Token>,
}

impl Caller {
    /// Finds out who a user id is. The id comes from the kernel (peer credentials) or the bus, never from the caller.
    #[must_use]
    pub fn from_uid(uid: u32, via: Via) -> Self {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let member = user.as_ref().is_some_and(is_member);
        let name = user.map_or_else(|| format!("uid {uid}"), |u| u.name);
        Self { uid, user: name, member, via, token: None }
    }

    /// The user of a token that was checked: with what they may on this host now, and no more than its role.
    #[must_use]
    pub fn from_token(token: Token, via: Via) -> Self {
        let user = Self::from_uid(token.uid, via);
        Self { token: Some(token), ..user }
    }

    /// The user this program runs as.
    #[must_use]
    pub fn this_process(via: Via) -> Self {
        Self::from_uid(rustix::process::geteuid().as_raw(), via)
    }

    /// The caller as the ledger has it.
    #[must_use]
    pub fn recorded(&self) -> crate::ledger::Caller {
        crate::ledger::Caller { uid: Some(self.uid), user: self.user.clone(), via: self.via }
    }

    /// Whether the caller has a privilege.
    #[must_use]
    pub fn may(&self, privilege: Privilege) -> bool {
        let role = match privilege {
            Privilege::Read => Role::Read,
            Privilege::Operate => Role::Operate,
            Privilege::Admin => Role::Admin,
        };
        if self.token.as_ref().is_some_and(|token| token.role < role) {
            return false;
        }
        match privilege {
            Privilege::Read | Privilege::Operate => self.uid == 0 || self.member,
            Privilege::Admin => self.uid == 0,
        }
    }
}

/// Who may grant a call to a caller to whom nothing of their own does.
pub trait Authority {
    /// Whether this call of an operation on a target is granted.
    fn grants(&self, operation: &str, target: &str) -> bool;
}

/// Grants nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Authority for Nobody {
    fn grants(&self, _: &str, _: &str) -> bool {
        false
    }
}

/// By what right a call was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// The caller is root or of the group.
    Own,
    /// The authority granted this call.
    Granted,
}

/// Asked of the user database at each call, so that leaving the group takes effect at once.
fn is_member(user: &User) -> bool {
    let Ok(Some(group)) = Group::from_name(GROUP) else { return false };
    let Ok(name) = CString::new(user.name.as_str()) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups: Vec<Gid>| groups.contains(&group.gid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Kind;

    fn caller(uid: u32, member: bool) -> Caller {
        Caller { uid, user: "x".into(), member, via: Via::Dbus, token: None }
    }

    #[test]
    fn a_stranger_may_nothing_a_member_operates_and_root_administers() {
        assert!(!caller(1000, false).may(Privilege::Read) && !caller(1000, false).may(Privilege::Operate));
        assert!(caller(1000, true).may(Privilege::Read));
        assert!(caller(1000, true).may(Privilege::Operate));
        assert!(!caller(1000, true).may(Privilege::Admin));
        assert!(caller(0, false).may(Privilege::Admin) && caller(0, false).may(Privilege::Operate));
    }

    #[test]
    fn a_token_takes_from_what_its_user_may_and_adds_nothing() {
        let with = |uid, member, role| {
            let token = Token {
                kind: Kind::Named,
                name: "x".into(),
                uid,
                user: "x".into(),
                role,
                created: 0,
                expires: i64::MAX,
            };
            let caller = Caller { token: Some(token), ..caller(uid, member) };
            [Privilege::Read, Privilege::Operate, Privilege::Admin].map(|privilege| caller.may(privilege))
        };
        assert_eq!(with(0, false, Role::Read), [true, false, false]);
        assert_eq!(with(0, false, Role::Operate), [true, true, false]);
        assert_eq!(with(0, false, Role::Admin), [true, true, true]);
        assert_eq!(with(1000, true, Role::Admin), [true, true, false]);
        assert_eq!(with(1000, false, Role::Admin), [false, false, false], "who left the group");
    }

    #[test]
    fn a_user_without_a_name_is_named_by_number() {
        let nobody_has_it = 3_999_999_999;
        let caller = Caller::from_uid(nobody_has_it, Via::Socket);
        assert_eq!((caller.user.as_str(), caller.member), ("uid 3999999999", false));
    }
}
