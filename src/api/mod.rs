//! The API socket: HTTP over a Unix socket, so that curl is a client. Who calls is who the kernel says
//! has the other end; the operations are those of the registry.
//!
//! `GET /v1/operations` lists them; `POST /v1/operations/NAME` with a JSON object calls one; `GET /metrics` is for a
//! monitoring system.
//!
//! Anybody may connect, as to the bus: a stranger is refused by the operation itself, in words and in the ledger.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod seats;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::UnixListener;

use self::seats::{Seated, Visitor};
use crate::engine::Silent;
use crate::fault::{Kind, Report};
use crate::ledger::Via;
use crate::metrics;
use crate::ops::{Caller, Description, Nobody, Operation, Service};

/// The largest request: an operation's arguments are short.
const MOST: usize = 64 << 10;

impl Connected<IncomingStream<'_, Seated>> for Visitor {
    fn connect_info(stream: IncomingStream<'_, Seated>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Serves the API until the listener fails.
pub async fn serve(listener: UnixListener, service: Arc<Service>) -> std::io::Result<()> {
    let seated = Seated::new(listener, service.counters());
    axum::serve(seated, router(service).into_make_service_with_connect_info::<Visitor>()).await
}

fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/operations", get(list))
        .route("/v1/operations/{name}", post(call))
        .route("/metrics", get(scrape))
        .layer(DefaultBodyLimit::max(MOST))
        .with_state(service)
}

async fn list(State(service): State<Arc<Service>>) -> Json<Vec<Description>> {
    Json(service.registry().iter().map(Operation::describe).collect())
}

async fn scrape(State(service): State<Arc<Service>>, ConnectInfo(visitor): ConnectInfo<Visitor>) -> Response {
    let uid = visitor.uid();
    let looked =
        tokio::task::spawn_blocking(move || service.metrics(&Caller::from_uid(uid, Via::Socket))).await;
    match looked {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Ok(Err(report)) => failure(&report),
        Err(error) => failure(&ended(&error)),
    }
}

async fn call(
    State(service): State<Arc<Service>>,
    ConnectInfo(visitor): ConnectInfo<Visitor>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let uid = visitor.uid();
    let arguments = if body.is_empty() {
        Value::Null
    } else {
        // What is no JSON is refused by the operation itself, so that the refusal is recorded.
        serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()))
    };
    let called = tokio::task::spawn_blocking(move || {
        let caller = Caller::from_uid(uid, Via::Socket);
        // polkit knows callers by their name on the bus.
        service.call(&caller, &Nobody, &name, arguments, &Silent, None)
    });
    match called.await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(report)) => failure(&report),
        Err(error) => failure(&ended(&error)),
    }
}

fn ended(error: &tokio::task::JoinError) -> Report {
    Report::new(Kind::Failed, format!("the operation ended unexpectedly: {error}"))
}

fn failure(report: &Report) -> Response {
    let status = match report.kind {
        Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::Unavailable | Kind::Busy => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(json!({ "error": report }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Host;

    async fn answered(service: &Arc<Service>, visitor: Visitor) -> (StatusCode, String, String) {
        let response = scrape(State(Arc::clone(service)), ConnectInfo(visitor)).await;
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn metrics_go_out_as_openmetrics_and_to_those_alone_who_may_look() {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::default();
        host.paths.etc = dir.path().to_owned();
        let service = Arc::new(Service::new(host));
        let (status, kind, text) = answered(&service, Visitor::root()).await;
        assert_eq!((status, kind.as_str()), (StatusCode::OK, metrics::CONTENT_TYPE));
        assert!(text.contains("opdbus_build_info{version=") && text.ends_with("\n# EOF\n"), "{text}");
        let (status, kind, text) = answered(&service, Visitor::stranger()).await;
        assert_eq!((status, kind.as_str()), (StatusCode::FORBIDDEN, "application/json"));
        assert!(text.contains("members of the group opdbus may") && !text.contains("build_info"), "{text}");
    }
}
