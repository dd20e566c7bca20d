//! Signing in and out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

use super::guard::SignedIn;
use super::serve::Shared;
use crate::fault::Kind;

/// How many attempts that fail are looked at in [`WINDOW`]. A secret cannot be guessed; what is spared is the daemon.
const ATTEMPTS: u32 = 60;

/// The time in which they are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Attempts that failed.
#[derive(Debug, Default)]
pub struct Failures(Mutex<Option<(Instant, u32)>>);

impl Failures {
    fn too_many(&self) -> bool {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.is_some_and(|(since, count)| since.elapsed() < WINDOW && count >= ATTEMPTS)
    }

    fn count(&self) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *counted {
            Some((since, count)) if since.elapsed() < WINDOW => *count += 1,
            other => *other = Some((Instant::now(), 1)),
        }
    }
}

/// Exchanges a link's secret, or a token, for a session.
pub async fn sign_in(State(shared): State<Arc<Shared>>, secret: String) -> Response {
    if shared.failures.too_many() {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    match shared.daemon.sign_in(secret.trim()).await {
        Ok((secret, token)) => Json(json!({
            "token": secret,
            "user": token.user,
            "role": token.role,
            "expires": token.expires,
            "host": shared.host,
        }))
        .into_response(),
        Err(report) if report.kind == Kind::Denied => {
            shared.failures.count();
            StatusCode::UNAUTHORIZED.into_response()
        }
        Err(report) => {
            tracing::warn!("nobody can sign in: {report}");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// Ends the session.
pub async fn sign_out(
    State(shared): State<Arc<Shared>>,
    Extension(SignedIn { secret, .. }): Extension<SignedIn>,
) -> Response {
    match shared.daemon.sign_out(&secret).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(report) => {
            tracing::warn!("a session was not ended: {report}");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// Who is signed in.
pub async fn show(
    State(shared): State<Arc<Shared>>,
    Extension(SignedIn { token, .. }): Extension<SignedIn>,
) -> Response {
    Json(json!({
        "user": token.user,
        "role": token.role,
        "expires": token.expires,
        "host": shared.host,
        "version": env!("CARGO_PKG_VERSION"),
    }))
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_attempts_fail_and_then_none_is_looked_at_for_a_while() {
        let failures = Failures::default();
        for _ in 0..ATTEMPTS {
            assert!(!failures.too_many());
            failures.count();
        }
        assert!(failures.too_many());
        *failures.0.lock().unwrap() = Instant::now().checked_sub(WINDOW).map(|then| (then, ATTEMPTS));
        assert!(!failures.too_many());
    }
}
