//! Who is let in: a request for this server, from a page of its own or from no page, by somebody with a token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::serve::{Settings, Shared};
use super::socket::PROTOCOL;
use crate::dbus::Voice;
use crate::fault::Kind;
use crate::mcp::{self, Visitor};
use crate::tokens::Token;

/// What a browser may load and do on our pages: what is ours, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whoever was let in, for those who answer.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The secret that they showed.
    pub secret: String,
    /// Its token.
    pub token: Token,
}

/// Headers that every answer has.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let all = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        all.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in
        [("cross-origin-opener-policy", "same-origin"), ("cross-origin-resource-policy", "same-origin")]
    {
        all.insert(name, HeaderValue::from_static(value));
    }
    all.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Refuses what is for another server, or comes from another's page: a name that was made to lead here (DNS rebinding), a
/// form or a script elsewhere.
pub async fn ours(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if is_ours(&shared.settings, request.headers()) {
        next.run(request).await
    } else {
        StatusCode::FORBIDDEN.into_response()
    }
}

fn is_ours(settings: &Settings, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
        return false;
    };
    let host = host.to_ascii_lowercase();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host.as_str(), None),
    };
    let port_fits = match port {
        Some(port) => settings.proxy || port == settings.port.to_string(),
        None => settings.proxy || settings.port == settings.usual_port(),
    };
    if !settings.authorities.iter().any(|known| known == name) || !port_fits {
        return false;
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => origin
            .to_str()
            .is_ok_and(|origin| origin.to_ascii_lowercase() == format!("{}://{host}", settings.scheme())),
        _ => false,
    }
}

/// The secret that a request shows: in `Authorization`, or of a WebSocket, whose headers no page can set, among its
/// protocols. It is in no cookie: a browser would send that to every port of this host.
fn secret(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim());
    }
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let mut all = protocols.split(',').map(str::trim);
    if all.next()? != PROTOCOL {
        return None;
    }
    all.next()?.strip_prefix("bearer.")
}

/// Lets in who shows a token that is good, and answers all others the same.
pub async fn signed_in(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let nobody = || (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response();
    let Some(secret) = secret(request.headers()).map(str::to_owned) else { return nobody() };
    let turn = shared.calls.acquire().await;
    let known = shared.daemon.session(&secret).await;
    drop(turn);
    match known {
        Ok(token) => {
            request.extensions_mut().insert(SignedIn { secret, token });
            next.run(request).await
        }
        Err(report) if report.kind == Kind::Denied => nobody(),
        Err(report) => {
            tracing::warn!("nobody is let in: {report}");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// Tells the MCP server who asks. The secret goes no further than that.
pub async fn visits(mut request: Request, next: Next) -> Response {
    let Some(SignedIn { secret, token }) = request.extensions_mut().remove::<SignedIn>() else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    request.headers_mut().remove(header::AUTHORIZATION);
    request.extensions_mut().insert(Visitor { voice: Voice::Token { secret, door: "mcp" }, uid: token.uid });
    mcp::asked_by(token.uid, next.run(request)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Mcp;

    fn asked(mcp: &str, lines: &[(&'static str, &str)]) -> bool {
        let mcp: Mcp = serde_json::from_str(mcp).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        is_ours(&Settings::of(&mcp), &headers)
    }

    #[test]
    fn a_request_for_another_name_or_port_is_not_ours() {
        for (host, ours) in [
            ("127.0.0.1:8080", true),
            ("LOCALHOST:8080", true),
            ("[::1]:8080", true),
            ("127.0.0.1", false),
            ("127.0.0.1:80", false),
            ("evil.example:8080", false),
            ("localhost.evil.example:8080", false),
            ("127.0.0.1:8080@evil.example", false),
            ("[::1]", false),
            ("", false),
            (":8080", false),
        ] {
            assert_eq!(asked("{}", &[("host", host)]), ours, "{host}");
        }
        assert!(!asked("{}", &[]));
        assert!(!asked("{}", &[("host", "127.0.0.1:8080"), ("host", "127.0.0.1:8080")]));
        let proxied = r#"{"proxy": true, "hosts": ["ops.example.org"]}"#;
        assert!(asked(proxied, &[("host", "ops.example.org")]));
        assert!(asked(
            proxied,
            &[("host", "ops.example.org:8443"), ("origin", "https://ops.example.org:8443")]
        ));
        assert!(!asked(proxied, &[("host", "ops.example.org"), ("origin", "http://ops.example.org")]));
    }

    #[test]
    fn a_page_from_elsewhere_is_refused_and_a_program_that_has_none_is_not() {
        for (origin, ours) in [
            ("http://127.0.0.1:8080", true),
            ("https://127.0.0.1:8080", false),
            ("http://127.0.0.1:8081", false),
            ("http://localhost:8080", false),
            ("null", false),
            ("file://", false),
            ("http://evil.example", false),
        ] {
            assert_eq!(asked("{}", &[("host", "127.0.0.1:8080"), ("origin", origin)]), ours, "{origin}");
        }
        assert!(asked("{}", &[("host", "127.0.0.1:8080")]));
    }

    #[test]
    fn a_secret_is_taken_from_where_it_may_be_and_nowhere_else() {
        let shown = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            secret(&headers).map(str::to_owned)
        };
        assert_eq!(shown("authorization", "Bearer x").as_deref(), Some("x"));
        assert_eq!(shown("authorization", "bearer  x ").as_deref(), Some("x"));
        assert_eq!(shown("sec-websocket-protocol", "opdbus.v1, bearer.x").as_deref(), Some("x"));
        for (name, value) in [
            ("authorization", "Basic x"),
            ("authorization", "x"),
            ("cookie", "opdbus=x"),
            ("sec-websocket-protocol", "bearer.x"),
            ("sec-websocket-protocol", "opdbus.v1"),
        ] {
            assert_eq!(shown(name, value), None, "{name}: {value}");
        }
    }
}
