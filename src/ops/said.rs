//! What the log says of a call. In the journal each of these is a field of its own, after `OPDBUS_`: see
//! `docs/operations.md`, where they are promised.

use std::time::Duration;

use tracing::Span;
use tracing::field::Empty;

use super::registry::Effect;
use crate::ledger::{Caller, Outcome};

/// What log filters call this: `RUST_LOG=opdbus::call=info`. Under systemd it is shown unless they say otherwise.
pub const LOG: &str = "opdbus::call";

/// The span of a call: whatever is logged in it has its fields. The target is told by [`aimed`] when it is known.
pub(super) fn span(operation: &str, caller: &Caller) -> Span {
    tracing::info_span!(
        target: LOG,
        "call",
        operation,
        target = Empty,
        caller = caller.user,
        uid = caller.uid,
        via = caller.via.name()
    )
}

/// Tells the span what the call is aimed at.
pub(super) fn aimed(span: &Span, target: &str) {
    span.record("target", shown(target));
}

/// A call that has ended, as it is logged.
#[derive(Debug)]
pub struct Ended<'a> {
    /// The operation.
    pub operation: &'a str,
    /// To what.
    pub target: &'a str,
    /// Who made it.
    pub caller: &'a Caller,
    /// Whether it only looked.
    pub effect: Effect,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// How long it took.
    pub took: Duration,
    /// The number of its entry in the ledger, where it has one.
    pub entry: Option<i64>,
}

impl Ended<'_> {
    /// Logs it in a span of its own, for who called without [`super::Service`].
    pub fn say(&self) {
        let span = span(self.operation, self.caller);
        aimed(&span, self.target);
        span.in_scope(|| self.log());
    }

    /// Logs it: what went wrong as a warning, what was changed as information, and what looked for debugging alone.
    pub(super) fn log(&self) {
        let outcome = self.outcome.name();
        let duration_us = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
        let ledger_entry = self.entry;
        let Self { operation, caller, .. } = self;
        let target = shown(self.target);
        match self.outcome {
            Outcome::Failed(why) | Outcome::Refused(why) => tracing::warn!(
                target: LOG,
                outcome,
                duration_us,
                ledger_entry,
                "{operation} {target} by {}: {outcome}: {why}",
                caller.user
            ),
            Outcome::Ok if self.effect == Effect::Read => tracing::debug!(
                target: LOG,
                outcome,
                duration_us,
                ledger_entry,
                "{operation} {target} by {}: {outcome}",
                caller.user
            ),
            Outcome::Ok => tracing::info!(
                target: LOG,
                outcome,
                duration_us,
                ledger_entry,
                "{operation} {target} by {}: {outcome}",
                caller.user
            ),
        }
    }
}

/// What somebody wrote, as it can be shown on any terminal, and not more of it than the ledger has.
fn shown(text: &str) -> String {
    text.chars().take(crate::ledger::MAX_TARGET).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::EnvFilter;

    use super::*;
    use crate::engine::{Host, Silent};
    use crate::ledger::{Ledger, Via};
    use crate::ops::{self, Nobody, Service};
    use crate::paths::Tree;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines that are logged meanwhile, by the filter that systemd's units have.
    fn logged(what: impl FnOnce()) -> Vec<String> {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(format!("warn,{LOG}=info")))
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(log, what);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn host() -> (tempfile::TempDir, Service) {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::default();
        host.paths.etc = dir.path().to_owned();
        host.paths.run = dir.path().to_owned();
        let tree = Tree::new(dir.path().join("base"));
        std::fs::create_dir_all(tree.join("@timing")).unwrap();
        std::fs::write(
            host.paths.config(),
            json!({ "version": 1, "btrfs": { "basePath": tree.base() } }).to_string(),
        )
        .unwrap();
        let by = Caller::this_process(Via::Helper);
        Ledger::init(&tree.ledger(), &by, crate::deployment::Deployment::Traditional).unwrap();
        (dir, Service::new(host))
    }

    fn member(uid: u32, member: bool) -> ops::Caller {
        ops::Caller { uid, user: "alice".into(), member, via: Via::Socket, token: None }
    }

    #[test]
    fn a_call_is_logged_once_with_who_what_how_and_its_entry() {
        let (_dir, service) = host();
        let lines = logged(|| {
            let call = |who: &ops::Caller, name: &str, args| {
                service.call(who, &Nobody, name, args, &Silent, None).is_ok()
            };
            assert!(call(&member(1000, true), "ledger.show", json!({})), "what looks is not logged");
            assert!(!call(&member(1000, true), "container.start", json!({ "name": "web-09" })));
            assert!(!call(&member(1000, false), "container.start", json!({ "name": "a\u{1b}[31mb" })));
        });
        let [failed, refused] = lines.as_slice() else { panic!("{lines:#?}") };
        let called =
            "call{operation=\"container.start\" caller=\"alice\" uid=1000 via=\"socket\" target=\"web-09\"}";
        assert!(failed.trim_start().starts_with(&format!("WARN {called}: ")), "{failed}");
        assert!(failed.contains("container.start web-09 by alice: failed: "), "{failed}");
        assert!(failed.contains("outcome=\"failed\" duration_us="), "{failed}");
        assert!(
            failed.ends_with("ledger_entry=3"),
            "the second call after the two it was made with: {failed}"
        );
        assert!(refused.contains("outcome=\"refused\"") && refused.ends_with("ledger_entry=4"), "{refused}");
        assert!(refused.contains("container.start a\\u{1b}[31mb by alice: refused"), "{refused}");
        assert!(!refused.contains('\u{1b}'), "{refused}");
    }

    #[test]
    fn what_a_stranger_asks_without_end_does_not_fill_the_journal() {
        let (_dir, service) = host();
        let lines = logged(|| {
            for _ in 0..200 {
                let who = member(1000, false);
                assert!(service.call(&who, &Nobody, "plan", Value::Null, &Silent, None).is_err());
            }
        });
        assert!(lines.len() >= 30 && lines.len() < 70, "{} lines", lines.len());
    }

    #[test]
    fn a_change_is_information_and_what_helpers_did_has_the_same_fields() {
        let caller = Caller { uid: Some(0), user: "root".into(), via: Via::Helper };
        let lines = logged(|| {
            Ended {
                operation: "apply",
                target: "storage",
                caller: &caller,
                effect: Effect::Change,
                outcome: &Outcome::Ok,
                took: Duration::from_millis(3),
                entry: Some(7),
            }
            .say();
        });
        let said = "INFO call{operation=\"apply\" caller=\"root\" uid=0 via=\"helper\" target=\"storage\"}: opdbus::call: \
                    apply storage by root: ok outcome=\"ok\" duration_us=3000 ledger_entry=7";
        assert_eq!(lines.iter().map(|line| line.trim_start()).collect::<Vec<_>>(), [said]);
    }

    #[test]
    fn the_manual_promises_the_fields_that_there_are() {
        let manual = include_str!("../../docs/operations.md");
        for field in ["operation", "target", "caller", "uid", "via", "outcome", "duration_us", "ledger_entry"]
        {
            let field = format!("`OPDBUS_{}`", field.to_uppercase());
            assert!(manual.contains(&field), "{field}");
        }
    }
}
