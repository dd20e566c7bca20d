//! polkit: an action for each operation, by which an admin grants to others what root and the group have anyway.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use zbus::Connection;
use zbus::message::{Flags, Header};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use super::BUS_NAME;
use crate::ops::{Authority, Operation, Privilege, Registry};

/// How long somebody has to give a password.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many questions may be open at once. Each holds a thread of the daemon until somebody answers it, and whoever
/// asks may bring an agent that never does.
const OPEN: usize = 16;

static ASKED: AtomicUsize = AtomicUsize::new(0);

/// polkit, asked about one caller.
pub(super) struct Polkit {
    connection: Connection,
    runtime: tokio::runtime::Handle,
    subject: Option<Subject>,
    interactive: bool,
}

impl Polkit {
    /// For the caller who sent the message with this header. Whether a password may be asked for is the caller's wish.
    pub(super) fn about(header: &Header<'_>, connection: &Connection) -> Self {
        Self {
            connection: connection.clone(),
            runtime: tokio::runtime::Handle::current(),
            subject: Subject::new_for_message_header(header).ok(),
            interactive: header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH),
        }
    }

    async fn ask(&self, subject: &Subject, operation: &str, target: &str) -> zbus::Result<bool> {
        let authority = AuthorityProxy::new(&self.connection).await?;
        let details = HashMap::from([("operation", operation), ("target", target)]);
        let flags = if self.interactive {
            CheckAuthorizationFlags::ALLOW_USER_INTERACTION
        } else {
            CheckAuthorizationFlags::empty()
        };
        let answer = authority.check_authorization(subject, &action(operation), &details, flags, "").await?;
        Ok(answer.is_authorized)
    }
}

impl Authority for Polkit {
    fn grants(&self, operation: &str, target: &str) -> bool {
        let Some(subject) = &self.subject else { return false };
        let open = Open::take();
        if !open.admitted {
            tracing::warn!("polkit was not asked about {operation}: {OPEN} questions are open");
            return false;
        }
        let asked = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.ask(subject, operation, target)).await });
        match asked {
            Ok(Ok(granted)) => granted,
            // There is no polkit on this host, which is fine.
            Ok(Err(error)) => {
                tracing::debug!(operation, "polkit was not asked: {error}");
                false
            }
            Err(_) => false,
        }
    }
}

/// One of the questions that may be open at once.
struct Open {
    admitted: bool,
}

impl Open {
    fn take() -> Self {
        Self { admitted: ASKED.fetch_add(1, Ordering::Relaxed) < OPEN }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        ASKED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The action of an operation: `org.opdbus1.container.create`.
#[must_use]
pub fn action(operation: &str) -> String {
    format!("{BUS_NAME}.{operation}")
}

/// The file in which polkit finds the actions, made from the registry (polkit(8), "Declaring actions").
#[must_use]
pub fn policy(registry: &Registry) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE policyconfig PUBLIC \"-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN\"\n  \
         \"https://www.freedesktop.org/software/polkit/policyconfig-1.dtd\">\n\
         <!-- Made from the registry of operations. Root, and the group opdbus for what does not say \"admin\", are not\n     \
         asked; everybody else is granted what rules in /etc/polkit-1/rules.d grant, or who gives an admin's password. -->\n\
         <policyconfig>\n  <vendor>operation-dbus</vendor>\n",
    );
    for operation in registry.iter() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}", entry(operation));
    }
    text.push_str("</policyconfig>\n");
    text
}

fn entry(operation: &Operation) -> String {
    let (privilege, default) = match operation.privilege {
        Privilege::Read => ("read", "auth_admin_keep"),
        Privilege::Operate => ("operate", "auth_admin_keep"),
        Privilege::Admin => ("admin", "auth_admin"),
    };
    let summary = operation.summary.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "  <action id=\"{}\">\n    <description>{summary} ({privilege})</description>\n    \
         <message>Authentication is required: {} on $(target)</message>\n    <defaults>\n      \
         <allow_any>{default}</allow_any>\n      <allow_inactive>{default}</allow_inactive>\n      \
         <allow_active>{default}</allow_active>\n    </defaults>\n  </action>\n",
        action(operation.name),
        operation.name,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_policy_has_every_operation() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/org.opdbus1.policy");
        let made = policy(&Registry::default());
        if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
            std::fs::write(path, &made).unwrap();
        }
        let shipped = std::fs::read_to_string(path).unwrap_or_default();
        assert!(shipped == made, "{path} is old: INSTA_UPDATE=always cargo test --lib polkit");
    }

    #[test]
    fn no_more_than_so_many_questions_are_open_and_an_answered_one_makes_room() {
        let open: Vec<Open> = (0..OPEN).map(|_| Open::take()).collect();
        assert!(open.iter().all(|o| o.admitted));
        assert!(!Open::take().admitted);
        drop(open);
        assert!(Open::take().admitted);
    }
}
